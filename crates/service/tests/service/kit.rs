//! What the stories are told with.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{
    AccountId, Actor, Address, Attempt, BodyType, Enhanced, Envelope, MessageId, Meta, Origin, Outcome, Recipient,
    RecipientResult, Reply, Scope, Stream, SystemClock, Timestamp,
};
use privacy::MasterKey;
use spool::{Options, Spool};
use store::Store;

pub const ADA: AccountId = AccountId(1);
pub const NEW_YEAR: Timestamp = Timestamp::from_secs(1_767_225_600);

pub fn operator() -> Scope {
    Actor::Operator.scope()
}

pub fn key() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

pub fn open_store(directory: &Path) -> Store {
    Store::open(&directory.join("store.db"), &key()).unwrap()
}

pub fn open_spool(directory: &Path) -> Spool {
    let options = Options {
        dir: directory.join("spool"),
        segment_octets: 64 << 10,
        lazy_sync: Duration::from_millis(5),
        destroy_interval: Duration::from_millis(20),
        ..Options::default()
    };
    Spool::open(options, &key(), Arc::new(SystemClock)).unwrap().0
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub fn meta(recipients: &[&str]) -> Meta {
    Meta {
        // The spool's draft draws it.
        id: MessageId::from_bytes([0; 16]),
        account: ADA,
        credential: None,
        stream: Stream::Transactional,
        received_at: NEW_YEAR,
        origin: Origin::Local,
        envelope: Envelope {
            sender: Some(address("sender@ada.example")),
            recipients: recipients.iter().map(|text| Recipient::new(address(text))).collect(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets: 5,
        eight_bit: false,
        subject: None,
        message_id_header: None,
    }
}

/// A message on stable storage.
pub async fn accept(spool: &Spool, recipients: &[&str]) -> MessageId {
    let mut draft = spool.draft(ADA);
    draft.write(b"Hello").unwrap();
    draft.commit(meta(recipients)).await.unwrap().meta.id
}

pub fn delivered(number: u32) -> Attempt {
    let reply = Reply::new(250, Enhanced(2, 0, 0), "ok");
    Attempt {
        started_at: NEW_YEAR,
        finished_at: NEW_YEAR,
        number,
        server: "mx.example [192.0.2.9]:25".into(),
        tls: None,
        results: vec![RecipientResult { recipient: 0, outcome: Outcome::Delivered { relayed: false }, reply }],
        dialogue: Vec::new(),
    }
}

/// Waits until it is so; for what cannot be waited for otherwise.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so().await {
        assert!(Instant::now() < deadline, "it never came: {what}");
        tokio::task::yield_now().await;
    }
}
