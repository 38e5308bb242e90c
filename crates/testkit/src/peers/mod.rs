//! Other people's mail servers as the far end: Postfix, Exim and OpenSMTPD, each with a configuration, a spool and a
//! port of its own. They store what they take in a Maildir, where the story reads the bytes.
//!
//! Exim and OpenSMTPD come from their packages as files (see `scripts/setup-tests`). They insist on users and on
//! directories of the system, so they run in a mount namespace where these are ours; that needs root.

mod exim;
mod namespace;
mod opensmtpd;
mod postfix;
mod smtp_sink;

use std::net::SocketAddr;
use std::path::Path;

pub use exim::Exim;
pub use opensmtpd::OpenSmtpd;
pub use postfix::{Postfix, give_to_user, services as postfix_services, stop_postfix};
pub use smtp_sink::SmtpSink;

use crate::Message;
use crate::message::story_id;
use crate::wait::{DEADLINE, try_until};

/// A mail server that takes mail for one domain and stores it.
pub trait Peer {
    /// What it takes mail for.
    fn domain(&self) -> &'static str;
    fn address(&self) -> SocketAddr;
    fn maildir(&self) -> &Path;
    /// What it logged, for a story that fails.
    fn log(&self) -> String;

    /// Waits until this message is stored, and reads it. Line ends are put back to CRLF: a Maildir has LF.
    #[track_caller]
    fn wait_for(&self, message: &Message) -> Vec<u8> {
        let look =
            || stored(self.maildir()).into_iter().find(|stored| story_id(stored).as_deref() == Some(&message.id));
        try_until(DEADLINE, look)
            .unwrap_or_else(|| panic!("message {} is not in the Maildir; the log says:\n{}", message.id, self.log()))
    }
}

/// All messages of a Maildir, with CRLF.
fn stored(maildir: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(maildir.join("new")) else { return Vec::new() };
    let files = entries.filter_map(|entry| std::fs::read(entry.ok()?.path()).ok());
    files.map(|bytes| with_crlf(&bytes)).collect()
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 40);
    for byte in bytes {
        if *byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}
