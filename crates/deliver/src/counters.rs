//! What delivery counts, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use base::Outcome;

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    pub attempts: AtomicU64,
    /// Recipients by their outcome.
    pub delivered: AtomicU64,
    pub deferred: AtomicU64,
    pub bounced: AtomicU64,
    pub expired: AtomicU64,
    pub cancelled: AtomicU64,
    /// Recipients deferred although the peer may have taken the message.
    pub maybe_delivered: AtomicU64,
    /// Reports (RFC 3464) written.
    pub reports: AtomicU64,
    /// Messages that could not be read back.
    pub quarantined: AtomicU64,
    /// As of now: jobs that wait or run, destinations, attempts that run, held jobs.
    pub queued: AtomicU64,
    pub lanes: AtomicU64,
    pub in_flight: AtomicU64,
    pub held: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Delivered { .. } => &self.delivered,
            Outcome::Deferred { maybe_delivered, .. } => {
                if *maybe_delivered {
                    self.maybe_delivered.fetch_add(1, Ordering::Relaxed);
                }
                &self.deferred
            }
            Outcome::Bounced => &self.bounced,
            Outcome::Expired => &self.expired,
            Outcome::Cancelled => &self.cancelled,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn show(&self, stats: &queue::Stats) {
        self.queued.store(stats.jobs as u64, Ordering::Relaxed);
        self.lanes.store(stats.lanes as u64, Ordering::Relaxed);
        self.in_flight.store(stats.in_flight as u64, Ordering::Relaxed);
        self.held.store(stats.held as u64, Ordering::Relaxed);
    }
}
