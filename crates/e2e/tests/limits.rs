//! Every limit answers clearly, and the rest of the work goes on.

use std::time::Duration;

use e2e::Relay;
use testkit::{Client, Message, Sink};

#[test]
fn recipients_beyond_the_limit_wait_and_the_others_stay() {
    let relay = Relay::with("recipients", Sink::start(), |builder| builder.set("smtp", "recipients_max", "5"));
    let mut client = relay.server.login();
    client.ask("MAIL FROM:<ada@sender.test>", 250);
    for number in 0..8 {
        let reply = client.command(&format!("RCPT TO:<r{number}@example.test>"));
        assert_eq!(reply.code, if number < 5 { 250 } else { 452 }, "{reply}");
    }
    assert_eq!(client.data(&Message::new("five").bytes()).code, 250);
    let receipt = relay.wait_for("five");
    let mut to = receipt.to();
    to.sort_unstable();
    assert_eq!(to, ["r0@example.test", "r1@example.test", "r2@example.test", "r3@example.test", "r4@example.test"]);
}

#[test]
fn a_message_too_large_is_refused_early_and_late() {
    let relay = Relay::with("size", Sink::start(), |builder| builder.set("smtp", "message_size_max", "\"100KB\""));
    let mut client = relay.server.login();
    let offer = client.ehlo();
    assert!(offer.lines.iter().any(|line| line == "SIZE 100000"), "{offer}");
    client.ask("MAIL FROM:<ada@sender.test> SIZE=100001", 552);
    client.ask("MAIL FROM:<ada@sender.test> SIZE=100000", 250);
    client.ask("RSET", 250);

    // Dots that are stuffed for the way do not count (RFC 1870 §6.1).
    let mut message = Message::new("just").body(".\r\n".repeat(33_000)).bytes();
    let missing = 100_000 - message.len();
    message.extend_from_slice(format!("{}\r\n", "x".repeat(missing - 2)).as_bytes());
    assert_eq!(message.len(), 100_000);
    assert_eq!(client.submit("ada@sender.test", &["bob@example.test"], &message).code, 250);
    message.splice(message.len() - 2.., *b"x\r\n");
    assert_eq!(client.submit("ada@sender.test", &["bob@example.test"], &message).code, 552);

    // In chunks: all octets are taken in, and the session stays in step.
    client.ask("MAIL FROM:<ada@sender.test>", 250);
    client.ask("RCPT TO:<bob@example.test>", 250);
    client.write([b"BDAT 150000\r\n".as_slice(), &vec![b'x'; 150_000]].concat());
    assert_eq!(client.reply().code, 552);
    client.ask("RSET", 250);
    client.ask("NOOP", 250);
    relay.wait_for("just");
    assert_eq!(relay.sink.receipts().len(), 1);
}

#[test]
fn nonsense_is_borne_for_a_while() {
    let relay = Relay::start("nonsense");
    let mut client = relay.server.connect();
    client.ehlo();
    let mut refused = 0;
    while let Ok(reply) = client.try_command("EXPLODE now") {
        refused += 1;
        assert!(refused < 200, "for ever: {reply}");
        if reply.code == 421 {
            client.expect_end();
            break;
        }
        assert_eq!(reply.code, 500, "{reply}");
    }
    assert!(refused >= 5, "a typing person makes mistakes: {refused}");
    relay.pass("meanwhile");
}

#[test]
fn lines_without_end_are_cut() {
    let relay = Relay::start("lines");
    let mut client = relay.server.connect();
    client.ehlo();
    client.write(format!("NOOP {}\r\n", "x".repeat(600)));
    let reply = client.reply();
    assert!(matches!(reply.code, 250 | 500), "{reply}");
    client.write(format!("EHLO {}\r\n", "x".repeat(10_000)));
    client.expect(500);
    // 64 MB without a line end: it is not kept, and does not bring the server down.
    let chunk = vec![b'y'; 1 << 20];
    let before = resident_kb(relay.server.ready().pid);
    for _ in 0..64 {
        if client.try_write(&chunk).is_err() {
            break;
        }
    }
    let after = resident_kb(relay.server.ready().pid);
    assert!(after < before + 20_000, "memory went from {before} kB to {after} kB");
    relay.pass("meanwhile");
}

fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn a_large_message_does_not_stay_in_memory() {
    let relay = Relay::with("stream", Sink::builder().headers_only().start(), |builder| {
        builder.set("smtp", "message_size_max", "\"120MB\"")
    });
    let mut client = relay.server.login();
    let mut pass = |story: &str, octets: usize| {
        client.send("ada@sender.test", &["bob@example.test"], &Message::new(story).sized(octets).bytes());
        relay.wait_for(story);
        peak_kb(relay.server.ready().pid)
    };
    // What buffers there are, a message of 10 MB has filled.
    let before = pass("large", 10_000_000);
    let after = pass("ten-times-larger", 100_000_000);
    assert!(after < before + 30_000, "100 MB passed, and the peak went from {before} kB to {after} kB");
}

/// The most memory that a process ever had.
fn peak_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("every process has a peak");
    peak.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn too_many_connections_get_421_and_the_others_are_served() {
    let relay = Relay::with("connections", Sink::start(), |builder| {
        builder.set("smtp", "connections_per_address_max", "10").set("smtp", "connections_max", "30")
    });
    let mut open: Vec<Client> = (0..10).map(|_| relay.server.connect()).collect();
    let mut client = Client::connect_silently(relay.server.smtp());
    client.expect(421);
    client.expect_end();
    // Another address is not to blame.
    let other = Client::connect_from([127, 0, 0, 7], relay.server.smtp());
    other.quit();
    open.pop().expect("ten are open").quit();
    // The place is free again as soon as the server has seen the end.
    testkit::until("a free place", || {
        let mut client = Client::try_connect(relay.server.smtp()).ok()?;
        (client.try_reply().ok()?.code == 220).then_some(())
    });
    for client in &mut open {
        client.ehlo();
    }
}

#[test]
fn a_silent_client_is_sent_away() {
    let relay = Relay::with("silent", Sink::start(), |builder| builder.set("smtp", "idle_time_max", "\"1s\""));
    let mut client = relay.server.connect();
    client.ehlo();
    client.set_deadline(Duration::from_secs(20));
    client.expect(421);
    client.expect_end();
    let mut client = relay.server.login();
    client.ask("MAIL FROM:<ada@sender.test>", 250);
    client.ask("RCPT TO:<bob@example.test>", 250);
    client.ask("DATA", 354);
    client.write("Subject: half\r\n");
    client.expect(421);
    client.expect_end();
    relay.pass("whole");
    assert_eq!(relay.sink.receipts().len(), 1, "half a message is none");
}

#[test]
fn a_loop_is_found_by_its_received_fields() {
    let relay = Relay::start("loop");
    let mut message = Vec::new();
    for hop in 0..150 {
        message.extend_from_slice(format!("Received: from hop{hop}.test by hop{}.test; now\r\n", hop + 1).as_bytes());
    }
    message.extend_from_slice(&Message::new("loop").bytes());
    let mut client = relay.server.login();
    let reply = client.submit("ada@sender.test", &["bob@example.test"], &message);
    assert!((500..600).contains(&reply.code), "{reply}");
    relay.pass("straight");
    assert_eq!(relay.sink.receipts().len(), 1);
}

#[test]
fn a_header_without_end_is_refused() {
    let relay = Relay::start("header");
    let mut client = relay.server.login();
    let mut message = b"Subject: wide\r\n".to_vec();
    for number in 0..60_000 {
        message.extend_from_slice(format!("X-Filler-{number}: {}\r\n", "x".repeat(60)).as_bytes());
    }
    message.extend_from_slice(b"\r\nbody\r\n");
    let reply = client.submit("ada@sender.test", &["bob@example.test"], &message);
    assert!((500..600).contains(&reply.code), "{reply}");
    client.send("ada@sender.test", &["bob@example.test"], &Message::new("narrow").bytes());
    relay.wait_for("narrow");
}

#[test]
fn malformed_commands_change_nothing() {
    let relay = Relay::start("malformed");
    let mut client = relay.server.login();
    for (line, codes) in [
        ("MAIL FROM:<ada@sender.test> SIZE=abc", [501, 501]),
        ("MAIL FROM:<ada@sender.test> BODY=9BIT", [501, 555]),
        ("MAIL FROM:<ada@sender.test> FOO=BAR", [555, 555]),
        ("MAIL FROM:<ada@sender.test> SIZE=5 SIZE=6", [501, 501]),
        ("MAIL FROM:ada@sender.test", [501, 501]),
        ("MAIL FROM:<ada sender.test>", [501, 501]),
        ("RCPT TO:<bob@example.test>", [503, 503]),
        ("DATA", [503, 503]),
        ("RSET now", [501, 501]),
    ] {
        let reply = client.command(line);
        assert!(codes.contains(&reply.code), "{line}: {reply}");
    }
    for argument in ["18446744073709551616", "-1", "1e3", "0x10", "5x", ""] {
        // Nobody knows how many octets follow: refused, and the connection is at its end.
        let mut client = relay.server.login();
        client.ask("MAIL FROM:<ada@sender.test>", 250);
        client.ask("RCPT TO:<bob@example.test>", 250);
        let reply = client.command(&format!("BDAT {argument}"));
        assert_eq!(reply.code, 501, "BDAT {argument}: {reply}");
        client.expect_end();
    }
    client.send("ada@sender.test", &["bob@example.test"], &Message::new("well-formed").bytes());
    relay.wait_for("well-formed");
}

#[test]
fn the_same_recipient_twice_gets_one() {
    let relay = Relay::start("twice");
    let mut client = relay.server.login();
    client.ask("MAIL FROM:<ada@sender.test>", 250);
    for to in ["bob@example.test", "bob@EXAMPLE.test", "\"bob\"@example.test"] {
        client.ask(&format!("RCPT TO:<{to}>"), 250);
    }
    assert_eq!(client.data(&Message::new("twice").bytes()).code, 250);
    relay.wait_for("twice");
    client.send("ada@sender.test", &["bob@example.test"], &Message::new("after").bytes());
    relay.wait_for("after");
    let copies: usize = relay
        .sink
        .receipts()
        .iter()
        .filter(|receipt| testkit::message::story_id(&receipt.data).as_deref() == Some("twice"))
        .map(|receipt| receipt.recipients.len())
        .sum();
    assert_eq!(copies, 1);
}
