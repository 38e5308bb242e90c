//! Who sends, who receives, and what was asked for: never the content.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AccountId, Address, CredentialId, MessageId, Timestamp};

/// What the sender asked to be told about (RFC 3461 §4.1). `NEVER` is all false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

impl Notify {
    pub const NEVER: Notify = Notify { success: false, failure: false, delay: false };
    /// Without a NOTIFY parameter: failures, and delays at our discretion (RFC 3461 §4.1).
    pub const DEFAULT: Notify = Notify { success: false, failure: true, delay: true };
}

/// How much of the message a report brings back (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DsnReturn {
    Full,
    Headers,
}

/// What the client declared of the body (RFC 6152). Anything else is refused at MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BodyType {
    SevenBit,
    EightBitMime,
}

/// One recipient as RCPT named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    pub address: Address,
    /// `None`: the client gave no NOTIFY, so none is passed on (RFC 3461 §5.2.2).
    pub notify: Option<Notify>,
    /// ORCPT, decoded from xtext: `rfc822;ada@example.org` (RFC 3461 §4.2).
    pub original: Option<Box<str>>,
}

impl Recipient {
    pub fn new(address: Address) -> Recipient {
        Recipient { address, notify: None, original: None }
    }

    pub fn notify(&self) -> Notify {
        self.notify.unwrap_or(Notify::DEFAULT)
    }
}

/// One message's envelope (RFC 5321 §2.3.1, RFC 3461, RFC 6531).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// `None` is the null reverse-path `<>`: a message about which nobody is told.
    pub sender: Option<Address>,
    pub recipients: Vec<Recipient>,
    pub body: BodyType,
    pub smtputf8: bool,
    pub ret: Option<DsnReturn>,
    /// ENVID, decoded from xtext (RFC 3461 §4.4).
    pub envid: Option<Box<str>>,
}

/// Which of two lines a message waits in: a campaign never delays a password reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    Transactional,
    Bulk,
}

/// How a message came to us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// By SMTP, from this client.
    Smtp { client: IpAddr, helo: Box<str>, tls: bool },
    /// Handed in by a program of ours on this machine (`postrider send`, a first message).
    Local,
    /// A report (RFC 3464) that we wrote about `about`, covering these recipients of it (by index).
    Report { about: MessageId, kind: ReportKind, recipients: Vec<u32> },
}

/// What a report says (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReportKind {
    Failure,
    Delay,
    Success,
}

/// Everything that is known of an accepted message but its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub id: MessageId,
    pub account: AccountId,
    pub credential: Option<CredentialId>,
    pub stream: Stream,
    pub received_at: Timestamp,
    pub origin: Origin,
    pub envelope: Envelope,
    /// Octets as they will be sent, trace headers included, before dot-stuffing.
    pub size_octets: u64,
    /// Whether any octet of the message is above 127.
    pub eight_bit: bool,
    /// The Subject field, raw, cut to a sensible length; for the history, sealed there.
    pub subject: Option<Box<str>>,
    /// The Message-ID field's value, raw.
    pub message_id_header: Option<Box<str>>,
}
