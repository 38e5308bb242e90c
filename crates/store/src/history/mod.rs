//! What became of each message.
//!
//! Written by [`Store::history_append`](crate::Store::history_append) from the journal's facts, read
//! by people. A message is one row with its six counters, each recipient one small row, each thing
//! that happened to one of them one event; an attempt's server, replies and dialogue stand once, at its
//! first event.

mod append;
mod events;
mod fold;
mod list;
mod record;
mod rows;
mod show;
mod state;
mod stats;

pub use append::{Appended, Position};
pub use list::{MessageFilter, MessageSummary};
pub use record::Source;
pub use show::{Event, RecipientStory, Story};
pub use state::{Counter, EventKind, MessageState, RecipientState, Tally};
pub use stats::DayCount;
