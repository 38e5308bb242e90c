//! What a person can order: hold, release, retry now, cancel.

use std::ops::Bound;

use base::{AccountId, MessageId, Timestamp};

use crate::job::{Arrival, Job, JobId, Order, State};
use crate::planner::Planner;

/// Which jobs are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    All,
    Message(MessageId),
    Account(AccountId),
    /// By recipient domain (A-labels, lower case), whatever the route.
    Destination(Box<str>),
}

/// A job that an order has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub job: JobId,
    pub message: MessageId,
    pub account: AccountId,
    pub recipients: Vec<u32>,
    /// It is being tried at this moment: the order takes effect on what the attempt leaves, and
    /// [`Planner::finished`] says so.
    pub in_flight: bool,
}

impl Planner {
    /// Jobs are not tried until they are released. While held they neither expire nor are they
    /// reported as late.
    pub fn hold(&mut self, now: Timestamp, selector: &Selector) -> Vec<Touched> {
        self.order(now, selector, |planner, index| match (planner.jobs[index].state, planner.jobs[index].order) {
            (State::InFlight { .. }, Order::None) => {
                planner.jobs[index].order = Order::Hold;
                true
            }
            (State::Ready | State::Deferred, _) => {
                planner.detach(index);
                planner.keep_held(index);
                true
            }
            _ => false,
        })
    }

    /// Held jobs are tried as soon as their turn comes, whatever they waited for before.
    pub fn release(&mut self, now: Timestamp, selector: &Selector) -> Vec<Touched> {
        self.order(now, selector, |planner, index| match (planner.jobs[index].state, planner.jobs[index].order) {
            (State::InFlight { .. }, Order::Hold) => {
                planner.jobs[index].order = Order::None;
                true
            }
            (State::Held, _) => {
                planner.detach(index);
                // It may have lain there for longer than its lifetime: it is tried before it expires.
                planner.jobs[index].tried = false;
                planner.jobs[index].tried_last = false;
                planner.keep_waiting(index, planner.clock.now());
                true
            }
            _ => false,
        })
    }

    /// Waiting jobs are tried as soon as their turn comes; a site in trouble is probed at once.
    /// Held jobs stay held.
    pub fn retry_now(&mut self, now: Timestamp, selector: &Selector) -> Vec<Touched> {
        self.order(now, selector, |planner, index| {
            let job = &planner.jobs[index];
            let (state, lane) = (job.state, job.lane);
            let now = planner.clock.now();
            match state {
                State::Deferred => planner.urge(index),
                State::Ready if planner.lanes[lane].feedback.closed().is_some() => {}
                _ => return false,
            }
            planner.lanes[lane].feedback.probe_at(now);
            true
        })
    }

    /// Jobs leave the planner at once, with the recipients told here; those in flight when their
    /// attempt ends, unless it delivered them.
    pub fn cancel(&mut self, now: Timestamp, selector: &Selector) -> Vec<Touched> {
        self.advance(now);
        let mut touched = Vec::new();
        let mut lanes = Vec::new();
        for index in self.selected(selector) {
            let job = &mut self.jobs[index];
            let in_flight = matches!(job.state, State::InFlight { .. });
            if in_flight && job.order == Order::Cancel {
                continue;
            }
            touched.push(self.touched(index));
            if in_flight {
                self.jobs[index].order = Order::Cancel;
                continue;
            }
            self.detach(index);
            lanes.push(self.forget(index).lane);
        }
        self.place_all(lanes);
        touched
    }

    /// Does `act` to every job selected; it says whether it changed anything.
    fn order(&mut self, now: Timestamp, selector: &Selector, act: impl Fn(&mut Planner, u32) -> bool) -> Vec<Touched> {
        self.advance(now);
        let mut touched = Vec::new();
        let mut lanes = Vec::new();
        for index in self.selected(selector) {
            if act(self, index) {
                touched.push(self.touched(index));
                lanes.push(self.jobs[index].lane);
            }
        }
        self.place_all(lanes);
        touched
    }

    fn place_all(&mut self, mut lanes: Vec<u32>) {
        lanes.sort_unstable();
        lanes.dedup();
        for lane in lanes {
            self.place(lane);
        }
    }

    fn touched(&self, index: u32) -> Touched {
        let job = &self.jobs[index];
        Touched {
            job: self.job_id(index),
            message: job.message,
            account: job.account,
            recipients: job.recipients.as_slice().to_vec(),
            in_flight: matches!(job.state, State::InFlight { .. }),
        }
    }

    fn selected(&self, selector: &Selector) -> Vec<u32> {
        self.in_order(selector, None).map(|(_, index)| index).collect()
    }

    /// The jobs meant, in the order of their messages' arrival, behind `after`. By message a look-up,
    /// otherwise a walk over all jobs.
    pub(crate) fn in_order(
        &self,
        selector: &Selector,
        after: Option<(Arrival, u32)>,
    ) -> impl Iterator<Item = (Arrival, u32)> {
        let (first, last) = match selector {
            Selector::Message(id) => (Some((Arrival::of(*id), 0)), Bound::Included((Arrival::of(*id), u32::MAX))),
            _ => (None, Bound::Unbounded),
        };
        let from = match (after, first) {
            (Some(after), first) if Some(after) >= first => Bound::Excluded(after),
            (_, Some(first)) => Bound::Included(first),
            (_, None) => Bound::Unbounded,
        };
        // A range that starts behind its end would panic.
        let empty = matches!((from, last), (Bound::Excluded(from), Bound::Included(last)) if from >= last);
        let range = (!empty).then(|| self.by_arrival.range((from, last)));
        let meant = Meant::new(self, selector);
        range.into_iter().flatten().copied().filter(move |(_, index)| meant.includes(&self.jobs[*index]))
    }
}

/// A selector made ready to be asked about each job.
enum Meant {
    All,
    Message(MessageId),
    Account(AccountId),
    Lanes(Vec<u32>),
}

impl Meant {
    fn new(planner: &Planner, selector: &Selector) -> Meant {
        match selector {
            Selector::All => Meant::All,
            Selector::Message(id) => Meant::Message(*id),
            Selector::Account(account) => Meant::Account(*account),
            Selector::Destination(site) => Meant::Lanes(planner.lanes_of(site)),
        }
    }

    fn includes(&self, job: &Job) -> bool {
        match self {
            Meant::All => true,
            Meant::Message(id) => job.message == *id,
            Meant::Account(account) => job.account == *account,
            Meant::Lanes(lanes) => lanes.contains(&job.lane),
        }
    }
}
