//! What stands inside the sealed columns: postcard, in types of this file only, so that a change
//! elsewhere cannot change what is on disk.
//!
//! The outermost type is an enum: its first octet says which version follows. A new version is a new
//! variant at the end; a variant that was released is never changed.

use std::net::IpAddr;
use std::sync::Arc;

use base::{
    AccountId, Address, Attempt, Enhanced, MessageId, Meta, Origin, Outcome, RecipientResult, Reply, ReportKind, Step,
    Stream, Timestamp,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::StoreError;
use crate::sealed::{Class, Day, KeyName, Keys, Place, Sealed};

/// `message.record`.
#[derive(Serialize, Deserialize)]
enum MessageRecord<'a> {
    V1(#[serde(borrow)] MessageV1<'a>),
}

#[derive(Serialize, Deserialize)]
struct MessageV1<'a> {
    sender: Option<&'a str>,
    #[serde(borrow)]
    recipients: Vec<&'a str>,
    subject: Option<&'a str>,
    message_id_header: Option<&'a str>,
    bulk: bool,
    #[serde(borrow)]
    origin: OriginV1<'a>,
}

#[derive(Serialize, Deserialize)]
enum OriginV1<'a> {
    Smtp { client: IpAddr, helo: &'a str, tls: bool },
    Local,
    Failure { about: [u8; 16] },
    Delay { about: [u8; 16] },
    Success { about: [u8; 16] },
}

/// `event.detail`.
#[derive(Serialize, Deserialize)]
enum DetailRecord<'a> {
    AttemptV1(#[serde(borrow)] AttemptV1<'a>),
    /// Why it is held or quarantined.
    ReasonV1(&'a str),
}

#[derive(Serialize, Deserialize)]
struct AttemptV1<'a> {
    started_at: u64,
    finished_at: u64,
    number: u32,
    server: &'a str,
    tls: Option<&'a str>,
    #[serde(borrow)]
    results: Vec<ResultV1<'a>>,
    #[serde(borrow)]
    dialogue: Vec<StepV1<'a>>,
}

#[derive(Serialize, Deserialize)]
struct ResultV1<'a> {
    recipient: u32,
    outcome: OutcomeV1,
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    text: &'a str,
}

#[derive(Serialize, Deserialize)]
enum OutcomeV1 {
    Delivered { relayed: bool },
    Deferred { retry_at: u64, maybe_delivered: bool },
    Bounced,
    Expired,
    Cancelled,
}

#[derive(Serialize, Deserialize)]
struct StepV1<'a> {
    at_us: u64,
    took_us: u64,
    sent: &'a str,
    received: &'a str,
}

/// What is kept of a message's envelope and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub sender: Option<Address>,
    pub recipients: Vec<Address>,
    pub subject: Option<Box<str>>,
    pub message_id_header: Option<Box<str>>,
    pub stream: Stream,
    pub source: Source,
}

/// How a message came in, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Smtp { client: IpAddr, helo: Box<str>, tls: bool },
    Local,
    Report { about: MessageId, kind: ReportKind },
}

/// What is to be kept behind events.
pub(super) enum Behind<'d> {
    Attempt(&'d Attempt),
    /// Why it is held or quarantined.
    Reason(&'d str),
}

/// What was kept behind events.
#[derive(Clone)]
pub(super) enum Detail {
    Attempt(Arc<Attempt>),
    Reason(Arc<str>),
}

fn history_key(account: AccountId, day: Day) -> KeyName {
    KeyName { account, day, class: Class::History }
}

/// Postcard writes into memory and knows all of these types: it cannot fail.
fn encode(record: &impl Serialize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(postcard::to_stdvec(record).expect("a record of plain fields can be encoded"))
}

pub(super) fn seal_message(keys: &Keys, meta: &Meta, day: Day) -> Sealed {
    let origin = match &meta.origin {
        Origin::Smtp { client, helo, tls } => OriginV1::Smtp { client: *client, helo, tls: *tls },
        Origin::Local => OriginV1::Local,
        Origin::Report { about, kind, .. } => {
            let about = *about.as_bytes();
            match kind {
                ReportKind::Failure => OriginV1::Failure { about },
                ReportKind::Delay => OriginV1::Delay { about },
                ReportKind::Success => OriginV1::Success { about },
            }
        }
    };
    let record = MessageRecord::V1(MessageV1 {
        sender: meta.envelope.sender.as_ref().map(Address::as_str),
        recipients: meta.envelope.recipients.iter().map(|r| r.address.as_str()).collect(),
        subject: meta.subject.as_deref(),
        message_id_header: meta.message_id_header.as_deref(),
        bulk: meta.stream == Stream::Bulk,
        origin,
    });
    let place = Place::MessageRecord(*meta.id.as_bytes());
    keys.seal(history_key(meta.account, day), place, &encode(&record))
}

pub(super) fn open_message(
    keys: &Keys,
    account: AccountId,
    day: Day,
    id: MessageId,
    sealed: &Sealed,
) -> Result<Envelope, StoreError> {
    let place = Place::MessageRecord(*id.as_bytes());
    let text = keys.open(history_key(account, day), place, sealed)?;
    let MessageRecord::V1(record) = postcard::from_bytes(&text).map_err(|_| place.unreadable())?;
    let address = |text: &str| Address::parse(text).map_err(|_| place.unreadable());
    let report = |about, kind| Source::Report { about: MessageId::from_bytes(about), kind };
    Ok(Envelope {
        sender: record.sender.map(address).transpose()?,
        recipients: record.recipients.into_iter().map(address).collect::<Result<_, _>>()?,
        subject: record.subject.map(Into::into),
        message_id_header: record.message_id_header.map(Into::into),
        stream: if record.bulk { Stream::Bulk } else { Stream::Transactional },
        source: match record.origin {
            OriginV1::Smtp { client, helo, tls } => Source::Smtp { client, helo: helo.into(), tls },
            OriginV1::Local => Source::Local,
            OriginV1::Failure { about } => report(about, ReportKind::Failure),
            OriginV1::Delay { about } => report(about, ReportKind::Delay),
            OriginV1::Success { about } => report(about, ReportKind::Success),
        },
    })
}

pub(super) fn seal_detail(keys: &Keys, account: AccountId, day: Day, seq: i64, behind: &Behind<'_>) -> Sealed {
    let record = match behind {
        Behind::Attempt(attempt) => DetailRecord::AttemptV1(attempt_record(attempt)),
        Behind::Reason(reason) => DetailRecord::ReasonV1(reason),
    };
    keys.seal(history_key(account, day), Place::EventDetail(seq), &encode(&record))
}

pub(super) fn open_detail(
    keys: &Keys,
    account: AccountId,
    day: Day,
    seq: i64,
    sealed: &Sealed,
) -> Result<Detail, StoreError> {
    let place = Place::EventDetail(seq);
    let text = keys.open(history_key(account, day), place, sealed)?;
    match postcard::from_bytes(&text).map_err(|_| place.unreadable())? {
        DetailRecord::AttemptV1(record) => Ok(Detail::Attempt(Arc::new(attempt(record)))),
        DetailRecord::ReasonV1(reason) => Ok(Detail::Reason(reason.into())),
    }
}

fn attempt_record(attempt: &Attempt) -> AttemptV1<'_> {
    let results = attempt.results.iter().map(|result| ResultV1 {
        recipient: result.recipient,
        outcome: outcome_record(&result.outcome),
        code: result.reply.code,
        enhanced: result.reply.enhanced.map(|Enhanced(class, subject, detail)| (class, subject, detail)),
        text: &result.reply.text,
    });
    let steps = attempt.dialogue.iter().map(|step| StepV1 {
        at_us: step.at_us,
        took_us: step.took_us,
        sent: &step.sent,
        received: &step.received,
    });
    AttemptV1 {
        started_at: attempt.started_at.as_micros(),
        finished_at: attempt.finished_at.as_micros(),
        number: attempt.number,
        server: &attempt.server,
        tls: attempt.tls.as_deref(),
        results: results.collect(),
        dialogue: steps.collect(),
    }
}

fn attempt(record: AttemptV1<'_>) -> Attempt {
    let result = |r: ResultV1<'_>| RecipientResult {
        recipient: r.recipient,
        outcome: outcome(r.outcome),
        reply: Reply {
            code: r.code,
            enhanced: r.enhanced.map(|(class, subject, detail)| Enhanced(class, subject, detail)),
            text: r.text.into(),
        },
    };
    let step =
        |s: StepV1<'_>| Step { at_us: s.at_us, took_us: s.took_us, sent: s.sent.into(), received: s.received.into() };
    Attempt {
        started_at: Timestamp(record.started_at),
        finished_at: Timestamp(record.finished_at),
        number: record.number,
        server: record.server.into(),
        tls: record.tls.map(Into::into),
        results: record.results.into_iter().map(result).collect(),
        dialogue: record.dialogue.into_iter().map(step).collect(),
    }
}

fn outcome_record(outcome: &Outcome) -> OutcomeV1 {
    match outcome {
        Outcome::Delivered { relayed } => OutcomeV1::Delivered { relayed: *relayed },
        Outcome::Deferred { retry_at, maybe_delivered } => {
            OutcomeV1::Deferred { retry_at: retry_at.as_micros(), maybe_delivered: *maybe_delivered }
        }
        Outcome::Bounced => OutcomeV1::Bounced,
        Outcome::Expired => OutcomeV1::Expired,
        Outcome::Cancelled => OutcomeV1::Cancelled,
    }
}

fn outcome(record: OutcomeV1) -> Outcome {
    match record {
        OutcomeV1::Delivered { relayed } => Outcome::Delivered { relayed },
        OutcomeV1::Deferred { retry_at, maybe_delivered } => {
            Outcome::Deferred { retry_at: Timestamp(retry_at), maybe_delivered }
        }
        OutcomeV1::Bounced => Outcome::Bounced,
        OutcomeV1::Expired => Outcome::Expired,
        OutcomeV1::Cancelled => Outcome::Cancelled,
    }
}
