//! The journal's facts: what happened to a message, in order. The journal is the spine: the runner
//! reads it once at start, the projector follows it always, and nothing else is the truth.

use serde::{Deserialize, Serialize};

use crate::{Attempt, MessageId, Meta, Timestamp};

/// One fact about one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// It is on stable storage; the client was, or may have been, told 250.
    Accepted(Meta),
    /// It was tried; some recipients may have a final outcome now. Expiry and cancellation are
    /// written as an attempt that reached no server.
    Attempted(Attempt),
    /// These recipients (by index) wait until somebody releases them.
    Held { at: Timestamp, reason: Box<str>, recipients: Vec<u32> },
    /// These recipients wait for nobody any more.
    Released { at: Timestamp, recipients: Vec<u32> },
    /// Every recipient has a final outcome and every report that is due is itself accepted: the
    /// body's key is destroyed.
    Closed { at: Timestamp },
    /// The body cannot be opened (damaged on disk). Never sent; kept aside for a person to look at.
    Quarantined { at: Timestamp, reason: Box<str> },
}

/// A fact as read from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub message: MessageId,
    pub fact: Fact,
    /// A copy that was moved out of an old segment: it says nothing new, the projector skips it.
    pub carried: bool,
}
