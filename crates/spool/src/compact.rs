//! Giving old segments back: what is still alive in one is carried to the active segment, then the
//! file is wiped and used again.
//!
//! The order is what makes it safe to be killed anywhere: carry, sync, only then destroy the old
//! slots, sync, only then retire. In between a message exists twice, and recovery takes the later copy.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use base::{Fact, MessageId, Origin};

use crate::core::{Core, count, lock};
use crate::cursor::Cursor;
use crate::format::{Header, Kind, NO_SLOT};
use crate::fs::read_full;
use crate::index::Place;
use crate::segment::{RECORDS_START, Segment, spare_name};
use crate::walk::{Step, Walk};
use crate::writer::{Appended, Claim, Entry, Refusal};

/// A segment in which more than one part in this many is alive is left alone.
const LIVE_SHARE_MAX: u64 = 4;
/// A segment that had too much to carry is looked at again after this.
const EXAMINE_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// Why a segment stays for now.
enum Stay {
    TooMuchAlive,
    Damaged,
    Disk,
}

struct Moved {
    message: MessageId,
    old: Place,
    new: Place,
    end: Cursor,
}

impl Core {
    /// Carries and retires what can be, oldest first.
    pub(crate) fn compact_step(&self, now: Instant) {
        while self.condition.failed.get().is_none()
            && let Some(segment) = self.candidate(now)
        {
            match self.empty(&segment) {
                Ok(()) if self.retire(&segment) => {}
                // Its last keys go in the next round.
                Ok(()) => return,
                Err(Stay::TooMuchAlive | Stay::Damaged) => {
                    *lock(&segment.examine_after) = Some(now + EXAMINE_AGAIN_AFTER);
                }
                Err(Stay::Disk) => return,
            }
        }
    }

    /// The oldest segment that everybody has read and in which little is alive.
    fn candidate(&self, now: Instant) -> Option<Arc<Segment>> {
        let synced = self.synced();
        let projected = self.projected();
        // Once it is gone, another must still say that those before it were wholly synced.
        let said = {
            let writer = lock(&self.writer);
            let active = writer.active.iter().map(|active| active.segment.synced_below);
            writer.ready.iter().map(|ready| ready.synced_below).chain(active).max().unwrap_or(0)
        };
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        // What has to be read, of this segment and those before, before it may go.
        let mut facts_end = Cursor::START;
        for (sequence, segment) in segments.range(..synced.segment.min(said + 1)) {
            if segment.facts_end() > 0 {
                facts_end = Cursor { segment: *sequence, offset: segment.facts_end() };
            }
            if projected < facts_end {
                return None;
            }
            let examine = lock(&segment.examine_after).is_none_or(|at| at <= now);
            let little = segment.live_octets() <= u64::from(segment.octets) / LIVE_SHARE_MAX;
            if examine && little && !segment.has_failed() && !self.is_waited_for(*sequence) {
                return Some(Arc::clone(segment));
            }
        }
        None
    }

    /// Carries all that is alive, and destroys the old keys.
    fn empty(&self, segment: &Arc<Segment>) -> Result<(), Stay> {
        let records = self.alive(segment)?;
        let octets: u64 = records.iter().map(|(header, _)| header.record_octets()).sum();
        if octets > u64::from(segment.octets) / LIVE_SHARE_MAX {
            return Err(Stay::TooMuchAlive);
        }
        let mut moved = Vec::new();
        let mut end = Cursor::START;
        for (header, meta) in records {
            let appended = self.carry(segment, &header, meta)?;
            end = end.max(appended.end);
            if header.kind == Kind::Accepted && header.slot != NO_SLOT && appended.place.slot != NO_SLOT {
                let old = Place::new(header.segment, header.offset, header.record_octets(), header.slot, header.large);
                moved.push(Moved { message: header.message, old, new: appended.place, end: appended.end });
            }
        }
        if end > Cursor::START {
            self.sync_step();
            if self.synced() < end || self.condition.failed.get().is_some() {
                return Err(Stay::Disk);
            }
        }
        for Moved { message, old, new, end } in moved {
            count(&self.counters.carried);
            // Who was closed meanwhile loses the new copy instead; the old one is doomed already.
            let gone = if self.index.replace(message, old, new) { old } else { new };
            self.doom(gone, end, None);
        }
        self.destroy_step();
        Ok(())
    }

    /// The records that must outlive the segment.
    fn alive(&self, segment: &Segment) -> Result<Vec<(Header, Vec<u8>)>, Stay> {
        let mut records = Vec::new();
        let mut walk = Walk::new(segment, RECORDS_START, segment.end());
        loop {
            let (header, meta) = match walk.next().map_err(|error| disk(segment, &error))? {
                Step::Record { header, void: false, meta } => (header, meta),
                // Damage was reported and copied to quarantine when the spool was opened.
                Step::Record { .. } | Step::Gap { .. } => continue,
                Step::End => return Ok(records),
            };
            let place = self.index.place(header.message);
            let keep = match header.kind {
                Kind::Mark | Kind::Closed => false,
                Kind::Accepted => {
                    let here = place
                        .is_some_and(|place| place.segment() == segment.sequence && place.offset() == header.offset);
                    here || (header.report && self.reports_on_live(segment, &header, &meta))
                }
                Kind::Attempted | Kind::Held | Kind::Released | Kind::Quarantined => place.is_some(),
            };
            if keep {
                records.push((header, meta));
            }
        }
    }

    /// Whether the message is a report about one that still waits: then the knowledge that it was
    /// made must stay, or it would be made again after a restart.
    fn reports_on_live(&self, segment: &Segment, header: &Header, meta: &[u8]) -> bool {
        match open_fact(segment, header, &mut meta.to_vec()) {
            Some(Fact::Accepted(meta)) => match meta.origin {
                Origin::Report { about, .. } => self.index.place(about).is_some(),
                Origin::Smtp { .. } | Origin::Local => false,
            },
            _ => false,
        }
    }

    fn carry(&self, segment: &Segment, header: &Header, mut meta: Vec<u8>) -> Result<Appended, Stay> {
        let meta_octets = meta.len();
        let fact = match open_fact(segment, header, &mut meta) {
            // The dialogue is in the history already, and that is the only place that needs it.
            Some(Fact::Attempted(mut attempt)) => {
                attempt.dialogue.clear();
                postcard::to_stdvec(&Fact::Attempted(attempt)).map_err(|_| Stay::Damaged)?
            }
            Some(fact) => postcard::to_stdvec(&fact).map_err(|_| Stay::Damaged)?,
            None => return Err(Stay::Damaged),
        };
        let mut entry = Entry {
            carried: true,
            report: header.report,
            origin: Some(header.origin),
            ..Entry::fact(header.kind, header.message, &fact)
        };
        let is_here = self.index.place(header.message).is_some_and(|place| place.segment() == segment.sequence);
        let mut body = Vec::new();
        let key;
        if header.kind == Kind::Accepted && is_here && header.slot != NO_SLOT {
            let slot = segment.read_slot(header.slot).map_err(|error| disk(segment, &error))?;
            // Closed this moment: only what it says about another message must stay.
            key = segment.keys.open_slot(header.message, &slot);
            if key.is_none() && self.index.place(header.message).is_some() {
                return Err(Stay::Damaged);
            }
            body.resize(header.body_octets as usize, 0);
            let at = u64::from(header.offset) + crate::format::RECORD_HEADER_OCTETS as u64 + meta_octets as u64;
            read_full(&*segment.file, &mut body, at).map_err(|error| disk(segment, &error))?;
            entry.key = key.as_ref();
            entry.large = header.large;
            entry.body = &body;
            entry.body_crc = header.body_crc;
            entry.plain_octets = header.plain_octets;
        }
        self.append(&entry, Claim::Fact).map_err(|refusal| {
            if let Refusal::Error(error) = refusal {
                tracing::warn!(segment = segment.sequence, %error, "cannot carry what is alive in an old segment");
            }
            Stay::Disk
        })
    }

    /// Wipes the file and keeps it for later, or removes it. False: somebody still reads it.
    fn retire(&self, segment: &Arc<Segment>) -> bool {
        let sequence = segment.sequence;
        if segment.live() > 0 || self.is_waited_for(sequence) {
            return false;
        }
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.remove(&sequence);
        // Nobody finds it any more; who has found it before finishes first.
        if Arc::strong_count(segment) > 1 {
            segments.insert(sequence, Arc::clone(segment));
            return false;
        }
        drop(segments);
        if let Err(error) = self.give_back(segment) {
            tracing::error!(segment = sequence, %error, "cannot retire an old segment; the next start does it");
        }
        true
    }

    pub(crate) fn give_back(&self, segment: &Segment) -> io::Result<()> {
        // Keys first, whatever becomes of the file.
        segment.retire()?;
        let name = crate::segment::segment_name(segment.sequence);
        let mut spares = lock(&self.spares);
        if spares.len() >= self.options.spares_max || u64::from(segment.octets) != self.options.segment_octets {
            self.fs.remove(&name)?;
        } else {
            let spare = spare_name(segment.sequence);
            self.fs.rename(&name, &spare)?;
            spares.push(spare);
        }
        count(&self.counters.segments_recycled);
        drop(spares);
        self.fs.sync_dir("segments")
    }
}

pub(crate) fn open_fact(segment: &Segment, header: &Header, meta: &mut [u8]) -> Option<Fact> {
    let plain = segment.keys.open_meta(header.nonce, &header.meta_aad(), meta)?;
    postcard::from_bytes(plain).ok()
}

fn disk(segment: &Segment, error: &io::Error) -> Stay {
    tracing::warn!(segment = segment.sequence, %error, "cannot read an old segment");
    Stay::Disk
}
