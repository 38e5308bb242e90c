//! What was said in confidence is nowhere on the disk in plain: not while a message waits, not when it is delivered,
//! not after a crash, in no file of the data directory and in no log.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use e2e::Gate;
use testkit::{Message, Server, until};

const BODY: &str = "canary-in-the-body-7f3a";
const SUBJECT: &str = "canary-in-the-subject-91bc";
const HEADER: &str = "canary-in-a-header-44d0";
const RECIPIENT: &str = "canary-recipient-c2e8";
const SENDER: &str = "canary-sender-5d11";

/// Every file below, whatever its name.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the directory can be read").flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

/// In what shapes a word could stand in a file: as it is, in other cases, in Base64 at each of its three offsets.
fn shapes(word: &str) -> Vec<Vec<u8>> {
    let mut shapes = vec![word.as_bytes().to_vec(), word.to_uppercase().into_bytes()];
    for offset in 0..3 {
        let padded = [vec![b'x'; offset], word.as_bytes().to_vec()].concat();
        let encoded = BASE64.encode(&padded);
        // The first and last characters depend on what stands around the word.
        let from = if offset == 0 { 0 } else { 4 };
        shapes.push(encoded.as_bytes()[from..encoded.len() - 4].to_vec());
    }
    shapes
}

/// # Panics
/// When one of the words is in one of the files.
#[track_caller]
fn expect_nowhere(server: &Server, words: &[&str], when: &str) {
    let mut found = Vec::new();
    files(server.data(), &mut found);
    assert!(found.len() >= 3, "a data directory has a spool, a store and a key: {found:?}");
    found.push(server.scratch().join("server.log"));
    for path in found {
        // A segment may be recycled while we look.
        let Ok(content) = std::fs::read(&path) else { continue };
        for word in words {
            for shape in shapes(word) {
                let there = memchr::memmem::find(&content, &shape);
                assert!(there.is_none(), "{when}: {word} is in {}", path.display());
            }
        }
    }
}

#[test]
fn no_confidence_is_kept_in_plain() {
    let (sink, gate) = Gate::closed();
    let mut server = Server::builder("canary")
        .live()
        .impatient()
        .host("example.test", sink.address())
        // The log tells everything it ever tells.
        .set("log", "level", "\"trace\"")
        .start();
    // dev prints its password for the developer, so another credential's is looked for.
    let (user, password) = server.add_credential("canary");
    let words = [BODY, SUBJECT, HEADER, RECIPIENT, SENDER, password.as_str()];
    expect_nowhere(&server, &words, "at the start");

    let mut client = server.connect();
    client.ehlo();
    client.starttls();
    assert_eq!(client.auth_plain(&user, "canary-wrong-password-0a0a").code, 535);
    assert_eq!(client.auth_login(&user, &password).code, 235);
    let from = format!("{SENDER}@sender.test");
    let to = format!("{RECIPIENT}@example.test");
    client.ask(&format!("MAIL FROM:<{from}>"), 250);
    client.ask(&format!("RCPT TO:<{to}>"), 250);
    client.ask("DATA", 354);
    let message = Message::new("canary")
        .field("Subject", SUBJECT)
        .field("X-Secret", HEADER)
        .field("To", &to)
        .body(format!("{BODY}\r\n").repeat(3000))
        .bytes();
    let (first, second) = message.split_at(message.len() / 2);
    client.write(first);
    // Half of it is in: a large message may be on its way to the disk already.
    expect_nowhere(&server, &words, "in the middle of the message");
    client.write(second);
    client.write(".\r\n");
    let reply = client.expect(250);
    let id = reply.message_id();
    expect_nowhere(&server, &words, "when it was taken");

    server.wait_for_state(&id, "deferred");
    expect_nowhere(&server, &words, "while it waits");
    server.kill();
    expect_nowhere(&server, &words, "after a kill");
    gate.open();
    server.start();
    e2e::wait_for(&sink, "canary");
    let story = server.wait_for_state(&id, "delivered");
    assert_eq!(story["subject"], SUBJECT, "who may see it sees it: {story:#}");
    expect_nowhere(&server, &words, "when it was delivered");

    // Within 10 seconds the key is gone too.
    until("the body's key to be destroyed", || {
        let closed = !server.story(&id)["closed_at"].is_null();
        let destroyed = server.metric("postrider_spool_keys_to_destroy") == Some(0.0);
        (closed && destroyed).then_some(())
    });
    server.stop();
    expect_nowhere(&server, &words, "after a stop");
    expect_nowhere(&server, &["canary-wrong-password-0a0a"], "at the end");
}
