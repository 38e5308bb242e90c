//! An MX that turns out to be ourselves.

use base::Enhanced;

use crate::mx::{Mx, Peer};
use crate::world::*;

#[tokio::test]
async fn a_server_with_our_name_is_a_loop() {
    for name in ["relay.example", "RELAY.example."] {
        let mx = Mx::start(move |mut peer: Peer| async move {
            peer.says("220 hello\r\n").await;
            peer.hears("EHLO").await;
            peer.says(&format!("250 {name}\r\n")).await;
            peer.takes_all().await;
        })
        .await;
        let report = attempt(&agent(), &plan(&[mx.address]), task(&["a@there"])).await;
        assert_eq!(report.results[0].disposition, NEVER);
        assert_eq!(report.results[0].reply.enhanced, Some(Enhanced(5, 4, 6)));
        assert!(mx.received().is_empty());
    }
}
