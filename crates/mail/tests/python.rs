//! What we write, read by a parser that is not ours: Python's `email` package.

use std::io::Write;
use std::process::{Command, Stdio};

use base::{Address, Domain, DsnReturn, Enhanced, MessageId, Outcome, Recipient, Reply, ReportKind, Timestamp};
use mail::compose::{Mailbox, Plain};
use mail::dsn::{Original, Report, Reported};
use mail::intake::{Fixups, Intake, IntakeLimits, IntakeOptions};

/// What Python says of a message: its parts, their fields, their decoded content, and every defect.
fn read_by_python(message: &[u8]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/describe.py");
    let mut python = Command::new("python3")
        .arg(script)
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need python3");
    python.stdin.take().expect("standard input is a pipe").write_all(message).expect("python3 reads its input");
    let output = python.wait_with_output().expect("python3 ends");
    assert!(output.status.success(), "python3 could not read:\n{}", String::from_utf8_lossy(message));
    String::from_utf8(output.stdout).expect("python3 prints UTF-8")
}

/// As [`read_by_python`]; nothing in the message may be wrong.
fn read_without_defects(message: &[u8]) -> String {
    let said = read_by_python(message);
    let clean = said.lines().all(|line| !line.contains("defects") || line.contains("defects=[]"));
    assert!(clean, "{said}\n{}", String::from_utf8_lossy(message));
    said
}

#[track_caller]
fn assert_says(said: &str, expected: &[&str]) {
    for words in expected {
        assert!(said.contains(words), "{words} is missing in:\n{said}");
    }
}

const ORIGINAL: &str = "From: ada@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nÜber allen Gipfeln\r\n";

fn report(kind: ReportKind, sender: &str, recipients: &[Reported<'_>], ret: Option<DsnReturn>) -> Vec<u8> {
    let domain = Domain::parse("relay.example.net").unwrap();
    let sender = Address::parse(sender).unwrap();
    mail::dsn::compose(&Report {
        kind,
        id: MessageId::from_bytes([2; 16]),
        now: Timestamp::from_secs(1_795_305_600),
        reporting_mta: &domain,
        sender: &sender,
        envid: Some("QQ 314159"),
        ret,
        arrived_at: Timestamp::from_secs(1_795_305_000),
        recipients,
        original: Original { octets: ORIGINAL.as_bytes(), complete: true },
    })
}

#[test]
fn a_failure_report_is_understood() {
    let mut bob = Recipient::new(Address::parse("bob@example.com").unwrap());
    bob.original = Some("rfc822;Bob@Example.com".into());
    let carol = Recipient::new(Address::parse("carol@example.com").unwrap());
    let unknown = Reply::from_peer(
        550,
        "5.1.1 unbekannt: \u{1b}[31mBob\n5.1.1 Zeile zwei, und sie ist lang genug, dass sie gefaltet werden muss, zwei Mal",
    );
    let late = Reply::new(451, Enhanced(4, 4, 1), "the server did not answer");
    let recipients = [
        Reported {
            recipient: &bob,
            outcome: &Outcome::Bounced,
            reply: &unknown,
            server: "mx1.example.com [192.0.2.1]:25",
            said_by_server: true,
            last_attempt_at: Some(Timestamp::from_secs(1_795_305_500)),
            retry_until: None,
        },
        Reported {
            recipient: &carol,
            outcome: &Outcome::Expired,
            reply: &late,
            server: "",
            said_by_server: false,
            last_attempt_at: None,
            retry_until: None,
        },
    ];
    let said =
        read_without_defects(&report(ReportKind::Failure, "ada@example.org", &recipients, Some(DsnReturn::Full)));
    assert_says(
        &said,
        &[
            "multipart/report defects=[]",
            "  Auto-Submitted: 'auto-replied'",
            "  In-Reply-To: '<1@example.org>'",
            "  From: 'Mail Delivery System <MAILER-DAEMON@relay.example.net>'",
            "  To: 'ada@example.org'",
            "  text/plain defects=[]",
            "unbekannt: \u{FFFD}[31mBob",
            "Subject:  Grüße",
            "  message/delivery-status defects=[]",
            "Original-Envelope-Id: 'QQ 314159'",
            "Reporting-MTA: 'dns; relay.example.net'",
            "Original-Recipient: 'rfc822;Bob@Example.com'",
            "Final-Recipient: 'rfc822;bob@example.com'",
            "Action: 'failed'",
            "Status: '5.1.1'",
            "Remote-MTA: 'dns; mx1.example.com'",
            "Diagnostic-Code: 'smtp; 550 5.1.1 unbekannt: ?[31mBob Zeile zwei, und sie ist lang genug, dass sie gefaltet werden muss, zwei Mal'",
            "Last-Attempt-Date: 'Sat, 21 Nov 2026 23:58:20 +0000'",
            "Final-Recipient: 'rfc822;carol@example.com'",
            "Status: '5.4.7'",
            "Diagnostic-Code: 'x-postrider; 451 4.4.1 the server did not answer'",
            "  message/rfc822 defects=[]",
            "Subject: 'Grüße'",
            "text='Über allen Gipfeln\\r\\n'",
        ],
    );
}

#[test]
fn a_delay_and_a_success_report_are_understood() {
    let bob = Recipient::new(Address::parse("blå@example.com").unwrap());
    let reply = Reply::from_peer(451, "4.7.1 greylisted");
    let reported = Reported {
        recipient: &bob,
        outcome: &Outcome::Deferred { retry_at: Timestamp(0), maybe_delivered: false },
        reply: &reply,
        server: "mx1.example.com [192.0.2.1]:25",
        said_by_server: true,
        last_attempt_at: None,
        retry_until: Some(Timestamp::from_secs(1_795_400_000)),
    };
    let said = read_without_defects(&report(ReportKind::Delay, "ada@example.org", &[reported], None));
    assert_says(
        &said,
        &["Action: 'delayed'", "Status: '4.7.1'", "Will-Retry-Until: 'Mon, 23 Nov 2026 02:13:20 +0000'"],
    );
    assert_says(&said, &["Final-Recipient: 'utf-8;bl\\\\x{E5}@example.com'", "text/rfc822-headers defects=[]"]);
    let reply = Reply::from_peer(250, "2.0.0 ok");
    let outcome = Outcome::Delivered { relayed: true };
    let relayed = Reported { outcome: &outcome, reply: &reply, ..reported };
    let said = read_without_defects(&report(ReportKind::Success, "ada@example.org", &[relayed], None));
    assert_says(&said, &["Action: 'relayed'", "Status: '2.0.0'"]);
    let said = read_by_python(&report(ReportKind::Success, "grå@example.org", &[relayed], None));
    assert_says(&said, &["To: 'grå@example.org'", "message/global-delivery-status", "text/plain defects=[]"]);
}

#[test]
fn a_converted_message_has_equal_content() {
    let png: Vec<u8> = (0..=255).cycle().take(700).collect();
    let message = [
        "From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"o o\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--o o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße = \r\n.\r\n\r\n--i\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>K".as_bytes(),
        b"\xf6ln</p>",
        b"\r\n--i--\r\n--o o\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: in\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        "日本語\r\n\r\n--o o\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n".as_bytes(),
        &png,
        b"\r\n--o o--\r\n",
    ]
    .concat();
    let out = mail::downgrade::to_seven_bit(&message).unwrap();
    assert!(out.is_ascii());
    // Python reads the original as well, but for the binary part, whose line ends it takes for text.
    let said = read_without_defects(&out);
    let hex: String = png.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_says(
        &said,
        &["text='Grüße = \\r\\n.\\r\\n'", "text='<p>Köln</p>'", "text='日本語\\r\\n'", &format!("octets={hex}\n")],
    );
    assert!(!said.contains("8bit") && !said.contains("binary"), "{said}");
}

#[test]
fn a_composed_message_is_understood_after_intake() {
    let (from, to) = (Address::parse("ada@example.org").unwrap(), Address::parse("bob@example.com").unwrap());
    let subject = "Grüße 🐎 an alle, die dies lesen, und noch ein paar Wörter, damit es lang genug wird: שלום";
    let long_name = "Dr. \"Ada\" \\ Løvelace, Countess";
    let message = mail::compose::plain(&Plain {
        from: Mailbox { name: Some(long_name), address: &from },
        to: &[Mailbox { name: None, address: &to }, Mailbox { name: Some("B, ob"), address: &from }],
        subject,
        text: &format!("line\n.\n{} end \nß", "long ".repeat(300)),
    })
    .unwrap();
    let mut intake = Intake::new(IntakeOptions {
        limits: IntakeLimits::default(),
        trace: b"Received: by relay.example.net; x\r\n".to_vec(),
        fixups: Some(Fixups {
            id: MessageId::from_bytes([1; 16]),
            host: Domain::parse("relay.example.net").unwrap(),
            now: Timestamp::from_secs(1_795_305_600),
        }),
    });
    let portion = intake.feed(&message).unwrap();
    let out = [portion.header, portion.body].concat();
    let said = read_without_defects(&out);
    assert_says(
        &said,
        &[
            &format!("Subject: '{subject}'"),
            "Løvelace, Countess",
            "To: 'bob@example.com, \"B, ob\" <ada@example.org>'",
            "Date: 'Sun, 22 Nov 2026 00:00:00 +0000'",
            "Message-ID: '<01010101-0101-0101-0101-010101010101@relay.example.net>'",
            &format!("text='line\\r\\n.\\r\\n{} end \\r\\nß\\r\\n'", "long ".repeat(300)),
        ],
    );
}
