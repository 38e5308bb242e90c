//! How many facts a second the history takes: messages with one recipient, an Accepted and the
//! final Attempted each, in batches of 2,000, on the disk of the working directory.
//!
//! `cargo run --release -p postrider-store --example history_rate [messages] [together|apart]`:
//! `together` has both facts of a message in one batch, `apart` in two.

use std::sync::Arc;
use std::time::Instant;

use base::{
    AccountId, Actor, Address, Attempt, BodyType, Enhanced, Envelope, Fact, MessageId, Meta, Origin, Outcome,
    Recipient, RecipientResult, Recorded, Reply, Step, Stream, Timestamp,
};
use privacy::MasterKey;
use store::{Position, Store};

const BATCH_FACTS: usize = 2000;
const START_SECS: u64 = 1_767_225_600;
/// The journal's time runs at this rate, so that messages spread over the day.
const MESSAGES_PER_SECOND: u64 = 1000;

fn at(number: u64) -> Timestamp {
    Timestamp(START_SECS * 1_000_000 + number * 1_000_000 / MESSAGES_PER_SECOND)
}

fn id(number: u64) -> MessageId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    MessageId::new(at(number).as_millis(), random)
}

fn accepted(number: u64) -> Recorded {
    let recipient = format!("user{}@example{}.org", number.wrapping_mul(7919) % 500_000, number % 1000);
    let address = |text: &str| Address::parse(text).expect("a good address");
    let meta = Meta {
        id: id(number),
        account: AccountId((number % 20) as i64 + 1),
        credential: None,
        stream: Stream::Transactional,
        received_at: at(number),
        origin: Origin::Smtp { client: [192, 0, 2, 1].into(), helo: "client.example".into(), tls: true },
        envelope: Envelope {
            sender: Some(address("orders@shop.example")),
            recipients: vec![Recipient::new(address(&recipient))],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets: 4000,
        eight_bit: false,
        subject: Some("Your order of today is on its way".into()),
        message_id_header: Some("<0190c1d2-3e4f-7a5b-8c6d-7e8f90a1b2c3@shop.example>".into()),
    };
    Recorded { message: meta.id, fact: Fact::Accepted(meta), carried: false }
}

fn attempted(number: u64) -> Recorded {
    let step =
        |sent: &str, received: &str| Step { at_us: 1500, took_us: 900, sent: sent.into(), received: received.into() };
    let reply = Reply::new(250, Enhanced(2, 0, 0), "ok: queued as 4bXyZ1234Qz9");
    let attempt = Attempt {
        started_at: at(number),
        finished_at: at(number + 50),
        number: 1,
        server: "mx1.example.org [192.0.2.55]:25".into(),
        tls: Some("TLSv1.3 TLS_AES_256_GCM_SHA384".into()),
        results: vec![RecipientResult { recipient: 0, outcome: Outcome::Delivered { relayed: false }, reply }],
        dialogue: vec![
            step("[connect 192.0.2.55:25]", "220 mx1.example.org ESMTP"),
            step("EHLO relay.example", "250-mx1.example.org\n250-PIPELINING\n250-SIZE 52428800\n250 8BITMIME"),
            step("MAIL FROM:<orders@shop.example> SIZE=4000", "250 2.1.0 ok"),
            step("RCPT TO:<user@example.org>", "250 2.1.5 ok"),
            step("DATA", "354 go ahead"),
            step("[message, 4000 octets]", "250 2.0.0 ok: queued as 4bXyZ1234Qz9"),
        ],
    };
    Recorded { message: id(number), fact: Fact::Attempted(attempt), carried: false }
}

fn batch(first: u64, together: bool, position: &mut i64) -> Vec<Vec<(Position, Recorded)>> {
    let mut place = |recorded| {
        *position += 1;
        (Position(1, *position), recorded)
    };
    if together {
        let numbers = first..first + BATCH_FACTS as u64 / 2;
        vec![numbers.flat_map(|number| [accepted(number), attempted(number)]).map(&mut place).collect()]
    } else {
        let numbers = first..first + BATCH_FACTS as u64;
        vec![numbers.clone().map(accepted).map(&mut place).collect(), numbers.map(attempted).map(&mut place).collect()]
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let messages: u64 = arguments.next().map_or(200_000, |text| text.parse().expect("a number of messages"));
    let together = arguments.next().is_none_or(|text| text == "together");
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let path = directory.path().join("store.db");
    let store = Store::open(&path, &MasterKey::from_bytes([7; 32])).expect("a database");
    let (mut position, mut number, mut facts) = (0, 0, 0);
    let (mut busy, mut slowest) = (0.0_f64, 0.0_f64);
    let mut shown = 0;
    while number < messages {
        for batch in batch(number, together, &mut position) {
            facts += batch.len();
            let cursor = batch.last().map_or(Position(1, 0), |(position, _)| *position);
            let started = Instant::now();
            store.history_append(Actor::Server.scope(), Arc::new(batch), cursor).await.expect("it is appended");
            let took = started.elapsed().as_secs_f64();
            busy += took;
            slowest = slowest.max(took);
        }
        number += if together { BATCH_FACTS as u64 / 2 } else { BATCH_FACTS as u64 };
        if number * 5 / messages > shown {
            shown = number * 5 / messages;
            let octets = std::fs::metadata(&path).map_or(0, |file| file.len());
            println!(
                "{number:>9} messages, {facts:>9} facts: {:>7.0} facts/s, slowest batch {:>4.0} ms, {:>5} octets a message",
                facts as f64 / busy,
                slowest * 1000.0,
                octets / number
            );
        }
    }
    store.close().await;
}
