//! Files of large bodies: synced and removed by a thread of their own, so that a long flush keeps no
//! small message waiting, and several new names cost one sync of the folder.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use base::MessageId;
use tokio::sync::oneshot;

use crate::committer::Waiter;
use crate::core::{Core, lock};
use crate::error::{SpoolError, is_full};
use crate::fs::File;

pub(crate) const FOLDER: &str = "large";

pub(crate) fn large_name(id: MessageId) -> String {
    format!("{FOLDER}/{id}.body")
}

#[derive(Default)]
pub(crate) struct LargeFiles {
    jobs: Mutex<Jobs>,
    wake: Condvar,
}

#[derive(Default)]
struct Jobs {
    syncs: Vec<(Arc<dyn File>, Waiter)>,
    removals: Vec<MessageId>,
    stop: bool,
}

impl LargeFiles {
    /// Asks for the contents and the name of a file to be put on stable storage.
    pub(crate) fn sync(&self, file: Arc<dyn File>) -> oneshot::Receiver<Result<(), SpoolError>> {
        let (sender, receiver) = oneshot::channel();
        let mut jobs = lock(&self.jobs);
        if !jobs.stop {
            jobs.syncs.push((file, sender));
            self.wake.notify_one();
        }
        // Else the sender is dropped, which says that nobody will sync it.
        receiver
    }

    pub(crate) fn remove(&self, id: MessageId) {
        lock(&self.jobs).removals.push(id);
        self.wake.notify_one();
    }

    pub(crate) fn stop(&self) {
        lock(&self.jobs).stop = true;
        self.wake.notify_all();
    }
}

impl Core {
    /// The thread for large files.
    pub(crate) fn run_large(&self) {
        loop {
            {
                let mut jobs = lock(&self.large.jobs);
                while jobs.syncs.is_empty() && jobs.removals.is_empty() {
                    if jobs.stop {
                        return;
                    }
                    jobs = self.large.wake.wait(jobs).unwrap_or_else(PoisonError::into_inner);
                }
            }
            self.large_step();
        }
    }

    pub(crate) fn large_step(&self) {
        let (syncs, removals) = {
            let mut jobs = lock(&self.large.jobs);
            (mem::take(&mut jobs.syncs), mem::take(&mut jobs.removals))
        };
        let mut answers = Vec::with_capacity(syncs.len());
        for (file, sender) in syncs {
            answers.push((sender, file.sync()));
        }
        let named = if answers.is_empty() { Ok(()) } else { self.fs.sync_dir(FOLDER) };
        for (sender, synced) in answers {
            let result = match (synced, &named) {
                (Ok(()), Ok(())) => Ok(()),
                (Err(error), _) => Err(self.large_failed(&error)),
                (Ok(()), Err(error)) => Err(self.large_failed(error)),
            };
            let _ = sender.send(result);
        }
        for id in removals {
            // What stays, for whatever reason, is removed when the spool is opened next.
            if let Err(error) = self.fs.remove(&large_name(id)) {
                tracing::warn!(message = %id, %error, "cannot remove the file of a large body");
            }
        }
    }

    /// A disk that fails one sync is not trusted with another; a full one is only full.
    fn large_failed(&self, error: &std::io::Error) -> SpoolError {
        if is_full(error) {
            return SpoolError::Full;
        }
        let why: Arc<str> = error.to_string().into();
        tracing::error!(error = %why, "the spool's disk failed to sync; no mail is accepted until a restart");
        let _ = self.condition.failed.set(Arc::clone(&why));
        SpoolError::Failed(why)
    }
}
