//! The agent: takes one message to one site, for some of its recipients, and brings back what came of
//! it. Each recipient has a verdict, or it is said why nobody could be asked.
//!
//! Hosts are tried in the order of the plan, each by all its addresses. What moves on to the next is
//! only what says nothing about the message: no connection, a refused greeting or EHLO, failed TLS, a
//! connection that ends before anything was answered. A reply to MAIL, RCPT, DATA or the content is the
//! site's answer, and is not asked for again elsewhere (RFC 5321 §5.1 leaves that to us).
//!
//! Invariants:
//! - A kept connection that turns out to be closed costs nothing: a new one is made in the same attempt.
//! - At most [`AgentConfig::attempt_max`] passes, whatever a server does.
//! - TLS that does not work is given up for plaintext, as opportunistic TLS is better than none and no
//!   worse; the dialogue says so.
//! - Nothing is retried after content was sent.

mod config;
mod hosts;
mod transfer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base::{Address, Clock, Enhanced, Meta, Reply, ReplyClass, Step, Timestamp};
use route::RoutePlan;
use smtp::client::{self, StartTls};
use spool::SpoolError;
use tokio::time::Instant;

pub use crate::body::BodySource;
pub use config::AgentConfig;
pub use smtp::client::{Disposition, RecipientReport};

use crate::connection::{OpenConnection, micros_since};
use crate::tls::Handshaker;
use transfer::{Job, Transferred};

/// What is to be delivered.
#[derive(Clone)]
pub struct Task {
    pub meta: Arc<Meta>,
    /// What MAIL FROM says; `None` is `<>`.
    pub sender: Option<Address>,
    /// Indexes into the envelope's recipients; all belong to the site of the plan.
    pub recipients: Vec<u32>,
    pub body: BodySource,
}

/// What came of it.
#[derive(Debug)]
pub struct AttemptReport {
    /// One for each recipient that a server, or an impossibility, decided about.
    pub results: Vec<RecipientReport>,
    /// Recipients whose turn did not come: the server takes fewer at a time, or left in between, or no
    /// server was reached.
    pub not_attempted: Vec<u32>,
    pub site: SiteReport,
    /// The server that was spoken to last, `mx1.example.org [192.0.2.1]:25`; empty if none was reached.
    pub server: Box<str>,
    /// Protocol and cipher, if that connection was encrypted.
    pub tls: Option<Box<str>>,
    /// Times count from the beginning of the attempt.
    pub dialogue: Vec<Step>,
    /// Open and fit for another message.
    pub connection: Option<OpenConnection>,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}

/// What the attempt showed about the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteReport {
    /// It did its work, whatever it said about these recipients.
    Reached,
    /// It answered, and wants less of us now: 421, 4.3.2, a policy reply 4.7.x; or it left in the middle.
    Slow,
    /// None of its servers could be talked to. The last reason; the `results` are empty.
    Unreachable(Reply),
}

/// Speaks to servers. One for all attempts; each attempt has its own connection.
pub struct Agent {
    config: AgentConfig,
    clock: Arc<dyn Clock>,
    handshaker: Handshaker,
    /// Ready-made settings for connections, one for each use of STARTTLS.
    never: Arc<client::Settings>,
    when_offered: Arc<client::Settings>,
    /// Host names whose TLS does not work, and until when that is remembered.
    plaintext: Mutex<HashMap<Box<str>, Instant>>,
    /// The zero of all connections' times.
    epoch: Instant,
}

impl Agent {
    pub fn new(config: AgentConfig, clock: Arc<dyn Clock>) -> Agent {
        let settings = |starttls| Arc::new(config.settings(starttls));
        Agent {
            clock,
            handshaker: Handshaker::new(),
            never: settings(StartTls::Never),
            when_offered: settings(StartTls::WhenOffered),
            plaintext: Mutex::new(HashMap::new()),
            epoch: Instant::now(),
            config,
        }
    }

    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// Goes to the servers of `plan`, or first to `kept`, a connection to one of them.
    ///
    /// # Errors
    /// The message cannot be read from the spool, and no recipient has a final result yet.
    pub async fn attempt(
        &self,
        plan: &RoutePlan,
        task: Task,
        kept: Option<OpenConnection>,
    ) -> Result<AttemptReport, SpoolError> {
        let started_at = self.clock.now();
        let began = Instant::now();
        let mut job = Job::open(self, task, began).await?;
        let on_kept = match kept {
            Some(connection) => Some(job.transfer(connection).await?),
            None => None,
        };
        let settled = match on_kept {
            Some(Transferred::Settled(settled)) => settled,
            Some(Transferred::Unheard(_)) | None => job.on_hosts(plan).await?,
        };
        let began_us = micros_since(self.epoch, began);
        for step in &mut job.dialogue {
            step.at_us = step.at_us.saturating_sub(began_us);
        }
        Ok(AttemptReport {
            results: job.results,
            not_attempted: job.left,
            site: settled.site,
            server: job.server,
            tls: job.tls,
            dialogue: job.dialogue,
            connection: settled.connection,
            started_at,
            finished_at: self.clock.now(),
        })
    }

    /// Whether TLS with this host failed a short while ago.
    fn is_plaintext(&self, host: &str) -> bool {
        let known = self.plaintext.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(host).is_some_and(|until| Instant::now() < *until)
    }

    fn remember_plaintext(&self, host: &str) {
        let now = Instant::now();
        let mut known = self.plaintext.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PLAINTEXT_HOSTS_MAX {
            known.retain(|_, until| now < *until);
        }
        // More broken hosts than that: they are found out anew each time, which is only slow.
        if known.len() < PLAINTEXT_HOSTS_MAX {
            known.insert(host.into(), now + self.config.plaintext_memory);
        }
    }
}

/// How many hosts with broken TLS are remembered.
const PLAINTEXT_HOSTS_MAX: usize = 1000;

/// How an attempt ended for the site and the connection.
struct Settled {
    site: SiteReport,
    connection: Option<OpenConnection>,
}

/// Whether a reply is about our sending as a whole, and not about one message or recipient. 4.7.1 is
/// what greylisting says, which is about a recipient.
fn asks_for_less(reply: &Reply) -> bool {
    reply.class() == ReplyClass::Temporary
        && (reply.code == 421
            || matches!(reply.enhanced, Some(Enhanced(4, 3, 2)))
            || matches!(reply.enhanced, Some(Enhanced(4, 7, detail)) if detail != 1))
}
