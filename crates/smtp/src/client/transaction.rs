//! One message to some of its recipients: what goes in and what comes out.

use std::sync::Arc;

use base::{Address, Enhanced, Meta, Reply, ReplyClass, Step};
use bytes::Bytes;

/// One message for one server.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub meta: Arc<Meta>,
    /// What MAIL FROM says: `None` is `<>`. Not always the sender of the envelope.
    pub sender: Option<Address>,
    /// Indexes into the envelope's recipients.
    pub recipients: Vec<u32>,
    pub content: Content,
    /// Octets of the content before dot-stuffing, for SIZE and for the time it may take.
    pub size_octets: u64,
    pub alphabet: Alphabet,
}

/// Where the message itself comes from: CRLF line ends, not dot-stuffed.
#[derive(Debug, Clone)]
pub enum Content {
    Whole(Bytes),
    /// Piece by piece, whenever the engine asks ([`Output::NeedBody`](super::Output::NeedBody)).
    Pulled,
}

/// What octets the content has, and so what the server must be able to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alphabet {
    SevenBit,
    /// Octets above 127 in bodies: needs 8BITMIME (RFC 6152).
    EightBitBody,
    /// Octets above 127 in header fields: needs SMTPUTF8 (RFC 6531).
    Utf8Headers,
}

/// How a transaction ended.
#[derive(Debug)]
pub struct TransactionReport {
    /// One for each recipient that was tried.
    pub results: Vec<RecipientReport>,
    /// Those that found no room in this transaction (RCPTMAX, 452 after some were taken, RFC 5321
    /// §4.5.3.1.10): give them to the next one. It is no failure of theirs.
    pub not_attempted: Vec<u32>,
    pub ending: Ending,
    /// Times are the pump's. Never the content, never a secret, never more than
    /// [`STEPS_MAX`](super::STEPS_MAX).
    pub dialogue: Vec<Step>,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientReport {
    /// Index into the envelope's recipients.
    pub recipient: u32,
    pub disposition: Disposition,
    /// The server's words: to RCPT if it was refused there, else to MAIL, DATA or the content.
    /// Ours where it said nothing.
    pub reply: Reply,
}

/// What a reply, or the lack of one, means for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// `relayed`: the server has no DSN extension and will not report success (RFC 3461 §5.2.2).
    Delivered {
        relayed: bool,
    },
    /// `maybe_delivered`: all of the content went out and no reply came.
    Temporary {
        maybe_delivered: bool,
    },
    Permanent,
}

impl Disposition {
    /// What a reply that is no success says. Unknown is temporary.
    pub fn of_refusal(reply: &Reply) -> Disposition {
        match reply.class() {
            ReplyClass::Permanent => Disposition::Permanent,
            _ => Disposition::Temporary { maybe_delivered: false },
        }
    }
}

/// In what state the connection is left, as far as the transaction knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every command was answered, or nothing had to be said.
    Settled,
    /// The connection ended before the server answered anything of this transaction, or it said
    /// 421 instead of a first answer. As if it had not been tried: on a connection that was kept
    /// open, try at once on a new one.
    Unheard,
    /// The connection ended later.
    Cut,
}

/// A transaction on its way: which recipients it has, what is known of each.
#[derive(Debug)]
pub(super) struct Course {
    pub transaction: Transaction,
    /// Those that go in this transaction, in the order of their RCPT commands.
    slots: Vec<Slot>,
    /// Results that needed no server.
    local: Vec<RecipientReport>,
    left_over: Vec<u32>,
    asked: usize,
    answered: usize,
    accepted: usize,
    mail_refused: Option<Reply>,
    pub heard: bool,
}

#[derive(Debug)]
struct Slot {
    recipient: u32,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Open,
    Accepted,
    NotAttempted,
    Refused(Reply),
}

impl Course {
    /// Sorts the recipients: those for this transaction (at most `recipients_max`), those for
    /// which `sayable` is false, those for later.
    pub fn new(transaction: Transaction, recipients_max: usize, sayable: impl Fn(&Address) -> bool) -> Course {
        let mut course = Course {
            slots: Vec::with_capacity(transaction.recipients.len().min(recipients_max)),
            local: Vec::new(),
            left_over: Vec::new(),
            asked: 0,
            answered: 0,
            accepted: 0,
            mail_refused: None,
            heard: false,
            transaction,
        };
        let sender_sayable = course.transaction.sender.as_ref().is_none_or(&sayable);
        for recipient in course.transaction.recipients.iter().copied() {
            let Some(address) = address(&course.transaction.meta, recipient) else { continue };
            if !sender_sayable || !sayable(address) {
                course.local.push(RecipientReport {
                    recipient,
                    disposition: Disposition::Permanent,
                    reply: no_smtputf8(),
                });
            } else if course.slots.len() < recipients_max.max(1) {
                course.slots.push(Slot { recipient, answer: Answer::Open });
            } else {
                course.left_over.push(recipient);
            }
        }
        course
    }

    /// Refuses all recipients without asking the server.
    pub fn refuse_here(&mut self, reply: &Reply) {
        for slot in self.slots.drain(..) {
            let disposition = Disposition::of_refusal(reply);
            self.local.push(RecipientReport { recipient: slot.recipient, disposition, reply: reply.clone() });
        }
    }

    pub fn recipients(&self) -> usize {
        self.slots.len()
    }

    /// The next recipient to name to the server.
    pub fn next_rcpt(&mut self) -> Option<&base::Recipient> {
        let slot = self.slots.get(self.asked)?;
        self.asked += 1;
        let index = usize::try_from(slot.recipient).ok()?;
        self.transaction.meta.envelope.recipients.get(index)
    }

    pub fn has_accepted(&self) -> bool {
        self.accepted > 0
    }

    pub fn is_mail_refused(&self) -> bool {
        self.mail_refused.is_some()
    }

    pub fn mail_refused(&mut self, reply: Reply) {
        self.mail_refused = Some(reply);
    }

    /// The reply to the next RCPT in order.
    pub fn rcpt_answered(&mut self, reply: Reply) {
        let Some(slot) = self.slots.get_mut(self.answered) else { return };
        self.answered += 1;
        slot.answer = match reply.class() {
            ReplyClass::Success => {
                self.accepted += 1;
                Answer::Accepted
            }
            _ if self.accepted > 0 && is_too_many(&reply) => Answer::NotAttempted,
            _ => Answer::Refused(reply),
        };
    }

    /// All who were accepted, and all who got no answer, end like this; the report of it all.
    pub fn end(
        self,
        disposition: Disposition,
        reply: &Reply,
        ending: Ending,
        dialogue: Vec<Step>,
    ) -> TransactionReport {
        let mut results = self.local;
        results.reserve(self.slots.len());
        let mut not_attempted = Vec::new();
        for slot in self.slots {
            let own = match (slot.answer, &self.mail_refused) {
                (Answer::NotAttempted, _) => {
                    not_attempted.push(slot.recipient);
                    continue;
                }
                // Without a sender no recipient was judged: 503 to a pipelined RCPT says nothing.
                (_, Some(refusal)) => Some(refusal.clone()),
                (Answer::Refused(refusal), None) => Some(refusal),
                (Answer::Open | Answer::Accepted, None) => None,
            };
            let disposition = own.as_ref().map_or(disposition, Disposition::of_refusal);
            let reply = own.unwrap_or_else(|| reply.clone());
            results.push(RecipientReport { recipient: slot.recipient, disposition, reply });
        }
        not_attempted.extend(self.left_over);
        TransactionReport { results, not_attempted, ending, dialogue }
    }
}

fn address(meta: &Meta, recipient: u32) -> Option<&Address> {
    let index = usize::try_from(recipient).ok()?;
    meta.envelope.recipients.get(index).map(|recipient| &recipient.address)
}

/// Whether a refusal means "enough for this transaction" (RFC 5321 §4.5.3.1.10, which takes 552
/// for 452). 4.2.x and the like are about the recipient himself (RFC 3463).
fn is_too_many(reply: &Reply) -> bool {
    match reply.enhanced {
        None => matches!(reply.code, 452 | 552),
        Some(Enhanced(_, 5, 3)) => true,
        Some(Enhanced(4, 3 | 5, _)) => reply.code == 452,
        Some(_) => false,
    }
}

/// RFC 6531 §3.5: 5.6.7 when the address cannot be said without SMTPUTF8.
pub(super) fn no_smtputf8() -> Reply {
    Reply::new(553, Enhanced(5, 6, 7), "the recipient's server does not take internationalised addresses or headers")
}
