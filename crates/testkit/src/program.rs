//! Running other people's programs, with a deadline.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::wait::DEADLINE;

/// A program about to be run. It gets no standard input unless [`Program::input`] gives some.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
    deadline: Duration,
}

impl Program {
    pub fn new(name: impl AsRef<OsStr>) -> Program {
        let mut command = Command::new(name);
        // Its own group, so that the deadline reaches what it started too. English, so that tests can read it.
        command.process_group(0).env("LC_ALL", "C.UTF-8");
        let path = std::env::var("PATH").unwrap_or_default();
        // Mail programs live where an ordinary user's path does not look.
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        Program { command, input: Vec::new(), deadline: DEADLINE }
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Program {
        self.command.arg(argument);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    /// What the program reads from its standard input.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Program {
        self.input = bytes.into();
        self
    }

    pub fn deadline(mut self, deadline: Duration) -> Program {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it is not installed, or its deadline passes (it is killed then).
    #[track_caller]
    pub fn run(mut self) -> Finished {
        let name = format!("{:?}", self.command);
        let mut child =
            self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(
                |error| panic!("{name} does not start ({error}); scripts/setup-tests installs what is missing"),
            );
        let stdin = child.stdin.take().expect("stdin is piped");
        let input = std::mem::take(&mut self.input);
        // A program that does not read its input is no failure of ours: the write's error is not looked at.
        let feeder = thread::spawn(move || drop({ stdin }.write_all(&input)));
        let stdout = collect(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        let (done, watch) = mpsc::channel::<()>();
        let group = pid_of(&child);
        let deadline = self.deadline;
        let watchdog = thread::spawn(move || {
            let late = watch.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                // It may have ended this very moment.
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            late
        });
        let status = child.wait().expect("a child can be waited for");
        let text = |thread: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&thread.join().expect("reading a pipe does not panic")).into_owned()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        drop(done);
        let late = watchdog.join().expect("the watchdog does not panic");
        feeder.join().expect("feeding a pipe does not panic");
        let finished = Finished { name, status, stdout, stderr };
        assert!(!late, "killed after {deadline:?}: {finished}");
        finished
    }
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    let raw = i32::try_from(child.id()).expect("process ids are small");
    Pid::from_raw(raw).expect("a child's process id is not zero")
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    name: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// # Panics
    /// With everything it printed, when it failed.
    #[track_caller]
    pub fn expect_success(self) -> Finished {
        assert!(self.status.success(), "{self}");
        self
    }

    /// # Panics
    /// With everything it printed, when it did not fail.
    #[track_caller]
    pub fn expect_failure(self) -> Finished {
        assert!(!self.status.success(), "should have failed: {self}");
        self
    }

    /// Both outputs together.
    pub fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} ended with {}", self.name, self.status)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}
