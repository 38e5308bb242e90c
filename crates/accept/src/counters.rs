//! What the doors have counted since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters, read by whoever shows them. Each only grows, but for `connections_open`.
#[derive(Debug, Default)]
pub struct Counters {
    /// SMTP connections that were greeted.
    pub connections: AtomicU64,
    /// Of these, the ones that are still there.
    pub connections_open: AtomicU64,
    /// Connections that were turned away because there were too many.
    pub connections_refused: AtomicU64,
    /// Connections cut because the client was too slow or silent.
    pub connections_timed_out: AtomicU64,
    pub tls_handshakes: AtomicU64,
    pub tls_failures: AtomicU64,
    pub auth_successes: AtomicU64,
    pub auth_failures: AtomicU64,
    /// MAIL commands that were refused to those who may not send so.
    pub senders_refused: AtomicU64,
    /// Messages acknowledged, whichever way they came.
    pub messages_accepted: AtomicU64,
    /// Octets of these, as they will be sent on.
    pub octets_accepted: AtomicU64,
    /// Messages of which content came, and that were not accepted. The sum of the four below.
    pub messages_refused: AtomicU64,
    /// Because their content was not within the protocol, too large, or given up by the client.
    pub refused_content: AtomicU64,
    /// Because of their header section.
    pub refused_header: AtomicU64,
    /// Because the spool had no room or did not work: put off, not refused for good.
    pub refused_storage: AtomicU64,
    /// Because the client went away or was cut off in the middle.
    pub refused_unfinished: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, counter: impl FnOnce(&Counters) -> &AtomicU64) {
        // Figures to look at: they order nothing.
        counter(self).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, reason: impl FnOnce(&Counters) -> &AtomicU64) {
        self.count(|c| &c.messages_refused);
        self.count(reason);
    }

    pub(crate) fn accepted(&self, octets: u64) {
        self.count(|c| &c.messages_accepted);
        self.octets_accepted.fetch_add(octets, Ordering::Relaxed);
    }
}
