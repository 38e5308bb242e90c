//! After a failed sync: what was not acknowledged is undone, what was recorded is recorded again.
//!
//! The kernel may have dropped what it could not write and call the pages clean, so the segment is
//! never appended to or synced again. Readers stop at what was synced before. The facts behind
//! that point are read back from memory and said again in a fresh segment, under their old order.

use std::io;
use std::mem;
use std::sync::{Arc, PoisonError};

use crate::core::{Core, lock};
use crate::format::{Header, Kind, NO_SLOT};
use crate::index::Place;
use crate::segment::{RECORDS_START, Segment};
use crate::walk::{Step, Walk};
use crate::writer::{Claim, Entry, Salvaged, Unsynced};

impl Core {
    /// Gives up the segments of `work`, whose sync failed, and goes on in the next one.
    pub(crate) fn abandon(&self, work: &[Unsynced]) {
        let synced = self.synced();
        let mut lost: Vec<(Arc<Segment>, u32, u32)> = Vec::new();
        {
            let mut writer = lock(&self.writer);
            // Rolled since, and therefore behind the failed ones.
            let later = mem::take(&mut writer.rolled);
            for part in work.iter().chain(&later) {
                let tail = match &writer.active {
                    Some(active) if Arc::ptr_eq(&active.segment, &part.segment) => active.tail,
                    _ => part.tail,
                };
                let from = if part.segment.sequence == synced.segment { synced.offset } else { RECORDS_START };
                lost.retain(|(segment, ..)| segment.sequence != part.segment.sequence);
                lost.push((Arc::clone(&part.segment), from, tail));
            }
            if let Some(active) = writer.active.take() {
                let known = lost.iter().any(|(segment, ..)| Arc::ptr_eq(segment, &active.segment));
                if !known {
                    lost.push((Arc::clone(&active.segment), RECORDS_START, active.tail));
                }
            }
            for (segment, from, _) in &lost {
                segment.mark_failed("it was given up after a failed sync");
                segment.end_at(*from);
            }
            writer.dirty = false;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.roll_locked(&mut writer);
        }
        for (segment, from, to) in &lost {
            if let Err(error) = self.undo(segment, *from, *to) {
                tracing::error!(segment = segment.sequence, %error, "cannot read back what the disk failed to sync");
            }
        }
        self.salvage();
    }

    fn undo(&self, segment: &Segment, from: u32, to: u32) -> io::Result<()> {
        let mut walk = Walk::new(segment, from, to);
        loop {
            match walk.next()? {
                Step::Record { header, void: false, meta } if header.kind == Kind::Accepted => {
                    self.undo_accepted(segment, &header, meta);
                }
                Step::Record { header, void: false, meta } if header.kind != Kind::Mark => {
                    self.keep_fact(segment, &header, meta);
                }
                Step::Record { .. } | Step::Gap { .. } => {}
                Step::End => return Ok(()),
            }
        }
    }

    /// The client is told 451 and will send it again: this copy must not be sent as well.
    fn undo_accepted(&self, segment: &Segment, header: &Header, meta: Vec<u8>) {
        if header.slot == NO_SLOT {
            self.keep_fact(segment, header, meta);
            return;
        }
        let place = Place::new(header.segment, header.offset, header.record_octets(), header.slot, header.large);
        // Both are attempts: should the disk take neither, the message may appear once more after a
        // restart, as any message may whose reply was lost.
        let voided = segment.void(header.offset).and_then(|()| segment.destroy_slots(header.slot, header.slot));
        if let Err(error) = voided {
            tracing::warn!(message = %header.message, %error, "cannot undo a message that was not acknowledged");
        }
        segment.lose(place.octets());
        let was_here = self.index.remove_at(header.message, place);
        if was_here && header.large {
            self.large.remove(header.message);
        }
    }

    fn keep_fact(&self, segment: &Segment, header: &Header, mut meta: Vec<u8>) {
        let Some(fact) = segment.keys.open_meta(header.nonce, &header.meta_aad(), &mut meta) else { return };
        lock(&self.salvaged).push(Salvaged {
            kind: header.kind,
            message: header.message,
            carried: header.carried,
            origin: header.origin,
            fact: fact.to_vec(),
        });
    }

    /// Says again what is waiting for it; what finds no room waits on.
    pub(crate) fn salvage(&self) {
        let waiting = mem::take(&mut *lock(&self.salvaged));
        let mut left = Vec::new();
        for fact in waiting {
            let entry = Entry {
                carried: fact.carried,
                report: fact.kind == Kind::Accepted,
                origin: Some(fact.origin),
                ..Entry::fact(fact.kind, fact.message, &fact.fact)
            };
            if self.append(&entry, Claim::Fact).is_err() {
                left.push(fact);
            }
        }
        lock(&self.salvaged).append(&mut left);
        self.sync_soon();
    }
}
