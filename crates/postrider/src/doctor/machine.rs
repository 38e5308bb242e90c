//! The machine itself: its clock, and how many files it lets us open.

use std::fs;
use std::path::Path;

use base::{Clock, Timestamp};
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::cli::output::{moment, span};
use crate::config::Config;

const CLOCK: &str = "clock";
const FILES: &str = "open files";

/// 2026-01-01: a clock that stands before the program was written is wrong.
const EARLIEST: Timestamp = Timestamp::from_secs(1_767_225_600);
/// What a file system may be ahead of the clock, for its own rounding.
const AHEAD_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// Retries, signatures and certificates go by the clock.
pub fn clock(config: &Config, clock: &dyn Clock) -> Finding {
    let now = clock.now();
    let advice = "Run a time service: `apt install systemd-timesyncd` or `chrony`.";
    if now < EARLIEST {
        return Finding::fail(CLOCK, format!("it says {}, which cannot be", moment(now)), advice);
    }
    if let Some(newest) = newest_file(config)
        && newest.since(now) > AHEAD_MAX
    {
        let text = format!(
            "files in {} are {} younger than now: the clock has been set back",
            config.data.display(),
            span(newest.since(now))
        );
        return Finding::warn(CLOCK, text, advice);
    }
    match synchronised(Path::new("/run")) {
        Some(true) => Finding::ok(CLOCK, format!("{}, synchronised", moment(now))),
        Some(false) => Finding::warn(
            CLOCK,
            format!("{}, and nothing keeps it right: other servers distrust mail with a wrong date", moment(now)),
            advice,
        ),
        None => {
            Finding::ok(CLOCK, format!("{}; whether a time service keeps it right cannot be seen here", moment(now)))
        }
    }
}

/// When the youngest file at the top of the data directory was written.
fn newest_file(config: &Config) -> Option<Timestamp> {
    let entries = fs::read_dir(&config.data).ok()?;
    entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max().map(Timestamp::from)
}

/// Whether a time service keeps the clock: by the traces that the usual ones leave under `run`.
/// `None` where nobody would leave any (a container, say, whose host does it).
fn synchronised(run: &Path) -> Option<bool> {
    const TRACES: [&str; 4] = ["systemd/timesync/synchronized", "chrony/chronyd.pid", "chronyd.pid", "ntpd.pid"];
    if TRACES.iter().any(|trace| run.join(trace).exists()) {
        return Some(true);
    }
    run.join("systemd/system").is_dir().then_some(false)
}

/// Files beside connections: segments, the database, the log, libraries.
const FILES_OF_OURS: u64 = 256;

/// Each connection, in and out, is an open file. The server raises its soft limit to the hard one.
pub fn files(config: &Config) -> Finding {
    let needed = u64::from(config.smtp.connections_max) + u64::from(config.delivery.connections_max) + FILES_OF_OURS;
    judged_files(getrlimit(Resource::Nofile).maximum, needed)
}

fn judged_files(allowed: Option<u64>, needed: u64) -> Finding {
    match allowed {
        None => Finding::ok(FILES, format!("no limit; {needed} may be needed")),
        Some(allowed) if allowed >= needed => Finding::ok(FILES, format!("{allowed} allowed, {needed} may be needed")),
        Some(allowed) => Finding::fail(
            FILES,
            format!("{allowed} allowed, but all connections together may need {needed}"),
            format!(
                "Set LimitNOFILE={} in the systemd unit (or `ulimit -Hn`), or lower the connection limits.",
                needed * 2
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::State;
    use super::*;
    use crate::config::{Purpose, Sources};

    struct At(Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    fn config(data: PathBuf) -> Config {
        let sources = Sources {
            purpose: Purpose::Serve,
            file: None,
            data: Some(data),
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            machine_name: "mail.example.org".into(),
        };
        Config::load(&sources).expect("the configuration is right")
    }

    #[test]
    fn the_file_limit_is_compared_with_what_is_needed() {
        assert_eq!(judged_files(None, 2_000).state, State::Ok);
        assert_eq!(judged_files(Some(2_000), 2_000).state, State::Ok);
        let few = judged_files(Some(1_024), 1_756);
        assert_eq!(few.state, State::Fail);
        assert!(few.advice.is_some_and(|advice| advice.contains("LimitNOFILE=3512")));
    }

    #[test]
    fn a_time_service_is_known_by_its_traces() {
        let run = tempfile::tempdir().expect("a directory for the test");
        assert_eq!(synchronised(run.path()), None);
        std::fs::create_dir_all(run.path().join("systemd/system")).expect("it can be made");
        assert_eq!(synchronised(run.path()), Some(false));
        std::fs::create_dir_all(run.path().join("chrony")).expect("it can be made");
        std::fs::write(run.path().join("chrony/chronyd.pid"), "7").expect("it can be written");
        assert_eq!(synchronised(run.path()), Some(true));
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_seen() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let config = config(directory.path().to_owned());
        assert_eq!(clock(&config, &At(Timestamp::from_secs(0))).state, State::Fail);
        std::fs::write(directory.path().join("young"), "x").expect("the file can be written");
        let back = clock(&config, &At(EARLIEST));
        assert_eq!(back.state, State::Warn, "{}", back.text);
        assert!(back.text.contains("has been set back"), "{}", back.text);
    }
}
