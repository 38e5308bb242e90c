//! Destroying keys: after the Closed fact is on stable storage, never before, the slot is
//! overwritten and that is synced too. Done for many at a time, neighbours in one write.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::MessageId;

use crate::core::{Core, lock};
use crate::cursor::Cursor;
use crate::index::Place;
use crate::segment::Segment;

/// A key slot that must go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doomed {
    pub(crate) place: Place,
    /// What says so is in front of this; it must be on stable storage first, or a crash would leave
    /// a message that is neither there nor finished.
    pub(crate) after: Cursor,
    /// Its body in `large/` goes too.
    pub(crate) large: Option<MessageId>,
}

impl Core {
    pub(crate) fn doom(&self, place: Place, after: Cursor, large: Option<MessageId>) {
        lock(&self.doomed).push(Doomed { place, after, large });
    }

    /// Destroys the keys that are due. What the disk does not take stays in the backlog.
    pub(crate) fn destroy_step(&self) {
        let synced = self.synced();
        let mut due = Vec::new();
        {
            let mut doomed = lock(&self.doomed);
            let waiting = mem::take(&mut *doomed);
            let (ready, wait): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|doomed| doomed.after <= synced);
            due.extend(ready);
            *doomed = wait;
            // Seen as backlog until it is done: they go back in before the lock is given up.
            doomed.extend(due.iter().copied());
        }
        if due.is_empty() {
            return;
        }
        due.sort_unstable_by_key(|doomed| (doomed.place.segment(), doomed.place.slot));
        let mut done: Vec<(u64, u32)> = Vec::with_capacity(due.len());
        for group in due.chunk_by(|a, b| a.place.segment() == b.place.segment()) {
            let Some(segment) = group.first().and_then(|doomed| self.segment(doomed.place.segment())) else {
                continue;
            };
            if let Err(error) = destroy_group(&segment, group) {
                tracing::error!(segment = segment.sequence, %error, "cannot destroy the keys of closed messages");
                continue;
            }
            for doomed in group {
                segment.lose(doomed.place.octets());
                if let Some(id) = doomed.large {
                    self.large.remove(id);
                }
                done.push((doomed.place.segment(), doomed.place.slot));
            }
        }
        self.counters.keys_destroyed.fetch_add(done.len() as u64, Ordering::Relaxed);
        // Sorted as `due` was.
        lock(&self.doomed).retain(|doomed| done.binary_search(&(doomed.place.segment(), doomed.place.slot)).is_err());
    }

    /// Whether a key waits to be destroyed because of something that this segment says.
    pub(crate) fn is_waited_for(&self, sequence: u64) -> bool {
        lock(&self.doomed).iter().any(|doomed| doomed.after.segment <= sequence)
    }
}

fn destroy_group(segment: &Arc<Segment>, group: &[Doomed]) -> std::io::Result<()> {
    for run in group.chunk_by(|a, b| a.place.slot + 1 >= b.place.slot) {
        if let (Some(first), Some(last)) = (run.first(), run.last()) {
            segment.destroy_slots(first.place.slot, last.place.slot)?;
        }
    }
    segment.sync()
}
