//! Housekeeping on a thread of its own: a segment ready ahead of need, keys destroyed in time, old
//! segments given back.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::core::{Core, lock};
use crate::error::SpoolError;
use crate::segment::{RECORDS_START, Segment, spare_name};

/// Between the steps of making a new file, when nobody waits for it.
const PAUSE: Duration = Duration::from_millis(3);

/// Rings when there is something to do before the next round.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<BellState>,
    wake: Condvar,
}

#[derive(Default)]
struct BellState {
    rung: bool,
    stop: bool,
}

impl Bell {
    pub(crate) fn ring(&self) {
        lock(&self.state).rung = true;
        self.wake.notify_one();
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stop = true;
        self.wake.notify_one();
    }

    /// Waits for the bell, at most `timeout`. False: stop.
    fn wait(&self, timeout: Duration) -> bool {
        let mut state = lock(&self.state);
        if !state.rung && !state.stop {
            state = self.wake.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.rung = false;
        !state.stop
    }

    /// A short wait that a shutdown ends.
    fn pause(&self) {
        let state = lock(&self.state);
        if !state.stop {
            drop(self.wake.wait_timeout(state, PAUSE));
        }
    }
}

impl Core {
    /// The keeper thread.
    pub(crate) fn run_keeper(&self) {
        let interval = self.options.destroy_interval;
        let mut round_at = Instant::now() + interval;
        while self.bell.wait(round_at.saturating_duration_since(Instant::now())) {
            self.make_ready();
            let now = Instant::now();
            if now >= round_at {
                self.round(now);
                round_at = Instant::now() + interval;
            }
        }
    }

    /// All that is due at `now` but making a segment ready.
    pub(crate) fn round(&self, now: Instant) {
        if !lock(&self.salvaged).is_empty() {
            self.salvage();
        }
        self.destroy_step();
        self.rotate(now);
        self.compact_step(now);
    }

    /// Keeps one segment ready, so that going on in the next one costs nothing.
    pub(crate) fn make_ready(&self) {
        if !lock(&self.writer).ready.is_empty() {
            return;
        }
        let result = self.ready_segment();
        let no_room = match result {
            Ok(segment) => {
                lock(&self.writer).ready.push_back(Arc::new(segment));
                None
            }
            Err(error) => {
                tracing::error!(%error, "the spool cannot make a new segment; it tries again");
                Some(SpoolError::from(error))
            }
        };
        *lock(&self.condition.no_room) = no_room;
        self.room.notify_waiters();
    }

    fn ready_segment(&self) -> io::Result<Segment> {
        let spare = lock(&self.spares).pop();
        let spare = match spare {
            Some(spare) => spare,
            None => self.make_spare()?,
        };
        let sequence = self.next_sequence.fetch_add(1, Ordering::Relaxed);
        let taken = Segment::take_spare(&*self.fs, &spare, sequence, self.synced().segment, &self.instance);
        if taken.is_err() {
            // Under whichever name it is now, recovery finds it empty.
            let _ = self.fs.remove(&spare);
        }
        taken
    }

    fn make_spare(&self) -> io::Result<String> {
        let name = spare_name(self.next_sequence.fetch_add(1, Ordering::Relaxed));
        let enough = self.options.usable_octets() / 2;
        let urgent = || lock(&self.writer).active.as_ref().is_none_or(|active| active.room(true) < enough);
        let mut destroyed_at = Instant::now();
        let pause = || {
            if !urgent() {
                self.bell.pause();
            }
            // On a slow disk this takes longer than closed messages may keep their keys.
            if destroyed_at.elapsed() >= self.options.destroy_interval {
                self.destroy_step();
                destroyed_at = Instant::now();
            }
        };
        let made = Segment::make_spare(&*self.fs, &name, self.options.segment_octets, pause);
        if made.is_err() {
            // Half a segment is of no use to us, but its space may be to others.
            let _ = self.fs.remove(&name);
        }
        made.map(|()| name)
    }

    /// Leaves an old active segment, so that what it says does not linger with it.
    fn rotate(&self, now: Instant) {
        let rotated = {
            let mut writer = lock(&self.writer);
            let due = writer.active.as_ref().is_some_and(|active| {
                active.tail > RECORDS_START && now.duration_since(active.since) >= self.options.rotate_after
            });
            due && self.roll_locked(&mut writer)
        };
        if rotated {
            self.sync_step();
            self.make_ready();
        }
    }
}
