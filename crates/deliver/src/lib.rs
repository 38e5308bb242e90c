//! Out to the world: the runner that decides, the agent that speaks, the pool of open connections.
//!
//! - [`runner`] owns the [`queue::Planner`] and the fate of every message: it starts attempts, writes
//!   their outcomes to the journal, owes and writes reports, closes messages.
//! - [`attempt`] is one attempt as a task: read back what is not in memory, find the way, go it.
//! - [`agent`] speaks SMTP to one site: hosts in order, TLS, conversion, per-recipient verdicts.
//! - [`sandbox`] and [`simulator`] are the ways out that never leave the machine.
//!
//! Invariants:
//! - Each recipient has exactly one final outcome, and the runner alone writes it.
//! - What happens after a crash follows from the journal: an attempt whose outcome was not written is
//!   made again (the one duplicate that cannot be avoided), a report that was not accepted is written.
//! - Content is never in a dialogue, a reply or a log line.
//! - This room does not know the store, accounts or HTTP.

pub mod agent;
pub mod attempt;
mod body;
pub mod connection;
pub mod counters;
pub mod handle;
pub mod pool;
pub mod runner;
pub mod sandbox;
pub mod simulator;
mod tls;

pub use handle::{Met, Order, QueueHandle, Stopped};
pub use runner::{Mode, Parts, Runner, RunnerConfig};
pub use sandbox::{Captured, SandboxSink};
