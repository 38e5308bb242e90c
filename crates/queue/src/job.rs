//! One message's recipients for one lane, in as few bytes as it takes.

use base::{AccountId, MessageId, Stream, Timestamp};

use crate::list::{Linked, Links};

/// A job, as the caller knows it. Stale handles are recognised, never mistaken for another job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) message: MessageId,
    pub(crate) recipients: Recipients,
    pub(crate) account: AccountId,
    /// Planner's time, like all below.
    pub(crate) accepted_at: Timestamp,
    /// When it may be tried: its key among the deferred.
    pub(crate) due: Timestamp,
    /// When its next report may be due: its key among the deadlines; [`NEVER`] if it is not among them.
    pub(crate) deadline: Timestamp,
    pub(crate) lane: u32,
    /// Its place in a turn's queue while it is ready.
    links: Links,
    /// Attempts that ended.
    pub(crate) attempts: u16,
    /// Temporary refusals by reply: what the wait is computed from. Trouble of the whole site does not
    /// count, or a message would wait for hours at a site that has just come back.
    pub(crate) refusals: u8,
    pub(crate) stream: Stream,
    pub(crate) state: State,
    /// What was asked for while it was in flight.
    pub(crate) order: Order,
    /// An attempt ended since the planner knows this job.
    pub(crate) tried: bool,
    /// An attempt ended after its lifetime had.
    pub(crate) tried_last: bool,
    pub(crate) delay_noticed: bool,
}

/// The first half of a message's id: its time in milliseconds and some random bits (RFC 9562 §5.7). The
/// index of jobs is ordered by it, which costs half of what the whole id would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival([u8; 8]);

impl Arrival {
    pub(crate) fn of(message: MessageId) -> Arrival {
        let [a, b, c, d, e, f, g, h, ..] = *message.as_bytes();
        Arrival([a, b, c, d, e, f, g, h])
    }

    pub(crate) fn number(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    pub(crate) fn from_number(number: u64) -> Arrival {
        Arrival(number.to_be_bytes())
    }
}

/// The end of time: a timer that is not set.
pub(crate) const NEVER: Timestamp = Timestamp(u64::MAX);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// In its turn's queue.
    Ready,
    /// Among the deferred, until `due`.
    Deferred,
    /// Handed out. `unproven`: it counts against the cap for sites that have not answered yet.
    InFlight {
        unproven: bool,
    },
    Held,
    /// Nowhere: on its way from one of the others to the next, within one call.
    Loose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    None,
    Hold,
    Cancel,
}

/// Indices into the envelope's recipients. Nearly every job has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recipients {
    One(u32),
    Many(Box<[u32]>),
}

impl Recipients {
    /// `indices` is not empty.
    pub(crate) fn new(indices: &[u32]) -> Recipients {
        match indices {
            [one] => Recipients::One(*one),
            many => Recipients::Many(many.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Recipients::One(one) => std::slice::from_ref(one),
            Recipients::Many(many) => many,
        }
    }
}

impl Job {
    pub(crate) fn new(
        message: MessageId,
        account: AccountId,
        stream: Stream,
        lane: u32,
        recipients: Recipients,
        accepted_at: Timestamp,
    ) -> Job {
        Job {
            message,
            recipients,
            account,
            accepted_at,
            due: accepted_at,
            deadline: NEVER,
            lane,
            links: Links::UNLINKED,
            attempts: 0,
            refusals: 0,
            stream,
            state: State::Loose,
            order: Order::None,
            tried: false,
            tried_last: false,
            delay_noticed: false,
        }
    }

    /// The same job for some other of its message's recipients; loose.
    pub(crate) fn split(&self, recipients: Recipients) -> Job {
        Job {
            attempts: self.attempts,
            refusals: self.refusals,
            tried: self.tried,
            tried_last: self.tried_last,
            delay_noticed: self.delay_noticed,
            ..Job::new(self.message, self.account, self.stream, self.lane, recipients, self.accepted_at)
        }
    }
}

impl Linked for Job {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// A deferred job's key: all of one lane lie side by side in one tree, in order of their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deferral {
    pub(crate) lane: u32,
    pub(crate) job: u32,
    pub(crate) due: Timestamp,
}

impl Ord for Deferral {
    fn cmp(&self, other: &Deferral) -> std::cmp::Ordering {
        (self.lane, self.due, self.job).cmp(&(other.lane, other.due, other.job))
    }
}

impl PartialOrd for Deferral {
    fn partial_cmp(&self, other: &Deferral) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_small() {
        assert_eq!(size_of::<Recipients>(), 16);
        assert!(size_of::<Job>() <= 88, "{}", size_of::<Job>());
        assert_eq!(size_of::<Option<Job>>(), size_of::<Job>());
        assert_eq!(size_of::<Deferral>(), 16);
    }
}
