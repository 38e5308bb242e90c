//! Exim from its package's files, storing by appendfile.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Peer;
use super::namespace;
use crate::{Daemon, Scratch, free_address, target_directory};

#[derive(Debug)]
pub struct Exim {
    address: SocketAddr,
    maildir: PathBuf,
    daemon: Daemon,
    scratch: Scratch,
}

/// The user of the namespace that Exim runs as.
const EXIM_ID: u32 = 64_999;

impl Exim {
    #[track_caller]
    pub fn start() -> Exim {
        let scratch = Scratch::new("exim");
        namespace::open(&scratch);
        let program = target_directory().join("peers/exim/usr/sbin/exim4");
        assert!(program.exists(), "{} is not there: run scripts/setup-tests", program.display());
        let address = free_address();
        let root = scratch.path().display();
        namespace::require_root();
        for name in ["spool", "log", "mail"] {
            namespace::directory(&scratch.join(name), EXIM_ID);
        }
        let config = scratch.write(
            "exim.conf",
            format!(
                "exim_path = {program}\n\
                 spool_directory = {root}/spool\n\
                 log_file_path = {root}/log/%slog\n\
                 pid_file_path = {root}/exim.pid\n\
                 local_interfaces = 127.0.0.1\n\
                 daemon_smtp_ports = {port}\n\
                 primary_hostname = mx.exim.test\n\
                 domainlist local_domains = exim.test\n\
                 smtputf8_advertise_hosts = *\n\
                 chunking_advertise_hosts = *\n\
                 dsn_advertise_hosts = *\n\
                 tls_advertise_hosts = *\n\
                 host_lookup =\n\
                 rfc1413_hosts =\n\
                 keep_environment =\n\
                 never_users =\n\
                 message_size_limit = 100M\n\
                 smtp_accept_queue_per_connection = 0\n\
                 acl_smtp_rcpt = recipient\n\
                 acl_smtp_data = accept\n\
                 begin acl\n\
                 recipient:\n  accept domains = +local_domains\n  deny message = no relaying here\n\
                 begin routers\n\
                 store:\n  driver = accept\n  domains = +local_domains\n  transport = maildir\n\
                 begin transports\n\
                 maildir:\n  driver = appendfile\n  directory = {root}/mail\n  maildir_format\n  \
                 user = Debian-exim\n  group = Debian-exim\n",
                program = program.display(),
                port = address.port(),
            ),
        );
        let command =
            namespace::command(&scratch, &format!("exec {} -C {} -bdf -q1m", program.display(), config.display()));
        let mut daemon = Daemon::start(command, &scratch.join("output"));
        daemon.wait_for_port(address);
        Exim { address, maildir: scratch.join("mail"), daemon, scratch }
    }
}

impl Peer for Exim {
    fn domain(&self) -> &'static str {
        "exim.test"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn maildir(&self) -> &Path {
        &self.maildir
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log/mainlog")).unwrap_or_default() + &self.daemon.log()
    }
}
