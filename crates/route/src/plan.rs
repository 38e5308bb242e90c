//! The answer: where to go, or why there is no way.

use std::net::SocketAddr;

use base::{Enhanced, Reply};

/// Where the mail for one site goes, in the order in which to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePlan {
    /// The domain or address literal that was asked for.
    pub site: Box<str>,
    /// Never empty.
    pub hosts: Vec<Host>,
    pub tls: TlsPolicy,
}

/// One mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// As DNS or the configuration names it; an address, where that is all that is known.
    pub name: Box<str>,
    /// Never empty.
    pub addresses: Vec<SocketAddr>,
}

/// What is asked of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    /// TLS where the server offers it, whatever its certificate; without TLS otherwise (RFC 7435).
    Opportunistic,
}

/// No way, as a reply that can go into a report. Whose fault it is, its text says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// It could not be found out, or not now: try again later.
    #[error("{0}")]
    Temporary(Reply),
    /// The owner of the domain has said so, or nothing can be done about it from here.
    #[error("{0}")]
    Permanent(Reply),
}

impl RouteError {
    pub fn reply(&self) -> &Reply {
        match self {
            RouteError::Temporary(reply) | RouteError::Permanent(reply) => reply,
        }
    }

    /// Our resolver has no answer, or one that cannot be used (RFC 3463: 4.4.3).
    pub(crate) fn no_answer(name: &str, why: &str) -> RouteError {
        RouteError::Temporary(Reply::new(
            451,
            Enhanced(4, 4, 3),
            format!("The DNS gave no usable answer about {name}: {why}"),
        ))
    }

    /// A host of our own configuration cannot be found. Not the sender's fault, so never for good.
    pub(crate) fn fixed_host(name: &str, why: &str) -> RouteError {
        RouteError::Temporary(Reply::new(
            451,
            Enhanced(4, 3, 5),
            format!("This mail is configured to go through {name}, which cannot be found: {why}"),
        ))
    }

    pub(crate) fn no_domain(site: &str) -> RouteError {
        permanent(550, Enhanced(5, 1, 2), format!("There is no domain {site}; check the address"))
    }

    /// RFC 7505 §3: the domain says that it takes no mail.
    pub(crate) fn null_mx(site: &str) -> RouteError {
        permanent(556, Enhanced(5, 1, 10), format!("The domain {site} says that it takes no mail (null MX)"))
    }

    pub(crate) fn ourselves(site: &str, host: &str) -> RouteError {
        permanent(
            554,
            Enhanced(5, 4, 6),
            format!(
                "The mail server of {site} is this server itself ({host}), which takes no mail in for it: \
                 mail would go round in a loop"
            ),
        )
    }

    pub(crate) fn no_server(site: &str) -> RouteError {
        permanent(550, Enhanced(5, 4, 4), format!("The domain {site} has no mail server: neither an MX nor an address"))
    }

    pub(crate) fn nothing_usable(site: &str, why: &str) -> RouteError {
        permanent(550, Enhanced(5, 4, 4), format!("The domain {site} names no mail server that can be used: {why}"))
    }
}

fn permanent(code: u16, enhanced: Enhanced, text: String) -> RouteError {
    RouteError::Permanent(Reply::new(code, enhanced, text))
}
