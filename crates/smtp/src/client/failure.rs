//! Why a connection cannot be used, and whose fault that is.

use base::{Enhanced, Reply};

use super::dots::LoneLineEnd;
use crate::reply::ReplyError;

/// The end of a connection that was not ours. No recipient is to blame for any of these: the next
/// server is tried, or the same one later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server does not want to talk to us now or at all: greeting, EHLO and HELO, a demanded
    /// STARTTLS, AUTH.
    #[error("the server answered {at} with {reply}")]
    Refused { at: Phase, reply: Reply },
    /// Policy demands TLS and the server does not offer it.
    #[error("the server does not offer STARTTLS, which is demanded")]
    TlsMissing,
    /// Plaintext after the reply to STARTTLS: somebody on the way tries to put words into the
    /// server's mouth (RFC 3207 §5, "NO STARTTLS" of 2021).
    #[error("the server, or somebody in between, sent more after its answer to STARTTLS")]
    ResponseInjection,
    /// The handshake itself failed (RFC 3207 §4.1).
    #[error("the TLS handshake failed: {0}")]
    Handshake(Box<str>),
    /// We have credentials, and no mechanism that we know is offered where we may use it.
    #[error("the server offers no AUTH PLAIN or LOGIN on this connection")]
    AuthMissing,
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A reply that nothing was asked for, or that makes no sense where it came.
    #[error("the server sent a reply that does not belong there: {0}")]
    OutOfOrder(Reply),
    /// The server closed with 421 (RFC 5321 §3.8).
    #[error("the server closed: {0}")]
    Closing(Reply),
    #[error("the server closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(Box<str>),
    #[error("the server did not answer in time ({0})")]
    TimedOut(Phase),
    /// Ours: the content could not be read.
    #[error("the message could not be read here")]
    ContentUnavailable,
    /// Ours: the content must not be sent.
    #[error(transparent)]
    Content(#[from] LoneLineEnd),
}

/// What a connection was at when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Greeting,
    Hello,
    StartTls,
    Handshake,
    Auth,
    Mail,
    Rcpt,
    Data,
    Content,
    FinalDot,
    Idle,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Greeting => "the connection",
            Phase::Hello => "EHLO",
            Phase::StartTls => "STARTTLS",
            Phase::Handshake => "the TLS handshake",
            Phase::Auth => "AUTH",
            Phase::Mail => "MAIL",
            Phase::Rcpt => "RCPT",
            Phase::Data => "DATA",
            Phase::Content => "the content",
            Phase::FinalDot => "the end of the content",
            Phase::Idle => "nothing",
        })
    }
}

impl Failure {
    /// What is kept for a recipient: the server's own words where it spoke, ours with a code of
    /// RFC 3463 where it did not.
    pub fn reply(&self) -> Reply {
        let enhanced = match self {
            Failure::Refused { reply, .. } | Failure::Closing(reply) => return reply.clone(),
            Failure::TlsMissing | Failure::Handshake(_) | Failure::AuthMissing => Enhanced(4, 7, 0),
            Failure::ResponseInjection | Failure::Reply(_) | Failure::OutOfOrder(_) => Enhanced(4, 5, 0),
            Failure::Closed | Failure::Broken(_) | Failure::TimedOut(_) => Enhanced(4, 4, 2),
            Failure::ContentUnavailable => Enhanced(4, 3, 0),
            Failure::Content(_) => return Reply::new(554, Enhanced(5, 6, 0), self.to_string()),
        };
        Reply::new(451, enhanced, self.to_string())
    }
}
