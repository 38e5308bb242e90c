//! A message arrives.

use deliver::agent::SiteReport;

use crate::mx::{Mx, Peer};
use crate::world::*;

#[tokio::test]
async fn it_arrives_as_it_was_and_the_connection_stays() {
    let mx = Mx::good(&["PIPELINING", "SIZE 100000"]).await;
    let report = attempt(&agent(), &plan(&[mx.address]), task(&["bo@there.example", "cy@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250), (1, DELIVERED, 250)]);
    assert_eq!((&report.site, &*report.not_attempted), (&SiteReport::Reached, &[][..]));
    assert_eq!(&*report.server, format!("mx1.example [127.0.0.1]:{}", mx.address.port()));
    let received = mx.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].content, MESSAGE);
    assert_eq!(
        received[0].envelope,
        ["MAIL FROM:<ada@here.example> SIZE=29", "RCPT TO:<bo@there.example>", "RCPT TO:<cy@there.example>"]
    );
    assert_eq!(
        dialogue(&report),
        format!(
            "[connect {}] -> connected\n\
             [greeting] -> 220 mx.example ESMTP\n\
             EHLO relay.example -> 250 mx.example PIPELINING SIZE 100000 HELP\n\
             MAIL FROM:<ada@here.example> SIZE=29 -> 250 ok\n\
             RCPT TO:<bo@there.example> -> 250 ok\n\
             RCPT TO:<cy@there.example> -> 250 ok\n\
             DATA -> 354 go\n\
             [content, 29 octets] -> 250 ok\n",
            mx.address
        )
    );
    let total = report.finished_at.since(report.started_at).as_micros();
    for step in &report.dialogue {
        assert!(u128::from(step.at_us + step.took_us) <= total + 2_000, "{step:?} lies within {total} us");
    }
    assert!(report.connection.is_some());
}

#[tokio::test]
async fn each_recipient_has_its_own_answer() {
    let mx = Mx::start(async |mut peer: Peer| {
        peer.greets(&["PIPELINING"]).await;
        let reply = |command: &str| match command {
            "RCPT TO:<bo@there.example>" => "550 5.1.1 who?",
            "RCPT TO:<cy@there.example>" => "451 4.7.1 greylisted",
            _ => "250 ok",
        };
        while peer.takes_with(reply).await {}
    })
    .await;
    let task = task(&["ada@there.example", "bo@there.example", "cy@there.example"]);
    let report = attempt(&agent(), &plan(&[mx.address]), task).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250), (1, NEVER, 550), (2, LATER, 451)]);
    assert_eq!(report.site, SiteReport::Reached, "greylisting is about a recipient");
}

#[tokio::test]
async fn a_refusal_is_not_asked_for_again_elsewhere() {
    let strict = Mx::start(async |mut peer: Peer| {
        peer.greets(&["PIPELINING"]).await;
        while peer.takes_with(|command| if command == "." { "550 5.7.1 spam" } else { "250 ok" }).await {}
    })
    .await;
    let lax = Mx::good(&[]).await;
    let report = attempt(&agent(), &plan(&[strict.address, lax.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, NEVER, 550)]);
    assert_eq!(lax.connections(), 0);
}

#[tokio::test]
async fn a_sender_who_is_refused_for_sending_too_much() {
    for refusal in ["421 4.7.28 rate limit", "451 4.7.650 slow down", "450 4.3.2 system busy"] {
        let mx = Mx::start(move |mut peer: Peer| async move {
            peer.greets(&["PIPELINING"]).await;
            let reply = move |command: &str| if command == "." { refusal } else { "250 ok" };
            while peer.takes_with(reply).await {}
        })
        .await;
        let report = attempt(&agent(), &plan(&[mx.address]), task(&["bo@there.example"])).await;
        assert_eq!(report.results[0].disposition, LATER);
        assert_eq!(report.site, SiteReport::Slow, "{refusal}");
    }
}

#[tokio::test]
async fn a_long_message_arrives_whole() {
    let mx = Mx::good(&["PIPELINING"]).await;
    let content = "0123456789.\r\n.\r\n".repeat(200_000).into_bytes();
    let report = attempt(&agent(), &plan(&[mx.address]), task_of(&["bo@there.example"], &content)).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
    assert!(mx.received()[0].content == content);
}
