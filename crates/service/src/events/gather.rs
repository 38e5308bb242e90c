//! Facts for one transaction: as many as are there, up to a limit on their number and weight.

use base::{Fact, Recorded, Timestamp};
use spool::{Journal, SpoolError};
use store::Position;

use super::position;

const FACTS_MAX: usize = 2000;
/// A fact may be about a thousand recipients: rows to write, not facts, are what takes memory and time.
const ROWS_MAX: usize = 20_000;
/// So many are read before their weight is looked at.
const READ_MAX: usize = 128;

#[derive(Default)]
pub(super) struct Batch {
    pub facts: Vec<(Position, Recorded)>,
    rows: usize,
    /// When the first of them happened.
    pub oldest: Option<Timestamp>,
}

/// Reads on until the batch is full or nothing is left. Copies that the spool made when it moved a
/// message say nothing new and are left out.
///
/// # Errors
/// The disk's. What was read before is in the batch, and the next call goes on behind it.
pub(super) fn gather(journal: &mut Journal, batch: &mut Batch) -> Result<(), SpoolError> {
    while batch.facts.len() < FACTS_MAX && batch.rows < ROWS_MAX {
        let read = journal.next_batch(READ_MAX)?;
        if read.is_empty() {
            break;
        }
        for (cursor, recorded) in read.into_iter().filter(|(_, recorded)| !recorded.carried) {
            batch.rows += rows(&recorded.fact);
            batch.oldest = batch.oldest.or_else(|| Some(happened_at(&recorded.fact)));
            batch.facts.push((position(cursor), recorded));
        }
    }
    Ok(())
}

/// About how many rows it makes.
fn rows(fact: &Fact) -> usize {
    1 + match fact {
        Fact::Accepted(meta) => meta.envelope.recipients.len(),
        Fact::Attempted(attempt) => attempt.results.len(),
        Fact::Held { recipients, .. } | Fact::Released { recipients, .. } => recipients.len(),
        Fact::Closed { .. } | Fact::Quarantined { .. } => 0,
    }
}

fn happened_at(fact: &Fact) -> Timestamp {
    match fact {
        Fact::Accepted(meta) => meta.received_at,
        Fact::Attempted(attempt) => attempt.finished_at,
        Fact::Held { at, .. } | Fact::Released { at, .. } | Fact::Closed { at } | Fact::Quarantined { at, .. } => *at,
    }
}
