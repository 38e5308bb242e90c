//! What became of a recipient, and how we learnt it.

use serde::{Deserialize, Serialize};

use crate::{Reply, Timestamp};

/// What one attempt decided for one recipient. All but `Deferred` are final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The next server took responsibility.
    /// `relayed`: it has no DSN extension, so it will not report success (RFC 3461 §5.2.2).
    Delivered { relayed: bool },
    /// Try again at `retry_at`. `maybe_delivered`: the connection was lost after the final dot and
    /// before the reply, so the peer may have it already.
    Deferred { retry_at: Timestamp, maybe_delivered: bool },
    /// Refused for good.
    Bounced,
    /// Not delivered within its lifetime.
    Expired,
    /// Taken back by its owner or by the operator.
    Cancelled,
}

impl Outcome {
    pub fn is_final(&self) -> bool {
        !matches!(self, Outcome::Deferred { .. })
    }

    /// Whether the sender is told by a failure report.
    pub fn is_failure(&self) -> bool {
        matches!(self, Outcome::Bounced | Outcome::Expired)
    }
}

/// One recipient's share in an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientResult {
    /// Index into the envelope's recipients.
    pub recipient: u32,
    pub outcome: Outcome,
    /// What the peer said, or our own words (codes of RFC 3463) where no peer spoke.
    pub reply: Reply,
}

/// One step of a dialogue: what we sent, what came back, how long it took. Content is never here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Since the attempt began.
    pub at_us: u64,
    pub took_us: u64,
    /// `MAIL FROM:<…>`, or words in brackets for what is no command: `[connect 192.0.2.1:25]`.
    pub sent: Box<str>,
    pub received: Box<str>,
}

/// One attempt to hand one message to one server, for some of its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    /// Which try this is for these recipients, from 1.
    pub number: u32,
    /// `mx1.example.org [192.0.2.1]:25`, or `sandbox`, `simulator`; empty where no server was reached.
    pub server: Box<str>,
    pub tls: Option<Box<str>>,
    pub results: Vec<RecipientResult>,
    pub dialogue: Vec<Step>,
}
