//! The three real servers take a message from the raw client and store it byte for byte: so that a difference in a
//! story is Postrider's and not theirs.

use testkit::message::expect_only_trace_added;
use testkit::peers::{Exim, OpenSmtpd, Peer, Postfix};
use testkit::{Client, Message};

#[track_caller]
fn takes_and_stores(peer: &impl Peer) {
    let message = Message::new("direct").sized(20_000);
    let mut client = Client::connect(peer.address());
    client.ehlo();
    let to = format!("bob@{}", peer.domain());
    client.send("ada@sender.test", &[&to], &message.bytes());
    client.quit();
    expect_only_trace_added(&message.bytes(), &peer.wait_for(&message));
}

#[test]
fn postfix_stores_what_it_takes() {
    takes_and_stores(&Postfix::start());
}

#[test]
fn exim_stores_what_it_takes() {
    takes_and_stores(&Exim::start());
}

#[test]
fn opensmtpd_stores_what_it_takes() {
    takes_and_stores(&OpenSmtpd::start());
}
