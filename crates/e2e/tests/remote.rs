//! Remote servers that refuse for now, stall, reset, and talk nonsense: mail waits, is tried again, and arrives once;
//! other destinations do not notice.

use std::time::{Duration, Instant};

use e2e::Relay;
use serde_json::Value;
use testkit::tls::Certificate;
use testkit::{Act, Message, Server, Sink, Step};

/// Sends one message to `example.test` and gives back its id.
#[track_caller]
fn send(server: &Server, story: &str) -> String {
    server.login().send("ada@sender.test", &["bob@example.test"], &Message::new(story).bytes()).message_id()
}

/// All that was said in the last attempt.
fn last_words(story: &Value) -> String {
    let attempts = story["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    attempts.last().map(|attempt| attempt["results"].to_string()).unwrap_or_default()
}

#[test]
fn greylisting_is_waited_out() {
    let sink = Sink::scripted(|event| match (event.step, event.nth) {
        (Step::Rcpt, 1..=3) => Act::reply("451 4.7.1 greylisted, come again"),
        _ => Act::Accept,
    });
    let relay = Relay::with("greylisting", sink, testkit::server::Builder::impatient);
    let id = send(&relay.server, "patient");
    relay.wait_for("patient");
    let story = relay.server.wait_for_state(&id, "delivered");
    assert_eq!(story["attempts"].as_array().map(Vec::len), Some(4), "{story:#}");
    let first = &story["attempts"][0]["results"][0];
    assert_eq!(first["outcome"], "deferred");
    assert!(first["reply"].as_str().is_some_and(|reply| reply.starts_with("451 4.7.1")), "{first}");
    assert_eq!(relay.sink.receipts().len(), 1);
}

#[test]
fn a_storm_of_temporary_refusals_passes() {
    let sink = Sink::scripted(|event| match (event.step, event.nth) {
        (Step::Mail, 1..=15) => Act::reply("421 4.3.2 too busy"),
        _ => Act::Accept,
    });
    let relay = Relay::with("storm", sink, testkit::server::Builder::impatient);
    let mut client = relay.server.login();
    for number in 0..40 {
        client.send("ada@sender.test", &["bob@example.test"], &Message::new(&format!("storm-{number}")).bytes());
    }
    relay.sink.wait_for(40);
    testkit::until("an empty queue", || (relay.server.admin("/queue")["queued"] == 0).then_some(()));
    assert_eq!(relay.sink.receipts().len(), 40, "each of them once");
    relay.expect_no_violations();
}

#[test]
fn a_reset_at_any_step_loses_nothing_and_doubles_only_behind_the_dot() {
    let steps = [Step::Connect, Step::Ehlo, Step::Mail, Step::Rcpt, Step::Data, Step::Body, Step::Dot, Step::Quit];
    for step in steps {
        let sink =
            Sink::scripted(move |event| if event.step == step && event.nth == 1 { Act::Reset } else { Act::Accept });
        let relay = Relay::with("reset", sink, testkit::server::Builder::impatient);
        let id = send(&relay.server, "reset");
        relay.wait_for("reset");
        let story = relay.server.wait_for_state(&id, "delivered");
        let arrived = relay.sink.receipts().len();
        assert_eq!(arrived, if step == Step::Dot { 2 } else { 1 }, "reset at {step:?}: {story:#}");
        // A small message is sent whole before the reset is seen: whoever sent it cannot know.
        let maybe = story["attempts"].to_string().contains("\"maybe_delivered\":true");
        assert_eq!(maybe, [Step::Body, Step::Dot].contains(&step), "reset at {step:?}: {story:#}");
        relay.expect_no_violations();
    }
}

#[test]
fn a_close_at_any_step_too() {
    for step in [Step::Connect, Step::Ehlo, Step::Mail, Step::Rcpt, Step::Data, Step::Body] {
        let sink = Sink::scripted(move |event| {
            if event.step == step && event.nth == 1 {
                Act::ReplyAndClose("421 4.3.2 closing".to_owned())
            } else {
                Act::Accept
            }
        });
        let relay = Relay::with("close", sink, testkit::server::Builder::impatient);
        let id = send(&relay.server, "close");
        relay.wait_for("close");
        relay.server.wait_for_state(&id, "delivered");
        assert_eq!(relay.sink.receipts().len(), 1, "closed at {step:?}");
    }
}

#[test]
fn nonsense_is_a_temporary_failure() {
    let nonsense: [(&str, Act); 7] = [
        ("no code", Act::Raw(b"hello there\r\n".to_vec())),
        ("code 999", Act::Raw(b"999 what\r\n".to_vec())),
        ("NUL and 8 bits", Act::Raw(b"250 \0\xff\xfe ok\r\n".to_vec())),
        ("bare LF", Act::Raw(b"450 later\n".to_vec())),
        ("two codes", Act::Raw(b"250-one\r\n550 two\r\n".to_vec())),
        (
            "endless line",
            Act::Endless(b"250 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec()),
        ),
        ("endless reply", Act::Endless(b"250-more\r\n".to_vec())),
    ];
    for (name, act) in nonsense {
        let sink = Sink::scripted(move |event| match (event.step, event.nth) {
            (Step::Rcpt, 1) => act.clone(),
            _ => Act::Accept,
        });
        let relay = Relay::with("nonsense", sink, testkit::server::Builder::impatient);
        let id = send(&relay.server, "nonsense");
        let story = relay.server.wait_for_state(&id, "delivered");
        relay.wait_for("nonsense");
        assert_eq!(story["recipients"][0]["state"], "delivered", "{name}: {story:#}");
        let told = story["attempts"].to_string();
        assert!(told.len() < 20_000, "{name}: what a stranger says is kept short, not {} octets", told.len());
    }
}

#[test]
fn an_endless_greeting_does_not_fill_the_memory() {
    let sink = Sink::scripted(|event| match (event.step, event.nth) {
        (Step::Connect, 1) => Act::Endless(b"220-welcome\r\n".repeat(1000)),
        _ => Act::Accept,
    });
    let relay = Relay::with("greeting", sink, testkit::server::Builder::impatient);
    let id = send(&relay.server, "greeting");
    relay.server.wait_for_state(&id, "delivered");
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.server.ready().pid)).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("every process has a peak");
    let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse().expect("a number");
    assert!(peak < 200_000, "{peak} kB");
}

#[test]
fn a_tarpit_holds_up_nobody_else() {
    let tarpit = Sink::scripted(|event| match event.step {
        Step::Connect => Act::Drip(b"220 slow.test\r\n".to_vec(), Duration::from_millis(300)),
        Step::Quit => Act::Accept,
        _ => Act::after(Duration::from_millis(700), Act::Accept),
    });
    let quick = Sink::start();
    let server = Server::builder("tarpit")
        .live()
        .host("tarpit.test", tarpit.address())
        .host("example.test", quick.address())
        .start();
    let mut client = server.login();
    for number in 0..50 {
        client.send("ada@sender.test", &["bob@tarpit.test"], &Message::new(&format!("stuck-{number}")).bytes());
    }
    let started = Instant::now();
    send(&server, "quick");
    e2e::wait_for(&quick, "quick");
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    tarpit.wait_for(1);
}

#[test]
fn a_server_that_never_speaks_is_given_up() {
    let sink = Sink::scripted(|event| match (event.step, event.connection) {
        (Step::Connect, 1) => Act::Hang,
        _ => Act::Accept,
    });
    let relay = Relay::with("mute", sink, testkit::server::Builder::impatient);
    let id = send(&relay.server, "mute");
    // A minute is what it is granted.
    relay.sink.wait_for_within(Duration::from_secs(150), 1);
    let story = relay.server.wait_for_state(&id, "delivered");
    assert_eq!(story["attempts"][0]["results"][0]["outcome"], "deferred", "{story:#}");
}

#[test]
fn tls_is_used_where_it_is_offered_whatever_the_certificate() {
    for certificate in [Certificate::SelfSigned, Certificate::Expired, Certificate::WrongName] {
        let relay = Relay::with("tls", Sink::builder().starttls(certificate).start(), |builder| builder);
        let id = send(&relay.server, "tls");
        assert!(relay.wait_for("tls").tls, "{certificate:?}");
        let story = relay.server.wait_for_state(&id, "delivered");
        assert!(story["attempts"][0]["tls"].is_string(), "{story:#}");
        relay.expect_no_violations();
    }
}

#[test]
fn where_tls_fails_mail_goes_in_the_clear() {
    let failures: [(&str, Step, Act); 4] = [
        ("454 to STARTTLS", Step::StartTls, Act::reply("454 4.7.0 not now")),
        ("reset in the handshake", Step::Handshake, Act::Reset),
        ("closed in the handshake", Step::Handshake, Act::Close),
        ("nonsense in the handshake", Step::Handshake, Act::Raw(b"this is no TLS at all\r\n".to_vec())),
    ];
    for (name, step, act) in failures {
        let sink = Sink::builder()
            .starttls(Certificate::SelfSigned)
            .script(move |event| if event.step == step { act.clone() } else { Act::Accept })
            .start();
        let relay = Relay::with("tls-fails", sink, testkit::server::Builder::impatient);
        let id = send(&relay.server, "tls-fails");
        let receipt = relay.wait_for("tls-fails");
        assert!(!receipt.tls, "{name}");
        let story = relay.server.wait_for_state(&id, "delivered");
        let last = story["attempts"].as_array().and_then(|attempts| attempts.last()).expect("there were attempts");
        assert!(last["tls"].is_null(), "{name}: {story:#}");
    }
}

#[test]
fn old_servers_get_what_they_understand() {
    // EHLO is unknown: HELO will do. Nothing that was not offered is used.
    let sink = Sink::builder()
        .extensions(&[])
        .script(|event| if event.step == Step::Ehlo { Act::reply("502 5.5.1 what is EHLO?") } else { Act::Accept })
        .start();
    let relay = Relay::with("helo", sink, |builder| builder);
    send(&relay.server, "helo");
    relay.wait_for("helo");
    relay.expect_no_violations();

    // 8-bit text for a server that takes 7 is encoded, and still says the same.
    let relay = Relay::with("seven-bit", Sink::builder().extensions(&["PIPELINING"]).start(), |builder| builder);
    let message = Message::new("seven-bit")
        .field("MIME-Version", "1.0")
        .field("Content-Type", "text/plain; charset=utf-8")
        .field("Content-Transfer-Encoding", "8bit")
        .body("Gr\u{fc}\u{df}e\r\n");
    let mut client = relay.server.login();
    client.ask("MAIL FROM:<ada@sender.test> BODY=8BITMIME", 250);
    client.ask("RCPT TO:<bob@example.test>", 250);
    assert_eq!(client.data(&message.bytes()).code, 250);
    let receipt = relay.wait_for("seven-bit");
    assert!(receipt.data.is_ascii());
    let encoding = testkit::message::field(&receipt.data, "Content-Transfer-Encoding").expect("it is declared");
    assert!(["quoted-printable", "base64"].contains(&encoding.as_str()), "{encoding}");
    relay.expect_no_violations();

    // An address that cannot be written in ASCII cannot go there at all: that is for good.
    let mut client = relay.server.login();
    client.ask("MAIL FROM:<> SMTPUTF8", 250);
    client.ask("RCPT TO:<gr\u{e5}@example.test>", 250);
    let reply = client.data(&Message::new("utf8").bytes());
    let story = relay.server.wait_for_state(&reply.message_id(), "failed");
    assert!(last_words(&story).contains("5.6.7"), "RFC 6531 \u{a7}3.7.4.1: {story:#}");
}

#[test]
fn each_recipient_has_its_own_outcome() {
    let sink = Sink::scripted(|event| match event.step {
        Step::Rcpt if event.line.contains("<nobody") => Act::reply("550 5.1.1 no such user"),
        Step::Rcpt if event.line.contains("<later") && event.nth < 10 => Act::reply("450 4.2.1 later"),
        Step::Rcpt if event.recipients >= 4 => Act::reply("452 4.5.3 too many recipients"),
        _ => Act::Accept,
    });
    let relay = Relay::with("outcomes", sink, testkit::server::Builder::impatient);
    let recipients: Vec<String> = ["nobody", "later", "r1", "r2", "r3", "r4", "r5", "r6", "r7"]
        .map(|name| format!("{name}@example.test"))
        .to_vec();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let reply = relay.server.login().send("", &recipients, &Message::new("outcomes").bytes());
    let id = reply.message_id();
    let story = testkit::until("every outcome", || {
        let story = relay.server.story(&id);
        let states: Vec<&Value> = story["recipients"].as_array()?.iter().map(|recipient| &recipient["state"]).collect();
        states.iter().all(|state| **state == "delivered" || **state == "bounced").then_some(story)
    });
    for recipient in story["recipients"].as_array().expect("a list") {
        let expected = if recipient["address"] == "nobody@example.test" { "bounced" } else { "delivered" };
        assert_eq!(recipient["state"], expected, "{story:#}");
    }
    let mut arrived: Vec<String> =
        relay.sink.receipts().iter().flat_map(|receipt| receipt.to()).map(str::to_owned).collect();
    arrived.sort_unstable();
    let mut expected: Vec<&str> = recipients[1..].to_vec();
    expected.sort_unstable();
    assert_eq!(arrived, expected, "each of them once");
    relay.expect_no_violations();
}

#[test]
fn a_connection_that_was_closed_while_idle_costs_no_attempt() {
    let relay = Relay::start("idle");
    relay.pass("first");
    // The far end closes while nothing is sent; what comes next finds a dead connection in the pool.
    relay.sink.cut();
    let id = send(&relay.server, "second");
    relay.wait_for("second");
    let story = relay.server.wait_for_state(&id, "delivered");
    assert_eq!(story["attempts"].as_array().map(Vec::len), Some(1), "{story:#}");
}

#[test]
fn connections_are_used_again_and_commands_go_out_together() {
    let relay = Relay::start("reuse");
    relay.pass("warm");
    let mut client = relay.server.login();
    for number in 0..20 {
        client.send("ada@sender.test", &["bob@example.test"], &Message::new(&format!("reuse-{number}")).bytes());
    }
    relay.sink.wait_for(21);
    assert!(relay.sink.connections() <= 10, "21 messages took {} connections", relay.sink.connections());
    relay.expect_no_violations();
}
