//! Opening: what is in the files, what of it counts, and what has to be tidied up.
//!
//! The newest segment is read first, so that what was closed is known before its other records
//! would have to be opened. Nothing is appended to a segment that was found.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base::{Clock, Fact, MessageId};
use privacy::MasterKey;
use tokio::sync::{Notify, watch};

use crate::committer::Commits;
use crate::core::{Condition, Core, Counters, Options, lock};
use crate::cursor::Cursor;
use crate::damage::{Damage, DamageKind};
use crate::destroy::Doomed;
use crate::error::OpenError;
use crate::fold::{Fold, RecoveredMessage};
use crate::fs::Fs;
use crate::index::{Index, Place};
use crate::keeper::Bell;
use crate::large::{FOLDER, LargeFiles, large_name};
use crate::scan::scan;
use crate::segment::{Found, RECORDS_START, Segment, segment_name};
use crate::writer::Writer;

/// Up to this many of the newest segments may hold what was never synced: the one in use, the one
/// before it, and one given up after a failed sync.
const MAYBE_UNSYNCED: usize = 3;

/// What was in the spool when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// All messages that wait, by id.
    pub messages: Vec<RecoveredMessage>,
    /// What was found that is not what was written. A message that is lost by it is named where
    /// that can be read; the bytes are kept in `quarantine/`.
    pub damage: Vec<Damage>,
    /// Records that were being written when the machine stopped. Nobody was told that they are safe.
    pub torn: u64,
}

/// The files in `segments/`.
struct Inventory {
    segments: BTreeMap<u64, Arc<Segment>>,
    spares: Vec<String>,
    next_sequence: u64,
}

impl Core {
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        options: Options,
        keys: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<(Core, Recovered), OpenError> {
        let options = options.checked()?;
        fs.own()?;
        let mut recovered = Recovered::default();
        let instance = keys.derive("postrider spool segment v1");
        let inventory = take_stock(&*fs, &instance, &options, &mut recovered)?;
        let before = inventory.segments.keys().next_back().copied().unwrap_or(0);
        let core = Core {
            fs,
            options,
            clock,
            instance,
            segments: RwLock::new(inventory.segments),
            current: RwLock::new(None),
            writer: Mutex::new(Writer::default()),
            commits: Commits::default(),
            sync_turn: Mutex::new(()),
            synced: AtomicU64::new(Cursor { segment: before + 1, offset: 0 }.pack()),
            synced_watch: watch::Sender::new(Cursor::START),
            projected: AtomicU64::new(0),
            index: Index::default(),
            doomed: Mutex::new(Vec::new()),
            salvaged: Mutex::new(Vec::new()),
            room: Notify::new(),
            bell: Bell::default(),
            spares: Mutex::new(inventory.spares),
            next_sequence: AtomicU64::new(inventory.next_sequence),
            large: LargeFiles::default(),
            condition: Condition::default(),
            counters: Counters::default(),
        };
        core.recover(&mut recovered)?;
        Ok((core, recovered))
    }

    /// Reads all segments and tidies up.
    fn recover(&self, recovered: &mut Recovered) -> Result<(), OpenError> {
        let segments: Vec<Arc<Segment>> = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            segments.values().rev().cloned().collect()
        };
        for segment in segments.iter().take(MAYBE_UNSYNCED) {
            // What is read now is told to others as safe, so it must be. A sync that failed before
            // may have left in memory what is not on the disk: look at the disk.
            segment.sync().map_err(OpenError::io(segment_name(segment.sequence)))?;
            segment.file.forget_cached(0, u64::from(segment.octets));
        }
        let mut fold = Fold::default();
        let synced_below = segments.iter().map(|segment| segment.synced_below).max().unwrap_or(0);
        let mut later_synced = false;
        for segment in &segments {
            let io = OpenError::io(segment_name(segment.sequence));
            later_synced |= segment.sequence < synced_below;
            later_synced = scan(&*self.fs, segment, later_synced, &mut fold, recovered).map_err(io)?;
        }
        drop(segments);
        self.settle(&mut fold).map_err(OpenError::io("segments"))?;
        self.tidy_large(&fold, recovered)?;
        // Its header says that all before it was synced; only then may others go that say so too.
        self.begin();
        self.drop_empty_segments();
        recovered.messages = fold.into_messages();
        Ok(())
    }

    /// Decides which copy of each message counts, and ends what does not: its slot is zeroed.
    fn settle(&self, fold: &mut Fold) -> std::io::Result<()> {
        let mut doomed: Vec<Place> = Vec::new();
        let mut void: Vec<Place> = Vec::new();
        for (id, message) in &mut fold.messages {
            if !message.has_history() && message.copies.is_empty() {
                void.append(&mut message.unacknowledged);
            }
            message.copies.sort_by_key(|place| (place.segment(), place.offset()));
            if message.closed || message.meta.is_none() {
                doomed.append(&mut message.copies);
                continue;
            }
            if let Some(place) = message.copies.pop() {
                doomed.append(&mut message.copies);
                message.copies.push(place);
                self.index.insert(*id, place);
                if let Some(segment) = self.segment(place.segment()) {
                    segment.gain(place.octets());
                }
            }
        }
        void.sort_by_key(|place| (place.segment(), place.offset()));
        let mut touched = BTreeSet::new();
        for place in void {
            if let Some(segment) = self.segment(place.segment()) {
                segment.void(place.offset())?;
                segment.destroy_slots(place.slot, place.slot)?;
                touched.insert(place.segment());
            }
        }
        for sequence in touched {
            if let Some(segment) = self.segment(sequence) {
                segment.sync()?;
            }
        }
        for place in &doomed {
            if let Some(segment) = self.segment(place.segment()) {
                segment.gain(place.octets());
            }
        }
        lock(&self.doomed).extend(doomed.into_iter().map(|place| Doomed { place, after: Cursor::START, large: None }));
        // What the disk does not take now, the keeper tries again.
        self.destroy_step();
        Ok(())
    }

    /// Removes the files of drafts that were never committed and of messages that are closed.
    fn tidy_large(&self, fold: &Fold, recovered: &mut Recovered) -> Result<(), OpenError> {
        let mut missing: HashMap<MessageId, Place> = fold
            .messages
            .keys()
            .filter_map(|id| self.index.place(*id).filter(|place| place.is_large()).map(|place| (*id, place)))
            .collect();
        for name in self.fs.list(FOLDER).map_err(OpenError::io(FOLDER))? {
            let id = name.strip_suffix(".body").and_then(|id| id.parse::<MessageId>().ok());
            let wanted = id.is_some_and(|id| missing.remove(&id).is_some());
            if let (Some(id), false) = (id, wanted)
                && let Err(error) = self.fs.remove(&large_name(id))
            {
                tracing::warn!(message = %id, %error, "cannot remove the file of a large body");
            }
        }
        let mut missing: Vec<_> = missing.into_iter().collect();
        missing.sort_by_key(|(id, _)| *id);
        let missing = missing.into_iter().map(|(id, place)| Damage::missing(DamageKind::BodyMissing, id, place));
        recovered.damage.extend(missing);
        Ok(())
    }

    /// A segment without a record has nothing to wait for. It stays where no newer one could be made:
    /// the highest number must not be forgotten, as cursors hold it.
    fn drop_empty_segments(&self) {
        if lock(&self.writer).active.is_none() {
            return;
        }
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let empty: Vec<u64> =
            segments.iter().filter(|(_, segment)| segment.end() == RECORDS_START).map(|(s, _)| *s).collect();
        for sequence in empty {
            if let Some(segment) = segments.remove(&sequence)
                && let Err(error) = self.give_back(&segment)
            {
                tracing::warn!(segment = sequence, %error, "cannot give back an empty segment; the next start does it");
            }
        }
    }

    /// Starts the segment that is appended to, where the disk has room for one.
    fn begin(&self) {
        self.make_ready();
        self.roll_locked(&mut lock(&self.writer));
        if let Some(segment) = &*self.current.read().unwrap_or_else(PoisonError::into_inner) {
            let start = Cursor { segment: segment.sequence, offset: RECORDS_START };
            self.synced.store(start.pack(), Ordering::Release);
        }
        // The next one is made while this one fills.
        self.bell.ring();
        self.publish();
    }
}

/// Looks at every file in `segments/`.
fn take_stock(
    fs: &dyn Fs,
    instance: &privacy::Key,
    options: &Options,
    recovered: &mut Recovered,
) -> Result<Inventory, OpenError> {
    let mut inventory = Inventory { segments: BTreeMap::new(), spares: Vec::new(), next_sequence: 1 };
    let mut names = fs.list("segments").map_err(OpenError::io("segments"))?;
    names.sort();
    for name in names {
        let path = format!("segments/{name}");
        let Some((sequence, spare)) = number_of(&name) else {
            tracing::warn!(file = path, "a file that is none of the spool's; it is left alone");
            continue;
        };
        inventory.next_sequence = inventory.next_sequence.max(sequence + 1);
        let found = if spare { spare_of(fs, &path, options) } else { Segment::find(fs, &path, sequence, instance) };
        match found.map_err(OpenError::io(&*path))? {
            Found::InUse(segment) => {
                inventory.segments.insert(sequence, Arc::from(segment));
            }
            Found::Spare { octets } => {
                let keep = octets == options.segment_octets && inventory.spares.len() < options.spares_max;
                if keep {
                    inventory.spares.push(path);
                } else if let Err(error) = fs.remove(&path) {
                    tracing::warn!(file = path, %error, "cannot remove an empty segment");
                }
            }
            Found::Damaged => recovered.damage.push(Damage::whole_segment(fs, &path, sequence)),
            Found::WrongKey => return Err(OpenError::WrongKey { file: path }),
            Found::Newer => return Err(OpenError::Version { file: path, what: "segment header" }),
        }
    }
    Ok(inventory)
}

/// A spare is one only when it was finished, which its length and its header say.
fn spare_of(fs: &dyn Fs, path: &str, options: &Options) -> std::io::Result<Found> {
    let file = fs.open(path)?;
    let octets = file.octets()?;
    // Its header was written last, so the zeros before it are there; half a file is removed.
    let finished = crate::segment::has_spare_header(&*file, octets)? && octets == options.segment_octets;
    Ok(Found::Spare { octets: if finished { octets } else { 0 } })
}

/// The number in a file's name, and whether it names a spare.
fn number_of(name: &str) -> Option<(u64, bool)> {
    let stem = name.strip_suffix(".seg")?;
    let (digits, spare) = match stem.strip_prefix("spare-") {
        Some(digits) => (digits, true),
        None => (stem, false),
    };
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 16)?;
    // Sequence numbers end at 32 bits; see `Cursor::pack`.
    (number < u64::from(u32::MAX)).then_some((number, spare))
}

/// The fact is there, and is what the record's kind says.
pub(crate) fn is_of_kind(fact: &Fact, kind: crate::format::Kind) -> bool {
    crate::format::Kind::of(fact) == kind
}
