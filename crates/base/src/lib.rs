//! The words that every room speaks: ids, addresses, envelopes, replies, outcomes, time, secrets.
//!
//! Data only: nothing here opens a file or a socket, reads a clock or draws a random number.
//! Every other room may depend on this one; this one depends on none of them.
//!
//! Invariants:
//! - An [`Address`] that exists is valid (RFC 5321 §4.1.2, RFC 6531): nobody parses one twice.
//! - Identifiers of different things are different types.
//! - [`Secret`] never prints what it holds.

pub mod address;
pub mod envelope;
pub mod fact;
pub mod id;
pub mod outcome;
pub mod reply;
pub mod scope;
pub mod secret;
pub mod time;

pub use address::{Address, AddressError, Domain, DomainError};
pub use envelope::ReportKind;
pub use envelope::{BodyType, DsnReturn, Envelope, Meta, Notify, Origin, Recipient, Stream};
pub use fact::Fact;
pub use fact::Recorded;
pub use id::{AccountId, CredentialId, MessageId};
pub use outcome::{Attempt, Outcome, RecipientResult, Step};
pub use reply::{Enhanced, Reply, ReplyClass};
pub use scope::{Actor, Scope};
pub use secret::Secret;
pub use time::SystemClock;
pub use time::{Clock, Timestamp};
