//! What must hold between the planner's parts at every moment.

use std::collections::{BTreeSet, HashMap};

use base::Stream;

use crate::feedback::Gate;
use crate::job::{Arrival, Deferral, NEVER, State};
use crate::planner::Planner;
use crate::rings::Running;

impl Planner {
    /// Panics if two parts of the planner disagree.
    pub(crate) fn assert_consistent(&self) {
        self.assert_jobs_are_where_they_say();
        self.assert_lanes_are_where_they_say();
        assert!(self.running.total <= self.config.in_flight_max);
        assert!(self.running.bulk <= self.config.in_flight_bulk_max);
        assert!(self.running.unproven <= self.config.in_flight_unproven_max);
    }

    fn assert_jobs_are_where_they_say(&self) {
        let mut running = Running::default();
        let mut deferred = BTreeSet::new();
        let mut deadlines = BTreeSet::new();
        let mut by_arrival = BTreeSet::new();
        let mut held = 0;
        for (index, job) in self.jobs.iter() {
            by_arrival.insert((Arrival::of(job.message), index));
            if job.deadline != NEVER {
                deadlines.insert((job.deadline, index));
            }
            match job.state {
                State::Ready => {}
                State::Deferred => {
                    deferred.insert(Deferral { lane: job.lane, job: index, due: job.due });
                }
                State::InFlight { unproven } => running.started(job.stream, unproven),
                State::Held => held += 1,
                State::Loose => panic!("a job was left loose"),
            }
            let reported = matches!(job.state, State::InFlight { .. } | State::Held) || job.deadline != NEVER;
            assert!(reported, "a waiting job will never expire");
        }
        assert_eq!(running, self.running);
        assert_eq!(deferred, self.deferred);
        assert_eq!(deadlines, self.deadlines);
        assert_eq!(by_arrival, self.by_arrival);
        assert_eq!(held, self.held);
    }

    fn assert_lanes_are_where_they_say(&self) {
        let now = self.clock.now();
        let mut counts: HashMap<u32, [u32; 4]> = HashMap::new();
        for (_, job) in self.jobs.iter() {
            let place = match job.state {
                State::Ready => 0,
                State::Deferred => 1,
                State::InFlight { .. } => 2,
                State::Held | State::Loose => 3,
            };
            counts.entry(job.lane).or_default()[place] += 1;
        }
        let mut timers = BTreeSet::new();
        for (index, lane) in self.lanes.iter() {
            let counted = counts.remove(&index).unwrap_or_default();
            assert_eq!(counted, [lane.ready, lane.deferred, lane.in_flight, lane.held]);
            assert!(lane.in_flight <= u32::from(lane.limits.connections_max));
            if lane.timer != NEVER {
                timers.insert((lane.timer, index));
            }
            assert!(self.lanes_of(&lane.site).contains(&index), "a lane is found by its site");
            let ready = lane.has_ready(Stream::Transactional) || lane.has_ready(Stream::Bulk);
            assert_eq!(ready, lane.ready > 0);
            let open = lane.gate(now) == Gate::Open && ready;
            let timer_due = lane.timer <= now;
            assert!(open == lane.class.is_some() || timer_due, "a lane that is open and ready stands in a ring");
            let waits = lane.ready + lane.deferred > 0 && lane.in_flight == 0 && lane.class.is_none();
            let only_expiry = lane.ready == 0 && self.only_expiry_is_left(index);
            assert!(!waits || lane.timer != NEVER || only_expiry, "a lane with waiting jobs will be looked at again");
        }
        assert!(counts.is_empty(), "jobs without a lane");
        assert_eq!(timers, self.timers);
    }

    fn only_expiry_is_left(&self, lane: u32) -> bool {
        self.jobs
            .iter()
            .filter(|(_, job)| job.lane == lane)
            .all(|(_, job)| job.due == NEVER || job.state == State::Held)
    }
}
