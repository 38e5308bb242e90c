//! What the pages are made from: given at start, declared here because only the pages ask for it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use base::{Address, Attempt, Clock, Domain, MessageId, Origin, Timestamp};
use prometheus_client::registry::Registry;

use crate::refusal::Refusal;

/// The answer to a question that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// Everything that [`crate::router`] needs.
#[derive(Clone)]
pub struct Site {
    pub inbox: Arc<dyn Inbox>,
    pub vitals: Arc<dyn Vitals>,
    pub metrics: Arc<Registry>,
    pub clock: Arc<dyn Clock>,
    /// Names, besides IP addresses and `localhost`, by which the pages may be asked for.
    pub hosts: Arc<[Domain]>,
    pub way_in: Arc<WayIn>,
}

/// How a program hands mail in: shown where the inbox is empty.
#[derive(Debug, Clone)]
pub struct WayIn {
    /// The address that a program on this machine connects to.
    pub smtp: SocketAddr,
    /// Whether it offers STARTTLS.
    pub starttls: bool,
    /// The user to log in as; `None` where there are many. The password itself is never on a page.
    pub username: Option<String>,
    /// Where the password can be found, as words behind "the password": `is in the output of
    /// postrider dev`.
    pub password_hint: String,
}

/// Whether the server does its work.
pub trait Vitals: Send + Sync {
    /// Why mail is not accepted now, as sentences for the operator; empty when all is well. Cheap: it
    /// is asked every few seconds.
    fn faults(&self) -> Vec<String>;
}

/// The sandbox inbox. The pages are for the operator of the instance, so it holds the mail of all accounts.
pub trait Inbox: Send + Sync {
    /// Newest first, at most `limit`; the next page begins `after` the last one's id.
    fn list(&self, after: Option<i64>, limit: u32) -> Answer<'_, Vec<Entry>>;

    /// `None`: there is no such message.
    fn show(&self, id: i64) -> Answer<'_, Option<Captured>>;
}

/// One captured message in the list.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Grows in the order of arrival.
    pub id: i64,
    pub message: MessageId,
    /// The envelope's sender; `None` is the null sender.
    pub from: Option<Address>,
    /// Those of the envelope's recipients that this copy was for.
    pub to: Vec<Address>,
    /// The Subject field as it came, encoded words and all.
    pub subject: Option<String>,
    pub size_octets: u64,
    pub received_at: Timestamp,
}

/// One captured message, whole.
#[derive(Debug, Clone)]
pub struct Captured {
    pub entry: Entry,
    /// The bytes that would have left; `None` where the message was too large for the inbox.
    pub content: Option<Vec<u8>>,
    /// How it came in, where that is still known.
    pub origin: Option<Origin>,
    /// All recipients of the envelope, which attempts name by position; empty where that is no
    /// longer known.
    pub recipients: Vec<Address>,
    /// Who was spoken to about it, and what was said.
    pub attempts: Vec<Attempt>,
}
