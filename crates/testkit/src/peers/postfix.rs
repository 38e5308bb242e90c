//! Postfix with a configuration of its own, storing by virtual(8).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::Peer;
use super::namespace::{self, MAILBOX_ID};
use crate::wait::try_until;
use crate::{Daemon, Scratch, free_address};

#[derive(Debug)]
pub struct Postfix {
    address: SocketAddr,
    maildir: PathBuf,
    daemon: Daemon,
    scratch: Scratch,
}

/// Postfix will not start without an owner for its queue that exists on the system.
const OWNER: &str = "postfix";

impl Postfix {
    #[track_caller]
    pub fn start() -> Postfix {
        namespace::require_root();
        let scratch = Scratch::new("postfix");
        namespace::open(&scratch);
        let address = free_address();
        let root = scratch.path().display();
        for name in ["conf", "queue", "data"] {
            std::fs::create_dir(scratch.join(name)).expect("the scratch directory is writable");
        }
        give_to_user(&scratch.join("data"), OWNER);
        let mail = namespace::mailbox(&scratch, "mail");
        scratch.write(
            "conf/main.cf",
            format!(
                "compatibility_level = 3.6\n\
                 queue_directory = {root}/queue\n\
                 data_directory = {root}/data\n\
                 myhostname = mx.postfix.test\n\
                 mydestination =\n\
                 mynetworks =\n\
                 alias_maps =\n\
                 inet_interfaces = 127.0.0.1\n\
                 inet_protocols = ipv4\n\
                 smtpd_relay_restrictions = reject_unauth_destination\n\
                 smtputf8_enable = yes\n\
                 message_size_limit = 104857600\n\
                 virtual_mailbox_limit = 0\n\
                 virtual_mailbox_domains = postfix.test\n\
                 virtual_mailbox_base = {root}/mail\n\
                 virtual_mailbox_maps = static:box/\n\
                 virtual_minimum_uid = 100\n\
                 virtual_uid_maps = static:{MAILBOX_ID}\n\
                 virtual_gid_maps = static:{MAILBOX_ID}\n\
                 maillog_file = {root}/maillog\n\
                 maillog_file_prefixes = {root}\n"
            ),
        );
        scratch.write("conf/master.cf", format!("{address} inet n - n - - smtpd\n{SERVICES}"));
        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(scratch.join("conf")).arg("start-fg");
        let mut daemon = Daemon::start(command, &scratch.join("output"));
        daemon.wait_for_port(address);
        Postfix { address, maildir: mail.join("box"), daemon, scratch }
    }
}

/// The services of master.cf(5) besides smtpd, none of them in a chroot.
pub fn services() -> &'static str {
    SERVICES
}

const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

/// Ends Postfix and all its processes. master(8) is a grandchild in a process group of its own, and ends its own
/// children on SIGTERM; killed hard, it would leave them behind.
pub fn stop_postfix(daemon: &mut Daemon, queue_directory: &Path) {
    let pid = std::fs::read_to_string(queue_directory.join("pid/master.pid"));
    let master = pid.ok().and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
    if let Some(master) = master {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(master, Signal::TERM);
        try_until(STOP_WITHIN, || rustix::process::test_kill_process(master).err());
    }
    try_until(STOP_WITHIN, || daemon.try_ended());
}

/// How long Postfix may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Gives a directory to a user of the system.
pub fn give_to_user(path: &Path, user: &str) {
    let owner = std::fs::read_to_string("/etc/passwd").expect("every system has its users");
    let owner = owner.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse::<u32>().ok())?
    });
    let owner =
        owner.unwrap_or_else(|| panic!("there is no user {user}; scripts/setup-tests installs what is missing"));
    std::os::unix::fs::chown(path, Some(owner), None).expect("root may give a directory away");
}

impl Peer for Postfix {
    fn domain(&self) -> &'static str {
        "postfix.test"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn maildir(&self) -> &Path {
        &self.maildir
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("maillog")).unwrap_or_default() + &self.daemon.log()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        stop_postfix(&mut self.daemon, &self.scratch.join("queue"));
    }
}
