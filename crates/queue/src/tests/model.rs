//! The naive model: for every recipient, what may happen to it next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{AccountId, MessageId, Stream, Timestamp};
use proptest::prelude::*;

use crate::job::Order;
use crate::{
    Action, Assignment, Config, Fate, JobId, LaneKey, LaneLimits, NewJob, Next, Planner, RouteId, Schedule, Selector,
    SiteFeedback, Touched,
};

#[derive(Debug, Clone)]
enum Op {
    Enqueue { account: i64, bulk: bool, site: usize, recipients: u32, held: bool, wait_secs: u64, age_secs: u64 },
    Poll,
    Finish { nth: usize, seed: u64, site: SiteFeedback },
    Advance { ms: u64 },
    SetClockBack { ms: u64 },
    Hold(Pick),
    Release(Pick),
    RetryNow(Pick),
    Cancel(Pick),
    SetLimit { site: usize, connections_max: u16 },
}

#[derive(Debug, Clone)]
enum Pick {
    All,
    Message(usize),
    Account(i64),
    Site(usize),
}

const SITES: [&str; 3] = ["a.example", "b.example", "c.example"];
const START: Timestamp = Timestamp::from_secs(1_000_000);

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let site = 0..SITES.len();
    let feedback = prop_oneof![
        3 => Just(SiteFeedback::Reached),
        1 => Just(SiteFeedback::Slow),
        1 => Just(SiteFeedback::Unreachable),
    ];
    let pick = || {
        prop_oneof![
            1 => Just(Pick::All),
            3 => (0..50_usize).prop_map(Pick::Message),
            1 => (1..4_i64).prop_map(Pick::Account),
            1 => (0..SITES.len()).prop_map(Pick::Site),
        ]
    };
    let enqueue = (1..4_i64, any::<bool>(), site.clone(), 1..6_u32, 0..8_u32, 0..60_u64, 0..4000_u64);
    let op = prop_oneof![
        6 => enqueue.prop_map(|(account, bulk, site, recipients, held, wait_secs, age_secs)| {
            Op::Enqueue { account, bulk, site, recipients, held: held == 0, wait_secs, age_secs }
        }),
        10 => Just(Op::Poll),
        8 => (any::<usize>(), any::<u64>(), feedback).prop_map(|(nth, seed, site)| Op::Finish { nth, seed, site }),
        4 => (0..120_000_u64).prop_map(|ms| Op::Advance { ms }),
        1 => (0..100_000_000_u64).prop_map(|ms| Op::Advance { ms }),
        1 => (0..100_000_000_u64).prop_map(|ms| Op::SetClockBack { ms }),
        1 => pick().prop_map(Op::Hold),
        2 => pick().prop_map(Op::Release),
        1 => pick().prop_map(Op::RetryNow),
        1 => pick().prop_map(Op::Cancel),
        1 => (site, 1..5_u16).prop_map(|(site, connections_max)| Op::SetLimit { site, connections_max }),
    ];
    proptest::collection::vec(op, 1..150)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Where {
    Waiting { not_before: Timestamp },
    InFlight,
    Held,
    Gone,
}

struct Recipient {
    at: Where,
    account: AccountId,
    site: usize,
    accepted_at: Timestamp,
    noticed: bool,
}

struct Model {
    planner: Planner,
    /// The wall clock, which may be set back, and true time, which may not.
    wall: Timestamp,
    elapsed: Duration,
    /// True time when each recipient's lifetime began, by message number and index.
    recipients: BTreeMap<(MessageId, u32), Recipient>,
    in_flight: BTreeMap<JobId, Assignment>,
    /// What was ordered for a job while it was in flight.
    orders: BTreeMap<JobId, Order>,
    messages: Vec<MessageId>,
}

fn config() -> Config {
    Config {
        schedule: Schedule {
            lifetime: Duration::from_secs(5000),
            delay_notice_after: Some(Duration::from_secs(1000)),
            ..Schedule::default()
        },
        limits: LaneLimits { connections_max: 4, recipients_per_message_max: 3, ..LaneLimits::default() },
        limits_by_site: [(
            Box::from(SITES[2]),
            LaneLimits { messages_per_second_max: Some(0.5), recipients_per_message_max: 3, ..LaneLimits::default() },
        )]
        .into(),
        in_flight_max: 9,
        in_flight_bulk_max: 7,
        in_flight_unproven_max: 6,
        ..Config::default()
    }
}

impl Model {
    fn new() -> Model {
        Model {
            planner: Planner::new(config(), fastrand::Rng::with_seed(7)),
            wall: START,
            elapsed: Duration::ZERO,
            recipients: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            orders: BTreeMap::new(),
            messages: Vec::new(),
        }
    }

    /// True time: what the wall clock would show had nobody touched it.
    fn true_now(&self) -> Timestamp {
        START.after(self.elapsed)
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Enqueue { .. } => self.enqueue(op),
            Op::Poll => drop(self.poll()),
            Op::Finish { nth, seed, site } => self.finish(*nth, *seed, *site),
            Op::Advance { ms } => {
                self.elapsed += Duration::from_millis(*ms);
                self.wall = self.wall.after(Duration::from_millis(*ms));
            }
            Op::SetClockBack { ms } => {
                // Seen by the planner before and after, or the step would be no step to it.
                self.poll();
                self.wall = Timestamp(self.wall.0 - (ms * 1000).min(self.wall.0));
                self.poll();
            }
            Op::Hold(pick) => {
                let touched = self.planner.hold(self.wall, &self.selector(pick));
                self.moved(&touched, Where::Held);
                self.ordered(&touched, Order::Hold);
            }
            Op::Release(pick) => {
                let touched = self.planner.release(self.wall, &self.selector(pick));
                self.moved(&touched, Where::Waiting { not_before: Timestamp(0) });
                self.ordered(&touched, Order::None);
            }
            Op::RetryNow(pick) => {
                let touched = self.planner.retry_now(self.wall, &self.selector(pick));
                assert!(touched.iter().all(|touched| !touched.in_flight));
                self.moved(&touched, Where::Waiting { not_before: Timestamp(0) });
            }
            Op::Cancel(pick) => {
                let selector = self.selector(pick);
                let touched = self.planner.cancel(self.wall, &selector);
                self.moved(&touched, Where::Gone);
                self.ordered(&touched, Order::Cancel);
                self.assert_only_in_flight_left(&selector);
            }
            Op::SetLimit { site, connections_max } => self.set_limit(SITES[*site], *connections_max),
        }
        self.assert_agrees();
    }

    /// A lower limit does not cut what runs, so it is only set while less runs.
    fn set_limit(&mut self, site: &str, connections_max: u16) {
        let running = self.in_flight.values().filter(|assignment| &*assignment.site == site).count();
        if running <= usize::from(connections_max) {
            let limits = LaneLimits { connections_max, recipients_per_message_max: 3, ..LaneLimits::default() };
            self.planner.set_limits(self.wall, site, Some(limits));
        }
    }

    fn enqueue(&mut self, op: &Op) {
        let Op::Enqueue { account, bulk, site, recipients, held, wait_secs, age_secs } = op else { return };
        let number = self.messages.len() as u64;
        let message = MessageId::new(number, [number as u8; 10]);
        self.messages.push(message);
        let indices: Vec<u32> = (0..*recipients).collect();
        let wait = Duration::from_secs(*wait_secs);
        // A poll first, so that planner and model agree on the clock's steps.
        self.poll();
        let age = Duration::from_secs(*age_secs);
        self.planner.enqueue(
            self.wall,
            NewJob {
                message,
                account: AccountId(*account),
                stream: if *bulk { Stream::Bulk } else { Stream::Transactional },
                lane: LaneKey { site: SITES[*site], route: RouteId((number % 2) as u16) },
                recipients: &indices,
                accepted_at: Timestamp(self.wall.0.saturating_sub(age.as_micros() as u64)),
                attempts: 0,
                not_before: Some(self.wall.after(wait)),
                held: *held,
                delay_noticed: false,
            },
        );
        let at = match held {
            true => Where::Held,
            false => Where::Waiting { not_before: self.true_now().after(wait) },
        };
        let accepted_at = Timestamp(self.true_now().0 - age.as_micros() as u64);
        for index in indices {
            let recipient = Recipient { at, account: AccountId(*account), site: *site, accepted_at, noticed: false };
            self.recipients.insert((message, index), recipient);
        }
    }

    fn poll(&mut self) -> bool {
        let now = self.true_now();
        match self.planner.poll(self.wall) {
            None => return false,
            Some(Action::Attempt(assignment)) => {
                for index in &assignment.recipients {
                    let recipient = self.recipient(assignment.message, *index);
                    match recipient.at {
                        Where::Waiting { not_before } => assert!(not_before <= now, "tried before its time"),
                        other => panic!("{other:?} was tried"),
                    }
                    recipient.at = Where::InFlight;
                }
                assert!(self.in_flight.insert(assignment.job, assignment).is_none(), "handed out twice");
            }
            Some(Action::Expire(overdue)) => {
                for index in overdue.recipients {
                    let recipient = self.recipient(overdue.message, index);
                    assert!(matches!(recipient.at, Where::Waiting { .. }), "{:?} expired", recipient.at);
                    assert!(now.since(recipient.accepted_at) >= config().schedule.lifetime);
                    recipient.at = Where::Gone;
                }
            }
            Some(Action::DelayNotice(overdue)) => {
                for index in overdue.recipients {
                    let recipient = self.recipient(overdue.message, index);
                    assert!(!std::mem::replace(&mut recipient.noticed, true), "noticed twice");
                    assert!(now.since(recipient.accepted_at) >= Duration::from_secs(1000));
                }
            }
        }
        true
    }

    fn finish(&mut self, nth: usize, seed: u64, site: SiteFeedback) {
        if self.in_flight.is_empty() {
            return;
        }
        let job = *self.in_flight.keys().nth(nth % self.in_flight.len()).expect("nth is below the length");
        let assignment = self.in_flight.remove(&job).expect("the key is from the map");
        let mut rng = fastrand::Rng::with_seed(seed);
        let fate = |_: &u32| match (site, rng.u8(0..4)) {
            (SiteFeedback::Unreachable, _) | (_, 3) => Fate::NotAttempted,
            (_, 0) => Fate::Retry,
            _ => Fate::Done,
        };
        let fates: Vec<Fate> = assignment.recipients.iter().map(fate).collect();
        let told: Vec<(u32, Fate)> = assignment.recipients.iter().copied().zip(fates.iter().copied()).collect();
        let remainders = self.planner.finished(self.wall, job, &told, site);
        assert!(self.planner.finished(self.wall, job, &told, site).is_empty(), "a second report changes nothing");
        let mut left: BTreeSet<u32> =
            told.iter().filter(|(_, fate)| *fate != Fate::Done).map(|(index, _)| *index).collect();
        let behind = Duration::from_micros(self.true_now().0 - self.wall.0);
        let order = self.orders.remove(&job).unwrap_or(Order::None);
        for remainder in remainders {
            match (order, remainder.next) {
                (Order::None, Next::Retry { .. }) => {}
                (Order::Hold, Next::Held { .. }) | (Order::Cancel, Next::Cancelled) => {}
                (order, next) => panic!("{order:?} was answered by {next:?}"),
            }
            for index in remainder.recipients {
                assert!(left.remove(&index), "{index} is left over twice, or was done");
                self.recipient(assignment.message, index).at = match remainder.next {
                    // What is told is the planner's plan; an order to retry now may overtake it.
                    Next::Retry { at, .. } if site == SiteFeedback::Reached => Where::Waiting {
                        not_before: Timestamp(at.after(behind).0.min(self.lifetime_end(assignment.message, index))),
                    },
                    Next::Retry { .. } => Where::Waiting { not_before: Timestamp(0) },
                    Next::Held { .. } => Where::Held,
                    Next::Cancelled => Where::Gone,
                };
            }
        }
        assert!(left.is_empty(), "{left:?} were lost");
        for (index, fate) in told {
            if fate == Fate::Done {
                self.recipient(assignment.message, index).at = Where::Gone;
            }
        }
    }

    fn lifetime_end(&mut self, message: MessageId, index: u32) -> u64 {
        self.recipient(message, index).accepted_at.after(config().schedule.lifetime).0.max(START.0)
    }

    fn moved(&mut self, touched: &[Touched], to: Where) {
        for touched in touched.iter().filter(|touched| !touched.in_flight) {
            for index in &touched.recipients {
                let recipient = self.recipient(touched.message, *index);
                assert!(!matches!(recipient.at, Where::InFlight | Where::Gone), "{:?} was moved", recipient.at);
                recipient.at = to;
            }
        }
    }

    fn ordered(&mut self, touched: &[Touched], order: Order) {
        for touched in touched.iter().filter(|touched| touched.in_flight) {
            assert!(self.in_flight.contains_key(&touched.job));
            self.orders.insert(touched.job, order);
        }
    }

    fn assert_only_in_flight_left(&self, selector: &Selector) {
        let left = self.recipients.iter().filter(|((message, _), recipient)| {
            let meant = match selector {
                Selector::All => true,
                Selector::Message(id) => id == message,
                Selector::Account(account) => recipient.account == *account,
                Selector::Destination(site) => SITES[recipient.site] == &**site,
            };
            meant && !matches!(recipient.at, Where::InFlight | Where::Gone)
        });
        assert_eq!(left.count(), 0, "{selector:?} left some behind");
    }

    fn assert_agrees(&self) {
        self.planner.assert_consistent();
        let here: BTreeSet<_> =
            self.recipients.iter().filter(|(_, r)| r.at != Where::Gone).map(|(key, _)| *key).collect();
        let page = self.planner.list(self.wall, &Selector::All, None, usize::MAX);
        let listed: Vec<_> =
            page.jobs.iter().flat_map(|job| job.recipients.iter().map(|index| (job.message, *index))).collect();
        assert_eq!(listed.len(), here.len(), "somebody is in two jobs, or in none");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), here);
        let stats = self.planner.stats();
        assert_eq!(stats.in_flight, self.in_flight.len());
        let summed: u32 = self.planner.summary(self.wall).iter().map(|l| l.queued + l.in_flight + l.held).sum();
        assert_eq!(summed as usize, stats.jobs);
    }

    /// Everything that is here leaves in the end, if the sites work and nobody holds it.
    fn drain(&mut self) {
        self.step(&Op::Release(Pick::All));
        for _ in 0..20_000 {
            while self.poll() {}
            while !self.in_flight.is_empty() {
                let job = *self.in_flight.keys().next().expect("it is not empty");
                self.orders.remove(&job);
                let assignment = self.in_flight.remove(&job).expect("the key is from the map");
                let done: Vec<_> = assignment.recipients.iter().map(|index| (*index, Fate::Done)).collect();
                let left = self.planner.finished(self.wall, job, &done, SiteFeedback::Reached);
                assert!(left.is_empty());
                for index in assignment.recipients {
                    self.recipient(assignment.message, index).at = Where::Gone;
                }
            }
            self.assert_agrees();
            if self.planner.is_empty() {
                return;
            }
            let wake_at = self.planner.wake_at().expect("jobs are waiting");
            self.step(&Op::Advance { ms: wake_at.since(self.wall).as_micros().div_ceil(1000) as u64 });
        }
        panic!("the queue does not drain: {:?}", self.planner.summary(self.wall));
    }

    fn recipient(&mut self, message: MessageId, index: u32) -> &mut Recipient {
        self.recipients.get_mut(&(message, index)).expect("the planner names only recipients it was given")
    }

    fn selector(&self, pick: &Pick) -> Selector {
        match pick {
            Pick::All => Selector::All,
            Pick::Message(nth) => {
                let message = self.messages.get(nth % self.messages.len().max(1)).copied();
                Selector::Message(message.unwrap_or(MessageId::new(0, [0; 10])))
            }
            Pick::Account(account) => Selector::Account(AccountId(*account)),
            Pick::Site(site) => Selector::Destination(SITES[*site].into()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_recipient_leaves_exactly_once(ops in ops()) {
        let mut model = Model::new();
        for op in &ops {
            model.step(op);
        }
        model.drain();
        prop_assert!(model.recipients.values().all(|recipient| recipient.at == Where::Gone));
    }
}
