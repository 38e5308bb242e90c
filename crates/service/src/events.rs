//! The projector: makes history from the spool's journal.
//!
//! ```text
//! spool ──journal──> gather (2,000 facts) ──> Store::history_append ──> Spool::projected
//!                      facts and cursor are one transaction    the spool may forget what lies before
//! ```
//!
//! It begins at the cursor that the store has, so each fact is applied once whatever stops when. While
//! the store cannot be written it tries again for ever, with pauses: mail goes on, the spool keeps its
//! segments, history comes later. It runs on a thread of its own that gives way to all others.

mod gather;
mod progress;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base::{Actor, Clock, Scope};
use spool::{Cursor, Journal, Spool};
use store::{Position, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use gather::{Batch, gather};
pub use progress::Progress;

/// How long facts are gathered before they are written: an Accepted and its outcome then mostly meet
/// in one batch, which writes their rows once.
const GATHER: Duration = Duration::from_millis(50);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Out of 19, where 0 is the ordinary: history yields to taking mail in and sending it out.
const NICE: i32 = 10;

/// The running projector. Dropped, it stops soon after.
pub struct Projector {
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Projector {
    /// Starts the thread. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(spool: Spool, store: Store, clock: Arc<dyn Clock>) -> io::Result<Projector> {
        let progress = Arc::new(Progress::default());
        let (stop, stopping) = watch::channel(false);
        let (done, ended) = oneshot::channel();
        let work = Work { spool, store, clock, progress: Arc::clone(&progress), stopping };
        let runtime = Handle::current();
        thread::Builder::new().name("projector".to_owned()).spawn(move || {
            // On Linux this is of the calling thread alone. Where it is refused, all are equal.
            let _ = rustix::process::nice(NICE);
            runtime.block_on(work.run());
            // Nobody may wait for it.
            let _ = done.send(());
        })?;
        Ok(Projector { progress, stop, ended })
    }

    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Applies what is in the journal by now and ends; gives up at once if the store cannot be
    /// written, as the next start goes on there.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // An error means that the thread is gone already.
        let _ = self.ended.await;
    }
}

struct Work {
    spool: Spool,
    store: Store,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    /// True once it shall end. An error of the channel means the same, without catching up.
    stopping: watch::Receiver<bool>,
}

/// It shall end now.
struct Stopped;

impl Work {
    async fn run(mut self) {
        let mut synced = self.spool.synced();
        let mut stopping = self.stopping.clone();
        let Ok(begun) = self.cursor().await else { return };
        let mut journal = self.spool.journal(begun);
        let mut checked = false;
        loop {
            if self.drain(&mut journal).await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                // Told to stop, or dropped: what is synced by now is applied, then it ends.
                _ = stopping.wait_for(|stop| *stop) => {
                    // What cannot be applied now is applied after the next start.
                    let _ = self.drain(&mut journal).await;
                    return;
                }
                changed = synced.changed() => if changed.is_err() {
                    return;
                }
            }
            let end = *synced.borrow();
            if !checked && end != Cursor::START {
                checked = true;
                if begun > end && self.rewind(begun, end).await.is_ok() {
                    journal = self.spool.journal(Cursor::START);
                }
            }
            // Cut short when it shall end.
            let _ = timeout(GATHER, stopping.wait_for(|stop| *stop)).await;
        }
    }

    /// Where the history ends.
    async fn cursor(&mut self) -> Result<Cursor, Stopped> {
        let store = self.store.clone();
        let Position(segment, offset) = self.persist(|| store.history_cursor(scope())).await?;
        Ok(Cursor {
            segment: u64::try_from(segment).unwrap_or_default(),
            offset: u32::try_from(offset).unwrap_or_default(),
        })
    }

    /// The history goes further than the journal, so it was made from another spool, whose positions
    /// mean nothing here. Without this nothing would be written before the new spool is as long.
    async fn rewind(&mut self, begun: Cursor, end: Cursor) -> Result<(), Stopped> {
        tracing::error!(
            ?begun,
            ?end,
            "the history was made from another spool than this one; it goes on with all that this one has"
        );
        let store = self.store.clone();
        self.persist(|| store.history_rewind(scope(), position(Cursor::START))).await
    }

    /// Applies all that is on stable storage.
    async fn drain(&mut self, journal: &mut Journal) -> Result<(), Stopped> {
        loop {
            let batch = self.gather(journal).await?;
            if batch.facts.is_empty() {
                self.progress.caught_up();
                return Ok(());
            }
            if let Some(at) = batch.oldest {
                self.progress.behind(self.clock.now().since(at));
            }
            let cursor = journal.cursor();
            let facts = Arc::new(batch.facts);
            let store = self.store.clone();
            let append = || store.history_append(scope(), Arc::clone(&facts), position(cursor));
            let appended = self.persist(append).await?;
            if appended.orphaned > 0 {
                tracing::warn!(
                    facts = appended.orphaned,
                    "the history knows nothing of messages that the journal goes on about"
                );
            }
            self.progress.applied(appended.applied as u64);
            self.spool.projected(cursor);
        }
    }

    async fn gather(&mut self, journal: &mut Journal) -> Result<Batch, Stopped> {
        // Reading blocks, which on this thread is allowed.
        let mut batch = Batch::default();
        let mut pause = RETRY_MIN;
        while let Err(error) = gather(journal, &mut batch) {
            self.progress.stall(&error);
            self.wait(pause).await?;
            pause = (pause * 2).min(RETRY_MAX);
        }
        Ok(batch)
    }

    /// Tries for ever; only being stopped ends it.
    async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
        &mut self,
        call: impl Fn() -> F,
    ) -> Result<T, Stopped> {
        let mut pause = RETRY_MIN;
        loop {
            match call().await {
                Ok(value) => {
                    self.progress.resume();
                    return Ok(value);
                }
                Err(StoreError::Closed) => return Err(Stopped),
                Err(error) => self.progress.stall(&error),
            }
            self.wait(pause).await?;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Ends early, with an error, when the projector shall end.
    async fn wait(&mut self, pause: Duration) -> Result<(), Stopped> {
        match timeout(pause, self.stopping.wait_for(|stop| *stop)).await {
            Err(_) => Ok(()),
            Ok(_) => Err(Stopped),
        }
    }
}

fn scope() -> Scope {
    Actor::Server.scope()
}

/// A segment's number is below 2³², so it fits.
fn position(cursor: Cursor) -> Position {
    Position(i64::try_from(cursor.segment).unwrap_or(i64::MAX), i64::from(cursor.offset))
}
