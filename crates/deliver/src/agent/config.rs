//! What the agent is told at start.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use base::Domain;
use smtp::client::{Next, Settings, StartTls, Timeouts};

/// How we speak to other servers. Every bound is here.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Our name in EHLO (RFC 5321 §4.1.1.1). It should resolve to the address that we come from, and back.
    /// A server that calls itself so is ourselves: a loop.
    pub hostname: Domain,
    /// The local address to come from; `None` leaves it to the system.
    pub source_v4: Option<Ipv4Addr>,
    pub source_v6: Option<Ipv6Addr>,
    /// One TCP handshake.
    pub connect: Duration,
    /// All that comes before the first transaction, with all hosts together: after this time no further
    /// address is tried.
    pub opening_max: Duration,
    /// Addresses that are tried in one attempt.
    pub addresses_max: usize,
    /// One attempt, from its first octet to its last.
    pub attempt_max: Duration,
    pub timeouts: Timeouts,
    /// Recipients in one transaction. Every server takes 100 (RFC 5321 §4.5.3.1.8).
    pub recipients_max: usize,
    /// Messages on one connection, then it is closed; some servers count.
    pub transactions_per_connection_max: u32,
    /// How long a connection waits for the next message. Servers wait 5 minutes (RFC 5321 §4.5.3.2.7) or
    /// much less; a short time is enough to join messages that come close together.
    pub idle_max: Duration,
    /// Connections that wait, all together.
    pub idle_connections_max: usize,
    /// For how long a host whose TLS handshake failed is spoken to in plaintext at once.
    pub plaintext_memory: Duration,
}

impl AgentConfig {
    /// Sensible bounds for everything but the name.
    pub fn new(hostname: Domain) -> AgentConfig {
        AgentConfig {
            hostname,
            source_v4: None,
            source_v6: None,
            connect: Duration::from_secs(30),
            opening_max: Duration::from_secs(5 * 60),
            addresses_max: 10,
            attempt_max: Duration::from_secs(90 * 60),
            timeouts: Timeouts::default(),
            recipients_max: 100,
            transactions_per_connection_max: 100,
            idle_max: Duration::from_secs(30),
            idle_connections_max: 500,
            plaintext_memory: Duration::from_secs(60 * 60),
        }
    }

    pub(super) fn settings(&self, starttls: StartTls) -> Settings {
        Settings {
            hello: self.hostname.ascii().into(),
            starttls,
            credentials: None,
            timeouts: self.timeouts,
            recipients_max: self.recipients_max,
            next: Next::AfterReply,
        }
    }

    /// Whether a server's name for itself is ours. `localhost` is nobody's.
    pub(super) fn is_ourselves(&self, name: &str) -> bool {
        let own = self.hostname.ascii();
        !own.eq_ignore_ascii_case("localhost") && own.eq_ignore_ascii_case(name.trim_end_matches('.'))
    }
}
