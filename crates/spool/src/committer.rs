//! Group commit: one sync for all that came while the last one ran.

use std::io;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base::MessageId;
use tokio::sync::oneshot;

use crate::core::{Core, lock};
use crate::cursor::Cursor;
use crate::error::SpoolError;
use crate::format::Kind;
use crate::segment::RECORDS_START;
use crate::writer::{Claim, Entry, Unsynced};

/// The projector is woken at most this often.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(20);
/// A sync that is due waits up to this part of the last one's time for those who were just answered:
/// on a slow disk they come back soon, and one sync for all is worth more than two for halves.
const GATHER_PART: u32 = 4;
const GATHER_MAX: Duration = Duration::from_millis(1);
/// Waiting for less than this is no saving.
const GATHER_MIN: Duration = Duration::from_micros(50);
/// After so long without work the journal says on disk how far it was synced.
const IDLE_MARK_AFTER: Duration = Duration::from_secs(1);

pub(crate) type Waiter = oneshot::Sender<Result<(), SpoolError>>;

/// Who waits for a sync, and since when one is due.
#[derive(Default)]
pub(crate) struct Commits {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    waiters: Vec<Waiter>,
    /// How many committers there seem to be: those answered last, and those that waited already.
    expected: usize,
    /// How long the last sync took.
    sync_took: Duration,
    /// The committer wants to be woken when so many wait.
    wanted: usize,
    dirty_since: Option<Instant>,
    published_at: Option<Instant>,
    publish_due: bool,
    /// When the last sync ended, until the mark is written.
    idle_since: Option<Instant>,
    sleeping: bool,
    stop: bool,
}

/// What the next sync must cover.
struct Unfinished {
    work: Vec<Unsynced>,
    /// The last record is a mark.
    marked: bool,
    /// Where the journal ends then.
    reached: Option<Cursor>,
}

enum Work {
    Sync,
    Publish,
    Mark,
    Stop,
}

impl Core {
    /// Waits for the sync of something that was already appended under `claim`.
    pub(crate) fn await_sync(&self, claim: Claim) -> oneshot::Receiver<Result<(), SpoolError>> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = lock(&self.commits.queue);
        // Inside the lock: the sync that failed, or the last one, may just be over. Then what was
        // appended before it must not be acknowledged by a later one.
        let late = match claim {
            Claim::Accept => self.accepting(),
            Claim::Fact if !lock(&self.salvaged).is_empty() => Err(SpoolError::Failed("the disk failed".into())),
            Claim::Fact => self.running(),
        };
        if let Err(error) = late {
            let _ = sender.send(Err(error));
            return receiver;
        }
        queue.waiters.push(sender);
        if queue.waiters.len() >= queue.wanted {
            self.wake(&queue);
        }
        receiver
    }

    fn wake(&self, queue: &Queue) {
        if queue.sleeping {
            self.commits.wake.notify_one();
        }
    }

    /// Sees to it that what was appended is synced before long.
    pub(crate) fn sync_soon(&self) {
        let mut queue = lock(&self.commits.queue);
        if queue.dirty_since.is_none() {
            queue.dirty_since = Some(Instant::now());
            self.wake(&queue);
        }
    }

    pub(crate) fn stop_committer(&self) {
        lock(&self.commits.queue).stop = true;
        self.commits.wake.notify_all();
    }

    /// The committer thread.
    pub(crate) fn run_committer(&self) {
        loop {
            match self.next_work() {
                Work::Sync => self.sync_step(),
                Work::Publish => self.publish(),
                Work::Mark => self.mark(),
                Work::Stop => return,
            }
        }
    }

    fn next_work(&self) -> Work {
        let mut queue = lock(&self.commits.queue);
        loop {
            if !queue.waiters.is_empty() {
                drop(self.gather(queue));
                return Work::Sync;
            }
            if queue.stop {
                return Work::Stop;
            }
            let now = Instant::now();
            let sync_at = queue.dirty_since.map(|since| since + self.options.lazy_sync);
            let publish_at = queue.published_at.filter(|_| queue.publish_due).map(|at| at + PUBLISH_INTERVAL);
            let mark_at = queue.idle_since.map(|since| since + IDLE_MARK_AFTER);
            let past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if past(sync_at) {
                return Work::Sync;
            }
            if past(publish_at) {
                return Work::Publish;
            }
            if past(mark_at) {
                queue.idle_since = None;
                return Work::Mark;
            }
            let until = [sync_at, publish_at, mark_at].into_iter().flatten().min();
            queue.sleeping = true;
            queue = match until {
                Some(until) => {
                    let wait = until.saturating_duration_since(now);
                    self.commits.wake.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.commits.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
            queue.sleeping = false;
        }
    }

    /// Gives those who were just answered the chance to share the next sync.
    fn gather<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let time = (queue.sync_took / GATHER_PART).min(GATHER_MAX);
        if time < GATHER_MIN || queue.waiters.len() >= queue.expected || queue.stop {
            return queue;
        }
        let until = Instant::now() + time;
        queue.wanted = queue.expected;
        queue.sleeping = true;
        while queue.waiters.len() < queue.expected && !queue.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.commits.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.sleeping = false;
        queue.wanted = 0;
        queue
    }

    /// Syncs all that was appended so far and tells who waits for it.
    pub(crate) fn sync_step(&self) {
        let _turn = lock(&self.sync_turn);
        let waiters = {
            let mut queue = lock(&self.commits.queue);
            queue.dirty_since = None;
            mem::take(&mut queue.waiters)
        };
        // Who waits has appended before: all of it is in what is taken now.
        let Unfinished { work, marked, reached } = self.take_unsynced();
        let began = Instant::now();
        let result = work.iter().enumerate().try_for_each(|(number, part)| {
            let synced = part.segment.write_slots(part.first_slot, &part.staged).and_then(|()| part.segment.sync());
            synced.map_err(|error| (number, error))
        });
        self.counters.syncs.fetch_add(work.len() as u64, Ordering::Relaxed);
        match result {
            Ok(()) => {
                if let Some(reached) = reached {
                    self.synced.store(reached.pack(), Ordering::Release);
                }
                let answered = waiters.len();
                // Before the answers, which bring new ones.
                self.expect(answered, began.elapsed());
                answer(waiters, &Ok(()));
                self.after_sync(marked);
            }
            Err((number, error)) => self.sync_failed(waiters, &work, number, &error),
        }
    }

    /// Nobody is told that it went well, now or by a later sync, and no mail is accepted any more.
    fn sync_failed(&self, mut waiters: Vec<Waiter>, work: &[Unsynced], first: usize, error: &io::Error) {
        let why: Arc<str> = error.to_string().into();
        tracing::error!(error = %why, "the spool's disk failed to sync; no mail is accepted until a restart");
        let _ = self.condition.failed.set(Arc::clone(&why));
        for part in work.iter().skip(first) {
            part.segment.mark_failed(&why);
        }
        self.abandon(work);
        // Who came meanwhile has appended to what is abandoned.
        waiters.append(&mut lock(&self.commits.queue).waiters);
        answer(waiters, &Err(SpoolError::Failed(why)));
        self.bell.ring();
    }

    fn expect(&self, answered: usize, sync_took: Duration) {
        let mut queue = lock(&self.commits.queue);
        queue.expected = answered + queue.waiters.len();
        queue.sync_took = sync_took;
    }

    fn after_sync(&self, marked: bool) {
        let mut queue = lock(&self.commits.queue);
        let now = Instant::now();
        queue.idle_since = (!marked).then_some(now);
        if queue.published_at.is_some_and(|at| now.duration_since(at) < PUBLISH_INTERVAL) {
            queue.publish_due = true;
            return;
        }
        drop(queue);
        self.publish();
    }

    pub(crate) fn publish(&self) {
        {
            let mut queue = lock(&self.commits.queue);
            queue.published_at = Some(Instant::now());
            queue.publish_due = false;
        }
        self.synced_watch.send_replace(self.synced());
    }

    fn take_unsynced(&self) -> Unfinished {
        let mut writer = lock(&self.writer);
        let mut work = mem::take(&mut writer.rolled);
        let dirty = mem::replace(&mut writer.dirty, false);
        let marked = writer.marked;
        let mut reached = work.last().map(|last| Cursor { segment: last.segment.sequence, offset: last.tail });
        if let Some(active) = &mut writer.active {
            // Where nothing was appended since, all that it holds was synced before.
            reached = Some(Cursor { segment: active.segment.sequence, offset: active.tail });
            if dirty {
                let staged = mem::take(&mut active.staged);
                let first_slot = active.slots - staged.len() as u32;
                work.push(Unsynced { segment: Arc::clone(&active.segment), first_slot, staged, tail: active.tail });
            }
        }
        Unfinished { work, marked, reached }
    }

    /// Appends a record that says how far the segment was synced, so that recovery can tell damage
    /// from what was never acknowledged.
    pub(crate) fn mark(&self) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|s| s.sequence);
        let synced = self.synced();
        if current != Some(synced.segment) || synced.offset <= RECORDS_START {
            return;
        }
        let entry = Entry::fact(Kind::Mark, MessageId::from_bytes([0; 16]), &[]);
        // It is an aid: where it cannot be written, recovery does without.
        if self.append(&entry, Claim::Fact).is_ok_and(|appended| appended.first) {
            self.sync_soon();
        }
    }

    /// The last syncs of a shutdown: everything, then the mark. Nobody can append any more afterwards.
    pub(crate) fn sync_for_shutdown(&self) {
        self.sync_step();
        self.mark();
        self.condition.stopped.store(true, Ordering::Release);
        // Once these locks were ours, whoever comes sees that it is stopped.
        drop(lock(&self.writer));
        drop(lock(&self.commits.queue));
        self.sync_step();
        self.publish();
    }
}

fn answer(waiters: Vec<Waiter>, result: &Result<(), SpoolError>) {
    for waiter in waiters {
        // Who has gone away does not need the answer.
        let _ = waiter.send(result.clone());
    }
}
