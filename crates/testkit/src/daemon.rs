//! A program that goes on running beside the test.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::program::pid_of;
use crate::wait::{until, until_within};

/// A child process in a group of its own, with both outputs in one log file. Dropping it kills the whole group and
/// reaps it; when the test is failing the end of the log is printed.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Starts it; `log` is appended to.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(mut command: Command, log: &Path) -> Daemon {
        let name = format!("{:?}", command.get_program());
        let output = File::options().create(true).append(true).open(log).expect("the log file can be written");
        let errors = output.try_clone().expect("a file can be cloned");
        let child = command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap_or_else(
            |error| panic!("{name} does not start ({error}); scripts/setup-tests installs what is missing"),
        );
        Daemon { name, child, log: log.to_owned(), ended: None }
    }

    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// How it ended, if it did.
    pub fn try_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    /// Waits until something listens at `address`.
    ///
    /// # Panics
    /// When the program ends instead, or the usual deadline passes.
    #[track_caller]
    pub fn wait_for_port(&mut self, address: SocketAddr) {
        let what = format!("{} to listen on {address}", self.name);
        until(&what, || {
            if let Some(status) = self.try_ended() {
                panic!("{} ended with {status} before it listened:\n{}", self.name, self.log());
            }
            TcpStream::connect(address).ok()
        });
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended already: then there is nobody to tell.
        let _ = rustix::process::kill_process(self.pid(), signal);
    }

    /// Kills the whole group as a power cut would, and reaps it.
    pub fn kill(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        let _ = rustix::process::kill_process_group(self.pid(), Signal::KILL);
        let status = self.child.wait().expect("a child can be waited for");
        self.ended = Some(status);
        status
    }

    /// Asks it to stop, and waits.
    ///
    /// # Panics
    /// When it has not ended within `deadline`.
    #[track_caller]
    pub fn stop(&mut self, deadline: Duration) -> ExitStatus {
        if self.try_ended().is_none() {
            self.signal(Signal::TERM);
        }
        let what = format!("{} to stop after SIGTERM", self.name);
        until_within(deadline, &what, || self.try_ended())
    }

    /// All it printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last octets of what it printed.
    pub fn log_tail(&self, octets: u64) -> String {
        let read = || {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(octets)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            std::io::Result::Ok(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            eprintln!("--- the end of what {} printed\n{}", self.name, &log[from..]);
        }
    }
}
