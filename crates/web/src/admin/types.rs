//! What goes over the control socket, in both directions: one set of types for the server and for
//! the command line. JSON; times are RFC 3339 in UTC; what a reader does not know it ignores.

use std::fmt;
use std::str::FromStr;

use base::{MessageId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment; RFC 3339 on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::page::rfc3339(self.0))
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Time {
        Time(at)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = jiff::Timestamp::from_str(&text).map_err(serde::de::Error::custom)?;
        let micros = u64::try_from(time.as_microsecond()).map_err(serde::de::Error::custom)?;
        Ok(Time(Timestamp(micros)))
    }
}

/// `GET /api/v1/admin/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub version: String,
    pub pid: u32,
    /// `sandbox` or `live`.
    pub mode: String,
    pub started_at: Time,
    /// Whether mail is accepted now.
    pub ready: bool,
    /// Why not, as sentences.
    pub faults: Vec<String>,
}

/// `GET /api/v1/admin/queue`: what waits, by destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSummary {
    /// Deliveries (one message to one destination) that wait.
    pub queued: u64,
    /// Deliveries that are being tried at this moment.
    pub in_flight: u64,
    /// Deliveries that somebody must release.
    pub held: u64,
    /// The busiest first; at most [`DESTINATIONS_MAX`].
    pub destinations: Vec<Destination>,
    /// Destinations that are not listed.
    pub more: u64,
}

/// How many destinations one summary lists.
pub const DESTINATIONS_MAX: usize = 200;

/// One row of the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub destination: String,
    pub queued: u64,
    pub in_flight: u64,
    pub held: u64,
    /// When the oldest of these was accepted.
    pub oldest_at: Option<Time>,
    pub state: DestinationState,
    /// When it is tried again, where it is not ready.
    pub until: Option<Time>,
}

/// Whether a destination takes mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationState {
    Ready,
    /// Out of reach.
    Down,
    /// It asked us to slow down.
    Throttled,
}

/// Which waiting mail is meant: exactly one of the four. Nothing at all never means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// An account's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A recipient domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl Selection {
    /// How many of the four are given.
    pub fn criteria(&self) -> usize {
        usize::from(self.id.is_some())
            + usize::from(self.account.is_some())
            + usize::from(self.destination.is_some())
            + usize::from(self.all)
    }
}

/// `GET /api/v1/admin/queue/messages`: query parameters. `id`, `account` and `destination` narrow
/// the list; without them it is the list of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// From 1 to [`QUEUE_PAGE_MAX`]; 50 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

pub const QUEUE_PAGE_DEFAULT: u32 = 50;
pub const QUEUE_PAGE_MAX: u32 = 1000;

impl QueueQuery {
    /// What is narrowed to; `all` where nothing is.
    pub fn selection(&self) -> Selection {
        let mut selection =
            Selection { id: self.id, account: self.account.clone(), destination: self.destination.clone(), all: false };
        selection.all = selection.criteria() == 0;
        selection
    }
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePage {
    pub deliveries: Vec<Delivery>,
    /// How many the whole list has, this page included, where that is known.
    pub total: Option<u64>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<String>,
}

/// One message on its way to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: MessageId,
    pub account: String,
    pub destination: String,
    /// How many recipients there.
    pub recipients: u32,
    pub attempts: u32,
    pub accepted_at: Time,
    pub expires_at: Time,
    pub waits_for: WaitsFor,
    /// Until when, where that is known.
    pub until: Option<Time>,
}

/// Why it has not gone yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// It is being tried at this moment.
    Attempt,
    /// It is held.
    Release,
    /// It was refused for now.
    Retry,
    /// The destination is out of reach.
    SiteDown,
    /// The destination asked us to slow down.
    SiteSlow,
    /// The destination's rate limit.
    Rate,
    /// As many connections as the destination may have are in use.
    Connection,
    /// Others are before it.
    Turn,
}

impl WaitsFor {
    /// As a person would say it.
    pub fn words(self) -> &'static str {
        match self {
            WaitsFor::Attempt => "being tried now",
            WaitsFor::Release => "held",
            WaitsFor::Retry => "retry",
            WaitsFor::SiteDown => "destination out of reach",
            WaitsFor::SiteSlow => "destination asked to slow down",
            WaitsFor::Rate => "rate limit",
            WaitsFor::Connection => "a free connection",
            WaitsFor::Turn => "its turn",
        }
    }
}

/// What can be ordered about waiting mail: `POST /api/v1/admin/queue/{order}` with a [`Selection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Hold,
    Release,
    Retry,
    Cancel,
}

impl Order {
    pub const ALL: [Order; 4] = [Order::Hold, Order::Release, Order::Retry, Order::Cancel];

    /// Its name in the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Hold => "hold",
            Order::Release => "release",
            Order::Retry => "retry",
            Order::Cancel => "cancel",
        }
    }
}

/// The answer to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// On how many deliveries it was carried out.
    pub deliveries: u64,
    /// How many were being tried at that moment: it is carried out on what the attempt leaves over.
    #[serde(default)]
    pub in_flight: u64,
}

/// `GET /api/v1/admin/messages/{id}`: everything that is known of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStory {
    pub id: MessageId,
    pub account: String,
    pub received_at: Time,
    /// None is the null sender.
    pub from: Option<String>,
    /// Decoded; none where the message has none or it is no longer kept.
    pub subject: Option<String>,
    pub message_id_header: Option<String>,
    pub size_octets: u64,
    pub came: Came,
    /// `queued`, `deferred`, `held`, `quarantined`, `delivered`, `failed` or `cancelled`.
    pub state: String,
    /// When its content was destroyed.
    pub closed_at: Option<Time>,
    /// By position in the envelope.
    pub recipients: Vec<RecipientStory>,
    /// In the order in which things happened.
    pub events: Vec<Event>,
    pub attempts: Vec<AttemptStory>,
    /// What still waits of it, and for what.
    pub waiting: Vec<Delivery>,
    /// There are earlier events than those told.
    pub truncated: bool,
}

/// How a message came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Came {
    Smtp {
        client: String,
        helo: String,
        tls: bool,
    },
    /// From a program on this machine.
    Local,
    /// A report that we wrote; `report` is `failure`, `delay` or `success`.
    Report {
        about: MessageId,
        report: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientStory {
    pub address: String,
    /// `queued`, `deferred`, `delivered`, `bounced`, `expired` or `cancelled`.
    pub state: String,
    /// When the state was last set.
    pub changed_at: Time,
    pub attempts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Time,
    /// `accepted`, `attempted`, `delivered`, `deferred`, `bounced`, `expired`, `cancelled`, `held`,
    /// `released` or `quarantined`.
    pub kind: String,
    /// Position in `recipients`; none: it is about the whole message.
    pub recipient: Option<u32>,
    /// Position in `attempts` of the attempt behind it.
    pub attempt: Option<u32>,
    /// Why it was held or quarantined.
    pub reason: Option<String>,
}

/// One attempt to hand it to one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStory {
    pub started_at: Time,
    pub finished_at: Time,
    /// From 1.
    pub number: u32,
    /// `mx1.example.org [192.0.2.1]:25`, `sandbox`, `simulator`; empty where no server was reached.
    pub server: String,
    pub tls: Option<String>,
    pub results: Vec<ResultStory>,
    pub dialogue: Vec<StepStory>,
}

/// What an attempt decided for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultStory {
    /// Position in `recipients`.
    pub recipient: u32,
    /// `delivered`, `deferred`, `bounced`, `expired` or `cancelled`.
    pub outcome: String,
    /// `550 5.1.1 no such user`.
    pub reply: String,
    pub retry_at: Option<Time>,
    /// The connection was lost after the last byte and before the reply: the peer may have it.
    pub maybe_delivered: bool,
}

/// One line of the dialogue and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStory {
    /// Since the attempt began, in microseconds.
    pub at_us: u64,
    pub took_us: u64,
    pub sent: String,
    pub received: String,
}

impl From<&base::Attempt> for AttemptStory {
    fn from(attempt: &base::Attempt) -> AttemptStory {
        AttemptStory {
            started_at: attempt.started_at.into(),
            finished_at: attempt.finished_at.into(),
            number: attempt.number,
            server: attempt.server.to_string(),
            tls: attempt.tls.as_deref().map(str::to_owned),
            results: attempt.results.iter().map(ResultStory::from).collect(),
            dialogue: attempt.dialogue.iter().map(StepStory::from).collect(),
        }
    }
}

impl From<&base::RecipientResult> for ResultStory {
    fn from(result: &base::RecipientResult) -> ResultStory {
        let (outcome, retry_at, maybe_delivered) = match result.outcome {
            base::Outcome::Delivered { .. } => ("delivered", None, false),
            base::Outcome::Deferred { retry_at, maybe_delivered } => ("deferred", Some(retry_at), maybe_delivered),
            base::Outcome::Bounced => ("bounced", None, false),
            base::Outcome::Expired => ("expired", None, false),
            base::Outcome::Cancelled => ("cancelled", None, false),
        };
        ResultStory {
            recipient: result.recipient,
            outcome: outcome.to_owned(),
            reply: result.reply.to_string(),
            retry_at: retry_at.map(Time),
            maybe_delivered,
        }
    }
}

impl From<&base::Step> for StepStory {
    fn from(step: &base::Step) -> StepStory {
        StepStory {
            at_us: step.at_us,
            took_us: step.took_us,
            sent: step.sent.to_string(),
            received: step.received.to_string(),
        }
    }
}

/// `GET /api/v1/admin/accounts` answers a list of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: i64,
    pub name: String,
    pub created_at: Time,
    /// Since when its mail is refused.
    pub revoked_at: Option<Time>,
}

/// `POST /api/v1/admin/accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    pub name: String,
}

/// `GET /api/v1/admin/credentials?account=` answers a list of these; the password is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub username: String,
    pub account: String,
    pub label: String,
    pub created_at: Time,
    pub revoked_at: Option<Time>,
    /// The last day on which it was used, as `2026-11-22`.
    pub last_used: Option<String>,
}

/// `POST /api/v1/admin/credentials`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    pub account: String,
    /// None: one is made up from the account's name.
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub label: String,
}

/// The answer to it: the only time that the password is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCredential {
    pub username: String,
    pub password: String,
    pub account: String,
}

impl fmt::Debug for IssuedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedCredential({}, …)", self.username)
    }
}

/// `GET /api/v1/admin/credentials`: query parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// `POST /api/v1/admin/send`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Whose message it is; none: the oldest account that is not revoked.
    #[serde(default)]
    pub account: Option<String>,
    /// The envelope's sender; none is the null sender.
    #[serde(default)]
    pub from: Option<String>,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The message with its headers, lines ended by CRLF, as Base64 (RFC 4648 §4): it need not be UTF-8.
    pub content_base64: String,
}

impl fmt::Debug for NewMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewMessage({} recipients, {} octets as Base64)", self.to.len(), self.content_base64.len())
    }
}

/// The answer to `send`: it is on stable storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub id: MessageId,
    pub recipients: u32,
}
