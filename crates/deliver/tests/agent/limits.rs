//! Servers that take only so many recipients or messages at a time.

use deliver::agent::SiteReport;

use crate::mx::{Mx, Peer};
use crate::world::*;

const FIVE: [&str; 5] = ["a@there", "b@there", "c@there", "d@there", "e@there"];

#[tokio::test]
async fn five_recipients_by_two() {
    let mx = Mx::good(&["PIPELINING", "LIMITS RCPTMAX=2"]).await;
    let report = attempt(&agent(), &plan(&[mx.address]), task(&FIVE)).await;
    assert_eq!(report.results.len(), 5);
    assert!(report.results.iter().all(|result| result.disposition == DELIVERED));
    let sizes: Vec<usize> = mx.received().iter().map(|received| received.envelope.len() - 1).collect();
    assert_eq!((sizes, mx.connections()), (vec![2, 2, 1], 1));
}

#[tokio::test]
async fn a_server_that_says_452_when_it_has_enough() {
    let mx = Mx::start(async |mut peer: Peer| {
        peer.greets(&[]).await;
        loop {
            let mut taken = 0;
            loop {
                let line = peer.line().await;
                if line.starts_with("RCPT") {
                    taken += 1;
                    peer.says(if taken <= 3 { "250 ok\r\n" } else { "452 4.5.3 too many\r\n" }).await;
                } else if line == "DATA" {
                    break;
                } else if line.is_empty() {
                    return;
                } else {
                    peer.says("250 ok\r\n").await;
                }
            }
            peer.says("354 go\r\n").await;
            peer.content().await;
            peer.says("250 taken\r\n").await;
        }
    })
    .await;
    let report = attempt(&agent(), &plan(&[mx.address]), task(&FIVE)).await;
    assert_eq!(report.results.len(), 5, "{}", dialogue(&report));
    assert!(report.results.iter().all(|result| result.disposition == DELIVERED));
    assert_eq!(report.site, SiteReport::Reached);
}

#[tokio::test]
async fn a_server_that_leaves_between_two_transactions() {
    let mx = Mx::start(async |mut peer: Peer| {
        peer.greets(&["PIPELINING", "LIMITS RCPTMAX=2"]).await;
        peer.takes().await;
        peer.says("421 4.7.0 one message is enough\r\n").await;
    })
    .await;
    let report = attempt(&agent(), &plan(&[mx.address]), task(&FIVE)).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250), (1, DELIVERED, 250)]);
    assert_eq!(report.not_attempted, [2, 3, 4], "that is no failure of theirs");
    assert!(report.connection.is_none());
}

#[tokio::test]
async fn a_connection_serves_only_so_many_messages() {
    let own = Mx::good(&["LIMITS MAILMAX=1000"]).await;
    let theirs = Mx::good(&["LIMITS MAILMAX=3"]).await;
    let agent = agent_with(|config| config.transactions_per_connection_max = 5);
    for (mx, most) in [(own, 5), (theirs, 3)] {
        let mut kept = None;
        for _ in 0..12 {
            let report = agent.attempt(&plan(&[mx.address]), task(&["a@there"]), kept).await.expect("it is in memory");
            assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
            kept = report.connection;
        }
        let received = mx.received();
        for number in 1..=mx.connections() {
            assert!(received.iter().filter(|received| received.connection == number).count() <= most);
        }
        assert_eq!((received.len(), mx.connections()), (12, 12_usize.div_ceil(most)));
    }
}
