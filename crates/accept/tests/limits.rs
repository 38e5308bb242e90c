//! Too many connections, too many guesses, and the end of the server.

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use accept::Limits;
use common::*;

#[tokio::test]
async fn connections_from_one_address_have_a_number() {
    let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
    let world = World::new(Setting { limits, ..Setting::default() });
    let first = world.connect().await;
    let _second = world.connect().await;
    for _ in 0..2 {
        let mut third = Client::new(world.stream().await);
        assert!(third.reply().await.starts_with("421 4.7.0 Too many connections from your address"));
        third.closed().await;
    }
    assert_eq!(world.counters().connections_refused.load(Ordering::Relaxed), 2);
    // A place that is given back can be taken again.
    drop(first);
    within(async {
        loop {
            let mut client = Client::new(world.stream().await);
            if code(&client.reply().await) == 220 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn connections_have_a_number_in_all_and_trust_is_not_counted_by_address() {
    let limits = Limits { connections_per_address_max: 1, connections_max: 3, ..Limits::default() };
    let world = World::new(Setting { limits, trust: trusted(), ..Setting::default() });
    let clients = [world.connect().await, world.connect().await, world.connect().await];
    let mut fourth = Client::new(world.stream().await);
    assert!(fourth.reply().await.starts_with("421 4.7.0 Too many connections, "));
    assert_eq!(world.counters().connections_open.load(Ordering::Relaxed), clients.len() as u64);
}

#[tokio::test]
async fn guesses_are_slowed_and_then_ended() {
    let limits =
        Limits { auth_delay: Duration::from_millis(1), auth_delay_max: Duration::from_millis(4), ..Limits::default() };
    let world = World::new(Setting { limits, ..Setting::default() });
    let mut client = world.greeted().await;
    for _ in 0..3 {
        assert_eq!(client.say(WRONG).await, "535 5.7.8 Authentication credentials invalid\r\n");
    }
    assert_eq!(client.code(WRONG).await, 421);
    client.closed().await;
    assert_eq!(world.counters().auth_failures.load(Ordering::Relaxed), 4);
    let mut client = world.greeted().await;
    assert_eq!(client.code(ADA).await, 235, "the right password goes through, if late");
}

#[tokio::test]
async fn a_stop_lets_a_message_finish_and_sends_the_others_home() {
    let mut world = World::new(Setting { trust: trusted(), ..Setting::default() });
    let mut idle = world.greeted().await;
    let mut half = world.greeted().await;
    half.send("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n").await;
    for expected in [250, 250, 354] {
        assert_eq!(code(&half.reply().await), expected);
    }
    half.send("Subject: x\r\n\r\nhalf").await;
    world.stop.send_replace(true);
    assert_eq!(idle.reply().await, "421 4.3.2 The server is stopping, try again later\r\n");
    idle.closed().await;
    half.send("\r\n.\r\n").await;
    assert_eq!(code(&half.reply().await), 250);
    assert_eq!(code(&half.reply().await), 421);
    drop(half);
    drop(idle);
    within(&mut world.serving).await.unwrap();
    world.next().await;
    assert!(tokio::net::TcpStream::connect(world.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_cut_when_the_server_stops() {
    let limits = Limits { drain_time_max: Duration::from_millis(1), ..Limits::default() };
    let mut world = World::new(Setting { trust: trusted(), limits, ..Setting::default() });
    let mut client = world.greeted().await;
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nBDAT 100\r\nhalf").await;
    for expected in [250, 250] {
        assert_eq!(code(&client.reply().await), expected);
    }
    world.stop.send_replace(true);
    assert_eq!(code(&client.reply().await), 421);
    client.closed().await;
    drop(client);
    world.assert_nothing_stored().await;
    assert_eq!(world.counters().refused_unfinished.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_flood_behind_the_last_words_does_not_take_them_away() {
    let world = World::new(Setting::default());
    let mut client = world.greeted().await;
    client.send("FOO\r\n".repeat(2000)).await;
    for _ in 0..20 {
        assert_eq!(code(&client.reply().await), 500);
    }
    assert_eq!(code(&client.reply().await), 421);
    client.closed().await;
}
