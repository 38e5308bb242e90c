//! The end of an attempt: who is done, who waits again and until when, and what it says about the site.

use base::Timestamp;

use crate::feedback::{Cause, SiteFeedback};
use crate::job::{Arrival, JobId, NEVER, Order, Recipients, State};
use crate::planner::Planner;

/// What an attempt meant for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Final, one way or the other: it leaves the planner.
    Done,
    /// Refused for now, by a reply about this message or this recipient.
    Retry,
    /// Its turn did not come: no server was reached, or the attempt ended before it.
    NotAttempted,
}

/// Recipients that stay, or were taken back, after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remainder {
    pub recipients: Vec<u32>,
    pub next: Next,
}

/// What happens to recipients that an attempt did not finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// They are tried again, not before `at`. A site in trouble may make it later.
    Retry { job: JobId, at: Timestamp },
    /// They were held while the attempt ran.
    Held { job: JobId },
    /// They were cancelled while the attempt ran, and have left the planner.
    Cancelled,
}

/// The recipients that an attempt left over.
struct Leftover {
    refused: Vec<u32>,
    untried: Vec<u32>,
    /// Whether anybody got an answer.
    progress: bool,
}

impl Leftover {
    /// Who is not mentioned was not attempted: no omission of the caller's loses anybody.
    fn of(recipients: &Recipients, fates: &[(u32, Fate)]) -> Leftover {
        let mut fates = fates.to_vec();
        fates.sort_by_key(|(recipient, _)| *recipient);
        let fate_of = |recipient: u32| match fates.binary_search_by_key(&recipient, |(recipient, _)| *recipient) {
            Ok(at) => fates[at].1,
            Err(_) => Fate::NotAttempted,
        };
        let mut leftover = Leftover { refused: Vec::new(), untried: Vec::new(), progress: false };
        for recipient in recipients.as_slice() {
            let fate = fate_of(*recipient);
            match fate {
                Fate::Done => {}
                Fate::Retry => leftover.refused.push(*recipient),
                Fate::NotAttempted => leftover.untried.push(*recipient),
            }
            leftover.progress |= fate != Fate::NotAttempted;
        }
        leftover
    }
}

impl Planner {
    /// Ends an attempt: `fates` by recipient index (who is missing counts as not attempted), and what
    /// it showed about the site. Says what becomes of the recipients that are not done: at most two
    /// groups, for those refused wait by their own schedule and those not reached by the site's.
    ///
    /// A job that is not in flight (a handle from before, a second report) changes nothing.
    pub fn finished(
        &mut self,
        now: Timestamp,
        job: JobId,
        fates: &[(u32, Fate)],
        site: SiteFeedback,
    ) -> Vec<Remainder> {
        let now = self.advance(now);
        let JobId { slot: index, generation } = job;
        if !self.jobs.is_live(index, generation) || !matches!(self.jobs[index].state, State::InFlight { .. }) {
            return Vec::new();
        }
        let leftover = Leftover::of(&self.jobs[index].recipients, fates);
        let lane = self.jobs[index].lane;
        self.learn(lane, site);
        self.detach(index);
        if leftover.progress || site != SiteFeedback::Reached {
            let past = now >= self.expires_at(&self.jobs[index]);
            let job = &mut self.jobs[index];
            job.attempts = job.attempts.saturating_add(1);
            job.tried = true;
            job.tried_last = past;
        }
        let remainders = self.settle(index, leftover, site);
        self.place(lane);
        remainders
    }

    fn learn(&mut self, lane: u32, site: SiteFeedback) {
        let (schedule, rng) = (&self.config.schedule, &mut self.rng);
        let now = self.clock.now();
        let lane = &mut self.lanes[lane];
        let cause = match site {
            SiteFeedback::Reached => {
                return lane.feedback.reached(self.config.concurrency_initial, lane.limits.connections_max);
            }
            SiteFeedback::Slow => Cause::Slow,
            SiteFeedback::Unreachable => Cause::Unreachable,
        };
        lane.feedback.failed(cause, now, lane.in_flight, |closings| schedule.site_delay(closings, rng.f64()));
    }

    /// Finds the next place for what is left of a loose job.
    fn settle(&mut self, index: u32, leftover: Leftover, site: SiteFeedback) -> Vec<Remainder> {
        let Leftover { refused, untried, progress } = leftover;
        if refused.is_empty() && untried.is_empty() {
            self.forget(index);
            return Vec::new();
        }
        match self.jobs[index].order {
            Order::None => {}
            Order::Cancel => {
                self.forget(index);
                return vec![Remainder { recipients: [refused, untried].concat(), next: Next::Cancelled }];
            }
            Order::Hold => {
                let recipients = [refused, untried].concat();
                self.jobs[index].order = Order::None;
                self.jobs[index].recipients = Recipients::new(&recipients);
                self.keep_held(index);
                return vec![Remainder { recipients, next: Next::Held { job: self.job_id(index) } }];
            }
        }
        let untried_due = self.untried_due(self.jobs[index].lane, site, progress);
        let mut remainders = Vec::new();
        if refused.is_empty() {
            remainders.push(self.wait_again(index, untried, untried_due));
            return remainders;
        }
        if !untried.is_empty() {
            let split = self.split_off(index, &untried);
            remainders.push(self.wait_again(split, untried, untried_due));
        }
        let job = &mut self.jobs[index];
        job.refusals = job.refusals.saturating_add(1);
        let delay = self.config.schedule.retry_delay(u32::from(job.refusals), self.rng.f64());
        let due = self.clock.now().after(delay);
        remainders.push(self.wait_again(index, refused, due));
        remainders
    }

    /// When those are tried again to whom no reply was given.
    fn untried_due(&mut self, lane: u32, site: SiteFeedback, progress: bool) -> Timestamp {
        let now = self.clock.now();
        let lane_closed = self.lanes[lane].feedback.closed().is_some_and(|closed| closed.until > now);
        // A closed lane keeps its jobs by itself, and lets them all go when it opens again. A server
        // that took some recipients and no more (452) gets the others at once, in another transaction.
        if lane_closed || (site == SiteFeedback::Reached && progress) {
            return now;
        }
        now.after(self.config.schedule.site_delay(1, self.rng.f64()))
    }

    fn wait_again(&mut self, index: u32, recipients: Vec<u32>, due: Timestamp) -> Remainder {
        let now = self.clock.now();
        self.jobs[index].recipients = Recipients::new(&recipients);
        let expires_at = self.expires_at(&self.jobs[index]);
        // The last try is made when the lifetime ends, not hours after it.
        let due = if expires_at > now { due.min(expires_at) } else { due };
        if self.jobs[index].tried_last {
            // That was the last try: it is never due again, and the next report is its expiry.
            self.keep_waiting(index, NEVER);
            self.arm(index, now);
            return self.remainder(index, recipients, now);
        }
        self.keep_waiting(index, due);
        let closed = self.lanes[self.jobs[index].lane].feedback.closed();
        let at = closed.map_or(due, |closed| closed.until.max(due));
        self.remainder(index, recipients, at)
    }

    fn remainder(&self, index: u32, recipients: Vec<u32>, at: Timestamp) -> Remainder {
        let next = Next::Retry { job: self.job_id(index), at: self.clock.outward(at) };
        Remainder { recipients, next }
    }

    /// A second job, for recipients that part ways with the others; loose.
    fn split_off(&mut self, index: u32, recipients: &[u32]) -> u32 {
        let job = &self.jobs[index];
        let split = job.split(Recipients::new(recipients));
        let arrival = Arrival::of(split.message);
        let index = self.jobs.insert(split);
        self.by_arrival.insert((arrival, index));
        index
    }
}
