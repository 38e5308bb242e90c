//! Servers that do not get as far as EHLO: the next one is tried, and time and memory are bounded.

use deliver::agent::SiteReport;

use crate::mx::{Mx, Peer};
use crate::world::*;

/// The bad server first, a good one second: the mail arrives there.
async fn goes_on_from(bad: &Mx) -> String {
    let good = Mx::good(&["PIPELINING"]).await;
    let report = attempt(&agent(), &plan(&[bad.address, good.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)], "{}", dialogue(&report));
    assert_eq!(good.received().len(), 1);
    assert!(report.server.starts_with("mx2.example"));
    dialogue(&report)
}

#[tokio::test(start_paused = true)]
async fn one_that_never_greets() {
    let _clock = time_flies();
    let bad = Mx::start(async |mut peer: Peer| peer.waits_for_the_end().await).await;
    assert!(goes_on_from(&bad).await.contains("[greeting] -> [the server did not answer in time"));
}

#[tokio::test(start_paused = true)]
async fn one_that_greets_after_five_minutes() {
    let _clock = time_flies();
    let bad = Mx::start(async |mut peer: Peer| {
        peer.sleeps(299).await;
        peer.greets(&[]).await;
    })
    .await;
    goes_on_from(&bad).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_sends_an_octet_now_and_then() {
    let _clock = time_flies();
    let bad = Mx::start(async |mut peer: Peer| {
        for _ in 0..1000 {
            peer.says("2").await;
            peer.sleeps(30).await;
        }
    })
    .await;
    goes_on_from(&bad).await;
}

#[tokio::test]
async fn ones_that_refuse() {
    for greeting in ["554 no service\r\n", "421 too many connections\r\n", "450 later\r\n", "999 what\r\n"] {
        let bad = Mx::start(move |mut peer: Peer| async move {
            peer.says(greeting).await;
            peer.waits_for_the_end().await;
        })
        .await;
        goes_on_from(&bad).await;
    }
    let bad = Mx::start(async |mut peer: Peer| {
        peer.says("220 mx\r\n").await;
        for _ in 0..2 {
            peer.line().await;
            peer.says("550 not you\r\n").await;
        }
    })
    .await;
    goes_on_from(&bad).await;
}

#[tokio::test]
async fn ones_that_do_not_stop() {
    for line in ["220-", "220-x\r\n", "220-\u{fffd}\0\n", "2"] {
        let bad = Mx::start(move |mut peer: Peer| async move {
            // 10 MB, if anybody took them.
            let piece = line.repeat(10_000 / line.len());
            for _ in 0..1000 {
                peer.says(&piece).await;
            }
        })
        .await;
        goes_on_from(&bad).await;
    }
}

#[tokio::test]
async fn ones_that_are_no_mail_servers() {
    for words in ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH\r\n", "\0\0\0\n", ""] {
        let bad = Mx::start(move |mut peer: Peer| async move { peer.says(words).await }).await;
        goes_on_from(&bad).await;
    }
}

#[tokio::test]
async fn nobody_at_all() {
    let addresses = [Mx::dead().await, Mx::dead().await];
    let report = attempt(&agent(), &plan(&addresses), task(&["bo@there.example"])).await;
    assert!(assert_unreachable(&report).text.contains("refused"), "{report:?}");
    assert_eq!((&*report.not_attempted, &*report.server), (&[0][..], ""));
    assert_eq!(report.dialogue.len(), 2);
    assert!(report.connection.is_none());

    let report = attempt(&agent(), &plan(&[]), task(&["bo@there.example"])).await;
    assert_unreachable(&report);
}

#[tokio::test]
async fn all_refuse_for_now() {
    let busy = Mx::start(async |mut peer: Peer| peer.says("421 4.7.0 too many connections from you\r\n").await).await;
    let report = attempt(&agent(), &plan(&[busy.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, LATER, 421)]);
    assert_eq!(report.site, SiteReport::Slow, "it is there, and wants to be left alone");
}

#[tokio::test]
async fn all_refuse_for_good() {
    // A refused greeting is no refusal of the mail: it may be a mistake of one evening.
    let closed = Mx::start(async |mut peer: Peer| peer.says("554 5.3.2 no service\r\n").await).await;
    let report = attempt(&agent(), &plan(&[closed.address]), task(&["bo@there.example"])).await;
    assert_eq!(assert_unreachable(&report).code, 554);

    // But this one says that it never takes mail (RFC 7504).
    let never = Mx::start(async |mut peer: Peer| peer.says("521 mx.example does not accept mail\r\n").await).await;
    let report = attempt(&agent(), &plan(&[never.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, NEVER, 521)]);
    let report = attempt(&agent(), &plan(&[never.address, closed.address]), task(&["bo@there.example"])).await;
    assert_unreachable(&report);
}

#[tokio::test(start_paused = true)]
async fn a_site_of_many_dead_servers_does_not_take_for_ever() {
    let _clock = time_flies();
    let silent = Mx::start(async |mut peer: Peer| peer.waits_for_the_end().await).await;
    let began = tokio::time::Instant::now();
    let report = attempt(&agent(), &plan(&[silent.address; 50]), task(&["bo@there.example"])).await;
    assert_unreachable(&report);
    assert!(began.elapsed().as_secs() <= 6 * 60, "{:?}", began.elapsed());
    assert!(silent.connections() <= 10);
}
