//! The data directory: whose it is, what the disk below it promises, how fast it keeps its promise.

use std::fs::{self, File, Metadata};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Finding;
use crate::cli::output::size;
use crate::config::{Config, Purpose};

const DIRECTORY: &str = "data directory";
const SPACE: &str = "free space";
const SYNC: &str = "sync speed";
const KEYS: &str = "keys";

pub fn examine(config: &Config) -> Vec<Finding> {
    let (directory, place) = directory(config);
    let mut findings = vec![directory];
    if let Some(place) = place {
        findings.push(space(&place));
        findings.push(sync_speed(&place, config.purpose));
    }
    findings.extend(key_file(&config.data.join("master.key")));
    findings
}

/// The data directory, and where what it stands on can be measured: in it, or above it where it is not
/// there yet.
fn directory(config: &Config) -> (Finding, Option<PathBuf>) {
    let data = &config.data;
    let shown = data.display();
    let metadata = match fs::metadata(data) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = data.ancestors().skip(1).find(|path| path.is_dir()).map(Path::to_owned);
            return (Finding::ok(DIRECTORY, format!("{shown} is not there yet; the first start makes it")), above);
        }
        Err(error) => {
            let advice = "Run the doctor as the user that runs the server.";
            return (Finding::fail(DIRECTORY, format!("{shown} cannot be looked at: {error}"), advice), None);
        }
    };
    let place = Some(data.clone());
    if !metadata.is_dir() {
        return (Finding::fail(DIRECTORY, format!("{shown} is no directory"), "Name another one with `data`."), None);
    }
    if let Some(finding) = foreign(DIRECTORY, data, &metadata) {
        return (finding, place);
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        let text = format!("others than its owner may look into {shown}");
        return (Finding::fail(DIRECTORY, text, format!("Run `chmod 700 {shown}`.")), place);
    }
    (Finding::ok(DIRECTORY, format!("{shown} is its owner's alone")), place)
}

/// Belongs to somebody else than who runs the doctor: most likely it was started as the wrong user.
fn foreign(check: &'static str, path: &Path, metadata: &Metadata) -> Option<Finding> {
    let us = rustix::process::geteuid();
    // The superuser may look at everybody's.
    (metadata.uid() != us.as_raw() && !us.is_root()).then(|| {
        let text = format!("{} belongs to user {}, and this is user {}", path.display(), metadata.uid(), us.as_raw());
        Finding::fail(check, text, "Run the doctor, and the server, as the user that the directory belongs to.")
    })
}

/// Whoever reads the master key reads all mail.
fn key_file(path: &Path) -> Option<Finding> {
    let shown = path.display();
    let metadata = fs::metadata(path).ok()?;
    if let Some(finding) = foreign(KEYS, path, &metadata) {
        return Some(finding);
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        let text = format!("others than its owner may read {shown}, the key to all mail");
        return Some(Finding::fail(KEYS, text, format!("Run `chmod 600 {shown}`.")));
    }
    Some(Finding::ok(KEYS, format!("{shown} is its owner's alone; keep a copy of it, or a backup cannot be read")))
}

fn space(place: &Path) -> Finding {
    match rustix::fs::statvfs(place) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let total = disk.f_blocks.saturating_mul(disk.f_frsize);
            // A file system without a count of its own, such as btrfs, says 0 of 0.
            let inodes = if disk.f_files > 0 { Some(disk.f_favail) } else { None };
            judged_space(free, total, inodes)
        }
        Err(error) => Finding::warn(SPACE, format!("cannot be found out: {error}"), "Look at it with `df`."),
    }
}

const FREE_OCTETS_MIN: u64 = 256 << 20;
const FREE_OCTETS_GOOD: u64 = 2 << 30;
const INODES_MIN: u64 = 1_000;

fn judged_space(free: u64, total: u64, inodes: Option<u64>) -> Finding {
    let text = format!("{} of {} free", size(free), size(total));
    let advice = "Make room: with a full disk new mail is put off (452) until there is space.";
    if inodes.is_some_and(|inodes| inodes < INODES_MIN) {
        return Finding::fail(SPACE, format!("{text}, but hardly any more files can be made"), advice);
    }
    match free {
        free if free < FREE_OCTETS_MIN => Finding::fail(SPACE, text, advice),
        free if free < FREE_OCTETS_GOOD => Finding::warn(SPACE, text, advice),
        _ => Finding::ok(SPACE, text),
    }
}

const SYNCS: usize = 50;
const RECORD: [u8; 4096] = [0x5a; 4096];
/// A disk that would take minutes for the whole measurement is slow enough after this.
const MEASURING_TIME_MAX: Duration = Duration::from_secs(5);

/// Every 250 waits for a sync, so its time is the least that a client waits.
fn sync_speed(place: &Path, purpose: Purpose) -> Finding {
    if let Some(finding) = unsafe_file_system(place, purpose) {
        return finding;
    }
    match measure(place) {
        Ok(times) => judged_speed(times),
        Err(error) => Finding::fail(
            SYNC,
            format!("cannot write to {}: {error}", place.display()),
            "Run the doctor as the user that runs the server, and check that the disk is not mounted read-only.",
        ),
    }
}

/// Magic numbers of statfs(2).
const TMPFS: i64 = 0x0102_1994;
const NFS: i64 = 0x6969;
const CIFS: i64 = 0xff53_4d42;

fn unsafe_file_system(place: &Path, purpose: Purpose) -> Option<Finding> {
    let kind = rustix::fs::statfs(place).ok()?.f_type as i64;
    let shown = place.display();
    match (kind, purpose) {
        (TMPFS, Purpose::Serve) => Some(Finding::fail(
            SYNC,
            format!("{shown} is in memory (tmpfs): all mail is gone after a restart of the machine"),
            "Put the data directory on a disk.",
        )),
        (TMPFS, Purpose::Dev) => Some(Finding::warn(
            SYNC,
            format!("{shown} is in memory (tmpfs): fine for a try, but mail is gone after a restart of the machine"),
            "Put the data directory on a disk when the mail matters.",
        )),
        (NFS | CIFS, _) => Some(Finding::fail(
            SYNC,
            format!("{shown} is on a network file system, whose locks and syncs are not to be relied on"),
            "Put the data directory on a local disk.",
        )),
        _ => None,
    }
}

/// How long each of [`SYNCS`] appended records took to reach the disk, shortest first. The file has no
/// name, so that nothing stays, however this ends.
fn measure(place: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file: File = nameless(place)?;
    let began = Instant::now();
    let mut times = Vec::with_capacity(SYNCS);
    while times.len() < SYNCS && (times.is_empty() || began.elapsed() < MEASURING_TIME_MAX) {
        let wrote_at = Instant::now();
        file.write_all(&RECORD)?;
        file.sync_data()?;
        times.push(wrote_at.elapsed());
    }
    times.sort();
    Ok(times)
}

fn nameless(place: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let opened = open(place, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match opened {
        Ok(descriptor) => Ok(File::from(descriptor)),
        // Not every file system knows files without names; there the name is taken away at once.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let path = place.join(format!("doctor-{}", std::process::id()));
            let file = File::options().write(true).create_new(true).open(&path)?;
            fs::remove_file(&path)?;
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}

/// No disk that keeps what it promises is faster than this: 20 microseconds.
const HONEST_MIN: Duration = Duration::from_micros(20);
const GOOD_MAX: Duration = Duration::from_millis(15);
const BEARABLE_MAX: Duration = Duration::from_millis(200);

fn judged_speed(times: Vec<Duration>) -> Finding {
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let (median, worst) = (at(50), at(99));
    let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let text = format!("{} for one write (median), {} at worst (p99)", milliseconds(median), milliseconds(worst));
    if median < HONEST_MIN {
        let text = format!("{text}: too fast for a disk, so it may say that data is safe when it is not");
        return Finding::warn(
            SYNC,
            text,
            "Check that the disk, its controller or the virtual machine does not ignore flushes (cache=unsafe, \
             eatmydata, a volatile write cache without power-loss protection).",
        );
    }
    if median > BEARABLE_MAX {
        return Finding::fail(
            SYNC,
            text,
            "Each message waits that long before its 250. Use a disk of your own, best an SSD.",
        );
    }
    if median > GOOD_MAX {
        return Finding::warn(SYNC, text, "A client waits that long for each message; an SSD would be quicker.");
    }
    Finding::ok(SYNC, text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::State;
    use super::*;
    use crate::config::Sources;

    fn config(data: &Path) -> Config {
        let sources = Sources {
            purpose: Purpose::Serve,
            file: None,
            data: Some(data.to_owned()),
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            machine_name: "mail.example.org".into(),
        };
        Config::load(&sources).expect("the configuration is right")
    }

    fn restrict(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn the_directory_and_the_key_must_be_their_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let key = directory.path().join("master.key");
        fs::write(&key, "x").expect("the file can be written");
        restrict(&key, 0o600);
        restrict(directory.path(), 0o700);
        let state = |check: &str| {
            let findings = examine(&config(directory.path()));
            let found = findings.into_iter().find(|finding| finding.check == check).expect("the check was made");
            (found.state, found.advice)
        };
        assert_eq!(state(DIRECTORY), (State::Ok, None));
        assert_eq!(state(KEYS), (State::Ok, None));
        restrict(directory.path(), 0o755);
        restrict(&key, 0o640);
        let shown = directory.path().display();
        assert_eq!(state(DIRECTORY), (State::Fail, Some(format!("Run `chmod 700 {shown}`."))));
        assert_eq!(state(KEYS), (State::Fail, Some(format!("Run `chmod 600 {shown}/master.key`."))));
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_measured_above() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let (finding, place) = super::directory(&config(&directory.path().join("a/b")));
        assert_eq!(finding.state, State::Ok, "{}", finding.text);
        assert_eq!(place.as_deref(), Some(directory.path()));
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let times = measure(directory.path()).expect("the directory can be written");
        assert!(!times.is_empty() && times.is_sorted());
        assert_eq!(fs::read_dir(directory.path()).expect("it can be read").count(), 0);
    }

    #[test]
    fn slow_disks_and_liars_are_told_apart() {
        let state = |micros: u64| judged_speed(vec![Duration::from_micros(micros); SYNCS]).state;
        assert_eq!(state(2), State::Warn, "no disk is that fast");
        assert_eq!(state(400), State::Ok);
        assert_eq!(state(30_000), State::Warn);
        assert_eq!(state(400_000), State::Fail);
        let text = judged_speed(vec![Duration::from_micros(400)]).text;
        assert_eq!(text, "0.40 ms for one write (median), 0.40 ms at worst (p99)");
    }

    #[test]
    fn a_disk_that_fills_up_is_seen_in_time() {
        let state = |free, inodes| judged_space(free, 1 << 40, inodes).state;
        assert_eq!(state(100 << 30, Some(1_000_000)), State::Ok);
        assert_eq!(state(1 << 30, None), State::Warn);
        assert_eq!(state(1 << 20, None), State::Fail);
        assert_eq!(state(100 << 30, Some(3)), State::Fail);
    }
}
