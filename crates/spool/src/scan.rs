//! Reading one segment at the start: which records count, which are torn, which are damaged.

use std::io;

use base::Fact;

use crate::compact::open_fact;
use crate::damage::{Damage, DamageKind};
use crate::fold::Fold;
use crate::format::{Header, Kind, NO_SLOT, RECORD_HEADER_OCTETS, SLOT_OCTETS};
use crate::fs::{Fs, read_full};
use crate::index::Place;
use crate::recover::{Recovered, is_of_kind};
use crate::seal::EMPTY_SLOT;
use crate::segment::{RECORDS_START, Segment};
use crate::walk::{Step, Walk};
use crate::writer::write_mark;

/// What a walk through a segment found.
#[derive(Default)]
struct Walked {
    records: Vec<(Header, Vec<u8>)>,
    gaps: Vec<(u32, u32)>,
    end: u32,
    facts_end: u32,
    /// There was a last record that says that it is the last.
    sealed: bool,
    /// All in front of this was on stable storage, as a record says that was written later.
    synced: u32,
    slots: u32,
}

/// Folds a segment's facts. `later_synced`: something in a later segment was synced, and therefore
/// all of this one. Says the same of this segment, for the one before.
///
/// # Errors
/// Those of reading.
pub(crate) fn scan(
    fs: &dyn Fs,
    segment: &Segment,
    later_synced: bool,
    fold: &mut Fold,
    recovered: &mut Recovered,
) -> io::Result<bool> {
    let length = segment.file.octets()?;
    let cut_off = length < u64::from(segment.octets);
    if cut_off {
        // It was made and synced at its whole length before its first record.
        recovered.damage.push(Damage::cut_off(segment, length));
    }
    let later_synced = later_synced || cut_off;
    let mut walked = walk(segment)?;
    let synced = if later_synced { u32::MAX } else { walked.synced };
    let mut repaired = false;
    for (from, to) in &walked.gaps {
        if *from < synced {
            recovered.damage.push(Damage::region(fs, segment, *from, *to, DamageKind::Record));
        } else {
            recovered.torn += 1;
            // Covered, so that it is not taken for damage when all this is long synced.
            write_mark(segment, &Header::mark(segment.sequence, *from, to - from, 0))?;
            repaired = true;
        }
    }
    repaired |= end_here(fs, segment, &walked, synced, recovered)?;
    if repaired {
        segment.sync()?;
    }
    segment.end_at(walked.end);
    segment.fact_until(walked.facts_end);
    segment.use_slots(walked.slots);
    // A zero that never reached the disk must not be taken for a destroyed key.
    segment.sync()?;
    segment.forget_slots(walked.slots);
    let slots = segment.read_slots(walked.slots)?;
    // Last first: what was closed is known before it would have to be opened.
    for (header, meta) in std::mem::take(&mut walked.records).into_iter().rev() {
        let slot = slots.get(header.slot as usize).copied().unwrap_or(EMPTY_SLOT);
        let reading = Reading { fs, segment, certain: header.offset < synced, cut_off };
        reading.record(&header, meta, &slot, fold, recovered)?;
    }
    Ok(later_synced || walked.synced > 0)
}

fn walk(segment: &Segment) -> io::Result<Walked> {
    let limit = segment.slots_start(0);
    let mut walked = Walked { end: RECORDS_START, ..Walked::default() };
    let mut walk = Walk::new(segment, RECORDS_START, limit);
    loop {
        match walk.next()? {
            Step::Record { header, void, meta } => {
                walked.end = walk.at();
                walked.synced = walked.synced.max(header.synced);
                if header.slot != NO_SLOT {
                    walked.slots = walked.slots.max(header.slot.saturating_add(1).min(limit / SLOT_OCTETS as u32));
                }
                if header.seal {
                    walked.sealed = true;
                    return Ok(walked);
                }
                if header.kind != Kind::Mark {
                    walked.facts_end = walk.at();
                    if !void {
                        walked.records.push((header, meta));
                    }
                }
            }
            Step::Gap { from, to } => walked.gaps.push((from, to)),
            Step::End => return Ok(walked),
        }
    }
}

/// Where the segment ends without a seal: is there the beginning of a record that does not read? If
/// it was never synced it is sealed off; says whether that was written.
fn end_here(
    fs: &dyn Fs,
    segment: &Segment,
    walked: &Walked,
    synced: u32,
    recovered: &mut Recovered,
) -> io::Result<bool> {
    if walked.sealed || segment.file.octets()? < u64::from(segment.octets) {
        return Ok(false);
    }
    let mut bytes = [0; RECORD_HEADER_OCTETS];
    read_full(&*segment.file, &mut bytes, u64::from(walked.end))?;
    let begun =
        Header::read(&bytes).ok().filter(|header| header.segment == segment.sequence && header.offset == walked.end);
    match begun {
        Some(header) if walked.end < synced => {
            let limit = u64::from(segment.slots_start(0));
            let to = (u64::from(walked.end) + header.record_octets()).min(limit);
            // No further than a u32, as the limit is one.
            recovered.damage.push(Damage::region(fs, segment, walked.end, to as u32, DamageKind::Record));
            return Ok(false);
        }
        Some(_) => recovered.torn += 1,
        None => {}
    }
    let room = segment.slots_start(walked.slots).saturating_sub(walked.end);
    if walked.end == RECORDS_START || room < RECORD_HEADER_OCTETS as u32 {
        return Ok(false);
    }
    let mark = Header::mark(segment.sequence, walked.end, RECORD_HEADER_OCTETS as u32, 0);
    write_mark(segment, &Header { seal: true, ..mark })?;
    Ok(true)
}

struct Reading<'a> {
    fs: &'a dyn Fs,
    segment: &'a Segment,
    /// The record was on stable storage, whatever happened then.
    certain: bool,
    /// The segment's end, where its keys are, is missing.
    cut_off: bool,
}

impl Reading<'_> {
    fn record(
        &self,
        header: &Header,
        meta: Vec<u8>,
        slot: &[u8; SLOT_OCTETS],
        fold: &mut Fold,
        recovered: &mut Recovered,
    ) -> io::Result<()> {
        match header.kind {
            Kind::Accepted => self.accepted(header, meta, slot, fold, recovered),
            Kind::Closed => {
                fold.message(header.message).closed = true;
                Ok(())
            }
            _ if fold.is_closed(header.message) => Ok(()),
            _ => {
                if let Some(fact) = self.fact(header, meta, recovered) {
                    fold.add(header.message, header.origin, fact);
                }
                Ok(())
            }
        }
    }

    fn accepted(
        &self,
        header: &Header,
        meta: Vec<u8>,
        slot: &[u8; SLOT_OCTETS],
        fold: &mut Fold,
        recovered: &mut Recovered,
    ) -> io::Result<()> {
        let id = header.message;
        let place = Place::new(header.segment, header.offset, header.record_octets(), header.slot, header.large);
        let has_key = header.slot != NO_SLOT && *slot != EMPTY_SLOT;
        if has_key && !self.certain && !self.is_whole(header, slot)? {
            recovered.torn += 1;
            fold.message(id).unacknowledged.push(place);
            return Ok(());
        }
        if !has_key && header.slot != NO_SLOT && !self.certain && !fold.is_closed(id) {
            fold.message(id).unacknowledged.push(place);
            return Ok(());
        }
        let closed = fold.is_closed(id);
        if self.cut_off && !has_key && header.slot != NO_SLOT && !closed {
            recovered.damage.push(Damage::missing(DamageKind::KeyMissing, id, place));
        }
        if has_key {
            fold.message(id).copies.push(place);
        }
        if !header.report && (!has_key || closed) {
            return Ok(());
        }
        match self.fact(header, meta, recovered) {
            Some(Fact::Accepted(meta)) if has_key && !closed => fold.add(id, header.origin, Fact::Accepted(meta)),
            Some(Fact::Accepted(meta)) => fold.add_report(id, &meta),
            _ => {}
        }
        Ok(())
    }

    /// Whether all of a record that nobody vouches for was written.
    fn is_whole(&self, header: &Header, slot: &[u8; SLOT_OCTETS]) -> io::Result<bool> {
        let mut body = vec![0; header.body_octets as usize];
        let at = u64::from(header.offset) + RECORD_HEADER_OCTETS as u64 + u64::from(header.meta_octets);
        let there = read_full(&*self.segment.file, &mut body, at)?;
        let whole = there == body.len() && crc32fast::hash(&body) == header.body_crc;
        Ok(whole && self.segment.keys.open_slot(header.message, slot).is_some())
    }

    fn fact(&self, header: &Header, mut meta: Vec<u8>, recovered: &mut Recovered) -> Option<Fact> {
        let fact = open_fact(self.segment, header, &mut meta).filter(|fact| is_of_kind(fact, header.kind));
        if fact.is_none() {
            let to = u64::from(header.offset) + header.record_octets();
            // A record ends inside its segment.
            let region = Damage::region(self.fs, self.segment, header.offset, to as u32, DamageKind::Fact);
            recovered.damage.push(region);
        }
        fact
    }
}
