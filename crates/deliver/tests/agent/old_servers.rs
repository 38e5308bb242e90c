//! Servers that know less than ours: the mail is made to fit where that is legal, and refused with the
//! right code where it is not.

use base::Enhanced;

use crate::mx::{Mx, Peer};
use crate::world::*;

const EIGHT_BIT: &str = "Subject: hello\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                         Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n";

#[tokio::test]
async fn one_that_knows_helo_only() {
    let mx = Mx::start(async |mut peer: Peer| {
        peer.says("220 old\n").await;
        peer.hears("EHLO").await;
        peer.says("500 what?\n").await;
        peer.hears("HELO relay.example").await;
        peer.says("250 old\n").await;
        peer.takes_all().await;
    })
    .await;
    let report = attempt(&agent(), &plan(&[mx.address]), task(&["bo@there.example"])).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
    assert_eq!(mx.received()[0].envelope, ["MAIL FROM:<ada@here.example>", "RCPT TO:<bo@there.example>"]);
}

#[tokio::test]
async fn eight_bit_content_for_a_seven_bit_server() {
    let old = Mx::good(&["SIZE"]).await;
    let report = attempt(&agent(), &plan(&[old.address]), task_of(&["bo@there.example"], EIGHT_BIT.as_bytes())).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
    let received = &old.received()[0];
    assert!(received.content.is_ascii());
    let text = String::from_utf8_lossy(&received.content);
    assert!(text.contains("Gr=C3=BC=C3=9Fe") || text.contains("R3LDvMOfZQ"), "{text}");
    assert_eq!(received.envelope[0], format!("MAIL FROM:<ada@here.example> SIZE={}", received.content.len()));

    let new = Mx::good(&["8BITMIME"]).await;
    let report = attempt(&agent(), &plan(&[new.address]), task_of(&["bo@there.example"], EIGHT_BIT.as_bytes())).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
    assert_eq!(new.received()[0].content, EIGHT_BIT.as_bytes());
    assert_eq!(new.received()[0].envelope[0], "MAIL FROM:<ada@here.example> BODY=8BITMIME");
}

#[tokio::test]
async fn content_that_must_not_be_converted() {
    let signed = "Content-Type: multipart/signed; boundary=b\r\nMIME-Version: 1.0\r\n\r\n--b\r\n\
                  Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n--b--\r\n";
    let mx = Mx::good(&[]).await;
    let report = attempt(&agent(), &plan(&[mx.address]), task_of(&["bo@there.example"], signed.as_bytes())).await;
    assert_eq!(report.results[0].disposition, NEVER);
    assert_eq!(report.results[0].reply.enhanced, Some(Enhanced(5, 6, 3)));
    assert!(mx.received().is_empty());
    assert!(report.connection.is_some(), "the server has done nothing wrong");
}

#[tokio::test]
async fn headers_in_utf8_need_smtputf8() {
    let content = "Subject: Grüße\r\n\r\nhello\r\n".as_bytes();
    let task = || internationalised(task_of(&["bo@there.example"], content));
    let old = Mx::good(&["8BITMIME"]).await;
    let report = attempt(&agent(), &plan(&[old.address]), task()).await;
    assert_eq!(report.results[0].disposition, NEVER);
    assert_eq!(report.results[0].reply.enhanced, Some(Enhanced(5, 6, 7)));
    assert!(old.received().is_empty());

    let new = Mx::good(&["8BITMIME", "SMTPUTF8"]).await;
    let report = attempt(&agent(), &plan(&[new.address]), task()).await;
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250)]);
    assert_eq!(new.received()[0].envelope[0], "MAIL FROM:<ada@here.example> BODY=8BITMIME SMTPUTF8");
    assert_eq!(new.received()[0].content, content);
}

#[tokio::test]
async fn addresses_beyond_ascii() {
    let task = internationalised(task(&["bo@münchen.example", "grå@there.example"]));
    let old = Mx::good(&["PIPELINING"]).await;
    let report = attempt(&agent(), &plan(&[old.address]), task).await;
    assert_eq!(report.results.iter().find(|r| r.recipient == 0).map(|r| r.disposition), Some(DELIVERED));
    let refused = report.results.iter().find(|r| r.recipient == 1).expect("it has a result");
    assert_eq!((refused.disposition, refused.reply.enhanced), (NEVER, Some(Enhanced(5, 6, 7))));
    assert_eq!(old.received()[0].envelope[1..], ["RCPT TO:<bo@xn--mnchen-3ya.example>"]);
}
