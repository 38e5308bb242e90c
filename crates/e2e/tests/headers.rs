//! What a message lacks it is given on the way in, and nothing else of it is touched.

use e2e::Relay;
use testkit::Message;
use testkit::message::field;

#[test]
fn a_missing_date_and_message_id_are_added() {
    let relay = Relay::start("missing");
    let message = Message::new("missing").field("Date", "").field("Message-ID", "");
    let mut client = relay.server.login();
    client.send("ada@sender.test", &["bob@example.test"], &message.bytes());
    let arrived = relay.wait_for("missing").data;
    assert!(field(&arrived, "Date").is_some_and(|date| date.contains("20")));
    let id = field(&arrived, "Message-ID").expect("it is added");
    assert!(id.starts_with('<') && id.ends_with('>') && id.contains("@relay.test"), "{id}");
    let sent = String::from_utf8(message.bytes()).expect("ASCII");
    for line in sent.lines() {
        assert!(String::from_utf8_lossy(&arrived).contains(line), "{line}");
    }
    assert!(arrived.ends_with(b"\r\n\r\nAda\r\n"));
    relay.expect_no_violations();
}

#[test]
fn the_trace_tells_how_it_came() {
    let relay = Relay::start("trace");
    let mut client = relay.server.login();
    let reply = client.send("ada@sender.test", &["bob@example.test"], &Message::new("trace").bytes());
    let arrived = relay.wait_for("trace").data;
    let received = field(&arrived, "Received").expect("RFC 5321 \u{a7}4.4");
    for part in ["by relay.test", "with ESMTPSA", &reply.message_id()] {
        assert!(received.contains(part), "{part} is not in {received}");
    }
    // Who logged in, and from where, is nobody's business at the far end.
    for part in [relay.server.user(), "client.test", "127.0.0.1"] {
        assert!(!received.contains(part), "{part} is in {received}");
    }
    assert!(!String::from_utf8_lossy(&arrived).contains("Return-Path"), "that is for the last server to write");
}

#[test]
fn odd_messages_pass_as_they_are() {
    let relay = Relay::start("odd");
    let mut client = relay.server.login();
    let odd: [(&str, &[u8]); 4] = [
        ("empty-body", b"X-Story-Id: empty-body\r\nDate: d\r\nMessage-ID: <a@b>\r\n\r\n"),
        ("only-dots", b"X-Story-Id: only-dots\r\nDate: d\r\nMessage-ID: <a@b>\r\n\r\n.\r\n..\r\n...\r\n"),
        ("folded", b"X-Story-Id: folded\r\nSubject: a\r\n b\r\n\tc\r\nDate: d\r\nMessage-ID: <a@b>\r\n\r\nx\r\n"),
        ("spaces", b"X-Story-Id: spaces\r\nDate: d\r\nMessage-ID: <a@b>\r\n\r\n   \r\n\t\r\ntrailing   \r\n\r\n\r\n"),
    ];
    for (story, message) in odd {
        client.send("ada@sender.test", &["bob@example.test"], message);
        let arrived = relay.wait_for(story).data;
        testkit::message::expect_only_trace_added(message, &arrived);
    }
    // Without a body, the empty line that ends the header is put behind it.
    let message = b"X-Story-Id: no-body\r\nDate: d\r\nMessage-ID: <a@b>\r\n";
    client.send("ada@sender.test", &["bob@example.test"], message);
    let arrived = relay.wait_for("no-body").data;
    testkit::message::expect_only_trace_added(message, arrived.strip_suffix(b"\r\n").expect("the empty line"));
    relay.expect_no_violations();
}

#[test]
fn long_lines_are_the_senders_business_up_to_the_standards_limit() {
    let relay = Relay::start("long-lines");
    let mut client = relay.server.login();
    for octets in [997, 998] {
        let story = format!("line-{octets}");
        let message = Message::new(&story).body(format!("{}\r\n", "x".repeat(octets))).bytes();
        client.send("ada@sender.test", &["bob@example.test"], &message);
        testkit::message::expect_only_trace_added(&message, &relay.wait_for(&story).data);
    }
    relay.expect_no_violations();
    // Longer ones are refused, or folded into legal ones; never cut.
    let message = Message::new("line-2000").body(format!("{}\r\n", "x".repeat(2000))).bytes();
    let reply = client.submit("ada@sender.test", &["bob@example.test"], &message);
    if reply.code == 250 {
        let arrived = relay.wait_for("line-2000").data;
        assert!(arrived.iter().filter(|octet| **octet == b'x').count() >= 2000, "nothing is cut away");
    } else {
        assert!((500..600).contains(&reply.code), "{reply}");
    }
}
