//! The threads' work, done step by step by a test.

use std::sync::Arc;
use std::time::Instant;

use crate::core::Core;

/// Drives a spool that was opened without threads.
pub struct Hands {
    core: Arc<Core>,
}

impl Hands {
    pub(crate) fn new(core: Arc<Core>) -> Hands {
        Hands { core }
    }

    /// One group sync.
    pub fn sync(&self) {
        self.core.sync_step();
        self.core.publish();
    }

    /// One round of housekeeping: a segment made ready, keys destroyed, old segments given back.
    pub fn keep(&self, now: Instant) {
        self.core.make_ready();
        self.core.round(now);
    }

    /// The waiting syncs and removals of large files.
    pub fn large(&self) {
        self.core.large_step();
    }

    /// What is written after a second without work.
    pub fn mark(&self) {
        self.core.mark();
    }
}
