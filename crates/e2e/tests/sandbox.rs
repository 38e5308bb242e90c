//! A new instance keeps everything to itself, and shows it.

use serde_json::Value;
use testkit::{Message, Server, Sink, Step, until};

/// Waits for a message with this subject in the sandbox inbox.
#[track_caller]
fn captured(server: &Server, subject: &str) -> Value {
    until(&format!("{subject:?} in the inbox"), || {
        server.inbox().into_iter().find(|message| message["subject"] == subject)
    })
}

#[test]
fn everything_lands_in_the_inbox_and_nothing_leaves() {
    let sink = Sink::start();
    // The laboratory host is there, but the mode is what counts.
    let server = Server::builder("sandbox").host("example.test", sink.address()).start();
    let message = Message::new("kept").field("Subject", "Grüße aus der Sandkiste");
    let mut client = server.login();
    client.ask("MAIL FROM:<ada@sender.test> SMTPUTF8 BODY=8BITMIME", 250);
    client.ask("RCPT TO:<bob@example.test>", 250);
    client.ask("RCPT TO:<eve@elsewhere.test>", 250);
    let reply = client.data(&message.bytes());
    assert_eq!(reply.code, 250);
    server.wait_for_state(&reply.message_id(), "delivered");

    let captured = captured(&server, "Grüße aus der Sandkiste");
    assert_eq!(captured["from"], "ada@sender.test");
    assert!(captured["size"].as_u64().is_some_and(|size| size >= message.bytes().len() as u64), "{captured}");
    assert!(captured["received_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{captured}");
    let mut to: Vec<Value> = server
        .inbox()
        .iter()
        .filter(|message| message["subject"] == captured["subject"])
        .flat_map(|message| message["to"].as_array().cloned().unwrap_or_default())
        .collect();
    to.sort_by_key(Value::to_string);
    assert_eq!(to, ["bob@example.test", "eve@elsewhere.test"]);
    assert_eq!(sink.reached(Step::Connect), 0, "nothing left the machine");
}

#[test]
fn the_first_start_shows_a_first_message() {
    // As `postrider dev` listens by itself: a password may come in the clear over loopback.
    let listener = "address = \"127.0.0.1:0\", auth = \"always\"";
    let server = Server::builder("first").without_default_listeners().listener(listener).start();
    let first = until("the first message", || server.inbox().into_iter().next());
    assert_eq!(first["to"].as_array().map(Vec::len), Some(1), "{first}");
    let printed = server.log();
    for word in [server.user(), server.password(), &server.smtp().to_string(), &server.ready().http.to_string()] {
        assert!(printed.contains(word), "{word} is not printed:\n{printed}");
    }
    let page = server.get("/");
    assert!(page.status == 200 || (300..400).contains(&page.status), "{page:?}");
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    assert!(server.get("/metrics").body.contains("postrider_"), "metrics are named after the program");
    assert_eq!(server.get("/no-such-page").status, 404);
}

#[test]
fn hostile_html_is_shown_without_harm() {
    let server = Server::builder("html").start();
    let html = "<html><body onload=\"steal()\"><script>steal()</script><img src=x onerror=steal()>\
                <a href=\"javascript:steal()\">harmless words</a></body></html>\r\n";
    let message = Message::new("html")
        .field("Subject", "<script>steal()</script>")
        .field("MIME-Version", "1.0")
        .field("Content-Type", "text/html; charset=utf-8")
        .body(html);
    server.login().send("ada@sender.test", &["bob@example.test"], &message.bytes());
    let captured = captured(&server, "<script>steal()</script>");
    let list = server.get("/sandbox");
    assert!(!list.body.contains("<script>steal"), "{}", list.body);
    let id = captured["id"].as_i64().expect("an id");
    let page = server.get(&format!("/sandbox/messages/{id}"));
    assert_eq!(page.status, 200, "{page:?}");
    assert!(!page.body.contains("<script>steal"), "{}", page.body);
    assert!(page.body.contains("sandbox"), "the HTML is in a sandboxed frame: {}", page.body);
    assert!(page.headers.to_lowercase().contains("content-security-policy"), "{}", page.headers);
}

#[test]
fn simulated_recipients_do_what_they_are_named_for() {
    for live in [false, true] {
        let builder = Server::builder("simulator");
        let server = if live { builder.live().start() } else { builder.start() };
        let mut client = server.login();
        for (name, state) in [("delivered", "delivered"), ("bounce", "failed"), ("defer", "deferred")] {
            let to = format!("{name}@simulator.postrider.test");
            // No report is wanted: its own way is another story.
            let reply = client.send("", &[&to], &Message::new(name).bytes());
            let story = server.wait_for_state(&reply.message_id(), state);
            assert_eq!(story["attempts"][0]["server"], "simulator", "{story:#}");
            assert_eq!(story["recipients"][0]["address"], to, "{story:#}");
        }
    }
}

#[test]
fn the_slow_one_takes_its_time_and_blocks_nobody() {
    let server = Server::builder("slow").start();
    let mut client = server.login();
    let slow = client.send("", &["slow@simulator.postrider.test"], &Message::new("slow").bytes()).message_id();
    let quick = client.send("", &["delivered@simulator.postrider.test"], &Message::new("quick").bytes()).message_id();
    server.wait_for_state(&quick, "delivered");
    assert_ne!(server.story(&slow)["state"], "delivered", "it answers after 20 s");
    server.wait_for_state(&slow, "delivered");
}
