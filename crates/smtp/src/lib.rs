//! Both sides of SMTP (RFC 5321 and its extensions), without sockets, without a clock, without TLS.
//!
//! - [`server::Session`] is what a client talks to when it hands mail in.
//! - [`client::Connection`] is what we say to the servers of the world.
//! - [`command`] reads what clients say, [`reply`] what servers say.
//!
//! Both engines are told what happens (`handle`) and say what to do (`poll`); the pumps around them,
//! in other crates, do sockets, TLS and deadlines and nothing else. So every dialogue can be played
//! in a test, octet by octet, and a hostile peer meets code that allocates only within limits.
//!
//! Invariants of both:
//! - Nothing from outside panics, and memory is bounded by limits, never by the peer.
//! - However the octets are cut into pieces on their way, the dialogue is the same.
//! - Only CRLF ends a line. A lone CR or LF is neither accepted in content nor ever sent.

pub mod client;
pub mod command;
pub mod reply;
pub mod server;
