//! Mail programs that nobody here wrote hand mail in, each in all the ways it knows, and the far end gets the bytes
//! that they sent.

use std::path::Path;

use data_encoding::HEXLOWER;
use e2e::{Relay, Security, node, python};
use serde_json::{Value, json};
use testkit::message::expect_only_trace_added;
use testkit::{Message, Program};

const SENDER: &str = "ada@sender.test";
const RECIPIENT: &str = "bob@example.test";
const MECHANISMS: [&str; 2] = ["PLAIN", "LOGIN"];

/// Sends one message for each way to secure the connection and each mechanism by `send`, and compares.
#[track_caller]
fn in_all_ways(name: &str, send: impl Fn(&Relay, Security, &str, &Path) -> Program) {
    let relay = Relay::start(name);
    for security in Security::ALL {
        for mechanism in MECHANISMS {
            let message = Message::new(&format!("{name}-{security:?}-{mechanism}")).sized(3000);
            let file = relay.server.scratch().write("message.eml", message.bytes());
            send(&relay, security, mechanism, &file).run().expect_success();
            let receipt = relay.wait_for(&message.id);
            assert_eq!(receipt.to(), [RECIPIENT]);
            let trace = expect_only_trace_added(&message.bytes(), &receipt.data);
            assert!(trace.starts_with("Received: "), "{trace}");
            assert!(trace.contains("with ESMTPSA"), "TLS and a password were used (RFC 3848): {trace}");
        }
    }
    relay.expect_no_violations();
}

#[test]
fn swaks_submits() {
    in_all_ways("swaks", |relay, security, mechanism, file| {
        // swaks adds the last line end itself.
        let message = std::fs::read(file).expect("the message was just written");
        std::fs::write(file, &message[..message.len() - 2]).expect("it can be written again");
        Program::new("swaks")
            .args(["--server", &security.address(&relay.server).to_string(), "--timeout", "30", "--hide-all"])
            .arg(if security == Security::Implicit { "--tls-on-connect" } else { "--tls" })
            .args(["--auth", mechanism, "--auth-user", relay.server.user()])
            .args(["--auth-password", relay.server.password(), "--from", SENDER, "--to", RECIPIENT])
            .args(["--data", &format!("@{}", file.display())])
    });
}

#[test]
fn curl_submits() {
    in_all_ways("curl", |relay, security, mechanism, file| {
        let scheme = if security == Security::Implicit { "smtps" } else { "smtp" };
        Program::new("curl")
            .args(["--silent", "--show-error", "--insecure", "--ssl-reqd", "--max-time", "30"])
            .args(["--url", &format!("{scheme}://{}", security.address(&relay.server))])
            .args(["--user", &format!("{}:{}", relay.server.user(), relay.server.password())])
            .args(["--login-options", &format!("AUTH={mechanism}")])
            .args(["--mail-from", SENDER, "--mail-rcpt", RECIPIENT])
            .arg("--upload-file")
            .arg(file)
    });
}

#[test]
fn msmtp_submits() {
    in_all_ways("msmtp", |relay, security, mechanism, file| {
        let address = security.address(&relay.server);
        // msmtp takes lines as the system has them and makes CRLF of them.
        let text = std::fs::read_to_string(file).expect("the message was just written").replace("\r\n", "\n");
        Program::new("msmtp")
            .arg(format!("--host={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .args(["--tls=on", "--tls-certcheck=off", "--timeout=30"])
            .arg(format!("--tls-starttls={}", if security == Security::StartTls { "on" } else { "off" }))
            .arg(format!("--auth={}", mechanism.to_lowercase()))
            .arg(format!("--user={}", relay.server.user()))
            .arg(format!("--passwordeval=echo {}", relay.server.password()))
            .arg(format!("--from={SENDER}"))
            .arg(RECIPIENT)
            .input(text)
    });
}

/// What the scripts in `clients/` are told.
fn order(relay: &Relay, security: Security, mechanism: &str, more: Value) -> String {
    let address = security.address(&relay.server);
    let mut order = json!({
        "host": address.ip().to_string(),
        "port": address.port(),
        "security": if security == Security::Implicit { "implicit" } else { "starttls" },
        "mechanism": mechanism,
        "user": relay.server.user(),
        "password": relay.server.password(),
        "sender": SENDER,
        "recipients": [RECIPIENT],
    });
    for (key, value) in more.as_object().expect("more settings are an object") {
        order[key] = value.clone();
    }
    order.to_string()
}

#[test]
fn python_submits() {
    in_all_ways("smtplib", |relay, security, mechanism, file| {
        python("smtplib_send.py").arg(order(relay, security, mechanism, json!({ "file": file })))
    });
}

#[test]
fn nodemailer_submits() {
    in_all_ways("nodemailer", |relay, security, mechanism, file| {
        node("send.js").arg(order(relay, security, mechanism, json!({ "file": file })))
    });
}

#[test]
fn an_attachment_of_20_mb_passes_unharmed() {
    let relay = Relay::start("attachment");
    let sent = relay.server.scratch().join("sent.eml");
    let more = json!({ "id": "large", "attachment_octets": 20_000_000, "sent": sent });
    python("smtplib_send.py").arg(order(&relay, Security::StartTls, "PLAIN", more)).run().expect_success();
    let receipt = relay.wait_for("large");
    let sent = std::fs::read(sent).expect("the script wrote what it sent");
    assert!(sent.len() > 26_000_000, "base64 makes 20 MB to 27");
    expect_only_trace_added(&sent, &receipt.data);
    relay.expect_no_violations();
}

#[test]
fn utf8_addresses_pass_with_smtputf8() {
    let relay = Relay::start("utf8");
    let message = Message::new("utf8").field("To", "Grå <grå@example.test>").field("Subject", "Größe");
    let file = relay.server.scratch().write("message.eml", message.bytes());
    let more = json!({
        "file": file,
        "sender": "añil@sender.test",
        "recipients": ["grå@example.test"],
        "options": ["SMTPUTF8", "BODY=8BITMIME"],
    });
    python("smtplib_send.py").arg(order(&relay, Security::StartTls, "PLAIN", more)).run().expect_success();
    let receipt = relay.wait_for("utf8");
    assert_eq!(receipt.to(), ["grå@example.test"]);
    assert!(receipt.parameters.iter().any(|parameter| parameter == "SMTPUTF8"), "{:?}", receipt.parameters);
    let trace = expect_only_trace_added(&message.bytes(), &receipt.data);
    assert!(trace.contains("UTF8SMTPSA"), "the protocol's name for it is RFC 6531's: {trace}");
    relay.expect_no_violations();
}

#[test]
fn a_hundred_recipients_all_get_it() {
    let relay = Relay::start("hundred");
    let message = Message::new("hundred");
    let file = relay.server.scratch().write("message.eml", message.bytes());
    let mut wanted: Vec<String> = (0..100).map(|number| format!("r{number}@example.test")).collect();
    let more = json!({ "file": file, "recipients": wanted });
    node("send.js").arg(order(&relay, Security::StartTls, "LOGIN", more)).run().expect_success();
    let receipts = relay.sink.wait_for(1);
    // However many transactions it took, each recipient is there exactly once.
    let receipts = if receipts.iter().map(|receipt| receipt.recipients.len()).sum::<usize>() < 100 {
        relay.sink.wait_until("the last recipient", |receipt| receipt.to().contains(&"r99@example.test"));
        relay.sink.receipts()
    } else {
        receipts
    };
    let mut got: Vec<String> = receipts.iter().flat_map(|receipt| receipt.to()).map(str::to_owned).collect();
    got.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(got, wanted);
    for receipt in &receipts {
        expect_only_trace_added(&message.bytes(), &receipt.data);
    }
    relay.expect_no_violations();
}

#[test]
fn bdat_chunks_are_put_together() {
    let relay = Relay::start("bdat");
    // Dots need no stuffing in BDAT, and chunks end anywhere (RFC 3030).
    let message = Message::new("bdat").body(".\r\n..\r\nbetween\r\n.\r\nlast\r\n").bytes();
    let mut client = relay.server.login();
    assert!(client.ehlo().offers("CHUNKING"));
    client.ask(&format!("MAIL FROM:<{SENDER}>"), 250);
    client.ask(&format!("RCPT TO:<{RECIPIENT}>"), 250);
    let chunks: Vec<&[u8]> = message.chunks(message.len() / 3 + 1).collect();
    for (number, chunk) in chunks.iter().enumerate() {
        let last = if number + 1 == chunks.len() { " LAST" } else { "" };
        client.write([format!("BDAT {}{last}\r\n", chunk.len()).as_bytes(), chunk].concat());
        client.expect(250);
    }
    expect_only_trace_added(&message, &relay.wait_for("bdat").data);

    // All in one packet, with an empty last chunk.
    let message = Message::new("bdat-pipelined").bytes();
    let head = format!("MAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nBDAT {}\r\n", message.len());
    client.write([head.as_bytes(), &message, b"BDAT 0 LAST\r\nNOOP\r\n"].concat());
    for _ in 0..5 {
        client.expect(250);
    }
    expect_only_trace_added(&message, &relay.wait_for("bdat-pipelined").data);
    client.quit();
    relay.expect_no_violations();
}

#[test]
fn every_octet_that_is_legal_comes_through() {
    let relay = Relay::start("octets");
    // All of 8-bit but NUL, CR and LF, in lines as long as they may be (998 octets and CRLF).
    let legal: Vec<u8> = (1..=255).filter(|octet| ![b'\r', b'\n'].contains(octet)).collect();
    let mut body = Vec::new();
    let octets: Vec<u8> = legal.iter().cycle().take(998 * 20).copied().collect();
    for line in octets.chunks(998) {
        body.extend_from_slice(line);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b".\r\n..\r\n \r\n\r\n\r\n");
    let message = Message::new("octets").body(body).bytes();
    let mut client = relay.server.login();
    client.ask(&format!("MAIL FROM:<{SENDER}> BODY=8BITMIME"), 250);
    client.ask(&format!("RCPT TO:<{RECIPIENT}>"), 250);
    assert_eq!(client.data(&message).code, 250);
    let receipt = relay.wait_for("octets");
    assert_eq!(
        HEXLOWER.encode(&receipt.data[receipt.data.len() - 20..]),
        HEXLOWER.encode(&message[message.len() - 20..])
    );
    expect_only_trace_added(&message, &receipt.data);
    relay.expect_no_violations();
}
