//! The runner: the one task that owns the planner. It hands out attempts, writes what came of them
//! to the journal, sees that senders hear of failures, and closes messages. Nobody else decides
//! outcomes.
//!
//! ```text
//!  accepted ─┐                    ┌─> attempt (a task each) ─┐
//!  commands ─┼─> events ─> planner┤                          ├─> events
//!            └──────────          └─> report  (a task each) ─┘
//! ```
//!
//! A message is closed when the planner has no job of it left **and** no report about it is owed.
//! Both follow from the journal alone, so a crash anywhere leads to the same end.

mod commands;
mod load;
mod reports;
mod settle;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::{Clock, MessageId, Meta, Timestamp};
use bytes::Bytes;
use queue::{Action, Assignment, LaneKey, NewJob, Planner, RouteId};
use spool::{Recovered, Spool, Stored};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::agent::Agent;
use crate::attempt::{self, AttemptEnd, Start, Ways};
use crate::counters::Counters;
use crate::handle::{Command, QueueHandle};
use crate::pool::Pool;
use crate::sandbox::SandboxSink;
use crate::simulator;
use reports::{Owed, ReportEnd, Troubles};

/// Whether mail leaves the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything is captured in the sandbox inbox.
    Sandbox,
    Live,
}

/// What the runner is told at start.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    pub mode: Mode,
    /// Our name in reports (RFC 3464 Reporting-MTA).
    pub hostname: base::Domain,
    pub queue: queue::Config,
    /// How long running attempts may go on after the server was told to stop.
    pub drain: Duration,
}

/// Everything the runner needs from others.
pub struct Parts {
    pub spool: Spool,
    pub agent: Agent,
    pub resolver: route::Resolver,
    pub sandbox: Arc<dyn SandboxSink>,
    pub clock: Arc<dyn Clock>,
    /// Seeds the jitter.
    pub seed: u64,
}

/// What reaches the runner.
#[derive(Debug)]
pub(crate) enum Event {
    Accepted(Stored),
    Attempted(AttemptEnd),
    Reported(ReportEnd),
    Command(Command),
}

/// A message as it was handed over at acceptance, kept for its first attempt.
struct Fresh {
    meta: Arc<Meta>,
    body: Option<Bytes>,
}

/// The task's state. Made by [`Runner::new`], consumed by [`Runner::run`].
pub struct Runner {
    config: RunnerConfig,
    ways: Arc<Ways>,
    planner: Planner,
    pool: Pool,
    counters: Arc<Counters>,
    events: mpsc::UnboundedReceiver<Event>,
    to_self: mpsc::UnboundedSender<Event>,
    handover_octets: Arc<AtomicUsize>,
    fresh: HashMap<MessageId, Fresh>,
    /// The order in which they came; may name some that have left.
    fresh_order: VecDeque<MessageId>,
    /// Reports that are due and not yet accepted, by the message they are about.
    owed: HashMap<MessageId, Owed>,
    troubles: Troubles,
    /// Messages whose closing the disk refused; tried again.
    unclosed: HashSet<MessageId>,
    running: usize,
    /// When owed reports and refused closings are tried again.
    mend_at: Option<Timestamp>,
}

/// How often what the disk refused is tried again.
const MEND_INTERVAL: Duration = Duration::from_secs(10);
/// Events taken from the channel at once.
const EVENTS_AT_ONCE_MAX: usize = 256;

impl Runner {
    /// Takes over what the spool recovered. The handle is there at once; nothing is attempted before
    /// [`Runner::run`].
    pub fn new(config: RunnerConfig, parts: Parts, recovered: Recovered) -> (Runner, QueueHandle) {
        let (to_self, events) = mpsc::unbounded_channel();
        let handover_octets = Arc::new(AtomicUsize::new(0));
        let handle = QueueHandle { events: to_self.clone(), handover_octets: Arc::clone(&handover_octets) };
        let pool = Pool::new(parts.agent.config());
        let mut runner = Runner {
            planner: Planner::new(config.queue.clone(), fastrand::Rng::with_seed(parts.seed)),
            config,
            pool,
            ways: Arc::new(Ways {
                spool: parts.spool,
                agent: parts.agent,
                resolver: parts.resolver,
                sandbox: parts.sandbox,
                clock: parts.clock,
            }),
            counters: Arc::new(Counters::default()),
            events,
            to_self,
            handover_octets,
            fresh: HashMap::new(),
            fresh_order: VecDeque::new(),
            owed: HashMap::new(),
            troubles: Troubles::default(),
            unclosed: HashSet::new(),
            running: 0,
            mend_at: None,
        };
        runner.load(recovered);
        (runner, handle)
    }

    /// Figures for `/metrics`.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Runs until `stop` turns true; then starts nothing new, lets running attempts end within the
    /// drain time, and returns. What is cut then is tried again after the next start.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(EVENTS_AT_ONCE_MAX);
        loop {
            let wake = self.start_what_is_due();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                received = self.events.recv_many(&mut batch, EVENTS_AT_ONCE_MAX) => {
                    if received == 0 {
                        break;
                    }
                }
                () = sleep(wake) => {}
            }
            self.take(&mut batch);
        }
        self.drain(batch).await;
    }

    fn take(&mut self, batch: &mut Vec<Event>) {
        for event in batch.drain(..) {
            match event {
                Event::Accepted(stored) => self.accepted(stored),
                Event::Attempted(end) => self.attempted(end),
                Event::Reported(end) => self.reported(end),
                Event::Command(command) => self.command(command),
            }
        }
    }

    /// Asks the planner until it has nothing more; gives back how long to sleep at most.
    fn start_what_is_due(&mut self) -> Option<Duration> {
        let now = self.now();
        if self.mend_at.is_some_and(|at| at <= now) {
            self.mend();
        }
        self.poll(now);
        self.drop_fresh();
        self.pool.sweep();
        self.counters.show(&self.planner.stats());
        let due = [self.planner.wake_at(), self.mend_at].into_iter().flatten().min().map(|at| at.since(now));
        let sweep = self.pool.sweep_at().map(|at| at.saturating_duration_since(Instant::now()));
        [due, sweep].into_iter().flatten().min()
    }

    fn start(&mut self, assignment: Assignment) {
        let fresh = self.take_fresh(assignment.message);
        let connection = match assignment.route {
            attempt::DIRECT => self.pool.take(assignment.lane),
            _ => None,
        };
        self.running += 1;
        let (ways, back) = (Arc::clone(&self.ways), self.to_self.clone());
        tokio::spawn(async move {
            let end = ways.attempt(Start { assignment, fresh, connection }).await;
            // The runner is gone only when the server stops; the journal has the rest.
            let _ = back.send(Event::Attempted(end));
        });
    }

    fn accepted(&mut self, stored: Stored) {
        let meta = stored.meta;
        Runner::enqueue(&mut self.planner, self.config.mode, self.ways.clock.now(), &meta);
        self.fresh_order.push_back(meta.id);
        self.fresh.insert(meta.id, Fresh { body: stored.body, meta });
    }

    /// Lets go of the oldest messages whose turn did not come soon: what waits, waits on disk.
    fn drop_fresh(&mut self) {
        while self.fresh.len() > FRESH_MESSAGES_MAX || self.fresh_order.len() > 2 * FRESH_MESSAGES_MAX {
            let Some(id) = self.fresh_order.pop_front() else { return };
            self.take_fresh(id);
        }
    }

    fn poll(&mut self, now: Timestamp) {
        while let Some(action) = self.planner.poll(now) {
            match action {
                Action::Attempt(assignment) => self.start(assignment),
                Action::Expire(overdue) => self.expired(overdue),
                Action::DelayNotice(overdue) => self.delayed(overdue),
            }
        }
    }

    /// The message from memory, for one attempt; its octets no longer count.
    fn take_fresh(&mut self, id: MessageId) -> Option<(Arc<Meta>, Option<Bytes>)> {
        let Fresh { meta, body } = self.fresh.remove(&id)?;
        if let Some(body) = &body {
            self.handover_octets.fetch_sub(body.len(), Ordering::Relaxed);
        }
        Some((meta, body))
    }

    /// One job for each destination of a message.
    fn enqueue(planner: &mut Planner, mode: Mode, now: Timestamp, meta: &Meta) {
        for (site, route, recipients) in by_lane(mode, meta, |_| true) {
            let new = NewJob {
                message: meta.id,
                account: meta.account,
                stream: meta.stream,
                lane: LaneKey { site: &site, route },
                recipients: &recipients,
                accepted_at: meta.received_at,
                attempts: 0,
                not_before: None,
                held: false,
                delay_noticed: false,
            };
            planner.enqueue(now, new);
        }
    }

    /// After the stop: nothing new is started; what runs may end.
    async fn drain(mut self, mut batch: Vec<Event>) {
        let deadline = Instant::now() + self.config.drain;
        self.take(&mut batch);
        while self.running > 0 {
            let next = tokio::time::timeout_at(deadline, self.events.recv_many(&mut batch, EVENTS_AT_ONCE_MAX)).await;
            if !matches!(next, Ok(received) if received > 0) {
                tracing::info!(
                    attempts = self.running,
                    "attempts were cut by the stop; they are made again after the next start"
                );
                break;
            }
            batch.retain(|event| matches!(event, Event::Attempted(_) | Event::Reported(_)));
            self.take(&mut batch);
        }
        self.pool.close_all().await;
    }

    fn now(&self) -> Timestamp {
        self.ways.clock.now()
    }

    fn spool(&self) -> &Spool {
        &self.ways.spool
    }
}

/// Messages kept in memory for their first attempt.
const FRESH_MESSAGES_MAX: usize = 1_000;

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Groups those recipients that `wanted` names by where they go, in the order of the envelope.
fn by_lane(mode: Mode, meta: &Meta, wanted: impl Fn(u32) -> bool) -> Vec<(String, RouteId, Vec<u32>)> {
    let mut lanes: Vec<(String, RouteId, Vec<u32>)> = Vec::new();
    let mut place: HashMap<String, usize> = HashMap::new();
    for (index, recipient) in (0_u32..).zip(&meta.envelope.recipients) {
        if !wanted(index) {
            continue;
        }
        let domain = recipient.address.domain_ascii();
        if let Some(at) = place.get(domain.as_ref()) {
            lanes[*at].2.push(index);
            continue;
        }
        let route = match mode {
            _ if domain == simulator::DOMAIN => attempt::SIMULATOR,
            Mode::Sandbox => attempt::SANDBOX,
            Mode::Live => attempt::DIRECT,
        };
        if meta.envelope.recipients.len() > 1 {
            place.insert(domain.clone().into_owned(), lanes.len());
        }
        lanes.push((domain.into_owned(), route, vec![index]));
    }
    lanes
}
