//! A mount namespace with users and directories that a daemon insists on.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use crate::Scratch;

/// Who the daemon's mail belongs to. No such user exists outside.
pub(super) const MAILBOX_ID: u32 = 64_996;

const USERS: [(&str, u32); 4] =
    [("Debian-exim", 64_999), ("opensmtpd", 64_998), ("opensmtpq", 64_997), ("postbox", MAILBOX_ID)];

/// The command that runs `script` (POSIX shell) as root in a namespace of its own, where the users exist.
#[track_caller]
pub(super) fn command(scratch: &Scratch, script: &str) -> Command {
    require_root();
    let with = |file: &str, line: &dyn Fn(&str, u32) -> String| {
        let mut text = std::fs::read_to_string(file).expect("every system has its users");
        for (user, id) in USERS {
            text.push_str(&line(user, id));
        }
        text
    };
    let passwd = with("/etc/passwd", &|user, id| format!("{user}:x:{id}:{id}::/:/bin/sh\n"));
    let group = with("/etc/group", &|user, id| format!("{user}:x:{id}:\n"));
    let passwd = scratch.write("passwd", passwd);
    let group = scratch.write("group", group);
    let script = format!(
        "set -e\nmount --bind {} /etc/passwd\nmount --bind {} /etc/group\n{script}",
        passwd.display(),
        group.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    command
}

#[track_caller]
pub(super) fn require_root() {
    let root = rustix::process::geteuid().is_root();
    assert!(root, "Postfix, Exim and OpenSMTPD change their user, so this story must run as root");
}

/// A directory that belongs to the mailbox user, under parents that everybody may pass.
pub(super) fn mailbox(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let path = scratch.join(name);
    directory(&path, MAILBOX_ID);
    path
}

pub(super) fn directory(path: &Path, owner: u32) {
    std::fs::create_dir_all(path).expect("the scratch directory is writable");
    chown(path, Some(owner), Some(owner)).expect("root may give a directory away");
}

/// Lets other users pass through the scratch directory.
pub(super) fn open(scratch: &Scratch) {
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(scratch.path(), mode).expect("the directory is ours");
}
