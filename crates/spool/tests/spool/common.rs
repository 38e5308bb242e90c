//! What the spool's tests share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{
    AccountId, Address, Attempt, BodyType, Clock, Enhanced, Envelope, Fact, MessageId, Meta, Origin, Outcome,
    Recipient, RecipientResult, Reply, ReportKind, Stream, Timestamp,
};
use privacy::MasterKey;
use spool::{Body, Draft, Options, Recovered, Spool, SpoolError, Stored};

pub const ACCOUNT: AccountId = AccountId(7);
pub const CANARY: &str = "canary-4c1d";

/// A clock that goes on by a millisecond at each look.
#[derive(Default)]
pub struct StepClock(AtomicU64);

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_800_000_000_000_000 + self.0.fetch_add(1000, Ordering::Relaxed))
    }
}

pub fn keys() -> MasterKey {
    MasterKey::from_bytes([42; 32])
}

pub fn small(dir: &Path) -> Options {
    Options { dir: dir.to_owned(), segment_octets: 64 << 10, ..Options::default() }
}

pub fn open(options: Options) -> (Spool, Recovered) {
    Spool::open(options, &keys(), Arc::new(StepClock::default())).expect("the spool opens")
}

pub fn meta() -> Meta {
    let recipients = ["ada", "bob"]
        .map(|name| Recipient::new(Address::parse(&format!("{name}-{CANARY}@example.org")).expect("an address")));
    Meta {
        id: MessageId::from_bytes([0; 16]),
        account: AccountId(0),
        credential: None,
        stream: Stream::Transactional,
        received_at: Timestamp(1_700_000_000_000_000),
        origin: Origin::Local,
        envelope: Envelope {
            sender: None,
            recipients: recipients.to_vec(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets: 10,
        eight_bit: false,
        subject: Some(format!("subject {CANARY}").into()),
        message_id_header: None,
    }
}

pub fn report_about(about: MessageId) -> Meta {
    Meta { origin: Origin::Report { about, kind: ReportKind::Failure, recipients: vec![0] }, ..meta() }
}

pub fn draft(spool: &Spool, body: &[u8]) -> Draft {
    let mut draft = spool.draft(ACCOUNT);
    for part in body.chunks(10_000) {
        draft.write(part).expect("the draft takes it");
    }
    draft
}

pub async fn accept(spool: &Spool, body: &[u8]) -> Stored {
    draft(spool, body).commit(meta()).await.expect("the message is stored")
}

/// A body that names its canary and has the given length.
pub fn body_of(octets: usize) -> Vec<u8> {
    let line = format!("This is {CANARY}, line after line.\r\n");
    line.bytes().cycle().take(octets).collect()
}

pub fn read(body: &mut Body) -> Result<Vec<u8>, SpoolError> {
    let mut out = Vec::new();
    while let Some(chunk) = body.next_chunk()? {
        out.extend_from_slice(&chunk);
    }
    Ok(out)
}

pub fn read_body(spool: &Spool, id: MessageId) -> Result<Vec<u8>, SpoolError> {
    read(&mut spool.body(id)?)
}

pub fn attempted(number: u32, results: &[(u32, Outcome)]) -> Fact {
    let reply = Reply::new(250, Enhanced(2, 0, 0), format!("said {CANARY}"));
    let results = results
        .iter()
        .map(|(recipient, outcome)| RecipientResult {
            recipient: *recipient,
            outcome: outcome.clone(),
            reply: reply.clone(),
        })
        .collect();
    let at = Timestamp(1_800_000_000_000_000 + u64::from(number));
    Fact::Attempted(Attempt {
        started_at: at,
        finished_at: at,
        number,
        server: "mx.example.org".into(),
        tls: None,
        results,
        dialogue: Vec::new(),
    })
}

pub fn delivered(recipient: u32) -> (u32, Outcome) {
    (recipient, Outcome::Delivered { relayed: false })
}

pub fn deferred(recipient: u32, retry_at: u64) -> (u32, Outcome) {
    (recipient, Outcome::Deferred { retry_at: Timestamp(retry_at), maybe_delivered: false })
}
