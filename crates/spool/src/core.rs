//! What the handle, the drafts and the threads share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use base::Clock;
use privacy::Key;
use tokio::sync::{Notify, watch};

use crate::committer::Commits;
use crate::cursor::Cursor;
use crate::destroy::Doomed;
use crate::error::{OpenError, SpoolError};
use crate::format::{RECORD_HEADER_OCTETS, SEGMENT_HEADER_OCTETS};
use crate::fs::Fs;
use crate::index::Index;
use crate::keeper::Bell;
use crate::large::LargeFiles;
use crate::segment::Segment;
use crate::writer::{Salvaged, Writer};

/// How a spool is set up. The defaults are right for service; tests make segments small.
#[derive(Debug, Clone)]
pub struct Options {
    /// The spool's own directory, made with mode 0700 if it is not there.
    pub dir: PathBuf,
    /// The length of a segment file: 16 KiB to 1 GiB, a multiple of 4 KiB.
    pub segment_octets: u64,
    /// The longest message that is taken.
    pub message_octets_max: u64,
    /// Longer bodies get a file of their own. At most an eighth of a segment counts.
    pub inline_octets_max: usize,
    /// Facts that nobody waits for are synced within this.
    pub lazy_sync: Duration,
    /// How often the keys of closed messages are destroyed on disk. Together with `lazy_sync` it
    /// must stay far below the 10 seconds that are promised.
    pub destroy_interval: Duration,
    /// An active segment that is older is closed for writing, so that its facts do not linger.
    pub rotate_after: Duration,
    /// Empty segment files kept for later use; what is above is deleted.
    pub spares_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dir: PathBuf::from("data/spool"),
            segment_octets: 64 << 20,
            message_octets_max: 50 << 20,
            inline_octets_max: 128 << 10,
            lazy_sync: Duration::from_millis(50),
            destroy_interval: Duration::from_secs(1),
            rotate_after: Duration::from_secs(3600),
            spares_max: 2,
        }
    }
}

impl Options {
    pub(crate) fn checked(mut self) -> Result<Options, OpenError> {
        if !(16 << 10..=1 << 30).contains(&self.segment_octets) || !self.segment_octets.is_multiple_of(4096) {
            return Err(OpenError::Options("segment_octets is 16 KiB to 1 GiB, a multiple of 4 KiB"));
        }
        if self.lazy_sync + self.destroy_interval * 2 > Duration::from_secs(5) {
            return Err(OpenError::Options("lazy_sync and destroy_interval leave no time to destroy keys in"));
        }
        self.inline_octets_max = self.inline_octets_max.min(self.segment_octets as usize / 8);
        Ok(self)
    }

    /// Octets of a segment that records and slots share.
    pub(crate) fn usable_octets(&self) -> u64 {
        // The last record of a segment is its seal.
        self.segment_octets - 2 * SEGMENT_HEADER_OCTETS as u64 - RECORD_HEADER_OCTETS as u64
    }

    /// Mail is refused while facts would have less room than this: what was accepted before the
    /// disk was full can still be delivered, and its end be recorded, which makes room again.
    pub(crate) fn reserve_octets(&self) -> u64 {
        self.usable_octets() / 4
    }
}

/// Whether mail is accepted, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Good,
    /// No new segment can be made: mail is refused (452) as soon as the last one is used up, and
    /// accepted again when there is space.
    Full,
    /// A sync failed: nothing is accepted (451) until the disk is good and the server restarted.
    /// Outcomes are still recorded as far as the disk lets us. Or a new segment cannot be made, for
    /// another reason than space: that heals by itself.
    ReadOnly {
        why: Arc<str>,
    },
}

/// Counters since the start, and what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub live_messages: u64,
    /// Octets of their records, without large bodies.
    pub live_octets: u64,
    /// Segments in use, the one kept ready among them.
    pub segments: u64,
    pub commits: u64,
    pub facts: u64,
    pub syncs: u64,
    /// Keys overwritten on stable storage.
    pub keys_destroyed: u64,
    /// Keys of closed messages that are not yet overwritten on stable storage.
    pub destroy_backlog: u64,
    /// Messages moved out of old segments.
    pub carried: u64,
    pub segments_recycled: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) facts: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) keys_destroyed: AtomicU64,
    pub(crate) carried: AtomicU64,
    pub(crate) segments_recycled: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Why there is less than there should be.
#[derive(Default)]
pub(crate) struct Condition {
    /// Set once, by the first failed sync.
    pub(crate) failed: OnceLock<Arc<str>>,
    /// Why no new segment can be made at the moment.
    pub(crate) no_room: Mutex<Option<SpoolError>>,
    pub(crate) stopped: AtomicBool,
}

pub(crate) struct Core {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    /// Wraps the keys of segments.
    pub(crate) instance: Key,
    /// All segments in use, the ready ones excepted.
    pub(crate) segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    /// The one that is appended to, so that sealing needs no turn at the writer.
    pub(crate) current: RwLock<Option<Arc<Segment>>>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) commits: Commits,
    /// The turn to sync: the committer's, or who cannot wait for it.
    pub(crate) sync_turn: Mutex<()>,
    /// All in front of this is on stable storage ([`Cursor::pack`]).
    pub(crate) synced: AtomicU64,
    pub(crate) synced_watch: watch::Sender<Cursor>,
    pub(crate) projected: AtomicU64,
    pub(crate) index: Index,
    pub(crate) doomed: Mutex<Vec<Doomed>>,
    pub(crate) salvaged: Mutex<Vec<Salvaged>>,
    /// Told when a segment was made ready, or cannot be.
    pub(crate) room: Notify,
    pub(crate) bell: Bell,
    pub(crate) spares: Mutex<Vec<String>>,
    pub(crate) next_sequence: AtomicU64,
    pub(crate) large: LargeFiles,
    pub(crate) condition: Condition,
    pub(crate) counters: Counters,
}

/// Locks; what a panicking thread left behind is still consistent, as no lock is held across a
/// half-done change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn synced(&self) -> Cursor {
        Cursor::unpack(self.synced.load(Ordering::Acquire))
    }

    pub(crate) fn projected(&self) -> Cursor {
        Cursor::unpack(self.projected.load(Ordering::Acquire))
    }

    pub(crate) fn segment(&self, sequence: u64) -> Option<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).get(&sequence).cloned()
    }

    /// The first segment at or behind this number.
    pub(crate) fn segment_from(&self, sequence: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.range(sequence..).next().map(|(_, segment)| Arc::clone(segment))
    }

    /// # Errors
    /// When no mail can be accepted at all.
    pub(crate) fn accepting(&self) -> Result<(), SpoolError> {
        if let Some(why) = self.condition.failed.get() {
            return Err(SpoolError::ReadOnly(Arc::clone(why)));
        }
        self.running()
    }

    pub(crate) fn running(&self) -> Result<(), SpoolError> {
        if self.condition.stopped.load(Ordering::Acquire) {
            return Err(SpoolError::ReadOnly("it is shut down".into()));
        }
        Ok(())
    }

    pub(crate) fn health(&self) -> Health {
        if let Some(why) = self.condition.failed.get() {
            return Health::ReadOnly { why: Arc::clone(why) };
        }
        match &*lock(&self.condition.no_room) {
            Some(SpoolError::Full) => Health::Full,
            Some(error) => Health::ReadOnly { why: error.to_string().into() },
            None => Health::Good,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let (segments, live_octets) = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            (segments.len() as u64, segments.values().map(|s| s.live_octets()).sum())
        };
        let ready = lock(&self.writer).ready.len() as u64;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            live_messages: self.index.len(),
            live_octets,
            segments: segments + ready,
            commits: read(&self.counters.commits),
            facts: read(&self.counters.facts),
            syncs: read(&self.counters.syncs),
            keys_destroyed: read(&self.counters.keys_destroyed),
            destroy_backlog: lock(&self.doomed).len() as u64,
            carried: read(&self.counters.carried),
            segments_recycled: read(&self.counters.segments_recycled),
        }
    }
}
