//! How far the history is, for metrics and for whoever waits for it.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// What can be seen of the projector from outside.
#[derive(Default)]
pub struct Progress {
    facts: AtomicU64,
    stalled: AtomicBool,
    lag_us: AtomicU64,
    /// Counts how often it found nothing more to do.
    rests: watch::Sender<u64>,
}

impl Progress {
    /// Facts written to the history since the start.
    pub fn facts(&self) -> u64 {
        self.facts.load(Ordering::Relaxed)
    }

    /// Whether the history cannot be written at the moment.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// How old the oldest fact is that is being written; zero when all are written.
    pub fn lag(&self) -> Duration {
        Duration::from_micros(self.lag_us.load(Ordering::Relaxed))
    }

    /// Changes each time that all facts which are on stable storage have been written.
    pub fn rests(&self) -> watch::Receiver<u64> {
        self.rests.subscribe()
    }

    pub(super) fn applied(&self, facts: u64) {
        self.facts.fetch_add(facts, Ordering::Relaxed);
    }

    pub(super) fn behind(&self, lag: Duration) {
        self.lag_us.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn caught_up(&self) {
        self.behind(Duration::ZERO);
        self.resume();
        self.rests.send_modify(|rests| *rests += 1);
    }

    /// Told once, however often it is tried again.
    pub(super) fn stall(&self, error: &dyn Display) {
        if !self.stalled.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the history cannot be written; mail goes on, and history follows later");
        }
    }

    pub(super) fn resume(&self) {
        if self.stalled.swap(false, Ordering::Relaxed) {
            tracing::info!("the history is written again");
        }
    }
}
