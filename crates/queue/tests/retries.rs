//! When a message is tried again, and when it is given up.

mod common;

use std::time::Duration;

use base::Timestamp;
use common::{DAY, Desk, HOUR, MINUTE};
use queue::{Action, Config, Fate, NewJob, Next, Schedule, SiteFeedback, Waits};

/// A schedule without chance, so that the times can be told.
fn exact() -> Config {
    Config { schedule: Schedule { jitter_fraction: 0.0, ..Schedule::default() }, ..Config::default() }
}

#[test]
fn a_greylisted_message_comes_back_after_its_five_minutes() {
    let mut desk = Desk::new(Config::default());
    desk.queue("grey.example");
    let first = desk.attempt();
    assert_eq!((first.number, &*first.site, &first.recipients[..]), (1, "grey.example", &[0][..]));
    let left = desk.finish(&first, Fate::Retry, SiteFeedback::Reached);
    let [remainder] = &left[..] else { panic!("{left:?}") };
    let Next::Retry { at, job } = remainder.next else { panic!("{left:?}") };
    assert!(at >= desk.now.after(5 * MINUTE) && at <= desk.now.after(6 * MINUTE));
    assert_eq!(desk.planner.job(desk.now, job).map(|view| view.waits), Some(Waits::Retry { at }));
    assert_eq!(desk.planner.wake_at(), Some(at));
    desk.now = Timestamp(at.0 - 1);
    assert_eq!(desk.poll(), None);
    desk.now = at;
    let second = desk.attempt();
    assert_eq!(second.number, 2);
    desk.delivered(&second);
    assert!(desk.planner.is_empty());
}

#[test]
fn a_message_refused_for_five_days_is_tried_less_and_less_and_then_expires_once() {
    let mut desk = Desk::new(exact());
    let message = desk.queue("full.example");
    let accepted_at = desk.now;
    let (mut waits, mut notices, mut tries) = (Vec::new(), Vec::new(), Vec::new());
    let expired = loop {
        match desk.poll() {
            None => desk.sleep(),
            Some(Action::Attempt(assignment)) => {
                tries.push(desk.now.since(accepted_at));
                desk.pass(Duration::from_secs(1));
                for remainder in desk.finish(&assignment, Fate::Retry, SiteFeedback::Reached) {
                    let Next::Retry { at, .. } = remainder.next else { panic!("{remainder:?}") };
                    waits.push(at.since(desk.now).as_secs() / 60);
                }
            }
            Some(Action::DelayNotice(overdue)) => notices.push((overdue.message, desk.now.since(accepted_at))),
            Some(Action::Expire(overdue)) => break overdue,
        }
    };
    assert_eq!(&waits[..8], [5, 10, 20, 40, 80, 160, 240, 240]);
    assert_eq!(notices, [(message, 4 * HOUR)]);
    assert_eq!(tries.last(), Some(&(5 * DAY)), "the last try is made when the lifetime ends");
    assert_eq!((expired.message, &expired.recipients[..]), (message, &[0][..]));
    assert_eq!(expired.attempts as usize, tries.len());
    assert_eq!(desk.poll(), None);
    assert!(desk.planner.is_empty());
}

#[test]
fn those_a_server_had_no_room_for_go_at_once_and_those_it_refused_wait() {
    let mut desk = Desk::new(exact());
    let job = desk.job("many.example", &[4, 5, 6, 7]);
    desk.planner.enqueue(desk.now, job);
    let first = desk.attempt();
    let fates = [(4, Fate::Done), (5, Fate::Retry)];
    let left = desk.planner.finished(desk.now, first.job, &fates, SiteFeedback::Reached);
    assert_eq!(left.len(), 2);
    let second = desk.attempt();
    assert_eq!((&second.recipients[..], second.number), (&[6, 7][..], 2));
    desk.delivered(&second);
    assert_eq!(desk.poll(), None);
    desk.pass(5 * MINUTE);
    let third = desk.attempt();
    assert_eq!(third.recipients, [5]);
    desk.delivered(&third);
    assert!(desk.planner.is_empty());
}

#[test]
fn a_message_with_more_recipients_than_a_transaction_takes_is_several_jobs() {
    let mut desk = Desk::new(Config::default());
    let recipients: Vec<u32> = (0..250).collect();
    let job = desk.job("big.example", &recipients);
    let message = job.message;
    desk.planner.enqueue(desk.now, job);
    assert_eq!(desk.planner.jobs_of(message), 3);
    let attempts = desk.attempts();
    let sent: Vec<u32> = attempts.iter().flat_map(|attempt| attempt.recipients.iter().copied()).collect();
    assert_eq!(sent, recipients);
    for attempt in &attempts {
        desk.delivered(attempt);
    }
    assert_eq!(desk.planner.jobs_of(message), 0);
}

#[test]
fn a_connection_lost_before_anything_was_said_is_no_attempt_and_no_hot_loop() {
    let mut desk = Desk::new(exact());
    desk.queue("idle.example");
    let first = desk.attempt();
    desk.finish(&first, Fate::NotAttempted, SiteFeedback::Reached);
    assert_eq!(desk.poll(), None);
    desk.pass(MINUTE);
    assert_eq!(desk.attempt().number, 1);
}

#[test]
fn after_six_days_off_everything_is_tried_before_it_expires() {
    let mut desk = Desk::new(exact());
    for number in 0..10 {
        let job = desk.job("example.org", &[0]);
        let long_ago = Timestamp(desk.now.0 - 6 * DAY.as_micros() as u64);
        desk.planner.enqueue(desk.now, NewJob { accepted_at: long_ago, attempts: number, ..job });
    }
    let mut tried = desk.attempts();
    assert_eq!(tried.len(), 5, "the site is new to the planner");
    desk.delivered(&tried.remove(0));
    for attempt in &tried {
        desk.finish(attempt, Fate::Retry, SiteFeedback::Reached);
    }
    let mut expired = 0;
    let mut delivered = 1;
    while let Some(action) = desk.poll() {
        match action {
            Action::Expire(_) => expired += 1,
            Action::Attempt(attempt) => {
                desk.delivered(&attempt);
                delivered += 1;
            }
            other @ Action::DelayNotice(_) => panic!("{other:?}"),
        }
    }
    assert_eq!((delivered, expired), (6, 4));
}

#[test]
fn a_clock_ten_years_ahead_expires_nothing_that_can_be_delivered() {
    let mut desk = Desk::new(exact());
    for site in ["up.example", "down.example"] {
        desk.queue(site);
        let attempt = desk.attempt();
        match site {
            "up.example" => drop(desk.finish(&attempt, Fate::Retry, SiteFeedback::Reached)),
            _ => desk.unreachable(&attempt),
        }
    }
    desk.pass(3650 * DAY);
    let attempts = desk.attempts();
    assert_eq!(attempts.len(), 2, "both are tried, neither expires");
    for attempt in &attempts {
        desk.delivered(attempt);
    }
}

#[test]
fn a_clock_set_back_stops_nothing() {
    let mut desk = Desk::new(exact());
    desk.queue("example.org");
    let attempt = desk.attempt();
    desk.finish(&attempt, Fate::Retry, SiteFeedback::Reached);
    desk.now = Timestamp(desk.now.0 - DAY.as_micros() as u64);
    assert_eq!(desk.poll(), None);
    assert_eq!(desk.planner.wake_at(), Some(desk.now.after(5 * MINUTE)));
    desk.pass(5 * MINUTE);
    assert_eq!(desk.attempt().number, 2);
}

#[test]
fn a_held_message_is_neither_tried_nor_expired_until_it_is_released() {
    let mut desk = Desk::new(exact());
    let job = desk.job("example.org", &[0]);
    let message = job.message;
    desk.planner.enqueue(desk.now, NewJob { held: true, ..job });
    assert_eq!(desk.planner.wake_at(), None);
    desk.pass(30 * DAY);
    assert_eq!(desk.poll(), None);
    assert_eq!(desk.planner.release(desk.now, &queue::Selector::Message(message)).len(), 1);
    let attempt = desk.attempt();
    desk.delivered(&attempt);
}

#[test]
fn a_cancelled_message_in_flight_does_not_come_back() {
    let mut desk = Desk::new(exact());
    let recipients = [0, 1];
    let job = desk.job("example.org", &recipients);
    let message = job.message;
    desk.planner.enqueue(desk.now, job);
    let attempt = desk.attempt();
    let touched = desk.planner.cancel(desk.now, &queue::Selector::Message(message));
    assert!(touched[0].in_flight);
    let left =
        desk.planner.finished(desk.now, attempt.job, &[(0, Fate::Done), (1, Fate::Retry)], SiteFeedback::Reached);
    assert_eq!(left, [queue::Remainder { recipients: vec![1], next: Next::Cancelled }]);
    assert!(desk.planner.is_empty());
}
