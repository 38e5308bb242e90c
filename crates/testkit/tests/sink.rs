//! The sink and the raw client against each other: what the stories rely on.

use std::io::ErrorKind;
use std::time::Duration;

use testkit::tls::Certificate;
use testkit::{Act, Client, Message, Sink, Step};

#[test]
fn what_is_sent_is_what_is_recorded() {
    let sink = Sink::start();
    let message = Message::new("plain").bytes();
    let mut client = Client::connect(sink.address());
    client.ehlo();
    client.ask("MAIL FROM:<ada@sender.test> RET=HDRS ENVID=abc", 250);
    client.ask("RCPT TO:<bob@example.test> NOTIFY=FAILURE", 250);
    client.ask("RCPT TO:<\"eve> x\"@example.test>", 250);
    assert_eq!(client.data(&message).code, 250);
    client.quit();
    let receipts = sink.wait_for(1);
    let receipt = &receipts[0];
    assert_eq!(receipt.from, "ada@sender.test");
    assert_eq!(receipt.parameters, ["RET=HDRS", "ENVID=abc"]);
    assert_eq!(receipt.to(), ["bob@example.test", "\"eve> x\"@example.test"]);
    assert_eq!(receipt.recipients[0].parameters, ["NOTIFY=FAILURE"]);
    assert_eq!(receipt.data, message);
    assert!(receipt.reply_seen, "the client went on to QUIT");
    assert_eq!(sink.violations(), Vec::<String>::new());
}

#[test]
fn under_tls_too() {
    let sink = Sink::builder().starttls(Certificate::Expired).start();
    let mut client = Client::connect(sink.address());
    assert!(client.ehlo().offers("STARTTLS"));
    assert!(!client.starttls().offers("STARTTLS"));
    client.send("a@sender.test", &["b@example.test"], b"Subject: x\r\n\r\nx\r\n");
    assert!(sink.wait_for(1)[0].tls);
}

#[test]
fn a_script_decides_each_step() {
    let sink = Sink::scripted(|event| match (event.step, event.nth) {
        (Step::Rcpt, 1) => Act::reply("451 4.7.1 come again"),
        (Step::Dot, 1) => Act::Reset,
        (Step::Quit, _) => Act::after(Duration::from_millis(1), Act::reply("221-so\n221 long")),
        _ => Act::Accept,
    });
    let mut client = Client::connect(sink.address());
    client.ehlo();
    client.ask("MAIL FROM:<a@sender.test>", 250);
    client.ask("RCPT TO:<b@example.test>", 451);
    client.ask("RCPT TO:<b@example.test>", 250);
    client.ask("DATA", 354);
    client.write("x\r\n.\r\n");
    assert_eq!(client.try_reply().expect_err("it is reset").kind(), ErrorKind::ConnectionReset);
    let receipts = sink.receipts();
    assert_eq!((receipts.len(), receipts[0].replied), (1, None), "it arrived, and nobody was told");

    let mut client = Client::connect(sink.address());
    client.ehlo();
    client.send("a@sender.test", &["b@example.test"], b"x\r\n");
    assert_eq!(client.ask("QUIT", 221).lines, ["so", "long"]);
    client.expect_end();
}

#[test]
fn a_careless_peer_is_noticed() {
    let sink = Sink::builder().extensions(&[]).start();
    let mut client = Client::connect(sink.address());
    client.ehlo();
    client.write("MAIL FROM:<a@sender.test> BODY=8BITMIME\r\nRCPT TO:<b@example.test> NOTIFY=NEVER\r\n");
    client.expect(250);
    client.expect(250);
    client.ask("DATA", 354);
    client.write("a bare\nLF and \u{e4}\r\n.\r\n");
    client.expect(250);
    let violations = sink.violations().join("\n");
    for expected in ["did not wait", "BODY without 8BITMIME", "a parameter without DSN", "a bare 0x0a"] {
        assert!(violations.contains(expected), "{expected} is not in:\n{violations}");
    }
}

#[test]
fn a_final_dot_torn_apart_is_still_one() {
    let sink = Sink::start();
    let mut client = Client::connect(sink.address());
    client.ehlo();
    client.ask("MAIL FROM:<a@sender.test>", 250);
    client.ask("RCPT TO:<b@example.test>", 250);
    client.ask("DATA", 354);
    for part in ["..x\r", "\n", ".", "\r", "\n"] {
        client.write(part);
    }
    client.expect(250);
    assert_eq!(sink.wait_for(1)[0].data, b".x\r\n");
}
