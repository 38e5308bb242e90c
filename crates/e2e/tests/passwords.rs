//! Guessing passwords gets slower and slower; who knows the right one still gets in.

use std::time::{Duration, Instant};

use testkit::{Client, Message, Server};

fn secured(source: [u8; 4], server: &Server) -> Client {
    let mut client = Client::connect_from(source, server.smtp());
    client.ehlo();
    client.starttls();
    client
}

/// One guess over a connection of its own; how long the answer took.
fn guess(source: [u8; 4], server: &Server, user: &str, password: &str) -> (u16, Duration) {
    let mut client = secured(source, server);
    let started = Instant::now();
    let reply = client.auth_plain(user, password);
    (reply.code, started.elapsed())
}

#[test]
fn guessing_gets_slower_and_the_right_password_from_elsewhere_works() {
    let server = Server::builder("guessing").start();
    let mut times = Vec::new();
    let started = Instant::now();
    // Until it hurts, but not for ever.
    while times.len() < 12 && started.elapsed() < Duration::from_secs(40) {
        let (code, took) = guess([127, 0, 0, 66], &server, server.user(), "wrong");
        assert!([535, 454, 421].contains(&code), "{code}");
        times.push(took);
    }
    let (first, last) = (times[0], times[times.len() - 1]);
    assert!(last > first + Duration::from_millis(300), "it never got slower: {times:?}");

    let (code, took) = guess([127, 0, 0, 1], &server, server.user(), server.password());
    assert_eq!(code, 235, "the owner gets in");
    assert!(took < Duration::from_secs(2), "but after {took:?}");
}

#[test]
fn a_name_that_does_not_exist_is_answered_as_a_wrong_password() {
    let server = Server::builder("unknown").start();
    let mut replies = Vec::new();
    for (number, (user, password)) in
        [(server.user(), "wrong"), ("no-such-user", "wrong"), ("' OR 1=1 --", "x"), ("*", "*"), ("", "")]
            .into_iter()
            .enumerate()
    {
        // From an address of its own each, so that no delay of another comes in between.
        let source = [127, 0, 1, u8::try_from(number).expect("a few") + 1];
        let reply = secured(source, &server).auth_plain(user, password);
        replies.push((reply.code, reply.text()));
    }
    assert!(replies[..4].iter().all(|reply| *reply == replies[0]), "{replies:?}");
    assert!(replies[4].0 >= 500, "{replies:?}");
    assert_eq!(replies[0].0, 535);
}

#[test]
fn a_revoked_credential_is_out_at_once() {
    let server = Server::builder("revoked").start();
    let (user, password) = server.add_credential("temporary");
    let mut inside = secured([127, 0, 0, 1], &server);
    assert_eq!(inside.auth_plain(&user, &password).code, 235);
    inside.send("a@sender.test", &["delivered@simulator.postrider.test"], &Message::new("before").bytes());
    server.order(&format!("/credentials/{user}/revoke"), &serde_json::Value::Null);
    // No new session, and nothing more in the open one.
    assert_eq!(guess([127, 0, 0, 9], &server, &user, &password).0, 535);
    inside.command("RSET");
    let reply = inside.try_command("MAIL FROM:<a@sender.test>");
    let refused = match reply {
        Ok(reply) if reply.code == 250 => {
            let reply = inside.command("RCPT TO:<delivered@simulator.postrider.test>");
            reply.code >= 400 || inside.data(&Message::new("after").bytes()).code >= 400
        }
        Ok(reply) => reply.code >= 400,
        Err(_) => true,
    };
    assert!(refused, "a revoked credential still sends");
    // The other one is as good as before.
    assert_eq!(guess([127, 0, 0, 10], &server, server.user(), server.password()).0, 235);
}
