//! A connection that was kept and is closed just when it is needed again.

use deliver::agent::AttemptReport;

use crate::mx::{Mx, Peer};
use crate::world::*;

/// Takes one message, then ends the connection in some way when the next one comes.
async fn fickle(end: &'static str) -> Mx {
    Mx::start(move |mut peer: Peer| async move {
        peer.greets(&["PIPELINING"]).await;
        peer.takes().await;
        if peer.number > 1 {
            return peer.takes_all().await;
        }
        if end != "at once" {
            peer.hears("MAIL").await;
            peer.says(end).await;
        }
    })
    .await
}

async fn second_message(mx: &Mx) -> AttemptReport {
    let (agent, plan) = (agent(), plan(&[mx.address]));
    let first = attempt(&agent, &plan, task(&["a@there"])).await;
    assert_eq!(outcomes(&first), [(0, DELIVERED, 250)]);
    assert!(first.connection.is_some());
    agent.attempt(&plan, task(&["a@there"]), first.connection).await.expect("it is in memory")
}

#[tokio::test]
async fn it_is_tried_at_once_on_a_new_one() {
    for end in ["at once", "", "421 4.4.2 idle for too long\r\n"] {
        let mx = fickle(end).await;
        let report = second_message(&mx).await;
        assert_eq!(outcomes(&report), [(0, DELIVERED, 250)], "{end:?}");
        assert_eq!((mx.connections(), mx.received().len()), (2, 2));
        assert!(report.connection.is_some());
    }
}

#[tokio::test]
async fn but_not_when_it_was_answered_before() {
    let mx = fickle("250 ok\r\n").await;
    let report = second_message(&mx).await;
    assert_eq!(outcomes(&report), [(0, LATER, 451)]);
    assert_eq!(mx.connections(), 1);
}

#[tokio::test]
async fn a_new_connection_that_ends_unheard_leads_to_the_next_host() {
    let fickle = Mx::start(async |mut peer: Peer| {
        peer.greets(&["PIPELINING"]).await;
        peer.hears("MAIL").await;
        peer.says("421 4.3.2 overloaded\r\n").await;
    })
    .await;
    let good = Mx::good(&[]).await;
    let report = attempt(&agent(), &plan(&[fickle.address, good.address]), task(&["a@there"])).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
    let report = attempt(&agent(), &plan(&[fickle.address]), task(&["a@there"])).await;
    assert_eq!(outcomes(&report), [(0, LATER, 421)]);
}
