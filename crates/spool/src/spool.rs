//! The handle: what the rest of the server sees.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use base::{AccountId, Clock, Fact, MessageId, Meta, Timestamp};
use privacy::MasterKey;
use tokio::sync::watch;

use crate::body::Body;
use crate::core::{Core, Health, Options, Stats, count, lock};
use crate::cursor::Cursor;
use crate::draft::Draft;
use crate::error::{OpenError, SpoolError};
use crate::format::Kind;
use crate::fs::{Fs, RealFs};
use crate::hands::Hands;
use crate::journal::Journal;
use crate::recover::Recovered;
use crate::writer::{Appended, Claim, Entry, Refusal};

/// The spool. Cloning gives another handle to the same one; when the last is dropped it is shut down.
#[derive(Clone)]
pub struct Spool {
    core: Arc<Core>,
    owner: Arc<Owner>,
}

/// Stops the threads.
struct Owner {
    core: Arc<Core>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    committer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    large: Option<JoinHandle<()>>,
}

impl Spool {
    /// Opens the spool in `options.dir`, making it if it is not there, and reads what waits in it.
    ///
    /// # Errors
    /// When another process owns it, the key is not its own, or the disk fails. Damage is no error:
    /// it is in [`Recovered::damage`].
    pub fn open(options: Options, keys: &MasterKey, clock: Arc<dyn Clock>) -> Result<(Spool, Recovered), OpenError> {
        let fs = Arc::new(RealFs::new(&options.dir));
        let (core, recovered) = Core::open(fs, options, keys, clock)?;
        let core = Arc::new(core);
        let start = |name: &str, work: fn(&Core)| {
            let core = Arc::clone(&core);
            let thread = thread::Builder::new().name(name.into()).spawn(move || work(&core));
            thread.map(Some).map_err(OpenError::io(name))
        };
        let threads = Threads {
            committer: start("spool-sync", Core::run_committer)?,
            keeper: start("spool-keep", Core::run_keeper)?,
            large: start("spool-large", Core::run_large)?,
        };
        Ok((Spool::of(core, threads), recovered))
    }

    /// The same engine on another file system and without threads: what they would do is done by
    /// the caller through [`Hands`]. For tests that decide each step.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_by_hand(
        fs: Arc<dyn Fs>,
        options: Options,
        keys: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<(Spool, Recovered, Hands), OpenError> {
        let (core, recovered) = Core::open(fs, options, keys, clock)?;
        let core = Arc::new(core);
        let hands = Hands::new(Arc::clone(&core));
        Ok((Spool::of(core, Threads::default()), recovered, hands))
    }

    fn of(core: Arc<Core>, threads: Threads) -> Spool {
        let owner = Arc::new(Owner { core: Arc::clone(&core), threads: Mutex::new(threads) });
        Spool { core, owner }
    }

    /// A new message, with an id drawn for it. Nothing is on disk yet.
    pub fn draft(&self, account: AccountId) -> Draft {
        Draft::new(Arc::clone(&self.core), account)
    }

    /// Writes down what happened to a message. It survives the end of this process at once, and a
    /// power cut after `lazy_sync` at the latest. [`Fact::Closed`] does what [`Spool::close`] does.
    ///
    /// # Errors
    /// [`SpoolError::Gone`] for a message that is not here. After any other error nothing is
    /// recorded, and it should be tried again.
    pub fn record(&self, id: MessageId, fact: &Fact) -> Result<(), SpoolError> {
        if let Fact::Closed { at } = fact {
            return self.close(id, *at);
        }
        self.core.record(id, fact).map(drop)
    }

    /// As [`Spool::record`], and waits until it is on stable storage.
    ///
    /// # Errors
    /// As [`Spool::record`]; [`SpoolError::Failed`] when the sync failed, and it may not be recorded.
    pub async fn record_synced(&self, id: MessageId, fact: &Fact) -> Result<(), SpoolError> {
        self.record(id, fact)?;
        let synced = self.core.await_sync(Claim::Fact).await;
        synced.unwrap_or(Err(SpoolError::ReadOnly("it is shut down".into())))
    }

    /// Ends a message: its body cannot be read any more, and within 10 seconds its key is destroyed
    /// on stable storage. Closing what is closed already is no error.
    ///
    /// # Errors
    /// Nothing is recorded then; try again.
    pub fn close(&self, id: MessageId, at: Timestamp) -> Result<(), SpoolError> {
        self.core.close(id, at)
    }

    /// Opens a message's body. Blocks for the read.
    ///
    /// # Errors
    /// [`SpoolError::Gone`] when it is closed, [`SpoolError::Damaged`] when it does not open.
    pub fn body(&self, id: MessageId) -> Result<Body, SpoolError> {
        self.core.body(id)
    }

    /// Reads what was accepted with the body; `None` when the message is closed. Blocks for the read.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`], or the disk's.
    pub fn meta(&self, id: MessageId) -> Result<Option<Meta>, SpoolError> {
        self.core.meta(id)
    }

    /// Follows the facts from `from` on.
    pub fn journal(&self, from: Cursor) -> Journal {
        Journal::new(Arc::clone(&self.core), from)
    }

    /// Changes when there are new facts on stable storage, at most 50 times a second.
    pub fn synced(&self) -> watch::Receiver<Cursor> {
        self.core.synced_watch.subscribe()
    }

    /// Everything in front of `cursor` has been taken over elsewhere, durably: segments that end
    /// there may go. As long as nobody says so, none goes. A cursor that lies ahead of the journal is
    /// of another spool, or of a later state of this one, and counts for nothing.
    pub fn projected(&self, cursor: Cursor) {
        if cursor > self.core.synced() {
            tracing::warn!(?cursor, "a cursor ahead of the journal: was the spool restored from a backup?");
            return;
        }
        self.core.projected.fetch_max(cursor.pack(), Ordering::AcqRel);
    }

    pub fn health(&self) -> Health {
        self.core.health()
    }

    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Puts on stable storage what was recorded so far. Blocks for one sync.
    pub fn sync(&self) {
        self.core.sync_step();
    }

    /// Syncs everything, stops the threads and gives the directory free. Whatever is asked of the
    /// spool afterwards is refused. Blocks; a second call does nothing.
    pub fn shutdown(&self) {
        self.owner.shutdown();
    }
}

impl Owner {
    fn shutdown(&self) {
        let mut threads = lock(&self.threads);
        if self.core.condition.stopped.load(Ordering::Acquire) {
            return;
        }
        // The keeper first, as it appends; what it is in the middle of, it finishes.
        self.core.bell.stop();
        join(threads.keeper.take());
        self.core.sync_step();
        self.core.destroy_step();
        self.core.sync_for_shutdown();
        self.core.stop_committer();
        join(threads.committer.take());
        self.core.large.stop();
        join(threads.large.take());
        self.core.large_step();
        self.core.room.notify_waiters();
        self.core.fs.disown();
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("a thread of the spool had panicked");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Core {
    pub(crate) fn record(&self, id: MessageId, fact: &Fact) -> Result<Appended, SpoolError> {
        let kind = Kind::of(fact);
        // A message is accepted by committing a draft, and in no other way.
        if kind == Kind::Accepted || self.index.place(id).is_none() {
            return Err(SpoolError::Gone);
        }
        let encoded = postcard::to_stdvec(fact).map_err(|error| SpoolError::Failed(error.to_string().into()))?;
        let appended = self.append(&Entry::fact(kind, id, &encoded), Claim::Fact).map_err(|refusal| match refusal {
            Refusal::Error(error) => error,
            Refusal::Wait => SpoolError::Full,
        })?;
        count(&self.counters.facts);
        if appended.first {
            self.sync_soon();
        }
        Ok(appended)
    }

    pub(crate) fn close(&self, id: MessageId, at: Timestamp) -> Result<(), SpoolError> {
        let appended = match self.record(id, &Fact::Closed { at }) {
            Ok(appended) => appended,
            Err(SpoolError::Gone) => return Ok(()),
            Err(error) => return Err(error),
        };
        // Two may close at once; the key is destroyed by one of them.
        if let Some(place) = self.index.remove(id) {
            self.doom(place, appended.end, place.is_large().then_some(id));
        }
        Ok(())
    }
}
