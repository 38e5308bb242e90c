//! What trouble at a destination does, and what it does not do to others.

mod common;

use std::time::Duration;

use base::Stream;
use common::{DAY, Desk, HOUR, MINUTE};
use queue::{Action, Config, Fate, LaneLimits, LaneState, Schedule, Selector, SiteFeedback, Waits};

fn exact() -> Config {
    Config { schedule: Schedule { jitter_fraction: 0.0, ..Schedule::default() }, ..Config::default() }
}

#[test]
fn a_dead_site_is_probed_once_an_hour_whatever_waits_for_it() {
    let mut desk = Desk::new(exact());
    for _ in 0..1000 {
        desk.queue("dead.example");
    }
    let mut probed = Vec::new();
    for attempt in desk.attempts() {
        desk.unreachable(&attempt);
    }
    assert_eq!(desk.poll(), None, "nothing goes to a closed lane");
    let lane = &desk.planner.summary(desk.now)[0];
    assert_eq!(lane.state, LaneState::Down { until: desk.now.after(MINUTE) });
    assert_eq!((lane.queued, lane.in_flight), (1000, 0));
    for _ in 0..8 {
        let before = desk.now;
        desk.sleep();
        let attempts: Vec<_> = std::iter::from_fn(|| desk.poll())
            .filter_map(|action| match action {
                Action::Attempt(attempt) => Some(attempt),
                _ => None,
            })
            .collect();
        let [probe] = &attempts[..] else { panic!("one probe, not {}", attempts.len()) };
        probed.push(desk.now.since(before).as_secs() / 60);
        desk.unreachable(probe);
    }
    assert_eq!(probed, [1, 2, 4, 8, 16, 32, 60, 60]);
    // It is back: with the next probe all thousand go, as fast as the window opens.
    let back_at = desk.now;
    let mut delivered = 0;
    while delivered < 1000 {
        match desk.poll() {
            None => desk.sleep(),
            Some(Action::Attempt(attempt)) => {
                desk.delivered(&attempt);
                delivered += 1;
            }
            Some(Action::DelayNotice(_)) => {}
            Some(expired @ Action::Expire(_)) => panic!("{expired:?}"),
        }
    }
    assert_eq!(desk.now, back_at.after(HOUR));
    assert!(desk.planner.is_empty());
}

#[test]
fn mail_for_a_dead_site_is_reported_late_and_expires_without_being_touched() {
    let mut desk = Desk::new(exact());
    for _ in 0..100 {
        desk.queue("dead.example");
    }
    let accepted_at = desk.now;
    let (mut attempts, mut notices, mut expired) = (0, 0, 0);
    while !desk.planner.is_empty() {
        match desk.poll() {
            None => desk.sleep(),
            Some(Action::Attempt(attempt)) => {
                attempts += 1;
                desk.unreachable(&attempt);
            }
            Some(Action::DelayNotice(_)) => {
                notices += 1;
                assert!(desk.now.since(accepted_at) >= 4 * HOUR);
            }
            Some(Action::Expire(_)) => {
                expired += 1;
                assert!(desk.now.since(accepted_at) >= 5 * DAY);
            }
        }
    }
    assert_eq!((notices, expired), (100, 100));
    assert!(attempts < 140, "{attempts} attempts in five days");
    assert!(desk.now.since(accepted_at) < 5 * DAY + HOUR);
}

#[test]
fn one_dead_site_does_not_delay_another() {
    let mut desk = Desk::new(Config { in_flight_max: 10, in_flight_unproven_max: 10, ..exact() });
    for _ in 0..100 {
        desk.queue("slow.example");
        desk.queue("quick.example");
    }
    let attempts = desk.attempts();
    let quick = attempts.iter().filter(|attempt| &*attempt.site == "quick.example").count();
    assert_eq!((attempts.len(), quick), (10, 5), "both have their share of what may run at once");
}

#[test]
fn a_hundred_sites_that_never_answer_leave_room_for_one_that_does() {
    let mut desk = Desk::new(Config { in_flight_max: 50, in_flight_unproven_max: 40, ..exact() });
    desk.queue("alive.example");
    let attempt = desk.attempt();
    desk.delivered(&attempt);
    for nth in 0..100 {
        desk.queue(&format!("hole{nth}.example"));
    }
    assert_eq!(desk.attempts().len(), 40, "the rest is kept for sites that answer");
    desk.queue("alive.example");
    assert_eq!(&*desk.attempt().site, "alive.example");
}

#[test]
fn a_storm_of_421_slows_the_lane_and_touches_few_messages() {
    let mut desk = Desk::new(exact());
    for _ in 0..10_000 {
        desk.queue_for("storm.example", 1, Stream::Bulk);
    }
    let mut attempts = 0;
    let end = desk.now.after(12 * HOUR);
    while desk.now < end {
        match desk.poll() {
            None => desk.sleep(),
            Some(Action::Attempt(attempt)) => {
                attempts += 1;
                desk.finish(&attempt, Fate::NotAttempted, SiteFeedback::Slow);
            }
            Some(Action::DelayNotice(_)) => {}
            Some(expired @ Action::Expire(_)) => panic!("{expired:?}"),
        }
    }
    assert!(attempts < 40, "{attempts} attempts in twelve hours");
    assert!(matches!(desk.planner.summary(desk.now)[0].state, LaneState::Throttled { .. }));
    assert_eq!(desk.planner.len(), 10_000);
}

#[test]
fn a_rate_limit_spaces_the_starts() {
    let limits = LaneLimits { messages_per_second_max: Some(2.0), ..LaneLimits::default() };
    let mut desk = Desk::new(Config { limits_by_site: [("slow.example".into(), limits)].into(), ..exact() });
    for _ in 0..20 {
        desk.queue("slow.example");
    }
    let start = desk.now;
    let first = desk.attempt();
    assert_eq!(desk.poll(), None);
    desk.delivered(&first);
    let page = desk.planner.list(desk.now, &Selector::All, None, 1);
    assert_eq!(page.jobs[0].waits, Waits::Rate { until: start.after(Duration::from_millis(500)) });
    let mut sent = 1;
    while sent < 20 {
        desk.sleep();
        let attempt = desk.attempt();
        desk.delivered(&attempt);
        sent += 1;
    }
    assert_eq!(desk.now.since(start), Duration::from_millis(19 * 500));
}

#[test]
fn a_retry_by_hand_probes_a_closed_site_at_once() {
    let mut desk = Desk::new(exact());
    for _ in 0..3 {
        desk.queue("down.example");
    }
    for attempt in desk.attempts() {
        desk.unreachable(&attempt);
    }
    assert_eq!(desk.poll(), None);
    desk.planner.retry_now(desk.now, &Selector::Destination("down.example".into()));
    assert_eq!(desk.attempts().len(), 1);
}

#[test]
fn new_limits_hold_for_what_waits_already() {
    let mut desk = Desk::new(exact());
    for _ in 0..10 {
        desk.queue("example.org");
    }
    let limits = LaneLimits { connections_max: 2, ..LaneLimits::default() };
    desk.planner.set_limits(desk.now, "example.org", Some(limits));
    let attempts = desk.attempts();
    assert_eq!(attempts.len(), 2);
    assert_eq!(desk.planner.limits(attempts[0].lane), Some(limits));
    let page = desk.planner.list(desk.now, &Selector::All, None, 3);
    assert_eq!(page.jobs[2].waits, Waits::Connection);
}

#[test]
fn a_list_is_turned_page_by_page_while_the_queue_moves() {
    let mut desk = Desk::new(exact());
    let messages: Vec<_> = (0..10).map(|_| desk.queue("example.org")).collect();
    let first = desk.planner.list(desk.now, &Selector::All, None, 4);
    let attempt = desk.attempt();
    desk.delivered(&attempt);
    let mut seen: Vec<_> = first.jobs.iter().map(|job| job.message).collect();
    let mut next = first.next;
    while let Some(cursor) = next {
        let page = desk.planner.list(desk.now, &Selector::All, Some(cursor), 4);
        seen.extend(page.jobs.iter().map(|job| job.message));
        next = page.next;
    }
    assert_eq!(seen, messages);
}

#[test]
fn what_was_learnt_of_a_site_outlives_its_mail_and_is_forgotten_in_the_end() {
    let mut desk = Desk::new(exact());
    desk.queue("example.org");
    let attempt = desk.attempt();
    desk.delivered(&attempt);
    assert_eq!(desk.planner.stats().lanes, 1);
    desk.sleep();
    assert_eq!(desk.poll(), None);
    assert_eq!(desk.planner.stats().lanes, 0);
    assert_eq!(desk.planner.limits(attempt.lane), None);
    assert_eq!(desk.planner.wake_at(), None);
}
