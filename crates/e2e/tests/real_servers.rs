//! Postfix, Exim and OpenSMTPD as the recipients' mail servers: what they store is what was sent, but for trace
//! fields.

use e2e::Relay;
use testkit::message::expect_only_trace_added;
use testkit::peers::{Exim, OpenSmtpd, Peer, Postfix};
use testkit::{Message, Server, Sink};

/// A relay whose mail for the peer's domain goes to the peer.
#[track_caller]
fn relay_to(peer: &impl Peer) -> Relay {
    let sink = Sink::start();
    let server = Server::builder(peer.domain()).live().host(peer.domain(), peer.address()).start();
    Relay { server, sink }
}

#[track_caller]
fn delivers(peer: &impl Peer) {
    let relay = relay_to(peer);
    let to = format!("bob@{}", peer.domain());
    let mut client = relay.server.login();
    // Several in a row: the connection to the peer is used again.
    let messages: Vec<Message> = (0..5)
        .map(|number| Message::new(&format!("number-{number}")).field("To", &to).sized(2000 * (number + 1)))
        .collect();
    for message in &messages {
        client.send("ada@sender.test", &[&to], &message.bytes());
    }
    for message in &messages {
        let stored = peer.wait_for(message);
        let trace = expect_only_trace_added(&message.bytes(), &stored);
        assert!(trace.contains("by relay.test"), "our own trace field is among them: {trace}");
    }

    // 8-bit text in a long line and with dots; what the peer offers (8BITMIME) lets it pass as it is.
    let body = format!("Grüße\r\n.\r\n..\r\n{}\r\n", "ä".repeat(450));
    let message = Message::new("eight-bit")
        .field("To", &to)
        .field("MIME-Version", "1.0")
        .field("Content-Type", "text/plain; charset=utf-8")
        .field("Content-Transfer-Encoding", "8bit")
        .body(body);
    client.ask("MAIL FROM:<ada@sender.test> BODY=8BITMIME", 250);
    client.ask(&format!("RCPT TO:<{to}>"), 250);
    assert_eq!(client.data(&message.bytes()).code, 250);
    client.quit();
    expect_only_trace_added(&message.bytes(), &peer.wait_for(&message));
}

#[test]
fn to_postfix() {
    let peer = Postfix::start();
    delivers(&peer);

    let relay = relay_to(&peer);
    let message = Message::new("utf8").field("To", "grå@postfix.test").field("Subject", "Größe");
    let mut client = relay.server.login();
    client.ask("MAIL FROM:<añil@sender.test> SMTPUTF8 BODY=8BITMIME", 250);
    client.ask("RCPT TO:<grå@postfix.test>", 250);
    assert_eq!(client.data(&message.bytes()).code, 250);
    expect_only_trace_added(&message.bytes(), &peer.wait_for(&message));
}

#[test]
fn to_exim() {
    delivers(&Exim::start());
}

#[test]
fn to_opensmtpd() {
    delivers(&OpenSmtpd::start());
}

#[test]
fn a_message_of_ten_megabytes_to_each() {
    let (postfix, exim, opensmtpd) = (Postfix::start(), Exim::start(), OpenSmtpd::start());
    let peers: [&dyn Peer; 3] = [&postfix, &exim, &opensmtpd];
    let mut builder = Server::builder("large").live();
    for peer in peers {
        builder = builder.host(peer.domain(), peer.address());
    }
    let server = builder.start();
    let message = Message::new("ten-megabytes").sized(10_000_000);
    let recipients: Vec<String> = peers.iter().map(|peer| format!("bob@{}", peer.domain())).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let mut client = server.login();
    client.send("ada@sender.test", &recipients, &message.bytes());
    for peer in peers {
        expect_only_trace_added(&message.bytes(), &peer.wait_for(&message));
    }
}
