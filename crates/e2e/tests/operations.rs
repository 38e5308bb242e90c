//! What an operator does: looks at the queue, holds, releases, cancels; stops and starts; makes mistakes.

use e2e::Gate;
use serde_json::{Value, json};
use testkit::{Act, Message, Server, Sink, Step, until};

fn send(server: &Server, to: &str, story: &str) -> String {
    server.login().send("ada@sender.test", &[to], &Message::new(story).bytes()).message_id()
}

#[test]
fn a_queue_survives_a_restart_and_a_kill() {
    let (sink, gate) = Gate::closed();
    let mut server = Server::builder("restart").live().impatient().host("example.test", sink.address()).start();
    let ids: Vec<String> = (0..30).map(|number| send(&server, "bob@example.test", &format!("wait-{number}"))).collect();
    server.wait_for_state(&ids[0], "deferred");
    server.restart();
    assert_eq!(waiting(&server), 30);
    server.kill();
    server.start();
    assert_eq!(waiting(&server), 30);
    gate.open();
    sink.wait_for(30);
    for id in &ids {
        server.wait_for_state(id, "delivered");
    }
    assert_eq!(sink.receipts().len(), 30, "each of them once");
}

/// Deliveries that wait, are being tried, or are held.
fn waiting(server: &Server) -> u64 {
    let queue = server.admin("/queue");
    ["queued", "in_flight", "held"].iter().map(|key| queue[key].as_u64().unwrap_or_default()).sum()
}

#[test]
fn an_operator_holds_releases_and_cancels() {
    let (sink, gate) = Gate::closed();
    let server = Server::builder("orders").live().impatient().host("example.test", sink.address()).start();
    let kept = send(&server, "bob@example.test", "kept");
    let unwanted = send(&server, "eve@example.test", "unwanted");
    server.wait_for_state(&kept, "deferred");

    server.command_line(&["queue", "hold", "--destination", "example.test"]).run().expect_success();
    server.wait_for_state(&kept, "held");
    gate.open();
    server.command_line(&["queue", "retry", "--id", &kept]).run();
    assert_eq!(sink.receipts().len(), 0, "what is held does not go");

    server.command_line(&["queue", "cancel", "--id", &unwanted]).run().expect_success();
    let story = server.wait_for_state(&unwanted, "cancelled");
    assert!(
        !story["closed_at"].is_null()
            || until("it to be closed", || { (!server.story(&unwanted)["closed_at"].is_null()).then_some(true) })
    );

    let list = server.json(&["queue", "list"]);
    assert!(list.to_string().contains(&kept) && !list.to_string().contains(&unwanted), "{list:#}");
    server.command_line(&["queue", "release", "--destination", "example.test"]).run().expect_success();
    e2e::wait_for(&sink, "kept");
    let story = server.wait_for_state(&kept, "delivered");
    let kinds: Vec<&str> =
        story["events"].as_array().expect("a list").iter().filter_map(|event| event["kind"].as_str()).collect();
    for kind in ["accepted", "deferred", "held", "released", "delivered"] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    assert_eq!(sink.receipts().len(), 1);
}

#[test]
fn a_message_can_be_explained_to_a_person() {
    let sink = Sink::scripted(|event| match event.step {
        Step::Rcpt => Act::reply("550 5.7.1 we do not like you"),
        _ => Act::Accept,
    });
    let server = Server::builder("explain").live().host("example.test", sink.address()).start();
    let id = send(&server, "bob@example.test", "explain");
    server.wait_for_state(&id, "failed");
    let told = server.command_line(&["message", "explain", &id]).run().expect_success().stdout;
    for word in ["bob@example.test", "550 5.7.1", "we do not like you", "RCPT TO:<bob@example.test>"] {
        assert!(told.contains(word), "{word:?} is not told:\n{told}");
    }
    let shown = server.json(&["message", "show", &id]);
    assert_eq!(shown["state"], "failed", "{shown:#}");
    server.command_line(&["message", "show", "0190c1d2-3e4f-7a5b-8c6d-7e8f90a1b2c3"]).run().expect_failure();
}

#[test]
fn accounts_and_credentials_are_managed() {
    let server = Server::builder("accounts").serve().start();
    server.command_line(&["account", "add", "shop"]).run().expect_success();
    let issued = server.json(&["credential", "add", "shop"]);
    let (user, password) = (issued["username"].as_str().expect("text"), issued["password"].as_str().expect("text"));
    let mut client = server.connect();
    client.ehlo();
    client.starttls();
    assert_eq!(client.auth_plain(user, password).code, 235);
    let listed = server.json(&["credential", "list"]);
    assert!(listed.to_string().contains(user) && !listed.to_string().contains(password), "{listed}");
    server.command_line(&["credential", "revoke", user]).run().expect_success();
    let mut client = server.connect();
    client.ehlo();
    client.starttls();
    assert_eq!(client.auth_plain(user, password).code, 535);
    assert!(server.json(&["account", "list"]).to_string().contains("shop"));
}

#[test]
fn a_file_is_sent_from_the_command_line() {
    let server = Server::builder("send").start();
    let file = server.scratch().write("message.eml", Message::new("by-hand").bytes());
    let file = file.to_str().expect("a path of ours");
    server
        .command_line(&["send", "--from", "ada@sender.test", "--to", "bob@example.test", file])
        .run()
        .expect_success();
    until("the message in the inbox", || server.inbox().into_iter().find(|message| message["subject"] == "A story"));
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let server = Server::builder("first-owner").start();
    let mut second = Server::builder("second-owner").data(server.data()).prepare();
    second.launch();
    let status = second.wait_for_end();
    assert!(!status.success());
    let log = second.log();
    assert!(log.contains("another process owns the spool"), "it says why:\n{log}");
    // The first one goes on as if nothing had been.
    server.login().send("a@sender.test", &["delivered@simulator.postrider.test"], &Message::new("on").bytes());
}

#[test]
fn sigterm_ends_in_good_order() {
    let (sink, _gate) = Gate::closed();
    let mut server = Server::builder("sigterm").live().host("example.test", sink.address()).start();
    let id = send(&server, "bob@example.test", "waits");
    // A client in the middle of its message, and one that is idle.
    let mut idle = server.connect();
    idle.ehlo();
    let mut busy = server.login();
    busy.ask("MAIL FROM:<ada@sender.test>", 250);
    busy.ask("RCPT TO:<bob@example.test>", 250);
    busy.ask("DATA", 354);
    busy.write("Subject: half\r\n");
    let status = server.stop();
    assert!(status.success(), "{status}:\n{}", server.log());
    // The idle one was told; whether the other was depends on how far it was.
    if let Ok(reply) = idle.try_reply() {
        assert_eq!(reply.code, 421, "{reply}");
    }
    server.start();
    until("the message in the queue", || (waiting(&server) == 1).then_some(()));
    assert_eq!(server.story(&id)["id"], Value::String(id));
}

#[test]
fn a_mistake_in_the_configuration_is_explained() {
    let server = Server::builder("mistake")
        .set("smtp", "mesage_size_max", "\"50MiB\"")
        .set("delivery", "mode", "\"alive\"")
        .prepare();
    let said = server.command_line(&["config", "check"]).run().expect_failure().printed();
    assert!(said.contains("message_size_max"), "the nearest known key is named:\n{said}");
    assert!(said.contains("sandbox") || said.contains("live"), "the choices are named:\n{said}");
    let mut server = server;
    server.launch();
    assert!(!server.wait_for_end().success());
}

#[test]
fn the_queue_is_summed_up_by_destination() {
    let (sink, _gate) = Gate::closed();
    let server = Server::builder("summary")
        .live()
        .host("example.test", sink.address())
        .host("dead.test", testkit::free_address())
        .start();
    for number in 0..5 {
        send(&server, "bob@example.test", &format!("here-{number}"));
        send(&server, "bob@dead.test", &format!("dead-{number}"));
    }
    let summary = until("both destinations", || {
        let summary = server.json(&["queue"]);
        let rows = summary["destinations"].as_array()?.clone();
        let counted = |name: &str| {
            let row = rows.iter().find(|row| row["destination"] == name)?;
            Some(row["queued"].as_u64()? + row["in_flight"].as_u64()?)
        };
        (counted("example.test")? == 5 && counted("dead.test")? == 5).then_some(summary)
    });
    assert_eq!(summary["held"], json!(0), "{summary:#}");
}
