use super::*;
use crate::mime::{self, WalkLimits};
use proptest::prelude::*;

const ORIGINAL: &[u8] = b"Received: x\r\nFrom: ada@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\n\r\nsecret body\r\n";

fn domain() -> Domain {
    Domain::parse("relay.example.net").unwrap()
}

/// A failure report about one recipient to which the server said `reply`.
struct Story {
    sender: Address,
    recipient: Recipient,
    outcome: Outcome,
    reply: Reply,
    server: String,
    original: Vec<u8>,
    kind: ReportKind,
    ret: Option<DsnReturn>,
    envid: Option<String>,
}

impl Story {
    fn new() -> Story {
        Story {
            sender: Address::parse("ada@example.org").unwrap(),
            recipient: Recipient::new(Address::parse("bob@example.com").unwrap()),
            outcome: Outcome::Bounced,
            reply: Reply::from_peer(550, "5.1.1 no such user\n5.1.1 here"),
            server: "mx1.example.com [192.0.2.1]:25".to_owned(),
            original: ORIGINAL.to_vec(),
            kind: ReportKind::Failure,
            ret: None,
            envid: None,
        }
    }

    fn compose(&self) -> String {
        let recipients = [Reported {
            recipient: &self.recipient,
            outcome: &self.outcome,
            reply: &self.reply,
            server: &self.server,
            said_by_server: true,
            last_attempt_at: Some(Timestamp::from_secs(200)),
            retry_until: Some(Timestamp::from_secs(86_400)),
        }];
        let domain = domain();
        let message = compose(&Report {
            kind: self.kind,
            id: MessageId::from_bytes([2; 16]),
            now: Timestamp::from_secs(300),
            reporting_mta: &domain,
            sender: &self.sender,
            envid: self.envid.as_deref(),
            ret: self.ret,
            arrived_at: Timestamp::from_secs(100),
            recipients: &recipients,
            original: Original { octets: &self.original, complete: true },
        });
        let text = String::from_utf8(message).expect("a report is ASCII or UTF-8");
        assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n', '\0'])));
        assert_eq!(text.is_ascii(), self.sender.is_ascii());
        text
    }

    /// The three parts' types and bodies.
    fn parts(&self) -> Vec<(String, String)> {
        let message = self.compose();
        let limits = WalkLimits { depth_max: 8, parts_max: 50, into_messages: false };
        let found = mime::walk(message.as_bytes(), limits).parts;
        assert_eq!(found.len(), 4, "{message}");
        let describe = |part: &mime::Part| {
            (format!("{}/{}", part.content.kind, part.content.subtype), message[part.body.clone()].to_owned())
        };
        assert_eq!(describe(&found[0]).0, "multipart/report");
        found[1..].iter().map(describe).collect()
    }
}

#[test]
fn a_failure_report_says_it_to_people_and_to_programs() {
    let mut story = Story::new();
    story.recipient.original = Some("rfc822;Bob@example.com".into());
    story.envid = Some("QQ314159".to_owned());
    let message = story.compose();
    let head = &message[..message.find("\r\n\r\n").unwrap()];
    for field in [
        "From: Mail Delivery System <MAILER-DAEMON@relay.example.net>",
        "To: <ada@example.org>",
        "Auto-Submitted: auto-replied",
        "Message-ID: <02020202-0202-0202-0202-020202020202@relay.example.net>",
        "In-Reply-To: <1@example.org>",
        "References: <1@example.org>",
        "MIME-Version: 1.0",
    ] {
        assert!(head.contains(field), "{head}");
    }
    let parts = story.parts();
    assert_eq!(
        parts[1],
        (
            "message/delivery-status".to_owned(),
            "Original-Envelope-Id: QQ314159\r\nReporting-MTA: dns; relay.example.net\r\n\
             Arrival-Date: Thu, 01 Jan 1970 00:01:40 +0000\r\n\r\n\
             Original-Recipient: rfc822;Bob@example.com\r\nFinal-Recipient: rfc822;bob@example.com\r\n\
             Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx1.example.com\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user here\r\n\
             Last-Attempt-Date: Thu, 01 Jan 1970 00:03:20 +0000\r\n"
                .to_owned()
        )
    );
    let (kind, headers) = &parts[2];
    assert_eq!(kind, "text/rfc822-headers");
    assert!(headers.starts_with("Received: x\r\n") && !headers.contains("secret"));
    let text = &parts[0].1;
    for words in
        ["could not be delivered", "<bob@example.com>", "mx1.example.com said", "550 5.1.1 no such user", "Check it"]
    {
        assert!(text.contains(words), "{text}");
    }
    assert!(text.contains("Subject:  Gr=C3=BC=C3=9Fe"), "{text}");
}

#[test]
fn a_delay_report_says_until_when_and_asks_for_nothing() {
    let story = Story {
        kind: ReportKind::Delay,
        outcome: Outcome::Deferred { retry_at: Timestamp(0), maybe_delivered: false },
        reply: Reply::from_peer(451, "try later"),
        ret: Some(DsnReturn::Full),
        ..Story::new()
    };
    let parts = story.parts();
    assert!(parts[1].1.contains("Action: delayed\r\nStatus: 4.0.0\r\n"));
    assert!(parts[1].1.contains("Will-Retry-Until: Fri, 02 Jan 1970 00:00:00 +0000\r\n"));
    assert!(parts[0].1.contains("until Fri, 02 Jan 1970") && parts[0].1.contains("need not send the message again"));
    assert_eq!(parts[2].0, "text/rfc822-headers", "RET=FULL is for failures");
}

#[test]
fn a_success_report_tells_relayed_from_delivered() {
    let reply = Reply::from_peer(250, "2.0.0 queued");
    for (relayed, action) in [(true, "Action: relayed"), (false, "Action: delivered")] {
        let outcome = Outcome::Delivered { relayed };
        let story = Story { kind: ReportKind::Success, outcome, reply: reply.clone(), ..Story::new() };
        let parts = story.parts();
        assert!(parts[1].1.contains(action) && parts[1].1.contains("Status: 2.0.0"), "{}", parts[1].1);
        assert_eq!(parts[0].1.contains("does not confirm"), relayed);
    }
}

#[test]
fn expiry_is_final_whatever_the_last_reply_was() {
    let reply = Reply::from_peer(451, "4.7.1 greylisted");
    let parts = Story { outcome: Outcome::Expired, reply, ..Story::new() }.parts();
    assert!(parts[1].1.contains("Action: failed\r\nStatus: 5.4.7\r\n"));
    assert!(parts[1].1.contains("smtp; 451 4.7.1 greylisted") && parts[0].1.contains("its time is over"));
}

#[test]
fn the_whole_message_comes_back_if_asked_for_and_small() {
    let full =
        |original: &[u8]| Story { ret: Some(DsnReturn::Full), original: original.to_vec(), ..Story::new() }.parts();
    let parts = full(ORIGINAL);
    assert_eq!((parts[2].0.as_str(), parts[2].1.as_bytes()), ("message/rfc822", ORIGINAL));
    let eight_bit = "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße aus der Ferne\r\n";
    let parts = full(eight_bit.as_bytes());
    assert!(parts[2].0 == "message/rfc822" && parts[2].1.contains("Gr=C3=BC=C3=9Fe"), "{}", parts[2].1);
    let large = [ORIGINAL, &b"more text\r\n".repeat(10_000)].concat();
    assert_eq!(full(&large)[2].0, "text/rfc822-headers");
    let raw_header = full("Subject: grün\r\n\r\nx\r\n".as_bytes());
    assert_eq!(raw_header[2], ("text/rfc822-headers".to_owned(), "Subject: gr=C3=BCn\r\n".to_owned()));
    let unlabelled = full(b"Subject: gr\xfcn\r\n\r\nx\r\n");
    assert_eq!(unlabelled[2].1, "Subject: gr=FCn\r\n");
    let long_line = [b"X: ", &[b'x'; 2000][..], b"\r\n\r\nbody"].concat();
    assert_eq!(full(&long_line)[2].0, "text/rfc822-headers");
}

#[test]
fn huge_headers_are_cut_between_fields() {
    let original = "X: 0123456789\r\n".repeat(20_000) + "\r\n";
    let parts = Story { original: original.into_bytes(), ..Story::new() }.parts();
    let returned = parts[2].1.trim_end();
    assert!(returned.len() <= HEADER_OCTETS_MAX && returned.ends_with("X: 0123456789"));
}

#[test]
fn utf8_addresses_are_escaped_for_a_sender_in_ascii() {
    let mut story = Story::new();
    story.recipient = Recipient::new(Address::parse("gr+å@example.com").unwrap());
    story.recipient.original = Some("utf-8;gr+å@example.com".into());
    let status = story.parts()[1].clone();
    assert_eq!(status.0, "message/delivery-status");
    assert!(status.1.contains("Final-Recipient: utf-8;gr\\x{2B}\\x{E5}@example.com\r\n"), "{}", status.1);
    assert!(status.1.contains("Original-Recipient: utf-8;gr\\x{2B}\\x{E5}@example.com\r\n"));
    story.recipient = Recipient::new(Address::parse("bob@münchen.example").unwrap());
    assert!(story.parts()[1].1.contains("Final-Recipient: rfc822;bob@xn--mnchen-3ya.example\r\n"));
}

#[test]
fn a_sender_in_utf8_gets_a_report_in_utf8() {
    let story = Story {
        sender: Address::parse("grå@example.org").unwrap(),
        recipient: Recipient::new(Address::parse("blå@example.com").unwrap()),
        original: "Subject: grün\r\n\r\nüber\r\n".as_bytes().to_vec(),
        ..Story::new()
    };
    assert!(story.compose().contains("\r\nTo: <grå@example.org>\r\n"));
    let parts = story.parts();
    assert_eq!(parts[1].0, "message/global-delivery-status");
    assert!(parts[1].1.contains("Final-Recipient: utf-8;blå@example.com\r\n"));
    assert_eq!(parts[2], ("message/global-headers".to_owned(), "Subject: grün\r\n".to_owned()));
    let full = Story { ret: Some(DsnReturn::Full), ..story };
    assert_eq!(full.parts()[2].0, "message/global");
}

#[test]
fn a_body_that_holds_our_boundary_does_not_end_its_part() {
    let first = Story::new().compose();
    let line = first.lines().find(|line| line.starts_with("--=_")).unwrap().to_owned();
    let original = [b"Subject: x\r\n\r\n", line.as_bytes(), b"\r\n\r\nforged\r\n"].concat();
    let parts = Story { original: original.clone(), ret: Some(DsnReturn::Full), ..Story::new() }.parts();
    assert_eq!(parts[2].1.as_bytes(), original);
}

#[test]
fn an_unusable_message_id_is_not_repeated() {
    for id in ["<a b>", "none", "<a@b> <c@d>", "<ü@b>", "<<a@b>>", "<a\u{0}@b>"] {
        let original = format!("Message-ID: {id}\r\n\r\n").into_bytes();
        assert!(!Story { original, ..Story::new() }.compose().contains("In-Reply-To"), "{id}");
    }
}

proptest! {
    #[test]
    fn nothing_from_outside_adds_a_line(
        text in "(\\PC|\r|\n|\0|\u{2028}|\u{85}|: |Bcc:|--=_|\r\n\r\n| ){0,60}",
        server in "(\\PC|\r|\n|\0| ){0,20}",
        envid in "(\\PC|\r\n|\0){0,20}",
        orcpt in "(\\PC|\r\n|;|\0){0,20}",
        original in proptest::collection::vec(any::<u8>(), 0..200),
        utf8: bool,
        full: bool,
    ) {
        let mut story = Story::new();
        if utf8 {
            story.sender = Address::parse("grå@example.org").unwrap();
        }
        // Not `from_peer`: the report must be safe even if a reply was not made so.
        story.reply = Reply { code: 550, enhanced: None, text: text.repeat(40).into() };
        story.server = server;
        story.envid = Some(envid);
        story.recipient.original = Some(orcpt.into());
        story.original = original;
        story.ret = full.then_some(DsnReturn::Full);
        let parts = story.parts();
        let names: Vec<&str> = parts[1].1.split("\r\n").filter(|l| !l.starts_with(' ')).map(|l| l.split(':').next().unwrap_or_default()).collect();
        let server_named = !story.server.trim().is_empty() && story.server.split_whitespace().next().is_some();
        let mut expected = vec!["Original-Envelope-Id", "Reporting-MTA", "Arrival-Date", "", "Original-Recipient", "Final-Recipient", "Action", "Status"];
        if server_named { expected.push("Remote-MTA"); }
        expected.extend(["Diagnostic-Code", "Last-Attempt-Date", ""]);
        prop_assert_eq!(names, expected);
    }
}
