//! The client against servers that are played line by line.

mod faults;
mod opening;
mod random;
mod transfer;

use std::sync::Arc;

use base::{
    AccountId, Address, BodyType, Envelope, MessageId, Meta, Origin, Recipient, Secret, Step, Stream, Timestamp,
};
use bytes::{Bytes, BytesMut};

use super::*;

/// A connection, the server's octets that wait to be read, and all that was said.
struct Stage {
    connection: Connection,
    inbox: BytesMut,
    wire: String,
    now_us: u64,
    ready: bool,
    wants_tls: bool,
    wants_body: bool,
    closed: bool,
    failure: Option<Failure>,
    reports: Vec<TransactionReport>,
    /// The socket takes so many octets and no more.
    takes: usize,
}

fn settings() -> Settings {
    Settings {
        hello: "relay.example".into(),
        starttls: StartTls::WhenOffered,
        credentials: None,
        timeouts: Timeouts::default(),
        recipients_max: 100,
        next: Next::AfterReply,
    }
}

impl Stage {
    fn new(settings: Settings) -> Stage {
        let mut stage = Stage {
            connection: Connection::new(Arc::new(settings), Channel::Plain, 0),
            inbox: BytesMut::new(),
            wire: String::new(),
            now_us: 0,
            ready: false,
            wants_tls: false,
            wants_body: false,
            closed: false,
            failure: None,
            reports: Vec::new(),
            takes: usize::MAX,
        };
        stage.drain();
        stage
    }

    /// A connection on which EHLO was answered with these keywords.
    fn ready(settings: Settings, keywords: &[&str]) -> Stage {
        let mut stage = Stage::new(settings);
        assert_eq!(stage.says("220 mx.example ESMTP\r\n"), "EHLO relay.example\r\n");
        let mut lines = vec!["mx.example".to_owned()];
        lines.extend(keywords.iter().map(|k| (*k).to_owned()));
        let last = lines.pop().unwrap_or_default();
        let mut reply: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        reply.push_str(&format!("250 {last}\r\n"));
        assert_eq!(stage.says(&reply), "");
        assert!(stage.ready);
        stage
    }

    /// The server says this; gives what the client says to that.
    fn says(&mut self, text: &str) -> String {
        self.says_octets(text.as_bytes())
    }

    fn says_octets(&mut self, octets: &[u8]) -> String {
        self.now_us += 1000;
        self.inbox.extend_from_slice(octets);
        self.connection.handle(self.now_us, Input::Received(&mut self.inbox));
        self.drain()
    }

    fn is_told(&mut self, input: Input<'_>) -> String {
        self.now_us += 1000;
        self.connection.handle(self.now_us, input);
        self.drain()
    }

    fn begins(&mut self, transaction: Transaction) -> String {
        assert!(self.connection.is_free());
        self.is_told(Input::Begin(transaction))
    }

    /// Waits until the engine's deadline and tells it.
    fn waits(&mut self) -> Option<Duration> {
        let deadline = self.connection.deadline_us()?;
        let waited = Duration::from_micros(deadline - self.now_us);
        self.now_us = deadline;
        self.connection.handle(self.now_us, Input::TimedOut);
        self.drain();
        Some(waited)
    }

    /// Does what the engine says; gives what it wrote.
    fn drain(&mut self) -> String {
        let mut said = Vec::new();
        self.wants_body = false;
        loop {
            let written = match self.connection.poll() {
                None => break,
                Some(Output::Send(octets)) => {
                    let taken = octets.len().min(self.takes - said.len());
                    said.extend_from_slice(&octets[..taken]);
                    if taken == 0 {
                        break;
                    }
                    taken
                }
                Some(Output::NeedBody) => {
                    self.wants_body = true;
                    break;
                }
                Some(output) => {
                    match output {
                        Output::StartTls => self.wants_tls = true,
                        Output::Ready => self.ready = true,
                        Output::Failed(failure) => self.failure = Some(failure),
                        Output::Finished(report) => self.reports.push(*report),
                        Output::Close => self.closed = true,
                        Output::Send(_) | Output::NeedBody => unreachable!("both are matched above"),
                    }
                    continue;
                }
            };
            self.connection.handle(self.now_us, Input::Written(written));
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        self.wire.push_str(&said);
        said
    }

    fn report(&mut self) -> TransactionReport {
        assert_eq!(self.reports.len(), 1, "one transaction has ended");
        self.reports.remove(0)
    }
}

const MESSAGE: &[u8] = b"Subject: hello\r\n\r\n.dot\r\n";
const MESSAGE_ON_WIRE: &str = "Subject: hello\r\n\r\n..dot\r\n.\r\n";

fn meta(recipients: &[&str]) -> Meta {
    Meta {
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
        size_octets: MESSAGE.len() as u64,
        eight_bit: false,
        subject: None,
        message_id_header: None,
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("a test writes valid addresses")
}

/// From ada@here.example to all recipients of `meta`.
fn transaction_of(meta: Meta) -> Transaction {
    let recipients = (0..meta.envelope.recipients.len()).filter_map(|i| u32::try_from(i).ok()).collect();
    Transaction {
        sender: Some(address("ada@here.example")),
        recipients,
        content: Content::Whole(Bytes::from_static(MESSAGE)),
        size_octets: meta.size_octets,
        alphabet: Alphabet::SevenBit,
        meta: Arc::new(meta),
    }
}

fn transaction(recipients: &[&str]) -> Transaction {
    transaction_of(meta(recipients))
}

/// `(recipient, disposition, code)` of each result.
fn outcomes(report: &TransactionReport) -> Vec<(u32, Disposition, u16)> {
    report.results.iter().map(|r| (r.recipient, r.disposition, r.reply.code)).collect()
}

const DELIVERED: Disposition = Disposition::Delivered { relayed: true };
const LATER: Disposition = Disposition::Temporary { maybe_delivered: false };
const MAYBE: Disposition = Disposition::Temporary { maybe_delivered: true };
const NEVER: Disposition = Disposition::Permanent;

fn words(steps: &[Step]) -> Vec<(&str, &str)> {
    steps.iter().map(|step| (&*step.sent, &*step.received)).collect()
}
