//! All limits on clients, in one place.

use std::time::Duration;

/// What clients may take of the doors. Sizes and counts within one session are in `session`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Lines, recipients, message size, errors. The spool's own limit on a message must be larger by some
    /// kilobytes: it counts the fields that we add, and a client was promised `SIZE` without them.
    pub session: smtp::server::Limits,
    /// Connections at once, over all listeners. Beyond: 421 4.7.0.
    pub connections_max: usize,
    /// Connections at once from one address (IPv6: one /64, which one customer has). Trusted networks
    /// are not counted. Beyond: 421 4.7.0.
    pub connections_per_address_max: usize,
    /// From one reply of ours to the next complete command, however many octets of it trickle in; and
    /// the longest silence within a content (RFC 5321 §4.5.3.2.7 asks for 5 minutes). Beyond: 421 4.4.2.
    pub idle_time_max: Duration,
    /// One connection in all. A message under way may finish, for at most as long again. Beyond: 421.
    pub session_time_max: Duration,
    /// From the start of a TLS handshake to its end. Beyond: the connection is closed.
    pub handshake_time_max: Duration,
    /// Until the client has taken a reply. Beyond: the connection is closed.
    pub write_time_max: Duration,
    /// On average over one content; together with `content_grace` it ends a client that sends one
    /// octet now and then. Beyond: 421 4.4.2.
    pub content_octets_per_second_min: u64,
    /// How far a content may lag behind that rate.
    pub content_grace: Duration,
    /// When the server stops, a message under way may finish for so long. Beyond: 421 4.3.2.
    pub drain_time_max: Duration,
    /// The first delay of a login from an address that has guessed wrong; it doubles with each
    /// further guess.
    pub auth_delay: Duration,
    /// The longest such delay.
    pub auth_delay_max: Duration,
    /// Wrong guesses are forgotten after this, or after twice as long.
    pub auth_memory: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            session: smtp::server::Limits::default(),
            connections_max: 1000,
            connections_per_address_max: 100,
            idle_time_max: Duration::from_secs(300),
            session_time_max: Duration::from_secs(3600),
            handshake_time_max: Duration::from_secs(30),
            write_time_max: Duration::from_secs(120),
            content_octets_per_second_min: 500,
            content_grace: Duration::from_secs(60),
            drain_time_max: Duration::from_secs(30),
            auth_delay: Duration::from_millis(250),
            auth_delay_max: Duration::from_secs(10),
            auth_memory: Duration::from_secs(900),
        }
    }
}
