//! The states of messages and recipients, and the kinds of events. Their numbers stand in the
//! database: none is ever changed or given again.

use base::Outcome;

/// Makes an enum whose numbers stand in the database.
macro_rules! stored {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant = $number,)+ }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            pub(crate) fn number(self) -> i64 {
                self as i64
            }

            /// `None`: a newer version wrote it.
            pub(crate) fn from_number(number: i64) -> Option<$name> {
                $name::ALL.iter().copied().find(|known| known.number() == number)
            }

            /// One word, as people and programs see it.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<$name, UnknownWord> {
                let words = || $name::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", ");
                $name::ALL.iter().copied().find(|known| known.as_str() == text).ok_or_else(|| UnknownWord(words()))
            }
        }
    };
}

/// The text is none of the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it must be one of: {0}")]
pub struct UnknownWord(String);

stored! {
    /// Where one recipient stands.
    RecipientState {
        /// Not tried yet.
        Queued = 0 "queued",
        /// Tried, and to be tried again.
        Deferred = 1 "deferred",
        Delivered = 2 "delivered",
        Bounced = 3 "bounced",
        Expired = 4 "expired",
        Cancelled = 5 "cancelled",
        /// It waits until somebody releases it.
        Held = 6 "held",
    }
}

impl RecipientState {
    pub fn is_final(self) -> bool {
        !matches!(self, RecipientState::Queued | RecipientState::Deferred | RecipientState::Held)
    }
}

impl From<&Outcome> for RecipientState {
    fn from(outcome: &Outcome) -> RecipientState {
        match outcome {
            Outcome::Delivered { .. } => RecipientState::Delivered,
            Outcome::Deferred { .. } => RecipientState::Deferred,
            Outcome::Bounced => RecipientState::Bounced,
            Outcome::Expired => RecipientState::Expired,
            Outcome::Cancelled => RecipientState::Cancelled,
        }
    }
}

stored! {
    /// Where a message stands, over all its recipients.
    MessageState {
        /// Some recipients have no final outcome, and none of these was tried yet.
        Queued = 0 "queued",
        /// Some recipients are to be tried again.
        Deferred = 1 "deferred",
        /// Some recipients wait until somebody releases them.
        Held = 2 "held",
        /// Its body was found damaged: it is kept aside and never sent.
        Quarantined = 3 "quarantined",
        /// Every recipient has it.
        Delivered = 4 "delivered",
        /// All outcomes are final, and at least one recipient will never have it.
        Failed = 5 "failed",
        /// All outcomes are final, and it was taken back from at least one recipient.
        Cancelled = 6 "cancelled",
    }
}

stored! {
    /// What happened.
    EventKind {
        Accepted = 0 "accepted",
        /// An attempt that decided nothing for anybody.
        Attempted = 1 "attempted",
        Delivered = 2 "delivered",
        Deferred = 3 "deferred",
        Bounced = 4 "bounced",
        Expired = 5 "expired",
        Cancelled = 6 "cancelled",
        Held = 7 "held",
        Released = 8 "released",
        Quarantined = 9 "quarantined",
    }
}

impl From<RecipientState> for EventKind {
    fn from(state: RecipientState) -> EventKind {
        match state {
            RecipientState::Queued => EventKind::Accepted,
            RecipientState::Deferred => EventKind::Deferred,
            RecipientState::Delivered => EventKind::Delivered,
            RecipientState::Bounced => EventKind::Bounced,
            RecipientState::Expired => EventKind::Expired,
            RecipientState::Cancelled => EventKind::Cancelled,
            RecipientState::Held => EventKind::Held,
        }
    }
}

stored! {
    /// What is counted per account and day.
    Counter {
        /// Messages accepted.
        Messages = 0 "messages",
        /// Recipients of accepted messages.
        Recipients = 1 "recipients",
        /// Octets of accepted messages, each message once.
        Octets = 2 "octets",
        /// Attempts to hand a message to a server.
        Attempts = 3 "attempts",
        /// Recipients delivered to.
        Delivered = 4 "delivered",
        /// How often a recipient was put off.
        Deferred = 5 "deferred",
        /// Recipients refused for good.
        Bounced = 6 "bounced",
        /// Recipients not delivered to within the lifetime.
        Expired = 7 "expired",
        /// Recipients the message was taken back from.
        Cancelled = 8 "cancelled",
        /// Recipients held.
        Held = 9 "held",
        /// Messages put aside damaged.
        Quarantined = 10 "quarantined",
    }
}

/// How many recipients of a message are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub queued: u32,
    pub deferred: u32,
    pub held: u32,
    pub delivered: u32,
    pub bounced: u32,
    pub expired: u32,
    pub cancelled: u32,
}

impl Tally {
    pub fn recipients(&self) -> u32 {
        self.pending() + self.delivered + self.bounced + self.expired + self.cancelled
    }

    /// Recipients without a final outcome.
    pub fn pending(&self) -> u32 {
        self.queued + self.deferred + self.held
    }

    /// One recipient goes from one state to another.
    pub(crate) fn shift(&mut self, from: RecipientState, to: RecipientState) {
        let slot = self.slot(from);
        *slot = slot.saturating_sub(1);
        *self.slot(to) += 1;
    }

    fn slot(&mut self, state: RecipientState) -> &mut u32 {
        match state {
            RecipientState::Queued => &mut self.queued,
            RecipientState::Deferred => &mut self.deferred,
            RecipientState::Delivered => &mut self.delivered,
            RecipientState::Bounced => &mut self.bounced,
            RecipientState::Expired => &mut self.expired,
            RecipientState::Cancelled => &mut self.cancelled,
            RecipientState::Held => &mut self.held,
        }
    }

    /// What they add up to, for a message that is not quarantined.
    pub(crate) fn state(&self) -> MessageState {
        if self.held > 0 {
            // First, as it is the one that needs somebody.
            MessageState::Held
        } else if self.deferred > 0 {
            MessageState::Deferred
        } else if self.queued > 0 {
            MessageState::Queued
        } else if self.bounced + self.expired > 0 {
            MessageState::Failed
        } else if self.cancelled > 0 {
            MessageState::Cancelled
        } else {
            MessageState::Delivered
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_and_unknown_ones_are_seen() {
        for state in MessageState::ALL {
            assert_eq!(MessageState::from_number(state.number()), Some(*state));
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        assert_eq!(MessageState::from_number(99), None);
        let error = "gone".parse::<EventKind>().unwrap_err().to_string();
        assert!(error.contains("accepted, attempted"), "{error}");
        // The partial index `message_state` has this number in its text.
        assert_eq!(MessageState::Delivered.number(), 4);
    }

    #[test]
    fn the_worst_outcome_names_the_message_once_all_are_final() {
        let mut tally = Tally { queued: 2, ..Tally::default() };
        assert_eq!(tally.state(), MessageState::Queued);
        tally.shift(RecipientState::Queued, RecipientState::Delivered);
        assert_eq!(tally.state(), MessageState::Queued);
        tally.shift(RecipientState::Queued, RecipientState::Deferred);
        assert_eq!(tally.state(), MessageState::Deferred);
        tally.shift(RecipientState::Deferred, RecipientState::Bounced);
        assert_eq!(tally.state(), MessageState::Failed);
        assert_eq!((tally.recipients(), tally.pending()), (2, 0));
    }
}
