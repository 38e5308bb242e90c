//! What the stories are told with.

use std::sync::Arc;

use base::{
    AccountId, Actor, Address, Attempt, BodyType, Enhanced, Envelope, Fact, MessageId, Meta, Origin, Outcome,
    Recipient, RecipientResult, Recorded, Reply, Scope, Step, Stream, Timestamp,
};
use privacy::MasterKey;
use store::{Appended, Position, Store};
use tempfile::TempDir;

pub const ADA: AccountId = AccountId(1);
pub const BOB: AccountId = AccountId(2);
/// 2026-01-01T00:00:00Z.
pub const NEW_YEAR: Timestamp = Timestamp::from_secs(1_767_225_600);

pub fn operator() -> Scope {
    Actor::Operator.scope()
}

pub struct World {
    pub directory: TempDir,
    pub store: Store,
    position: i64,
}

impl World {
    pub fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        World { directory, store, position: 0 }
    }

    /// Puts facts behind those that are there already.
    pub async fn append(&mut self, facts: Vec<(MessageId, Fact)>) -> Appended {
        let batch = facts
            .into_iter()
            .map(|(message, fact)| {
                self.position += 1;
                (Position(1, self.position), Recorded { message, fact, carried: false })
            })
            .collect();
        self.store.history_append(operator(), Arc::new(batch), Position(1, self.position)).await.unwrap()
    }
}

pub fn open(directory: &std::path::Path) -> Store {
    Store::open(&directory.join("store.db"), &MasterKey::from_bytes([7; 32])).unwrap()
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// `number` seconds into the year.
pub fn at(number: u64) -> Timestamp {
    Timestamp::from_secs(NEW_YEAR.as_secs() + number)
}

pub fn id(number: u64) -> MessageId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    MessageId::new(at(number).as_millis(), random)
}

/// The message of this number, received that many seconds into the year.
pub fn meta(number: u64, account: AccountId, recipients: &[&str]) -> Meta {
    Meta {
        id: id(number),
        account,
        credential: None,
        stream: Stream::Transactional,
        received_at: at(number),
        origin: Origin::Smtp { client: [192, 0, 2, 1].into(), helo: "client.example".into(), tls: true },
        envelope: Envelope {
            sender: Some(address("sender@ada.example")),
            recipients: recipients.iter().map(|text| Recipient::new(address(text))).collect(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets: 4000,
        eight_bit: false,
        subject: Some("Your order".into()),
        message_id_header: Some("<1@ada.example>".into()),
    }
}

pub fn accepted(meta: &Meta) -> (MessageId, Fact) {
    (meta.id, Fact::Accepted(meta.clone()))
}

pub fn attempt(number: u32, finished_at: Timestamp, results: &[(u32, Outcome)]) -> Attempt {
    let result = |(recipient, outcome): &(u32, Outcome)| {
        let reply = match outcome {
            Outcome::Delivered { .. } => Reply::new(250, Enhanced(2, 0, 0), "queued as 42"),
            Outcome::Deferred { .. } => Reply::new(451, Enhanced(4, 7, 1), "come back later"),
            _ => Reply::new(550, Enhanced(5, 1, 1), "no such user"),
        };
        RecipientResult { recipient: *recipient, outcome: outcome.clone(), reply }
    };
    Attempt {
        started_at: finished_at,
        finished_at,
        number,
        server: "mx.example [192.0.2.9]:25".into(),
        tls: Some("TLSv1.3".into()),
        results: results.iter().map(result).collect(),
        dialogue: vec![Step {
            at_us: 10,
            took_us: 200,
            sent: "MAIL FROM:<sender@ada.example>".into(),
            received: "250 ok".into(),
        }],
    }
}

pub fn delivered() -> Outcome {
    Outcome::Delivered { relayed: false }
}

pub fn deferred() -> Outcome {
    Outcome::Deferred { retry_at: at(1000), maybe_delivered: false }
}
