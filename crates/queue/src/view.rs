//! What can be seen from outside: numbers, lanes, jobs, and why a job waits. Nothing here changes anything.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base::{AccountId, MessageId, Stream, Timestamp};

use crate::feedback::{Cause, Gate};
use crate::job::{Arrival, JobId, State};
use crate::lane::RouteId;
use crate::operate::Selector;
use crate::planner::Planner;

/// The numbers of the whole queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    pub jobs: usize,
    pub lanes: usize,
    pub in_flight: usize,
    pub held: usize,
}

/// One lane, as a person sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneView {
    pub site: Arc<str>,
    pub route: RouteId,
    /// Jobs that wait: for their time, their turn, or the site.
    pub queued: u32,
    pub in_flight: u32,
    pub held: u32,
    /// When the oldest of all these was accepted.
    pub oldest: Option<Timestamp>,
    pub state: LaneState,
    /// Attempts that may run at one time as long as it is ready.
    pub concurrency: u16,
}

/// Whether a lane can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    Ready,
    /// Out of reach; one probe is made at `until`.
    Down {
        until: Timestamp,
    },
    /// It asked to be left alone; one probe is made at `until`.
    Throttled {
        until: Timestamp,
    },
}

/// One job, as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    pub job: JobId,
    pub message: MessageId,
    pub account: AccountId,
    pub stream: Stream,
    pub site: Arc<str>,
    pub route: RouteId,
    pub recipients: Vec<u32>,
    /// Attempts made.
    pub attempts: u32,
    pub accepted_at: Timestamp,
    pub expires_at: Timestamp,
    pub waits: Waits,
}

/// What a job waits for: the answer to "why has it not gone yet?"
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// An attempt is being made.
    Attempt,
    /// Somebody must release it.
    Release,
    /// It was refused for now, or was to be sent later.
    Retry { at: Timestamp },
    /// The site is out of reach.
    SiteDown { until: Timestamp },
    /// The site asked to be left alone.
    SiteSlow { until: Timestamp },
    /// The destination's rate limit.
    Rate { until: Timestamp },
    /// As many attempts run to this destination as it may have.
    Connection,
    /// Others are before it, or as many attempts run as may run in all.
    Turn,
}

/// A place in the list of jobs; as text two numbers with a point between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(Arrival, u32);

/// The text is no place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.number(), self.1)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Cursor, CursorError> {
        let (arrival, index) = text.split_once('.').ok_or(CursorError)?;
        let arrival = Arrival::from_number(arrival.parse().map_err(|_| CursorError)?);
        Ok(Cursor(arrival, index.parse().map_err(|_| CursorError)?))
    }
}

/// A part of the list of jobs, in the order of their messages' arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub jobs: Vec<JobView>,
    /// Jobs in the whole list.
    pub total: usize,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Cursor>,
}

impl Planner {
    pub fn stats(&self) -> Stats {
        Stats {
            jobs: self.jobs.len(),
            lanes: self.lanes.len(),
            in_flight: self.running.total as usize,
            held: self.held,
        }
    }

    /// Jobs in the planner.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.jobs.len() == 0
    }

    /// Jobs that one message still has here; 0 once its last recipient has left.
    pub fn jobs_of(&self, message: MessageId) -> usize {
        self.in_order(&Selector::Message(message), None).count()
    }

    /// All lanes that have jobs, by site. One pass over all jobs, for their ages.
    pub fn summary(&self, now: Timestamp) -> Vec<LaneView> {
        let mut oldest = vec![None; self.lanes.iter().map(|(index, _)| index as usize + 1).max().unwrap_or(0)];
        for (_, job) in self.jobs.iter() {
            let known = &mut oldest[job.lane as usize];
            *known = Some(known.map_or(job.accepted_at, |known: Timestamp| known.min(job.accepted_at)));
        }
        let now = self.clock.inward(now);
        let mut views: Vec<LaneView> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.is_empty())
            .map(|(index, lane)| LaneView {
                site: Arc::clone(&lane.site),
                route: lane.route,
                queued: lane.ready + lane.deferred,
                in_flight: lane.in_flight,
                held: lane.held,
                oldest: oldest[index as usize].map(|at| self.clock.outward(at)),
                state: self.lane_state(index, now),
                concurrency: lane.feedback.concurrency(),
            })
            .collect();
        views.sort_by(|a, b| (&a.site, a.route).cmp(&(&b.site, b.route)));
        views
    }

    /// Up to `limit` jobs, from `after` on. One pass over all jobs, unless they are selected by message.
    pub fn list(&self, now: Timestamp, selector: &Selector, after: Option<Cursor>, limit: usize) -> Page {
        let mut found = self.in_order(selector, after.map(|Cursor(arrival, index)| (arrival, index)));
        let mut jobs = Vec::new();
        let mut last = None;
        for (arrival, index) in found.by_ref().take(limit) {
            jobs.push(self.job_view(index, now));
            last = Some(Cursor(arrival, index));
        }
        let next = if found.next().is_some() { last } else { None };
        Page { jobs, total: self.in_order(selector, None).count(), next }
    }

    /// One job; `None` once it has left.
    pub fn job(&self, now: Timestamp, job: JobId) -> Option<JobView> {
        self.jobs.is_live(job.slot, job.generation).then(|| self.job_view(job.slot, now))
    }

    fn lane_state(&self, index: u32, now: Timestamp) -> LaneState {
        match self.lanes[index].feedback.closed() {
            None => LaneState::Ready,
            Some(closed) => {
                let until = self.clock.outward(closed.until.max(now));
                match closed.cause {
                    Cause::Unreachable => LaneState::Down { until },
                    Cause::Slow => LaneState::Throttled { until },
                }
            }
        }
    }

    fn job_view(&self, index: u32, now: Timestamp) -> JobView {
        let job = &self.jobs[index];
        let lane = &self.lanes[job.lane];
        JobView {
            job: self.job_id(index),
            message: job.message,
            account: job.account,
            stream: job.stream,
            site: Arc::clone(&lane.site),
            route: lane.route,
            recipients: job.recipients.as_slice().to_vec(),
            attempts: u32::from(job.attempts),
            accepted_at: self.clock.outward(job.accepted_at),
            expires_at: self.clock.outward(self.expires_at(job)),
            waits: self.waits(index, self.clock.inward(now)),
        }
    }

    fn waits(&self, index: u32, now: Timestamp) -> Waits {
        let job = &self.jobs[index];
        match job.state {
            State::InFlight { .. } => return Waits::Attempt,
            State::Held => return Waits::Release,
            State::Ready | State::Deferred | State::Loose => {}
        }
        let lane = &self.lanes[job.lane];
        match self.lane_state(job.lane, now) {
            LaneState::Down { until } => return Waits::SiteDown { until },
            LaneState::Throttled { until } => return Waits::SiteSlow { until },
            LaneState::Ready => {}
        }
        if job.state == State::Deferred && job.due > now {
            return Waits::Retry { at: self.clock.outward(job.due) };
        }
        match lane.gate(now) {
            Gate::Closed(until) => Waits::Rate { until: self.clock.outward(until) },
            Gate::Full => Waits::Connection,
            Gate::Open => Waits::Turn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_reads_back() {
        let place = Cursor(Arrival::of(MessageId::new(1_700_000_000_000, [7; 10])), 3);
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!("nonsense".parse::<Cursor>(), Err(CursorError));
    }
}
