//! Appending: seal outside the lock, place and write inside it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use base::MessageId;

use crate::core::{Core, lock};
use crate::cursor::Cursor;
use crate::error::SpoolError;
use crate::format::{Header, Kind, NO_SLOT, RECORD_ALIGN, RECORD_HEADER_OCTETS, SLOT_OCTETS, meta_aad, record_octets};
use crate::fs::write_full;
use crate::index::Place;
use crate::seal::BodyKey;
use crate::segment::{RECORDS_START, Segment};

#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) active: Option<Active>,
    /// Empty segments whose header and name are on stable storage, in order.
    pub(crate) ready: VecDeque<Arc<Segment>>,
    /// Left since the last sync, oldest first.
    pub(crate) rolled: Vec<Unsynced>,
    /// Something was appended since the last sync began.
    pub(crate) dirty: bool,
    /// The last record says how far all was synced.
    pub(crate) marked: bool,
}

/// The segment that is appended to.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) tail: u32,
    pub(crate) slots: u32,
    /// Slots that wait for the next sync: one write for all of a group.
    pub(crate) staged: Vec<[u8; SLOT_OCTETS]>,
    pub(crate) since: Instant,
}

/// What the next sync of a segment has to cover.
pub(crate) struct Unsynced {
    pub(crate) segment: Arc<Segment>,
    pub(crate) first_slot: u32,
    pub(crate) staged: Vec<[u8; SLOT_OCTETS]>,
    pub(crate) tail: u32,
}

/// A record to append, before it is sealed for a segment.
pub(crate) struct Entry<'a> {
    pub(crate) kind: Kind,
    pub(crate) message: MessageId,
    pub(crate) carried: bool,
    pub(crate) report: bool,
    pub(crate) large: bool,
    /// The fact in postcard; empty for a mark.
    pub(crate) fact: &'a [u8],
    /// Sealed already.
    pub(crate) body: &'a [u8],
    pub(crate) body_crc: u32,
    pub(crate) plain_octets: u64,
    pub(crate) key: Option<&'a BodyKey>,
    /// Where it was said first, when not here.
    pub(crate) origin: Option<u64>,
}

impl Entry<'_> {
    pub(crate) fn fact(kind: Kind, message: MessageId, fact: &[u8]) -> Entry<'_> {
        Entry {
            kind,
            message,
            carried: false,
            report: false,
            large: false,
            fact,
            body: &[],
            body_crc: 0,
            plain_octets: 0,
            key: None,
            origin: None,
        }
    }
}

/// A fact whose segment's sync failed: to be said again in another.
pub(crate) struct Salvaged {
    pub(crate) kind: Kind,
    pub(crate) message: MessageId,
    pub(crate) carried: bool,
    pub(crate) origin: u64,
    pub(crate) fact: Vec<u8>,
}

/// Who may use how much of what is left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// New mail: leaves a reserve for facts.
    Accept,
    /// What must be recorded as long as there is any room.
    Fact,
}

pub(crate) enum Refusal {
    /// The keeper is about to make room: wait for [`Core::room`].
    Wait,
    Error(SpoolError),
}

pub(crate) struct Appended {
    pub(crate) place: Place,
    pub(crate) end: Cursor,
    /// It is the first since the last sync: somebody must see to the next.
    pub(crate) first: bool,
}

enum Admission {
    Fits,
    Roll,
}

impl Core {
    /// Writes one record behind the last. It is on stable storage only after the next sync.
    pub(crate) fn append(&self, entry: &Entry<'_>, claim: Claim) -> Result<Appended, Refusal> {
        loop {
            let Some(segment) = self.current.read().unwrap_or_else(PoisonError::into_inner).clone() else {
                self.roll(None, claim)?;
                continue;
            };
            let nonce = segment.next_nonce();
            let mut meta = entry.fact.to_vec();
            segment.keys.seal_meta(
                nonce,
                &meta_aad(entry.kind, entry.carried, segment.sequence, entry.message),
                &mut meta,
            );
            let slot = entry.key.map(|key| segment.keys.seal_slot(nonce, entry.message, key));
            let octets = record_octets(meta.len(), entry.body.len());
            match self.place(&segment, entry, nonce, &meta, slot, octets, claim)? {
                Some(appended) => return Ok(appended),
                None => self.roll(Some((&segment, octets, slot.is_some())), claim)?,
            }
        }
    }

    /// `None`: another segment is active, or must become so.
    #[expect(clippy::too_many_arguments, reason = "the sealed parts of one record, made outside the lock")]
    fn place(
        &self,
        segment: &Arc<Segment>,
        entry: &Entry<'_>,
        nonce: u64,
        meta: &[u8],
        slot: Option<[u8; SLOT_OCTETS]>,
        octets: u64,
        claim: Claim,
    ) -> Result<Option<Appended>, Refusal> {
        let mut meta_crc = crc32fast::Hasher::new();
        meta_crc.update(meta);
        let mut writer = lock(&self.writer);
        // Inside the lock: after a failed sync or the last one nothing may slip in.
        match claim {
            Claim::Accept => self.accepting().map_err(Refusal::Error)?,
            Claim::Fact => self.running().map_err(Refusal::Error)?,
        }
        match self.admit(&writer, segment, octets, slot.is_some(), claim)? {
            Admission::Fits => {}
            Admission::Roll => return Ok(None),
        }
        let Some(active) = &mut writer.active else { return Ok(None) };
        let offset = active.tail;
        let synced = self.synced();
        let header = Header {
            kind: entry.kind,
            carried: entry.carried,
            large: entry.large,
            report: entry.report,
            seal: false,
            segment: segment.sequence,
            message: entry.message,
            offset,
            synced: if synced.segment == segment.sequence { synced.offset } else { 0 },
            meta_octets: meta.len() as u32,
            body_octets: entry.body.len() as u32,
            plain_octets: entry.plain_octets,
            nonce,
            origin: entry.origin.unwrap_or(Cursor { segment: segment.sequence, offset }.pack()),
            slot: if slot.is_some() { active.slots } else { NO_SLOT },
            body_crc: entry.body_crc,
        };
        write_record(segment, &header, &meta_crc, meta, entry.body).map_err(Refusal::Error)?;
        active.tail += octets as u32;
        if let Some(slot) = slot {
            active.staged.push(slot);
            active.slots += 1;
            segment.use_slots(active.slots);
        }
        let end = Cursor { segment: segment.sequence, offset: active.tail };
        if entry.kind != Kind::Mark {
            segment.fact_until(active.tail);
        }
        let place = Place::new(segment.sequence, offset, octets, header.slot, entry.large);
        if slot.is_some() {
            segment.gain(octets);
            if !entry.carried {
                // Inside the lock, so that whoever sees the record sees the message too.
                self.index.insert(entry.message, place);
            }
        }
        writer.marked = entry.kind == Kind::Mark;
        let first = !std::mem::replace(&mut writer.dirty, true);
        Ok(Some(Appended { place, end, first }))
    }

    /// Whether a record of this length may go where the active segment's tail is.
    fn admit(
        &self,
        writer: &Writer,
        segment: &Arc<Segment>,
        octets: u64,
        with_slot: bool,
        claim: Claim,
    ) -> Result<Admission, Refusal> {
        let Some(active) = writer.active.as_ref().filter(|active| Arc::ptr_eq(&active.segment, segment)) else {
            return Ok(Admission::Roll);
        };
        let left = active.room(with_slot);
        let Some(after) = left.checked_sub(octets) else {
            return Ok(Admission::Roll);
        };
        if claim == Claim::Accept && writer.ready.is_empty() && after < self.options.reserve_octets() {
            return Err(self.no_room(octets));
        }
        Ok(Admission::Fits)
    }

    fn no_room(&self, octets: u64) -> Refusal {
        if octets + SLOT_OCTETS as u64 > self.options.usable_octets() - self.options.reserve_octets() {
            return Refusal::Error(SpoolError::TooLarge);
        }
        match &*lock(&self.condition.no_room) {
            Some(error) => Refusal::Error(error.clone()),
            None => Refusal::Wait,
        }
    }

    /// Goes on in the next segment, if `full` is still the active one and has no room.
    fn roll(&self, full: Option<(&Arc<Segment>, u64, bool)>, claim: Claim) -> Result<(), Refusal> {
        let mut writer = lock(&self.writer);
        let octets = full.map_or(0, |(_, octets, _)| octets);
        match (&writer.active, full) {
            (Some(active), Some((segment, octets, with_slot))) => {
                if !Arc::ptr_eq(&active.segment, segment) || active.room(with_slot) >= octets {
                    return Ok(());
                }
            }
            (Some(_), None) => return Ok(()),
            (None, _) => {}
        }
        if octets + SLOT_OCTETS as u64 > self.options.usable_octets() - self.options.reserve_octets() {
            return Err(Refusal::Error(SpoolError::TooLarge));
        }
        if self.roll_locked(&mut writer) {
            self.bell.ring();
            return Ok(());
        }
        self.bell.ring();
        match (self.no_room(octets), claim) {
            // A fact cannot wait: it would hold up the runner. The reserve makes this a rare end.
            (Refusal::Wait, Claim::Fact) => Err(Refusal::Error(SpoolError::Full)),
            (refusal, _) => Err(refusal),
        }
    }

    /// Makes the next ready segment the active one. False: there is none.
    pub(crate) fn roll_locked(&self, writer: &mut Writer) -> bool {
        let Some(next) = writer.ready.pop_front() else { return false };
        if let Some(old) = writer.active.take() {
            let unsynced = self.seal_segment(old);
            writer.rolled.push(unsynced);
        }
        self.segments.write().unwrap_or_else(PoisonError::into_inner).insert(next.sequence, Arc::clone(&next));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&next));
        let since = Instant::now();
        writer.active = Some(Active { segment: next, tail: RECORDS_START, slots: 0, staged: Vec::new(), since });
        true
    }

    /// Writes the last record of a segment, which says that there is no other.
    fn seal_segment(&self, mut old: Active) -> Unsynced {
        let segment = old.segment;
        let synced = self.synced();
        let synced = if synced.segment == segment.sequence { synced.offset } else { 0 };
        let mark = Header::mark(segment.sequence, old.tail, RECORD_HEADER_OCTETS as u32, synced);
        // Without it recovery has to look further for the end; nothing is lost.
        if write_mark(&segment, &Header { seal: true, ..mark }).is_ok() {
            old.tail += RECORD_HEADER_OCTETS as u32;
        }
        segment.end_at(old.tail);
        let first_slot = old.slots - old.staged.len() as u32;
        Unsynced { segment, first_slot, staged: old.staged, tail: old.tail }
    }
}

impl Active {
    /// Octets that a record can have here.
    pub(crate) fn room(&self, with_slot: bool) -> u64 {
        let slots = self.slots + u32::from(with_slot);
        let end = self.segment.slots_start(slots).saturating_sub(RECORD_HEADER_OCTETS as u32);
        u64::from(end.saturating_sub(self.tail))
    }
}

/// Writes the header of a mark; what it covers stays as it is.
pub(crate) fn write_mark(segment: &Segment, mark: &Header) -> io::Result<()> {
    let fixed = mark.write(&crc32fast::Hasher::new());
    write_full(&*segment.file, &mut [IoSlice::new(&fixed)], u64::from(mark.offset))
}

fn write_record(
    segment: &Segment,
    header: &Header,
    meta_crc: &crc32fast::Hasher,
    meta: &[u8],
    body: &[u8],
) -> Result<(), SpoolError> {
    let fixed = header.write(meta_crc);
    let padding = [0; RECORD_ALIGN];
    let octets = RECORD_HEADER_OCTETS + meta.len() + body.len();
    let padding = &padding[..octets.next_multiple_of(RECORD_ALIGN) - octets];
    let mut parts = [&fixed[..], meta, body, padding].map(IoSlice::new);
    Ok(write_full(&*segment.file, &mut parts, u64::from(header.offset))?)
}
