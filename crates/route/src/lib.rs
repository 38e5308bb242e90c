//! Where a message goes: from a recipient's domain to the servers to try, in order.
//!
//! [`Resolver::plan`] asks the DNS and answers with a [`RoutePlan`] or a [`RouteError`]; it opens no connection
//! to a mail server. The rules are those of RFC 5321 §5.1:
//!
//! | the DNS says | we |
//! |---|---|
//! | MX records | try their hosts by preference, equals in random order; at most 20 hosts, 10 addresses each |
//! | no MX (NODATA) | try the domain's own A and AAAA addresses |
//! | `MX 0 .` alone (RFC 7505) | bounce at once, 556 5.1.10 |
//! | NXDOMAIN | bounce at once, 550 5.1.2 |
//! | an MX host is this server | drop it and all that are no better; bounce with 554 5.4.6 if none is left |
//! | no host has a usable address | bounce, 550 5.4.4 |
//! | anything else: SERVFAIL, REFUSED, time-out, lame, garbled | defer, 451 4.4.3; never a bounce |
//!
//! An MX that is a CNAME is followed, though RFC 2181 §10.3 forbids it; an MX that is an IP address, or no host
//! name, is passed over. If the addresses of some hosts cannot be found out, the others are used; if nothing
//! else is left, the message is deferred. Addresses that are not on the public Internet are not used: whoever
//! owns a domain would otherwise aim our mail at our own network.
//!
//! Fixed servers go before all this. The [`HostTable`] maps domains of a laboratory to servers of
//! its own, on any address and port; [`Route::Fixed`] sends everything through a smart host. If such a server's name cannot
//! be found, that is our mistake (451 4.3.5), never a bounce.
//!
//! Invariants:
//! - A plan has at least one host, and each of its hosts at least one address.
//! - Only a fact that the DNS states is permanent.
//! - Answers are kept for their TTL, at most an hour, negative ones at most ten minutes; failures not at all.
//!   So a plan is made anew for each attempt, and is cheap.
//!
//! Traps of the library below: it reports NODATA, NXDOMAIN and referrals all as "no records found", and only the
//! response code and the SOA tell them apart; names are asked for with their final dot, or a search list would
//! be tried.

mod addresses;
mod dns;
mod doctor;
mod fixed;
mod mx;
mod plan;
mod resolver;

#[cfg(test)]
mod script;
#[cfg(test)]
mod tests;

pub use dns::ResolverError;
pub use doctor::LookupError;
pub use fixed::{HostPatternError, HostPort, HostTable};
pub use plan::{Host, RouteError, RoutePlan, TlsPolicy};
pub use resolver::{Families, Resolver, ResolverConfig, Route};
