//! From facts to the state of each message, whatever order they come in and however often: copies
//! that were carried repeat facts, and recovery reads the newest segment first.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use base::{Attempt, Fact, MessageId, Meta, Origin, Outcome, Reply, ReportKind, Timestamp};

use crate::index::Place;

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredMessage {
    pub meta: Meta,
    /// One for each recipient, in the envelope's order; `None`: not tried yet.
    pub recipients: Vec<Option<Progress>>,
    /// The recipients (by index) that wait for somebody to release them.
    pub held: Vec<u32>,
    /// Why it must not be sent, when it was found damaged.
    pub quarantined: Option<Box<str>>,
    /// The reports about it that were accepted, whatever has become of them.
    pub reports: Vec<AcceptedReport>,
    /// The highest number of any attempt.
    pub attempts: u32,
    pub last_attempt_at: Option<Timestamp>,
}

/// The last that is known of a recipient: its final outcome, or its latest deferral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The number of the attempt that said so.
    pub attempt: u32,
    /// When that attempt ended.
    pub at: Timestamp,
    pub outcome: Outcome,
    pub reply: Reply,
    /// The server that replied; empty where none was reached.
    pub server: Box<str>,
}

/// A report (RFC 3464) that was accepted into the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedReport {
    pub report: MessageId,
    pub kind: ReportKind,
    /// Indices into the recipients of the message that it is about.
    pub recipients: Vec<u32>,
}

/// One record's state word (held or released), and where it was said first.
struct Said {
    origin: u64,
    reason: Option<Box<str>>,
}

/// The last word on whether one recipient is held, and where it was said first.
struct Hold {
    origin: u64,
    held: bool,
}

/// What is known so far of one message.
#[derive(Default)]
pub(crate) struct Folded {
    pub(crate) meta: Option<Meta>,
    /// Records of it that still have a key.
    pub(crate) copies: Vec<Place>,
    /// Records without a key where only an unfinished sync explains that.
    pub(crate) unacknowledged: Vec<Place>,
    pub(crate) closed: bool,
    recipients: BTreeMap<u32, (u64, Progress)>,
    held: BTreeMap<u32, Hold>,
    quarantined: Option<Said>,
    attempts: u32,
    last_attempt_at: Option<Timestamp>,
}

impl Folded {
    /// Whether anything was recorded after it was accepted: then it had been acknowledged.
    pub(crate) fn has_history(&self) -> bool {
        self.closed || self.attempts > 0 || !self.held.is_empty() || self.quarantined.is_some()
    }

    fn hold(&mut self, origin: u64, recipients: &[u32], held: bool) {
        for recipient in recipients {
            let hold = self.held.entry(*recipient).or_insert(Hold { origin, held });
            if origin >= hold.origin {
                *hold = Hold { origin, held };
            }
        }
    }

    fn attempted(&mut self, origin: u64, attempt: Attempt) {
        self.attempts = self.attempts.max(attempt.number);
        self.last_attempt_at = self.last_attempt_at.max(Some(attempt.finished_at));
        for result in attempt.results {
            let progress = Progress {
                attempt: attempt.number,
                at: attempt.finished_at,
                outcome: result.outcome,
                reply: result.reply,
                server: attempt.server.clone(),
            };
            match self.recipients.entry(result.recipient) {
                Entry::Vacant(vacant) => {
                    vacant.insert((origin, progress));
                }
                Entry::Occupied(mut known) => {
                    if supersedes((origin, &progress), (known.get().0, &known.get().1)) {
                        known.insert((origin, progress));
                    }
                }
            }
        }
    }

    fn into_message(self, reports: Vec<AcceptedReport>) -> Option<RecoveredMessage> {
        let meta = self.meta?;
        let mut recipients = vec![None; meta.envelope.recipients.len()];
        for (number, (_, progress)) in self.recipients {
            // An index that the envelope does not have says nothing.
            if let Some(recipient) = usize::try_from(number).ok().and_then(|number| recipients.get_mut(number)) {
                *recipient = Some(progress);
            }
        }
        Some(RecoveredMessage {
            meta,
            recipients,
            held: self.held.into_iter().filter(|(_, hold)| hold.held).map(|(recipient, _)| recipient).collect(),
            quarantined: self.quarantined.and_then(|said| said.reason),
            reports,
            attempts: self.attempts,
            last_attempt_at: self.last_attempt_at,
        })
    }
}

/// A final outcome stands, the first of several; of deferrals the one of the highest attempt.
fn supersedes(new: (u64, &Progress), known: (u64, &Progress)) -> bool {
    match (new.1.outcome.is_final(), known.1.outcome.is_final()) {
        (true, false) => true,
        (false, true) => false,
        (true, true) => new.0 < known.0,
        (false, false) => (new.1.attempt, new.0) > (known.1.attempt, known.0),
    }
}

/// All messages, folded.
#[derive(Default)]
pub(crate) struct Fold {
    pub(crate) messages: HashMap<MessageId, Folded>,
    reports: HashMap<MessageId, Vec<AcceptedReport>>,
}

impl Fold {
    pub(crate) fn message(&mut self, id: MessageId) -> &mut Folded {
        self.messages.entry(id).or_default()
    }

    pub(crate) fn is_closed(&self, id: MessageId) -> bool {
        self.messages.get(&id).is_some_and(|message| message.closed)
    }

    /// Takes in a fact that was said first at `origin`.
    pub(crate) fn add(&mut self, id: MessageId, origin: u64, fact: Fact) {
        let newest = |said: &mut Option<Said>, reason: Option<Box<str>>| {
            if said.as_ref().is_none_or(|known| origin >= known.origin) {
                *said = Some(Said { origin, reason });
            }
        };
        match fact {
            Fact::Accepted(meta) => {
                self.add_report(id, &meta);
                self.message(id).meta = Some(meta);
            }
            Fact::Attempted(attempt) => self.message(id).attempted(origin, attempt),
            Fact::Held { recipients, .. } => self.message(id).hold(origin, &recipients, true),
            Fact::Released { recipients, .. } => self.message(id).hold(origin, &recipients, false),
            Fact::Quarantined { reason, .. } => newest(&mut self.message(id).quarantined, Some(reason)),
            Fact::Closed { .. } => self.message(id).closed = true,
        }
    }

    /// Notes that `id`, when it is a report, was accepted.
    pub(crate) fn add_report(&mut self, id: MessageId, meta: &Meta) {
        if let Origin::Report { about, kind, recipients } = &meta.origin {
            let reports = self.reports.entry(*about).or_default();
            if reports.iter().all(|known| known.report != id) {
                reports.push(AcceptedReport { report: id, kind: *kind, recipients: recipients.clone() });
            }
        }
    }

    /// The messages that wait, by id, which is about the order they came in.
    pub(crate) fn into_messages(self) -> Vec<RecoveredMessage> {
        let Fold { messages, mut reports } = self;
        let waiting = messages.into_iter().filter(|(_, message)| !message.closed && !message.copies.is_empty());
        let mut waiting: Vec<RecoveredMessage> = waiting
            .filter_map(|(id, message)| {
                let mut reports = reports.remove(&id).unwrap_or_default();
                reports.sort_by_key(|report| report.report);
                message.into_message(reports)
            })
            .collect();
        waiting.sort_by_key(|message| message.meta.id);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use base::{AccountId, Address, BodyType, Enhanced, Envelope, Recipient, RecipientResult, Stream};
    use proptest::prelude::*;

    use super::*;

    fn meta(id: MessageId) -> Meta {
        let recipients = ["ada@example.org", "bob@example.org", "eve@example.org"]
            .map(|address| Recipient::new(Address::parse(address).unwrap()));
        Meta {
            id,
            account: AccountId(1),
            credential: None,
            stream: Stream::Transactional,
            received_at: Timestamp(5),
            origin: Origin::Local,
            envelope: Envelope {
                sender: None,
                recipients: recipients.to_vec(),
                body: BodyType::SevenBit,
                smtputf8: false,
                ret: None,
                envid: None,
            },
            size_octets: 3,
            eight_bit: false,
            subject: None,
            message_id_header: None,
        }
    }

    fn any_fact() -> impl Strategy<Value = Fact> {
        let outcome = prop_oneof![
            Just(Outcome::Delivered { relayed: false }),
            Just(Outcome::Bounced),
            (0..50_u64).prop_map(|at| Outcome::Deferred { retry_at: Timestamp(at), maybe_delivered: false }),
        ];
        prop_oneof![
            (1..6_u32, prop::collection::vec((0..4_u32, outcome), 1..4)).prop_map(|(number, results)| {
                let reply = Reply::new(450, Enhanced(4, 0, 0), "x");
                let results = results
                    .into_iter()
                    .map(|(recipient, outcome)| RecipientResult { recipient, outcome, reply: reply.clone() })
                    .collect();
                let at = Timestamp(u64::from(number));
                Fact::Attempted(Attempt {
                    started_at: at,
                    finished_at: at,
                    number,
                    server: "mx".into(),
                    tls: None,
                    results,
                    dialogue: vec![],
                })
            }),
            Just(Fact::Held { at: Timestamp(1), reason: "h".into(), recipients: vec![0, 2] }),
            Just(Fact::Released { at: Timestamp(2), recipients: vec![0] }),
        ]
    }

    fn folded(facts: &[(u64, Fact)]) -> Vec<RecoveredMessage> {
        let id = MessageId::from_bytes([1; 16]);
        let mut fold = Fold::default();
        fold.add(id, 0, Fact::Accepted(meta(id)));
        fold.message(id).copies.push(Place::new(1, 8, 8, 0, false));
        for (origin, fact) in facts {
            fold.add(id, *origin, fact.clone());
        }
        fold.into_messages()
    }

    proptest! {
        /// A record holds each recipient at most once; the runner writes them so.
        #[test]
        fn order_and_repetition_do_not_matter(facts in prop::collection::vec(any_fact(), 0..8), seed in any::<u64>()) {
            let mut facts: Vec<(u64, Fact)> = (1..).zip(facts).collect();
            for (_, fact) in &mut facts {
                if let Fact::Attempted(attempt) = fact {
                    attempt.results.sort_by_key(|result| result.recipient);
                    attempt.results.dedup_by_key(|result| result.recipient);
                }
            }
            let expected = folded(&facts);
            let again: Vec<_> = facts.iter().chain(&facts).cloned().collect();
            prop_assert_eq!(&folded(&again), &expected);
            let mut shuffled = again;
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            prop_assert_eq!(&folded(&shuffled), &expected);
        }
    }

    #[test]
    fn a_closed_message_is_not_recovered() {
        let closed = [(3, Fact::Closed { at: Timestamp(1) })];
        assert!(folded(&closed).is_empty());
        assert_eq!(folded(&[]).len(), 1);
    }
}
