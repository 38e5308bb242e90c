//! Nobody relays but whom the operator knows.

use e2e::Relay;
use testkit::{Client, Message};

/// The forms by which open relays have been found for thirty years (sender, recipient).
const FORMS: [(&str, &str); 20] = [
    ("spam@sender.test", "victim@example.test"),
    ("", "victim@example.test"),
    ("postmaster@relay.test", "victim@example.test"),
    ("root@relay.test", "victim@example.test"),
    ("root@[127.0.0.1]", "victim@example.test"),
    ("victim@example.test", "victim@example.test"),
    ("spam@sender.test", "victim%example.test@relay.test"),
    ("spam@sender.test", "victim%example.test@[127.0.0.1]"),
    ("spam@sender.test", "\"victim@example.test\"@relay.test"),
    ("spam@sender.test", "\"victim%example.test\"@relay.test"),
    ("spam@sender.test", "victim@example.test@relay.test"),
    ("spam@sender.test", "\"victim@example.test\""),
    ("spam@sender.test", "@relay.test:victim@example.test"),
    ("spam@sender.test", "@[127.0.0.1]:victim@example.test"),
    ("spam@sender.test", "example.test!victim"),
    ("spam@sender.test", "example.test!victim@relay.test"),
    ("spam@sender.test", "example.test!victim@[127.0.0.1]"),
    ("spam@sender.test", "victim@[127.0.0.1]"),
    ("spam@sender.test", "victim@localhost"),
    ("spam@sender.test", "victim"),
];

#[test]
fn a_stranger_relays_nothing() {
    let relay = Relay::start("stranger");
    for secured in [false, true] {
        for (from, to) in FORMS {
            let mut client = relay.server.connect();
            client.ehlo();
            if secured {
                client.starttls();
            }
            let reply = client.command(&format!("MAIL FROM:<{from}>"));
            if reply.code == 250 {
                let reply = client.command(&format!("RCPT TO:<{to}>"));
                assert!((500..600).contains(&reply.code), "<{from}> to <{to}>: {reply}");
                let reply = client.command("DATA");
                assert!((500..600).contains(&reply.code), "<{from}> to <{to}>: {reply}");
            } else {
                assert!((500..600).contains(&reply.code), "<{from}>: {reply}");
            }
        }
    }
    // HELO gets no further, and says no more than EHLO.
    let mut client = relay.server.connect();
    client.ask("HELO client.test", 250);
    let reply = client.command("MAIL FROM:<spam@sender.test>");
    if reply.code == 250 {
        assert!(client.command("RCPT TO:<victim@example.test>").code >= 500);
    }
    // A failed login is no login.
    let mut client = relay.server.connect();
    client.ehlo();
    client.starttls();
    assert_eq!(client.auth_plain("spam", "spam").code, 535);
    let reply = client.command("MAIL FROM:<spam@sender.test>");
    if reply.code == 250 {
        assert!(client.command("RCPT TO:<victim@example.test>").code >= 500);
    }
    relay.pass("the-right-one");
    assert_eq!(relay.sink.receipts().len(), 1);
}

#[test]
fn a_password_is_not_asked_for_in_the_clear() {
    let relay = Relay::start("clear");
    let mut client = relay.server.connect();
    assert!(!client.ehlo().offers("AUTH"));
    let reply = client.auth_plain(relay.server.user(), relay.server.password());
    assert!(matches!(reply.code, 502 | 503 | 530 | 538), "{reply}");
    assert!(client.starttls().offers("AUTH"));
    assert_eq!(client.auth_plain(relay.server.user(), relay.server.password()).code, 235);
    // Once is enough, and STARTTLS does not come after it.
    assert_eq!(client.command("AUTH PLAIN AGEAYQ==").code, 503);
    assert_eq!(client.command("STARTTLS").code, 503);
}

#[test]
fn a_trusted_network_needs_no_password() {
    let address = testkit::free_address();
    let sink = testkit::Sink::start();
    let relay = Relay::with("trusted", sink, |builder| {
        builder.listener(&format!("address = \"{address}\", auth = \"never\", trust = [\"127.0.0.1/32\"]"))
    });
    let mut client = Client::connect(address);
    assert!(!client.ehlo().offers("AUTH"));
    client.send("ada@sender.test", &["bob@example.test"], &Message::new("trusted").bytes());
    let received = testkit::message::field(&relay.wait_for("trusted").data, "Received").expect("a trace field");
    assert!(received.contains("by relay.test") && !received.contains("127.0.0.1"), "{received}");
    // The neighbour's is another network.
    let mut client = Client::connect_from([127, 0, 0, 2], address);
    client.ehlo();
    let reply = client.command("MAIL FROM:<ada@sender.test>");
    if reply.code == 250 {
        assert!(client.command("RCPT TO:<bob@example.test>").code >= 500);
    } else {
        assert!(reply.code >= 500, "{reply}");
    }
}
