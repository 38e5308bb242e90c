//! One segment file in use: where its parts are, its keys, its sync.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use privacy::Key;

use crate::format::{
    SEGMENT_HEADER_OCTETS, SLOT_OCTETS, SegmentHeader, SegmentState, VOID_MARK, VOID_MARK_AT, WRAPPED_KEYS_OCTETS,
    parse_segment_header,
};
use crate::fs::{File, Fs, read_full, write_full};
use crate::seal::{EMPTY_SLOT, SegmentKeys};

/// Where records begin.
pub(crate) const RECORDS_START: u32 = SEGMENT_HEADER_OCTETS as u32;
/// Zeros are written in steps of this.
const ZERO_STEP_OCTETS: u64 = 1 << 20;
/// New zeros are synced this often, so that a flush of them never keeps a commit waiting for long.
const ZERO_SYNC_OCTETS: u64 = 4 << 20;

pub(crate) struct Segment {
    pub(crate) sequence: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) octets: u32,
    /// All segments below this number were wholly on stable storage when this one was taken into use.
    pub(crate) synced_below: u64,
    pub(crate) keys: SegmentKeys,
    nonce: AtomicU64,
    /// Readers go no further: behind it there is nothing, or nothing that is known to be synced.
    end: AtomicU32,
    facts_end: AtomicU32,
    slots_used: AtomicU32,
    live: AtomicU64,
    live_octets: AtomicU64,
    /// Why its sync failed. The lock is also the turn: nobody syncs beside another, so that none
    /// takes the error away from the one who must not acknowledge (Linux reports it once per file).
    sync: Mutex<Option<Arc<str>>>,
    failed: AtomicBool,
    /// Compaction found too much to carry: not before this.
    pub(crate) examine_after: Mutex<Option<Instant>>,
}

/// What a segment's file holds, as recovery found it.
pub(crate) enum Found {
    InUse(Box<Segment>),
    Spare {
        octets: u64,
    },
    /// Neither copy of the header can be read.
    Damaged,
    WrongKey,
    Newer,
}

pub(crate) fn segment_name(sequence: u64) -> String {
    format!("segments/{sequence:016x}.seg")
}

pub(crate) fn spare_name(number: u64) -> String {
    format!("segments/spare-{number:016x}.seg")
}

impl Segment {
    fn new(sequence: u64, file: Arc<dyn File>, octets: u32, keys: SegmentKeys, synced_below: u64) -> Segment {
        Segment {
            sequence,
            file,
            octets,
            synced_below,
            keys,
            nonce: AtomicU64::new(0),
            end: AtomicU32::new(u32::MAX),
            facts_end: AtomicU32::new(0),
            slots_used: AtomicU32::new(0),
            live: AtomicU64::new(0),
            live_octets: AtomicU64::new(0),
            sync: Mutex::new(None),
            failed: AtomicBool::new(false),
            examine_after: Mutex::new(None),
        }
    }

    /// Makes a file of zeros that is wholly on stable storage, in steps; `pause` is called between.
    pub(crate) fn make_spare(fs: &dyn Fs, name: &str, octets: u64, mut pause: impl FnMut()) -> io::Result<()> {
        let file = fs.create(name)?;
        let zeros = vec![0; ZERO_STEP_OCTETS.min(octets) as usize];
        let mut at = 0;
        while at < octets {
            let step = ZERO_STEP_OCTETS.min(octets - at);
            write_full(&*file, &mut [IoSlice::new(&zeros[..step as usize])], at)?;
            at += step;
            if at.is_multiple_of(ZERO_SYNC_OCTETS) {
                file.sync()?;
            }
            pause();
        }
        write_spare_header(&*file, octets)?;
        file.sync()?;
        fs.sync_dir("segments")
    }

    /// Takes a spare into use under new keys: header, sync, name, sync of the name.
    pub(crate) fn take_spare(
        fs: &dyn Fs,
        spare: &str,
        sequence: u64,
        synced_below: u64,
        instance: &Key,
    ) -> io::Result<Segment> {
        let file = fs.open(spare)?;
        let octets = file.octets()?;
        let short = u32::try_from(octets).map_err(|_| io::Error::other("a segment is shorter than 4 GiB"))?;
        let (keys, header) = SegmentKeys::draw(instance, sequence, octets, synced_below);
        write_header(&*file, &header)?;
        file.sync()?;
        fs.rename(spare, &segment_name(sequence))?;
        fs.sync_dir("segments")?;
        Ok(Segment::new(sequence, file, short, keys, synced_below))
    }

    /// Reads what `name` holds; `sequence` is what its name says.
    pub(crate) fn find(fs: &dyn Fs, name: &str, sequence: u64, instance: &Key) -> io::Result<Found> {
        let file = fs.open(name)?;
        let length = file.octets()?;
        let mut first = vec![0; SEGMENT_HEADER_OCTETS];
        let mut second = first.clone();
        read_full(&*file, &mut first, 0)?;
        read_full(&*file, &mut second, length.saturating_sub(SEGMENT_HEADER_OCTETS as u64))?;
        let copies = [parse_segment_header(&first), parse_segment_header(&second)];
        if copies.iter().flatten().any(|header| header.state == SegmentState::Spare) {
            // Retiring writes both copies; one is enough to say that nothing in it counts any more.
            return Ok(Found::Spare { octets: length });
        }
        if copies.contains(&Err(crate::format::FormatError::Version)) {
            return Ok(Found::Newer);
        }
        let Some(header) = copies.into_iter().flatten().find(|header| header.sequence == sequence) else {
            return Ok(Found::Damaged);
        };
        let Ok(octets) = u32::try_from(header.octets) else {
            return Ok(Found::Damaged);
        };
        Ok(match SegmentKeys::open(instance, &header) {
            Some(keys) => Found::InUse(Box::new(Segment::new(sequence, file, octets, keys, header.synced_below))),
            None => Found::WrongKey,
        })
    }

    /// A nonce that was never given out before.
    pub(crate) fn next_nonce(&self) -> u64 {
        self.nonce.fetch_add(1, Ordering::Relaxed)
    }

    /// Where the slots begin that are in use when `slots` are: records must stay below.
    pub(crate) fn slots_start(&self, slots: u32) -> u32 {
        let taken = u64::from(slots) * SLOT_OCTETS as u64 + SEGMENT_HEADER_OCTETS as u64;
        u32::try_from(u64::from(self.octets).saturating_sub(taken)).unwrap_or(0)
    }

    fn slot_at(&self, slot: u32) -> u64 {
        u64::from(self.slots_start(slot.saturating_add(1)))
    }

    /// Writes slots `first`, `first + 1`, …; they grow downwards from the end of the file.
    pub(crate) fn write_slots(&self, first: u32, slots: &[[u8; SLOT_OCTETS]]) -> io::Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let last = first + slots.len() as u32 - 1;
        let bytes: Vec<u8> = slots.iter().rev().flatten().copied().collect();
        write_full(&*self.file, &mut [IoSlice::new(&bytes)], self.slot_at(last))
    }

    /// Overwrites slots `first` to `last` with zeros.
    pub(crate) fn destroy_slots(&self, first: u32, last: u32) -> io::Result<()> {
        let bytes = vec![0; (last - first + 1) as usize * SLOT_OCTETS];
        write_full(&*self.file, &mut [IoSlice::new(&bytes)], self.slot_at(last))
    }

    pub(crate) fn read_slot(&self, slot: u32) -> io::Result<[u8; SLOT_OCTETS]> {
        let mut bytes = EMPTY_SLOT;
        read_full(&*self.file, &mut bytes, self.slot_at(slot))?;
        Ok(bytes)
    }

    /// Lets the next look at the first `count` slots see the disk and not what memory holds.
    pub(crate) fn forget_slots(&self, count: u32) {
        self.file.forget_cached(u64::from(self.slots_start(count)), u64::from(self.octets));
    }

    /// Slots 0 to `count - 1`.
    pub(crate) fn read_slots(&self, count: u32) -> io::Result<Vec<[u8; SLOT_OCTETS]>> {
        let mut bytes = vec![0; count as usize * SLOT_OCTETS];
        read_full(&*self.file, &mut bytes, u64::from(self.slots_start(count)))?;
        let (slots, _) = bytes.as_chunks();
        Ok(slots.iter().rev().copied().collect())
    }

    /// Marks the record at `offset` as one that counts for nothing.
    pub(crate) fn void(&self, offset: u32) -> io::Result<()> {
        write_full(&*self.file, &mut [IoSlice::new(&VOID_MARK)], u64::from(offset) + VOID_MARK_AT as u64)
    }

    /// Puts all that was written on stable storage. After one failure it never says again that it
    /// did: the kernel may have dropped what it could not write.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut failed = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &*failed {
            return Err(io::Error::other(why.to_string()));
        }
        self.file.sync().inspect_err(|error| {
            *failed = Some(error.to_string().into());
            self.failed.store(true, Ordering::Release);
        })
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// No sync of it may succeed any more.
    pub(crate) fn mark_failed(&self, why: &str) {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.into());
        self.failed.store(true, Ordering::Release);
    }

    /// Where readers stop.
    pub(crate) fn end(&self) -> u32 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn end_at(&self, offset: u32) {
        self.end.store(offset, Ordering::Release);
    }

    pub(crate) fn slots_used(&self) -> u32 {
        self.slots_used.load(Ordering::Acquire)
    }

    pub(crate) fn use_slots(&self, count: u32) {
        self.slots_used.fetch_max(count, Ordering::AcqRel);
    }

    /// Counts one more live copy of a message, of this record length.
    pub(crate) fn gain(&self, octets: u64) {
        self.live.fetch_add(1, Ordering::AcqRel);
        self.live_octets.fetch_add(octets, Ordering::AcqRel);
    }

    pub(crate) fn lose(&self, octets: u64) {
        self.live.fetch_sub(1, Ordering::AcqRel);
        self.live_octets.fetch_sub(octets, Ordering::AcqRel);
    }

    /// Live copies, among them those whose key is not yet destroyed on stable storage.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn live_octets(&self) -> u64 {
        self.live_octets.load(Ordering::Acquire)
    }

    /// Behind the last record that is a fact; 0 where there is none.
    pub(crate) fn facts_end(&self) -> u32 {
        self.facts_end.load(Ordering::Acquire)
    }

    pub(crate) fn fact_until(&self, offset: u32) {
        self.facts_end.store(offset, Ordering::Release);
    }

    /// Makes it a spare: slots and keys are gone when this returns.
    pub(crate) fn retire(&self) -> io::Result<()> {
        if let Some(last) = self.slots_used().checked_sub(1) {
            self.destroy_slots(0, last)?;
        }
        write_spare_header(&*self.file, u64::from(self.octets))?;
        self.sync()
    }
}

fn write_spare_header(file: &dyn File, octets: u64) -> io::Result<()> {
    let wrapped_keys = [0; WRAPPED_KEYS_OCTETS];
    write_header(
        file,
        &SegmentHeader {
            state: SegmentState::Spare,
            sequence: 0,
            octets,
            synced_below: 0,
            nonce: [0; 12],
            wrapped_keys,
        },
    )
}

/// Both copies: in the first block and in the last, far apart on the disk.
fn write_header(file: &dyn File, header: &SegmentHeader) -> io::Result<()> {
    let block = header.write();
    write_full(file, &mut [IoSlice::new(&block)], 0)?;
    write_full(file, &mut [IoSlice::new(&block)], header.octets.saturating_sub(SEGMENT_HEADER_OCTETS as u64))
}

/// Whether either copy of the header says that the file is a finished spare.
pub(crate) fn has_spare_header(file: &dyn File, octets: u64) -> io::Result<bool> {
    let mut block = vec![0; SEGMENT_HEADER_OCTETS];
    for at in [0, octets.saturating_sub(SEGMENT_HEADER_OCTETS as u64)] {
        read_full(file, &mut block, at)?;
        if parse_segment_header(&block).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}
