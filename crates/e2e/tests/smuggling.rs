//! One message in is one message out, whatever its bytes pretend; and nothing that was said in the clear is believed
//! after STARTTLS.

use e2e::Relay;
use testkit::{Client, Message};

/// Ends of data that some servers take for one, and that are none (RFC 5321 §2.3.8: only CRLF.CRLF is).
const FALSE_ENDS: [&[u8]; 9] =
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\n\0.\r\n", b"\r\r\n.\r\r\n"];

/// The second message, hidden in the first one's content.
const SMUGGLED: &[u8] = b"MAIL FROM:<boss@sender.test>\r\nRCPT TO:<victim@example.test>\r\nDATA\r\n\
                          X-Story-Id: smuggled\r\nSubject: pay\r\n\r\nnow\r\n.\r\n";

#[test]
fn a_false_end_of_data_ends_nothing() {
    let relay = Relay::start("smuggling");
    let mut client = relay.server.login();
    for (number, end) in FALSE_ENDS.iter().enumerate() {
        client.ask("MAIL FROM:<ada@sender.test>", 250);
        client.ask("RCPT TO:<bob@example.test>", 250);
        client.ask("DATA", 354);
        let mut content = Message::new(&format!("carrier-{number}")).bytes();
        content.truncate(content.len() - 2);
        content.extend_from_slice(end);
        content.extend_from_slice(SMUGGLED);
        client.write(&content);
        // The end that counts is the smuggled message's own. All of it was one content, and a bad one.
        let reply = client.reply();
        assert!((500..600).contains(&reply.code), "{end:?}: {reply}");
        // The session is in step: the next reply is this command's.
        assert_eq!(client.command("NOOP").code, 250, "after {end:?}");
    }
    client.send("ada@sender.test", &["bob@example.test"], &Message::new("honest").bytes());
    relay.wait_for("honest");
    let arrived: Vec<String> = relay.sink.receipts().iter().map(testkit::Receipt::text).collect();
    assert_eq!(arrived.len(), 1, "only the honest one: {arrived:#?}");
    relay.expect_no_violations();
}

#[test]
fn bare_octets_are_refused_and_the_session_stays_in_step() {
    let relay = Relay::start("bare");
    let mut client = relay.server.login();
    for bad in ["a bare\nLF", "a bare\rCR", "a\0NUL", "\n", "\r", "ends in CR\r\r\n"] {
        client.ask("MAIL FROM:<ada@sender.test>", 250);
        client.ask("RCPT TO:<bob@example.test>", 250);
        let message = Message::new("bad").body(format!("{bad}\r\n")).bytes();
        let reply = client.data(&message);
        assert!((500..600).contains(&reply.code), "{bad:?}: {reply}");
    }
    // The same in chunks.
    for bad in ["a bare\nLF", "a\0NUL"] {
        client.ask("MAIL FROM:<ada@sender.test>", 250);
        client.ask("RCPT TO:<bob@example.test>", 250);
        let message = Message::new("bad").body(format!("{bad}\r\n")).bytes();
        client.write([format!("BDAT {} LAST\r\n", message.len()).as_bytes(), &message].concat());
        let reply = client.reply();
        assert!((500..600).contains(&reply.code), "{bad:?}: {reply}");
    }
    client.send("ada@sender.test", &["bob@example.test"], &Message::new("good").bytes());
    relay.wait_for("good");
    assert_eq!(relay.sink.receipts().len(), 1);
}

#[test]
fn what_stood_before_the_handshake_is_forgotten() {
    let relay = Relay::start("injection");
    // Commands in the same packet as STARTTLS are dropped, or the connection is.
    let mut client = relay.server.connect();
    client.ehlo();
    client.write("STARTTLS\r\nEHLO attacker.test\r\nMAIL FROM:<attacker@sender.test>\r\n");
    let reply = client.reply();
    if reply.code == 220 && client.try_handshake().is_ok() {
        // Nothing was executed: the first reply after the handshake is our own command's, and the
        // session is as new (RFC 3207 §4.2).
        assert_eq!(client.command("MAIL FROM:<ada@sender.test>").code, 503, "EHLO must be said again");
        assert_eq!(client.ehlo().code, 250);
        let reply = client.auth_plain(relay.server.user(), relay.server.password());
        assert_eq!(reply.code, 235);
        client.ask("RCPT TO:<bob@example.test>", 503);
    } else {
        assert!(reply.code == 220 || (500..600).contains(&reply.code), "{reply}");
    }

    // A transaction begun in the clear is gone too.
    let mut client = relay.server.connect();
    client.ehlo();
    client.command("MAIL FROM:<ada@sender.test>");
    client.starttls();
    client.ask("RCPT TO:<bob@example.test>", 503);
    // And it cannot be done twice.
    let reply = client.command("STARTTLS");
    assert!((500..600).contains(&reply.code), "{reply}");
}

#[test]
fn commands_with_odd_line_ends_are_no_commands() {
    let relay = Relay::start("line-ends");
    for line in ["NOOP\n", "NOOP\rNOOP\r\n", "NO\0OP\r\n"] {
        let mut client = Client::connect(relay.server.smtp());
        client.ehlo();
        client.write(line);
        // It may close, or refuse, or wait for a line end that counts; it never says yes.
        client.write("NOOP\r\n");
        if let Ok(reply) = client.try_reply() {
            assert!((500..600).contains(&reply.code) || reply.code == 421, "{line:?}: {reply}");
        }
    }
}
