//! Postfix's smtp-sink: takes everything as fast as it can, and keeps nothing.

use std::net::SocketAddr;
use std::process::Command;

use crate::{Daemon, Scratch, free_address};

/// Enough for a few updates of the counter.
const TAIL_OCTETS: u64 = 256;

/// Connections that wait to be accepted: more than any run has.
const BACKLOG: &str = "1024";

#[derive(Debug)]
pub struct SmtpSink {
    address: SocketAddr,
    daemon: Daemon,
    _scratch: Scratch,
}

impl SmtpSink {
    /// `arguments` beyond the address, such as `-P` or `-D`.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> SmtpSink {
        SmtpSink::start_at(free_address(), arguments)
    }

    #[track_caller]
    pub fn start_at(address: SocketAddr, arguments: &[&str]) -> SmtpSink {
        let scratch = Scratch::new("smtp-sink");
        let mut command = Command::new("/usr/sbin/smtp-sink");
        if rustix::process::geteuid().is_root() {
            // It refuses to stay root.
            command.args(["-u", "nobody"]);
        }
        command.arg("-c").args(arguments).arg(format!("inet:{address}")).arg(BACKLOG);
        let mut daemon = Daemon::start(command, &scratch.join("output"));
        daemon.wait_for_port(address);
        SmtpSink { address, daemon, _scratch: scratch }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many messages it has got: its running counter (`-c`), read from the end of what it printed.
    ///
    /// Its own `-M` will not do: it ends before the reply to the last message is out, and the peer sends that again.
    pub fn messages(&self) -> usize {
        let tail = self.daemon.log_tail(TAIL_OCTETS);
        let count = tail.rsplit("mesg=").find_map(|part| {
            // The last one may be torn: a count is whole when its CR is there.
            let (digits, _) = part.split_once('\r')?;
            digits.parse().ok()
        });
        count.unwrap_or(0)
    }
}
