//! The doors: where mail comes in, by SMTP or from a program of ours, and is put into the spool.
//!
//! ```text
//! listener ──> connection (the pump of smtp::server::Session) ──> door ──> spool ──> Handover
//!    │              │                                              │
//!    │              ├── admission: who is it, may he send this?    └── mail::intake: mends headers
//!    │              └── throttle: guessing passwords takes time
//!    └── occupancy: how many connections, and from where
//! ```
//!
//! - [`Door`] is the only way into the spool for a new message, for SMTP as for programs. It gives an
//!   answer only after the message is on stable storage, and then hands it over.
//! - [`BoundListener`] is one address with its own rules ([`ListenerConfig`]); all listeners share one
//!   [`Entrance`].
//! - What accept needs from above is given to it: a [`Directory`] that knows who may send, and a
//!   [`Handover`] that takes what was accepted.
//!
//! Invariants:
//! - 250 is said only for a message that the spool has committed. What stops in the middle, by an
//!   error, a timeout, or a client that goes away, leaves nothing behind.
//! - Only who is authenticated, or comes from a network that the listener trusts, can send at all:
//!   decided in one place, [`admission`].
//! - Memory for one connection is bounded: a read buffer of [`READ_OCTETS`], up to
//!   [`CONTENT_READ_OCTETS`] while a large content comes, and what the spool keeps of a draft.
//! - Every wait on a client has an end; all of them are in [`Limits`].
//! - TLS is the way back to nothing else: when it ends, the connection ends.

pub mod admission;
mod connection;
mod counters;
mod door;
mod limits;
mod listener;
mod network;
mod occupancy;
mod pace;
mod throttle;
mod tls;

pub use admission::{Directory, Principal};
pub use connection::{CONTENT_READ_OCTETS, READ_OCTETS};
pub use counters::Counters;
pub use door::{Arrival, Door, DoorConfig, Handover, Submission};
pub use limits::Limits;
pub use listener::{BoundListener, Entrance, ListenerConfig, Tls, Trust};
pub use network::Network;
pub use tls::{Certificate, CertificateError};

/// When a listener takes a password.
pub use smtp::server::AuthOffer;
