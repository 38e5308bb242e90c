//! What was said, for whoever asks later why a message did or did not arrive.

use base::{Reply, ReplyClass, Step};

/// Steps kept of one transaction; those of further recipients are counted.
pub const STEPS_MAX: usize = 200;
/// The end of a transaction (DATA, content, the count) always finds room.
const STEPS_RESERVED: usize = 8;

/// A command that was sent and whose reply has not come.
#[derive(Debug)]
pub(super) struct Awaited {
    pub command: Command,
    /// The words of it, without the line end, secrets starred.
    pub sent: Box<str>,
    /// Where it ends in the stream of octets to the server.
    pub end: u64,
    pub at_us: u64,
}

/// Which command a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Rset,
    Mail,
    Rcpt,
    Data,
    /// The content with its final dot.
    Content,
    Quit,
}

/// The steps of a transaction, or of the opening of a connection. Bounded.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    steps: Vec<Step>,
    omitted: u32,
    omitted_refused: u32,
}

impl Dialogue {
    pub fn with_capacity(steps: usize) -> Dialogue {
        Dialogue { steps: Vec::with_capacity(steps.min(STEPS_MAX)), ..Dialogue::default() }
    }

    pub fn answered(&mut self, awaited: Awaited, reply: &Reply, now_us: u64) {
        let ordinary = matches!(awaited.command, Command::Rcpt | Command::Rset);
        if ordinary && self.steps.len() >= STEPS_MAX - STEPS_RESERVED {
            self.omitted += 1;
            self.omitted_refused += u32::from(reply.class() != ReplyClass::Success);
            return;
        }
        self.push(awaited.sent, one_line(reply), awaited.at_us, now_us);
    }

    /// A step that is no command with a reply, or one whose reply never came.
    pub fn push(&mut self, sent: Box<str>, received: Box<str>, at_us: u64, now_us: u64) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(Step { at_us, took_us: now_us.saturating_sub(at_us), sent, received });
        }
    }

    pub fn take(&mut self, now_us: u64) -> Vec<Step> {
        if self.omitted > 0 {
            let sent = format!("[{} more RCPT]", self.omitted);
            let received = format!("{} of them refused", self.omitted_refused);
            self.push(sent.into(), received.into(), now_us, now_us);
            self.omitted = 0;
            self.omitted_refused = 0;
        }
        std::mem::take(&mut self.steps)
    }
}

/// `250 2.1.0 ok`, the lines of a longer reply after one another.
fn one_line(reply: &Reply) -> Box<str> {
    use std::fmt::Write;
    let mut line = String::with_capacity(reply.text.len() + 16);
    // Writing to a String cannot fail.
    let _ = write!(line, "{reply}");
    line.into()
}
