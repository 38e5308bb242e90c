//! What the kernel says about processes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// A server is quiet when it uses less of a core than this in two such spans after each other.
const QUIET_SPAN: Duration = Duration::from_millis(500);
const QUIET_SHARE: f64 = 0.03;
/// What still works then is at something else than the run.
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// One line about this machine.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, m)| m);
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} x {model}, Linux {}", kernel.trim())
}

/// Whether files there are in memory only.
pub fn is_in_memory(path: &Path) -> Result<bool> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    let statistics = rustix::fs::statfs(path).with_context(|| path.display().to_string())?;
    Ok(statistics.f_type == TMPFS_MAGIC)
}

/// A process and all that descend from it.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    root: u32,
}

impl Tree {
    pub fn of(root: u32) -> Tree {
        Tree { root }
    }

    fn members(self) -> Vec<u32> {
        let mut children: Vec<(u32, u32)> = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
                children.push((parent, pid));
            }
        }
        let mut members = vec![self.root];
        let mut at = 0;
        while let Some(parent) = members.get(at).copied() {
            members.extend(children.iter().filter(|(of, _)| *of == parent).map(|(_, pid)| *pid));
            at += 1;
        }
        members
    }

    /// CPU seconds so far: of the living, and of the dead that were waited for.
    pub fn cpu_s(self) -> f64 {
        let ticks: u64 = self.members().into_iter().filter_map(ticks).sum();
        // The kernel counts in hundredths of a second (USER_HZ), on every machine.
        ticks as f64 / 100.0
    }

    /// Waits until it does (nearly) nothing.
    pub fn wait_until_quiet(self) {
        let started = Instant::now();
        let mut before = self.cpu_s();
        let mut quiet = 0;
        while quiet < 2 && started.elapsed() < QUIET_WITHIN {
            thread::park_timeout(QUIET_SPAN);
            let now = self.cpu_s();
            quiet = if now - before < QUIET_SHARE * QUIET_SPAN.as_secs_f64() { quiet + 1 } else { 0 };
            before = now;
        }
    }

    /// Resident memory of the root now, in bytes.
    pub fn rss_bytes(self) -> u64 {
        status_kb(self.root, "VmRSS:") * 1024
    }

    /// Proportional share of all members now, in bytes.
    fn pss_bytes(self) -> u64 {
        let share = |pid: u32| -> Option<u64> {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        self.members().into_iter().filter_map(share).sum::<u64>() * 1024
    }
}

/// The fields of /proc/PID/stat behind the name (which may hold anything).
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn ticks(pid: u32) -> Option<u64> {
    let fields = stat(pid)?;
    // utime, stime, cutime, cstime are the 14th to 17th of proc(5), whose first two are the pid and the name.
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

fn status_kb(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok());
    value.unwrap_or(0)
}

/// Watches the memory of a tree while a run goes on.
#[derive(Debug)]
pub struct MemoryWatch {
    tree: Tree,
    done: Arc<AtomicBool>,
    highest: Arc<AtomicU64>,
    watcher: Option<thread::JoinHandle<()>>,
}

impl MemoryWatch {
    pub fn start(tree: Tree) -> MemoryWatch {
        // 5 resets the peak (proc_pid_clear_refs(5)). Where it may not be written, the peak is that of all runs.
        let _ = fs::write(format!("/proc/{}/clear_refs", tree.root), "5");
        let done = Arc::new(AtomicBool::new(false));
        let highest = Arc::new(AtomicU64::new(0));
        let watcher = (tree.members().len() > 1).then(|| {
            let (done, highest) = (Arc::clone(&done), Arc::clone(&highest));
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    highest.fetch_max(tree.pss_bytes(), Ordering::Relaxed);
                    thread::park_timeout(SAMPLE_EVERY);
                }
            })
        });
        MemoryWatch { tree, done, highest, watcher }
    }

    /// The peak, in bytes.
    pub fn finish(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        match self.watcher {
            None => status_kb(self.tree.root, "VmHWM:") * 1024,
            Some(watcher) => {
                watcher.thread().unpark();
                // Its panic would only mean that there is no figure.
                let _ = watcher.join();
                self.highest.load(Ordering::Relaxed)
            }
        }
    }
}
