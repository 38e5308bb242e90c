//! The planner's state, and the two questions it answers: what now, and when to ask again.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use base::{AccountId, MessageId, Stream, Timestamp};

use crate::config::{Config, LaneLimits};
use crate::feedback::Gate;
use crate::job::{Arrival, Deferral, Job, JobId, NEVER, Recipients, State};
use crate::lane::{Lane, LaneId, RouteId};
use crate::list::NONE;
use crate::rings::{Rings, Running};
use crate::slab::Slab;
use crate::steady::Steady;
use crate::turns::Turns;

/// Decides what is sent next, and when. See the crate's page.
#[derive(Debug)]
pub struct Planner {
    pub(crate) config: Config,
    pub(crate) rng: fastrand::Rng,
    pub(crate) clock: Steady,
    pub(crate) jobs: Slab<Job>,
    pub(crate) lanes: Slab<Lane>,
    pub(crate) turns: Turns,
    pub(crate) rings: Rings,
    pub(crate) running: Running,
    /// The first lane of each site; the others hang on it.
    pub(crate) sites: HashMap<Arc<str>, u32>,
    /// All jobs, in the order of their messages' arrival.
    pub(crate) by_arrival: BTreeSet<(Arrival, u32)>,
    pub(crate) deferred: BTreeSet<Deferral>,
    /// Jobs by the time of their next report (delay notice, expiry).
    pub(crate) deadlines: BTreeSet<(Timestamp, u32)>,
    /// Lanes by the time when they are to be looked at again.
    pub(crate) timers: BTreeSet<(Timestamp, u32)>,
    pub(crate) held: usize,
    /// Reports and attempts alternate where both are due, so that neither waits for a flood of the other.
    attempt_first: bool,
}

/// Where a job goes: one site over one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaneKey<'a> {
    /// The recipients' domain as A-labels in lower case, or an address literal.
    pub site: &'a str,
    pub route: RouteId,
}

/// One message's recipients for one lane.
#[derive(Debug, Clone)]
pub struct NewJob<'a> {
    pub message: MessageId,
    pub account: AccountId,
    pub stream: Stream,
    pub lane: LaneKey<'a>,
    /// Indices into the envelope's recipients; none twice, and none in another job of this message.
    pub recipients: &'a [u32],
    /// The lifetime counts from here. A time ahead of the clock counts as now.
    pub accepted_at: Timestamp,
    /// Attempts already made, as the journal has them.
    pub attempts: u32,
    /// Not tried before this time; `None`: at once.
    pub not_before: Option<Timestamp>,
    /// Not tried before it is released.
    pub held: bool,
    /// Its delay notice has been sent.
    pub delay_noticed: bool,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Try it, and say how it went with [`Planner::finished`].
    Attempt(Assignment),
    /// Its lifetime is over: its recipients have left the planner and are to be reported as expired.
    Expire(Overdue),
    /// Its sender is to hear that it is still waiting. It stays in the planner.
    DelayNotice(Overdue),
}

/// One attempt to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub job: JobId,
    pub lane: LaneId,
    pub site: Arc<str>,
    pub route: RouteId,
    pub message: MessageId,
    pub account: AccountId,
    pub stream: Stream,
    pub recipients: Vec<u32>,
    /// Which attempt this is for these recipients, from 1.
    pub number: u32,
}

/// A job that has waited too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    pub job: JobId,
    pub message: MessageId,
    pub account: AccountId,
    pub site: Arc<str>,
    pub route: RouteId,
    pub recipients: Vec<u32>,
    /// Attempts made so far.
    pub attempts: u32,
}

/// Jobs that one look at a lane makes ready at most; the next start there takes up the rest.
const PROMOTED_MAX: usize = 128;

impl Planner {
    /// `rng` draws the jitter; a seeded one makes every decision repeatable.
    pub fn new(config: Config, rng: fastrand::Rng) -> Planner {
        Planner {
            config,
            rng,
            clock: Steady::default(),
            jobs: Slab::new(),
            lanes: Slab::new(),
            turns: Turns::new(),
            rings: Rings::new(),
            running: Running::default(),
            sites: HashMap::new(),
            by_arrival: BTreeSet::new(),
            deferred: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            timers: BTreeSet::new(),
            held: 0,
            attempt_first: false,
        }
    }

    /// Takes on recipients of a message. More than the destination takes in one transaction become
    /// several jobs. No recipients: nothing happens.
    pub fn enqueue(&mut self, now: Timestamp, new: NewJob<'_>) {
        let now = self.advance(now);
        let lane = self.lane_for(new.lane);
        let accepted_at = self.clock.inward(new.accepted_at).min(now);
        let due = new.not_before.map_or(now, |at| self.clock.inward(at));
        let per_job = usize::from(self.lanes[lane].limits.recipients_per_message_max.max(1));
        for recipients in new.recipients.chunks(per_job) {
            let recipients = Recipients::new(recipients);
            let mut job = Job::new(new.message, new.account, new.stream, lane, recipients, accepted_at);
            job.attempts = u16::try_from(new.attempts).unwrap_or(u16::MAX);
            job.refusals = u8::try_from(new.attempts).unwrap_or(u8::MAX);
            job.delay_noticed = new.delay_noticed;
            let index = self.jobs.insert(job);
            self.by_arrival.insert((Arrival::of(new.message), index));
            match new.held {
                true => self.keep_held(index),
                false => self.keep_waiting(index, due),
            }
        }
        self.place(lane);
    }

    /// What is to be done now; ask until it is `None`, then sleep until [`Planner::wake_at`] or until
    /// something is told to the planner.
    pub fn poll(&mut self, now: Timestamp) -> Option<Action> {
        let now = self.advance(now);
        let action = match self.attempt_first {
            true => self.next_attempt(now).or_else(|| self.next_report(now)),
            false => self.next_report(now).or_else(|| self.next_attempt(now)),
        };
        self.attempt_first = !matches!(action, Some(Action::Attempt(_)));
        action
    }

    /// When [`Planner::poll`] may next have something without being told anything. `None`: never.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.rings.next(&self.running, &self.config).is_some() {
            return Some(self.clock.outward(self.clock.now()));
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let next = timer.into_iter().chain(deadline).min()?;
        Some(self.clock.outward(next))
    }

    /// Starts that an account may make in its turn, where others wait for the same destination.
    /// The default is 1.
    pub fn set_weight(&mut self, account: AccountId, weight: u16) {
        self.turns.set_weight(account, weight);
    }

    /// Changes a destination's limits, for what waits there already too. `None`: back to the default.
    pub fn set_limits(&mut self, now: Timestamp, site: &str, limits: Option<LaneLimits>) {
        self.advance(now);
        match limits {
            Some(limits) => self.config.limits_by_site.insert(site.into(), limits),
            None => self.config.limits_by_site.remove(site),
        };
        let limits = self.config.limits_for(site);
        for index in self.lanes_of(site) {
            let lane = &mut self.lanes[index];
            lane.limits = limits;
            lane.start_not_before = Timestamp(0);
            lane.feedback.limit(limits.connections_max);
            self.place(index);
        }
    }

    /// The limits of a lane, as long as it exists.
    pub fn limits(&self, lane: LaneId) -> Option<LaneLimits> {
        self.lanes.is_live(lane.slot, lane.generation).then(|| self.lanes[lane.slot].limits)
    }

    /// Takes note of the time and looks at the lanes whose time has come.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Timestamp {
        let now = self.clock.advance(now);
        while let Some(&(at, index)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.lanes[index].timer = NEVER;
            match self.lanes[index].is_empty() {
                true => self.drop_lane(index),
                false => self.place(index),
            }
        }
        now
    }

    fn next_attempt(&mut self, now: Timestamp) -> Option<Action> {
        let index = self.rings.next(&self.running, &self.config)?;
        let bulk_allowed = self.running.has_room_for_bulk(&self.config);
        let lane = &mut self.lanes[index];
        let stream = lane.next_stream(bulk_allowed, self.config.bulk_turn_every);
        let job = self.turns.take(&mut self.jobs, lane, stream).expect("a lane in a ring has a ready job of its class");
        let unproven = !lane.feedback.is_proven();
        lane.started(now, stream);
        self.jobs[job].state = State::InFlight { unproven };
        self.running.started(stream, unproven);
        self.rings.started(stream, unproven);
        // To the end of its ring, if it may start another.
        self.rings.unlink(&mut self.lanes, index);
        self.place(index);
        Some(Action::Attempt(self.assignment(job)))
    }

    fn assignment(&self, index: u32) -> Assignment {
        let job = &self.jobs[index];
        let lane = &self.lanes[job.lane];
        Assignment {
            job: self.job_id(index),
            lane: self.lane_id(job.lane),
            site: Arc::clone(&lane.site),
            route: lane.route,
            message: job.message,
            account: job.account,
            stream: job.stream,
            recipients: job.recipients.as_slice().to_vec(),
            number: u32::from(job.attempts).saturating_add(1),
        }
    }

    pub(crate) fn job_id(&self, index: u32) -> JobId {
        JobId { slot: index, generation: self.jobs.generation(index) }
    }

    pub(crate) fn lane_id(&self, index: u32) -> LaneId {
        LaneId { slot: index, generation: self.lanes.generation(index) }
    }

    // ---- jobs: into and out of their places -------------------------------------------------------

    /// Makes a loose job ready, or defers it until `due`.
    pub(crate) fn keep_waiting(&mut self, index: u32, due: Timestamp) {
        self.arm_next_report(index);
        self.requeue(index, due);
    }

    fn requeue(&mut self, index: u32, due: Timestamp) {
        let job = &mut self.jobs[index];
        job.due = due;
        let lane = &mut self.lanes[job.lane];
        if due <= self.clock.now() {
            self.turns.push(&mut self.jobs, lane, index);
        } else {
            job.state = State::Deferred;
            lane.deferred += 1;
            self.deferred.insert(Deferral { lane: job.lane, job: index, due });
        }
    }

    /// Makes a waiting job ready at once; its report keeps its time.
    pub(crate) fn urge(&mut self, index: u32) {
        self.detach(index);
        self.requeue(index, self.clock.now());
    }

    /// Holds a loose job. A held job has no reports: it is not forgotten, somebody keeps it.
    pub(crate) fn keep_held(&mut self, index: u32) {
        self.arm(index, NEVER);
        let job = &mut self.jobs[index];
        job.state = State::Held;
        self.lanes[job.lane].held += 1;
        self.held += 1;
    }

    /// Takes a job out of its place; its lane is to be placed anew afterwards.
    pub(crate) fn detach(&mut self, index: u32) {
        let job = &mut self.jobs[index];
        let lane = &mut self.lanes[job.lane];
        match job.state {
            State::Ready => self.turns.remove(&mut self.jobs, lane, index),
            State::Deferred => {
                lane.deferred -= 1;
                self.deferred.remove(&Deferral { lane: job.lane, job: index, due: job.due });
            }
            State::Held => {
                lane.held -= 1;
                self.held -= 1;
            }
            State::InFlight { unproven } => {
                lane.in_flight -= 1;
                self.running.ended(job.stream, unproven);
            }
            State::Loose => {}
        }
        self.jobs[index].state = State::Loose;
    }

    /// Removes a loose job for good.
    pub(crate) fn forget(&mut self, index: u32) -> Job {
        self.arm(index, NEVER);
        let job = self.jobs.remove(index);
        self.by_arrival.remove(&(Arrival::of(job.message), index));
        job
    }

    // ---- lanes ------------------------------------------------------------------------------------

    fn lane_for(&mut self, key: LaneKey<'_>) -> u32 {
        if let Some(index) = self.lanes_of(key.site).into_iter().find(|index| self.lanes[*index].route == key.route) {
            return index;
        }
        let first = self.sites.get(key.site).copied();
        let site = match first {
            Some(first) => Arc::clone(&self.lanes[first].site),
            None => Arc::from(key.site),
        };
        let limits = self.config.limits_for(key.site);
        let next = first.unwrap_or(NONE);
        let lane = Lane::new(Arc::clone(&site), key.route, limits, self.config.concurrency_initial, next);
        let index = self.lanes.insert(lane);
        self.sites.insert(site, index);
        index
    }

    /// The lanes to a site: one for each route that is in use.
    pub(crate) fn lanes_of(&self, site: &str) -> Vec<u32> {
        let first = self.sites.get(site).copied();
        let next = |index: &u32| Some(self.lanes[*index].next_of_site).filter(|next| *next != NONE);
        std::iter::successors(first, next).collect()
    }

    /// Puts a lane where it belongs now: in a ring, under a timer, or, when nothing is left of it, away.
    pub(crate) fn place(&mut self, index: u32) {
        let now = self.clock.now();
        let gate = self.lanes[index].gate(now);
        if gate == Gate::Open {
            self.promote(index, now);
        }
        let lane = &self.lanes[index];
        if lane.is_empty() && lane.feedback.is_fresh() && lane.start_not_before <= now {
            return self.drop_lane(index);
        }
        let class = if gate == Gate::Open { lane.ready_class() } else { None };
        let timer = match gate {
            _ if lane.is_empty() => now.after(self.config.idle_lane_kept),
            Gate::Open if class.is_some() => NEVER,
            Gate::Open => self.first_due(index),
            Gate::Full => NEVER,
            Gate::Closed(until) if lane.ready > 0 => until,
            Gate::Closed(until) => until.max(self.first_due(index)),
        };
        self.rings.link(&mut self.lanes, index, class);
        self.set_timer(index, timer);
    }

    /// Makes deferred jobs ready whose time has come.
    fn promote(&mut self, index: u32, now: Timestamp) {
        for _ in 0..PROMOTED_MAX {
            let Some(first) = self.first_deferral(index).filter(|first| first.due <= now) else { break };
            self.deferred.remove(&first);
            let lane = &mut self.lanes[index];
            lane.deferred -= 1;
            self.turns.push(&mut self.jobs, lane, first.job);
        }
    }

    fn first_deferral(&self, index: u32) -> Option<Deferral> {
        if self.lanes[index].deferred == 0 {
            return None;
        }
        let from = Deferral { lane: index, job: 0, due: Timestamp(0) };
        self.deferred.range((Bound::Included(from), Bound::Unbounded)).next().copied()
    }

    fn first_due(&self, index: u32) -> Timestamp {
        self.first_deferral(index).map_or(NEVER, |first| first.due)
    }

    fn set_timer(&mut self, index: u32, at: Timestamp) {
        let old = std::mem::replace(&mut self.lanes[index].timer, at);
        if old == at {
            return;
        }
        if old != NEVER {
            self.timers.remove(&(old, index));
        }
        if at != NEVER {
            self.timers.insert((at, index));
        }
    }

    fn drop_lane(&mut self, index: u32) {
        self.set_timer(index, NEVER);
        self.rings.unlink(&mut self.lanes, index);
        let Lane { site, next_of_site: next, .. } = self.lanes.remove(index);
        if self.sites.get(&site) == Some(&index) {
            match next {
                NONE => self.sites.remove(&site),
                next => self.sites.insert(site, next),
            };
            return;
        }
        let before = self.lane_before(&site, index);
        self.lanes[before].next_of_site = next;
    }

    fn lane_before(&self, site: &str, index: u32) -> u32 {
        let mut at = *self.sites.get(site).expect("a site with a lane is known");
        while self.lanes[at].next_of_site != index {
            at = self.lanes[at].next_of_site;
        }
        at
    }
}
