//! Servers that take their time.

use std::time::Duration;

use deliver::agent::SiteReport;
use tokio::time::Instant;

use crate::mx::{Mx, Peer};
use crate::world::*;

/// Takes a message and answers its dot after so many seconds.
async fn ponderous(seconds: u64) -> Mx {
    Mx::start(move |mut peer: Peer| async move {
        peer.greets(&["PIPELINING"]).await;
        for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            peer.line().await;
            peer.says(reply).await;
        }
        peer.content().await;
        peer.sleeps(seconds).await;
        peer.says("250 taken\r\n").await;
        peer.waits_for_the_end().await;
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_quarter_of_an_hour_for_the_dot_is_no_second_copy() {
    let _clock = time_flies();
    let mx = ponderous(15 * 60).await;
    let report = attempt(&agent(), &plan(&[mx.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)], "{}", dialogue(&report));
    let last = report.dialogue.last().expect("there is a dialogue");
    assert!(last.took_us >= 15 * 60 * 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn whoever_never_answers_the_dot_may_have_it() {
    let _clock = time_flies();
    let mx = ponderous(24 * 60 * 60).await;
    let other = Mx::good(&[]).await;
    let began = Instant::now();
    let report = attempt(&agent(), &plan(&[mx.address, other.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, MAYBE, 451)], "{}", dialogue(&report));
    assert_eq!(report.site, SiteReport::Slow);
    assert!(began.elapsed() < Duration::from_secs(25 * 60));
    assert_eq!(other.connections(), 0, "no second copy by another way");
}

#[tokio::test(start_paused = true)]
async fn a_reply_by_octets_is_cut() {
    let _clock = time_flies();
    let mx = Mx::start(async |mut peer: Peer| {
        peer.greets(&["PIPELINING"]).await;
        peer.hears("MAIL").await;
        peer.says("250 ok\r\n").await;
        for octet in "250 I take my time\r\n".chars().cycle().take(1000) {
            peer.says(&octet.to_string()).await;
            peer.sleeps(30).await;
        }
    })
    .await;
    let began = Instant::now();
    let report = attempt(&agent(), &plan(&[mx.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, LATER, 451)]);
    assert!(began.elapsed() <= Duration::from_secs(150), "{:?}", began.elapsed());
}

/// A server that offers pipelining, says 354 and reads so many octets a second.
async fn narrow(octets_per_second: usize) -> Mx {
    Mx::start(move |mut peer: Peer| async move {
        peer.greets(&["PIPELINING"]).await;
        for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            peer.line().await;
            peer.says(reply).await;
        }
        while peer.reads(octets_per_second).await {
            peer.sleeps(1).await;
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn content_that_nobody_takes_does_not_hold_a_slot() {
    let _clock = time_flies();
    let content = "0123456789012345678901234567890123456789012345678901234567890123456789\r\n".repeat(20 << 14);
    for octets_per_second in [0, 1, 1000] {
        let mx = narrow(octets_per_second).await;
        let began = Instant::now();
        let task = task_of(&["bo@there.example"], content.as_bytes());
        let report = attempt(&agent(), &plan(&[mx.address]), task).await;
        assert_eq!(outcomes(&report), [(0, LATER, 451)], "half a message was not delivered");
        assert!(began.elapsed() <= Duration::from_secs(30 * 60), "{:?}", began.elapsed());
        assert!(report.connection.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_an_end_whatever_happens() {
    let _clock = time_flies();
    // Each recipient is answered just in time.
    let mx = Mx::start(async |mut peer: Peer| {
        peer.greets(&["PIPELINING"]).await;
        loop {
            peer.line().await;
            peer.sleeps(100).await;
            peer.says("250 ok\r\n").await;
        }
    })
    .await;
    let many: Vec<String> = (0..100).map(|i| format!("u{i}@there.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let began = Instant::now();
    let report = attempt(&agent(), &plan(&[mx.address]), task(&many)).await;
    assert!(report.results.iter().all(|result| result.disposition == LATER));
    assert_eq!(report.results.len(), 100);
    assert!(began.elapsed() <= Duration::from_secs(91 * 60), "{:?}", began.elapsed());
}
