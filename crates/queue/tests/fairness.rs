//! Who goes first, and that nobody goes last for ever.

mod common;

use base::{AccountId, Stream};
use common::Desk;
use queue::{Config, LaneLimits};

fn one_at_a_time() -> Config {
    Config { limits: LaneLimits { connections_max: 1, ..LaneLimits::default() }, ..Config::default() }
}

/// Delivers `count` messages one by one and says whose they were.
fn order(desk: &mut Desk, count: usize) -> Vec<(i64, Stream)> {
    (0..count)
        .map(|_| {
            let attempt = desk.attempt();
            desk.delivered(&attempt);
            (attempt.account.0, attempt.stream)
        })
        .collect()
}

#[test]
fn a_small_sender_does_not_wait_behind_a_large_one() {
    let mut desk = Desk::new(one_at_a_time());
    for _ in 0..1000 {
        desk.queue_for("example.org", 1, Stream::Bulk);
    }
    for _ in 0..5 {
        desk.queue_for("example.org", 2, Stream::Bulk);
    }
    let accounts: Vec<i64> = order(&mut desk, 11).into_iter().map(|(account, _)| account).collect();
    assert_eq!(accounts, [1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]);
}

#[test]
fn an_account_of_weight_three_has_three_starts_in_its_turn() {
    let mut desk = Desk::new(one_at_a_time());
    desk.planner.set_weight(AccountId(7), 3);
    for _ in 0..20 {
        desk.queue_for("example.org", 7, Stream::Bulk);
        desk.queue_for("example.org", 8, Stream::Bulk);
    }
    let accounts: Vec<i64> = order(&mut desk, 8).into_iter().map(|(account, _)| account).collect();
    assert_eq!(accounts, [7, 7, 7, 8, 7, 7, 7, 8]);
}

#[test]
fn a_password_reset_overtakes_a_campaign_and_the_campaign_still_moves() {
    let mut desk = Desk::new(one_at_a_time());
    for _ in 0..200 {
        desk.queue_for("example.org", 1, Stream::Bulk);
    }
    order(&mut desk, 1);
    for _ in 0..200 {
        desk.queue_for("example.org", 2, Stream::Transactional);
    }
    let streams = order(&mut desk, 100);
    assert_eq!(streams[0].1, Stream::Transactional);
    assert_eq!(streams.iter().filter(|(_, stream)| *stream == Stream::Bulk).count(), 10);
}

#[test]
fn across_destinations_too_bulk_has_one_start_in_ten() {
    let mut desk = Desk::new(Config { in_flight_max: 1, ..Config::default() });
    for _ in 0..200 {
        desk.queue_for("campaign.example", 1, Stream::Bulk);
        desk.queue_for("reset.example", 2, Stream::Transactional);
    }
    let streams = order(&mut desk, 100);
    assert_eq!(streams.iter().filter(|(_, stream)| *stream == Stream::Bulk).count(), 10);
}

#[test]
fn a_campaign_to_every_domain_leaves_room_for_transactional_mail() {
    let mut desk = Desk::new(Config {
        in_flight_max: 20,
        in_flight_bulk_max: 15,
        in_flight_unproven_max: 20,
        ..Config::default()
    });
    for nth in 0..100 {
        desk.queue_for(&format!("site{nth}.example"), 1, Stream::Bulk);
    }
    assert_eq!(desk.attempts().len(), 15);
    for nth in 0..100 {
        desk.queue_for(&format!("reset{nth}.example"), 2, Stream::Transactional);
    }
    let attempts = desk.attempts();
    assert_eq!(attempts.len(), 5);
    assert!(attempts.iter().all(|attempt| attempt.stream == Stream::Transactional));
}

#[test]
fn destinations_take_turns() {
    let mut desk = Desk::new(Config { in_flight_max: 1, ..Config::default() });
    for _ in 0..100 {
        desk.queue("large.example");
    }
    for _ in 0..3 {
        desk.queue("small.example");
    }
    let mut small = 0;
    for _ in 0..8 {
        let attempt = desk.attempt();
        small += usize::from(&*attempt.site == "small.example");
        desk.delivered(&attempt);
    }
    assert_eq!(small, 3);
}
