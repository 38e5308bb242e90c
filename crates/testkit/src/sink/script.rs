//! What a sink is told to do.

use std::time::Duration;

/// Where a session is. Each is reached before the sink answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The connection stands; the greeting is due.
    Connect,
    Ehlo,
    Helo,
    StartTls,
    /// 220 was said; the handshake begins.
    Handshake,
    Mail,
    Rcpt,
    Data,
    /// 354 was said, and the first octets of the content are in.
    Body,
    /// The final dot is in and the message recorded.
    Dot,
    Rset,
    Noop,
    Quit,
    /// A command that the sink does not know.
    Other,
}

/// A step of a session, as a script sees it.
#[derive(Debug)]
pub struct Event<'a> {
    pub step: Step,
    /// Which connection, from 1.
    pub connection: usize,
    /// The command's line, without its end; empty where there is none.
    pub line: &'a str,
    /// The how-manieth time this step is reached: over all connections, from 1.
    pub nth: usize,
    /// The same within this connection.
    pub nth_here: usize,
    /// How many recipients the transaction has so far.
    pub recipients: usize,
}

/// What to do at a step.
#[derive(Debug, Clone)]
pub enum Act {
    /// As an ordinary server would.
    Accept,
    /// Answer this; lines parted by `\n`, each with its code. At [`Step::Connect`] in place of the greeting. A
    /// transaction goes on only if the code is of the 200s or 300s.
    Reply(String),
    /// Write these octets in place of the reply, and go on.
    Raw(Vec<u8>),
    /// Wait first.
    After(Duration, Box<Act>),
    /// Write these octets one by one with pauses between, and go on.
    Drip(Vec<u8>, Duration),
    /// Write this for ever.
    Endless(Vec<u8>),
    /// Close with a reset.
    Reset,
    /// Close in good order, without a word.
    Close,
    /// Answer this and close.
    ReplyAndClose(String),
    /// Say and read nothing more, until the peer leaves.
    Hang,
}

impl Act {
    pub fn reply(text: impl Into<String>) -> Act {
        Act::Reply(text.into())
    }

    pub fn after(time: Duration, act: Act) -> Act {
        Act::After(time, Box::new(act))
    }
}

/// Decides what is done at each step. Shared by all sessions of a sink.
pub type Script = dyn Fn(&Event<'_>) -> Act + Send + Sync;
