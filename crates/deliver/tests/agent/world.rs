//! An agent, plans and messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::{
    AccountId, Address, BodyType, Domain, Envelope, MessageId, Meta, Origin, Recipient, Stream, SystemClock, Timestamp,
};
use bytes::Bytes;
use deliver::agent::{Agent, AgentConfig, AttemptReport, BodySource, Disposition, SiteReport, Task};
use route::{RoutePlan, TlsPolicy};

pub const MESSAGE: &[u8] = b"Subject: hello\r\n\r\n.dot\r\nend\r\n";

pub const DELIVERED: Disposition = Disposition::Delivered { relayed: true };
pub const LATER: Disposition = Disposition::Temporary { maybe_delivered: false };
pub const MAYBE: Disposition = Disposition::Temporary { maybe_delivered: true };
pub const NEVER: Disposition = Disposition::Permanent;

pub fn agent() -> Agent {
    agent_with(|_| {})
}

pub fn agent_with(change: impl FnOnce(&mut AgentConfig)) -> Agent {
    let mut config = AgentConfig::new(Domain::parse("relay.example").expect("it is a domain"));
    change(&mut config);
    Agent::new(config, Arc::new(SystemClock))
}

/// These servers in this order.
pub fn plan(addresses: &[SocketAddr]) -> RoutePlan {
    let host = |(number, address): (usize, &SocketAddr)| route::Host {
        name: format!("mx{}.example", number + 1).into(),
        addresses: vec![*address],
    };
    RoutePlan {
        site: "example".into(),
        hosts: addresses.iter().enumerate().map(host).collect(),
        tls: TlsPolicy::Opportunistic,
    }
}

pub fn address(text: &str) -> Address {
    Address::parse(text).expect("a test writes valid addresses")
}

/// A message for these recipients.
pub fn task(recipients: &[&str]) -> Task {
    task_of(recipients, MESSAGE)
}

pub fn task_of(recipients: &[&str], content: &[u8]) -> Task {
    let meta = Meta {
        id: MessageId::new(1, [0; 10]),
        account: AccountId(1),
        credential: None,
        stream: Stream::Transactional,
        received_at: Timestamp(0),
        origin: Origin::Local,
        envelope: Envelope {
            sender: None,
            recipients: recipients.iter().map(|r| Recipient::new(address(r))).collect(),
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
        },
        size_octets: content.len() as u64,
        eight_bit: !content.is_ascii(),
        subject: None,
        message_id_header: None,
    };
    Task {
        sender: Some(address("ada@here.example")),
        recipients: (0..recipients.len()).filter_map(|i| u32::try_from(i).ok()).collect(),
        body: BodySource::Memory(Bytes::copy_from_slice(content)),
        meta: Arc::new(meta),
    }
}

/// The same with the SMTPUTF8 parameter that its client gave.
pub fn internationalised(task: Task) -> Task {
    let mut meta = Meta::clone(&task.meta);
    meta.envelope.smtputf8 = true;
    Task { meta: Arc::new(meta), ..task }
}

/// An attempt on a new connection. The message is in memory, so it is always readable.
pub async fn attempt(agent: &Agent, plan: &RoutePlan, task: Task) -> AttemptReport {
    agent.attempt(plan, task, None).await.expect("the message is in memory")
}

/// `(recipient, disposition, code)` of each result.
pub fn outcomes(report: &AttemptReport) -> Vec<(u32, Disposition, u16)> {
    report.results.iter().map(|r| (r.recipient, r.disposition, r.reply.code)).collect()
}

pub fn assert_unreachable(report: &AttemptReport) -> &base::Reply {
    assert!(report.results.is_empty(), "{report:?}");
    assert!(!report.not_attempted.is_empty());
    match &report.site {
        SiteReport::Unreachable(reply) => reply,
        other => panic!("the site was {other:?}"),
    }
}

/// The words of the dialogue, one step a line.
pub fn dialogue(report: &AttemptReport) -> String {
    report.dialogue.iter().map(|step| format!("{} -> {}\n", step.sent, step.received)).collect()
}

/// Lets time fly, five seconds in a millisecond, until it is dropped. Tokio's own paused clock jumps
/// as soon as nothing is ready, and so also while octets are on their way between two sockets.
pub struct Flight(tokio::task::JoinHandle<()>);

/// For tests that start with a paused clock.
pub fn time_flies() -> Flight {
    Flight(tokio::spawn(async {
        loop {
            // As long as a blocking task runs, the clock does not jump by itself.
            let moment = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
            if moment.await.is_err() {
                return;
            }
            tokio::time::advance(Duration::from_secs(5)).await;
        }
    }))
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.abort();
    }
}
