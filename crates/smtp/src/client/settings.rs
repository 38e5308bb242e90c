//! What the owner of a connection decides before it is opened.

use std::time::Duration;

use base::Secret;

/// How one connection is to be used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in EHLO: a host name that resolves to us, or an address literal (RFC 5321 §4.1.4).
    pub hello: Box<str>,
    pub starttls: StartTls,
    /// `None`: no AUTH, as to the world's MX hosts.
    pub credentials: Option<Credentials>,
    pub timeouts: Timeouts,
    /// Recipients in one transaction, unless the server's RCPTMAX is smaller (RFC 9422). Every
    /// server takes at least 100 (RFC 5321 §4.5.3.1.8).
    pub recipients_max: usize,
    pub next: Next,
}

/// Whether the connection goes to TLS (RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// Not even when it is offered: the way back after a failed handshake, or TLS is on already.
    Never,
    /// When offered. A server that then refuses it (454) gets the mail in plaintext, as if it had
    /// not offered it: an active attacker could have removed the offer just as well (RFC 7435).
    WhenOffered,
    /// Or there is no delivery.
    Demanded,
}

/// When the commands of the next transaction go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// After the reply to the final dot.
    AfterReply,
    /// Right behind the final dot, where PIPELINING is offered: RFC 2920 §3.1 lets content be the
    /// first thing in a group. Saves a round trip per message.
    BehindDot,
}

/// For servers of third parties that want to know who we are (RFC 4954).
#[derive(Debug, Clone)]
pub struct Credentials {
    pub user: Box<str>,
    pub secret: Secret,
    pub over: AuthOver,
}

/// Where a password may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthOver {
    TlsOnly,
    /// In plaintext too: for a server on this machine or in a private network.
    Anything,
}

/// How long a server may take. Each bound is for the whole reply, not for an octet of it: a
/// server that sends one octet in 30 seconds is as dead as one that sends none.
///
/// RFC 5321 §4.5.3.2 asks for 5 minutes for most replies. That is from a time of swap files and
/// modems; a slot held that long by a dead server is taken from living ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub greeting: Duration,
    /// EHLO, HELO, STARTTLS, AUTH, RSET.
    pub hello: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    pub mail: Duration,
    /// Each recipient.
    pub rcpt: Duration,
    /// From DATA to 354.
    pub data: Duration,
    /// While content is sent: how long the server may take nothing at all.
    pub content_stall: Duration,
    /// While content is sent: slower than this on the whole is cut, `content_stall` granted on top.
    pub content_octets_per_s_min: u64,
    /// From the final dot to the reply. Giving up here means a duplicate later, so it is longer
    /// than the 10 minutes of RFC 5321 §4.5.3.2.6.
    pub dot: Duration,
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            greeting: Duration::from_secs(60),
            hello: Duration::from_secs(60),
            handshake: Duration::from_secs(30),
            mail: Duration::from_secs(120),
            rcpt: Duration::from_secs(120),
            data: Duration::from_secs(120),
            content_stall: Duration::from_secs(120),
            content_octets_per_s_min: 16 * 1024,
            dot: Duration::from_secs(20 * 60),
            quit: Duration::from_secs(5),
        }
    }
}
