//! Wiring: starts the rooms in order, and stops them in the order of the data.
//!
//! Start: data directory, master key, store, spool (recovery), projector, runner, door, pages,
//! listeners, ready file. Stop: listeners, sessions (they may finish a message), the door, new
//! attempts, running attempts, journal, projector (it catches up), pages, store. A kill is as safe.

mod certificate;
mod inbox;
mod listeners;
mod metrics;
mod operations;
mod ready;
mod start;

pub use ready::Ready;
pub use start::{Running, master_key, start};
