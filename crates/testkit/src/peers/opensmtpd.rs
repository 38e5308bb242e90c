//! OpenSMTPD from its package's files, storing by its own mail.maildir.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Peer;
use super::namespace;
use crate::{Daemon, Scratch, free_address, target_directory};

#[derive(Debug)]
pub struct OpenSmtpd {
    address: SocketAddr,
    maildir: PathBuf,
    daemon: Daemon,
    _scratch: Scratch,
}

impl OpenSmtpd {
    #[track_caller]
    pub fn start() -> OpenSmtpd {
        let scratch = Scratch::new("opensmtpd");
        namespace::require_root();
        namespace::open(&scratch);
        let files = target_directory().join("peers/opensmtpd");
        let program = files.join("usr/sbin/smtpd");
        assert!(program.exists(), "{} is not there: run scripts/setup-tests", program.display());
        let address = free_address();
        let mail = namespace::mailbox(&scratch, "mail");
        let config = scratch.write(
            "smtpd.conf",
            format!(
                "listen on 127.0.0.1 port {port} hostname mx.opensmtpd.test\n\
                 smtp max-message-size 100M\n\
                 action \"store\" maildir \"{mail}\" virtual {{ \"@\" = postbox }}\n\
                 match from any for domain \"opensmtpd.test\" action \"store\"\n",
                port = address.port(),
                mail = mail.display(),
            ),
        );
        // Its paths are built in: where they lead is ours within the namespace.
        let script = format!(
            "mount -t tmpfs -o mode=755 none /var/spool\n\
             mount -t tmpfs -o mode=755 none /var/lib\n\
             mount -t tmpfs -o mode=755 none /run\n\
             mount -t tmpfs -o mode=755 none /usr/libexec\n\
             mkdir -p /run/opensmtpd /var/lib/opensmtpd/empty\n\
             mkdir -m 711 /var/spool/smtpd\n\
             cp -r {files}/usr/libexec/opensmtpd /usr/libexec/\n\
             exec {program} -d -f {config}",
            files = files.display(),
            program = program.display(),
            config = config.display(),
        );
        let mut daemon = Daemon::start(namespace::command(&scratch, &script), &scratch.join("output"));
        daemon.wait_for_port(address);
        OpenSmtpd { address, maildir: mail, daemon, _scratch: scratch }
    }
}

impl Peer for OpenSmtpd {
    fn domain(&self) -> &'static str {
        "opensmtpd.test"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn maildir(&self) -> &Path {
        &self.maildir
    }

    fn log(&self) -> String {
        self.daemon.log()
    }
}
