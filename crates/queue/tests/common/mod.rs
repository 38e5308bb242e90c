//! A planner with a hand-set clock, and short words for what the stories do.
#![allow(dead_code, reason = "each story uses its own part")]

use std::time::Duration;

use base::{AccountId, MessageId, Stream, Timestamp};
use queue::{Action, Assignment, Config, Fate, LaneKey, NewJob, Planner, Remainder, RouteId, SiteFeedback};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(86_400);

pub struct Desk {
    pub planner: Planner,
    pub now: Timestamp,
    messages: u64,
}

impl Desk {
    pub fn new(config: Config) -> Desk {
        let planner = Planner::new(config, fastrand::Rng::with_seed(1));
        Desk { planner, now: Timestamp::from_secs(1_800_000_000), messages: 0 }
    }

    pub fn message(&mut self) -> MessageId {
        self.messages += 1;
        MessageId::new(self.messages, [0; 10])
    }

    pub fn job<'a>(&mut self, site: &'a str, recipients: &'a [u32]) -> NewJob<'a> {
        NewJob {
            message: self.message(),
            account: AccountId(1),
            stream: Stream::Transactional,
            lane: LaneKey { site, route: RouteId(0) },
            recipients,
            accepted_at: self.now,
            attempts: 0,
            not_before: None,
            held: false,
            delay_noticed: false,
        }
    }

    /// Queues a message to one recipient of `site`.
    pub fn queue(&mut self, site: &str) -> MessageId {
        self.queue_for(site, 1, Stream::Transactional)
    }

    pub fn queue_for(&mut self, site: &str, account: i64, stream: Stream) -> MessageId {
        let job = self.job(site, &[0]);
        let message = job.message;
        self.planner.enqueue(self.now, NewJob { account: AccountId(account), stream, ..job });
        message
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    pub fn poll(&mut self) -> Option<Action> {
        self.planner.poll(self.now)
    }

    /// All attempts that may start now.
    pub fn attempts(&mut self) -> Vec<Assignment> {
        std::iter::from_fn(|| self.poll()).map(attempt).collect()
    }

    pub fn attempt(&mut self) -> Assignment {
        attempt(self.poll().expect("an attempt is due"))
    }

    pub fn finish(&mut self, assignment: &Assignment, fate: Fate, site: SiteFeedback) -> Vec<Remainder> {
        let fates: Vec<(u32, Fate)> = assignment.recipients.iter().map(|index| (*index, fate)).collect();
        self.planner.finished(self.now, assignment.job, &fates, site)
    }

    pub fn delivered(&mut self, assignment: &Assignment) {
        assert!(self.finish(assignment, Fate::Done, SiteFeedback::Reached).is_empty());
    }

    pub fn unreachable(&mut self, assignment: &Assignment) {
        self.finish(assignment, Fate::NotAttempted, SiteFeedback::Unreachable);
    }

    /// Lets time pass until the planner asks to be woken.
    pub fn sleep(&mut self) {
        self.now = self.planner.wake_at().expect("something is waiting").max(self.now);
    }
}

pub fn attempt(action: Action) -> Assignment {
    match action {
        Action::Attempt(assignment) => assignment,
        other => panic!("an attempt was expected, not {other:?}"),
    }
}
