//! Transactions that go as they should.

use base::{DsnReturn, Notify};

use super::*;

#[test]
fn one_message_step_by_step() {
    let mut stage = Stage::ready(settings(), &["SIZE 1000", "8BITMIME"]);
    assert_eq!(
        stage.begins(transaction(&["bo@there.example", "cy@there.example"])),
        "MAIL FROM:<ada@here.example> SIZE=24\r\n"
    );
    assert!(!stage.connection.is_free() && !stage.connection.is_idle());
    assert_eq!(stage.says("250 ok\r\n"), "RCPT TO:<bo@there.example>\r\n");
    assert_eq!(stage.says("250 ok\r\n"), "RCPT TO:<cy@there.example>\r\n");
    assert_eq!(stage.says("550 5.1.1 who?\r\n"), "DATA\r\n");
    assert_eq!(stage.says("354 go\r\n"), MESSAGE_ON_WIRE);
    assert_eq!(stage.says("250 2.0.0 taken\r\n"), "");
    let report = stage.report();
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250), (1, NEVER, 550)]);
    assert_eq!(&*report.results[0].reply.text, "taken");
    assert_eq!(report.ending, Ending::Settled);
    assert!(stage.connection.is_idle());
    assert_eq!(
        words(&report.dialogue),
        [
            ("MAIL FROM:<ada@here.example> SIZE=24", "250 ok"),
            ("RCPT TO:<bo@there.example>", "250 ok"),
            ("RCPT TO:<cy@there.example>", "550 5.1.1 who?"),
            ("DATA", "354 go"),
            ("[content, 24 octets]", "250 2.0.0 taken"),
        ]
    );
}

#[test]
fn with_pipelining_it_takes_two_writes() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    assert_eq!(
        stage.begins(transaction(&["bo@there.example", "cy@there.example"])),
        "MAIL FROM:<ada@here.example>\r\nRCPT TO:<bo@there.example>\r\nRCPT TO:<cy@there.example>\r\nDATA\r\n"
    );
    assert_eq!(stage.says("250 a\r\n250 b\r\n451 c\r\n354 d\r\n"), MESSAGE_ON_WIRE);
    stage.says("250 e\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250), (1, LATER, 451)]);
    // And again on the same connection: nothing is in the way.
    assert!(stage.begins(transaction(&["bo@there.example"])).starts_with("MAIL"));
}

#[test]
fn replies_may_come_octet_by_octet() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(transaction(&["bo@there.example"]));
    let mut said = String::new();
    for octet in b"250 a\r\n250-b\n250 b\r\n354 c\n" {
        said.push_str(&stage.says_octets(&[*octet]));
    }
    assert_eq!(said, MESSAGE_ON_WIRE);
    for octet in b"250 taken\r\n" {
        stage.says_octets(&[*octet]);
    }
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250)]);
}

#[test]
fn the_next_transaction_may_follow_behind_the_dot() {
    let mut stage = Stage::ready(Settings { next: Next::BehindDot, ..settings() }, &["PIPELINING"]);
    stage.begins(transaction(&["bo@there.example"]));
    assert!(stage.connection.is_free(), "one may wait");
    assert_eq!(stage.begins(transaction(&["cy@there.example"])), "", "not before the content of the first");
    assert!(!stage.connection.is_free());
    let envelope = "MAIL FROM:<ada@here.example>\r\nRCPT TO:<cy@there.example>\r\nDATA\r\n";
    assert_eq!(stage.says("250 a\r\n250 b\r\n354 c\r\n"), format!("{MESSAGE_ON_WIRE}{envelope}"));
    assert_eq!(stage.says("250 first\r\n"), "");
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250)]);
    // A third comes while the second's content is already said.
    assert_eq!(stage.says("250 a\r\n250 b\r\n354 c\r\n"), MESSAGE_ON_WIRE);
    let envelope = "MAIL FROM:<ada@here.example>\r\nRCPT TO:<dee@there.example>\r\nDATA\r\n";
    assert_eq!(stage.begins(transaction(&["dee@there.example"])), envelope);
    assert_eq!(stage.says("550 second\r\n250 a\r\n250 b\r\n354 c\r\n"), MESSAGE_ON_WIRE);
    let report = stage.report();
    assert_eq!(outcomes(&report), [(0, NEVER, 550)]);
    assert_eq!(report.dialogue.len(), 4, "each has its own steps");
    stage.says("250 third\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250)]);
    assert!(stage.connection.is_idle());
}

#[test]
fn without_pipelining_the_next_one_waits() {
    let mut stage = Stage::ready(Settings { next: Next::BehindDot, ..settings() }, &[]);
    stage.begins(transaction(&["bo@there.example"]));
    assert!(!stage.connection.is_free());
    // Whoever gives one nevertheless gets it back.
    stage.is_told(Input::Begin(transaction(&["cy@there.example"])));
    let report = stage.report();
    assert_eq!((report.ending, &*report.not_attempted), (Ending::Unheard, &[0][..]));
}

#[test]
fn content_of_any_size_passes_through_a_window() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    let line = "x".repeat(998) + "\r\n";
    let content = line.repeat(1000);
    let whole = Transaction {
        content: Content::Whole(Bytes::from(content.clone().into_bytes())),
        size_octets: content.len() as u64,
        ..transaction(&["bo@there.example"])
    };
    stage.begins(whole);
    // A socket that takes little at a time.
    stage.takes = 10_000;
    let mut said = stage.says("250 a\r\n250 b\r\n354 c\r\n");
    let mut most = 0;
    while stage.connection.deadline_us().is_some() && said.len() < content.len() + 3 {
        let more = stage.is_told(Input::Written(0));
        assert!(!more.is_empty());
        most = most.max(stage.connection.outgoing.pending().len());
        said.push_str(&more);
    }
    assert_eq!(said.len(), content.len() + 3);
    assert!(said == content + ".\r\n");
    assert!(most < 2 * SEND_OCTETS);
    assert!(stage.connection.outgoing.buffer().capacity() < 8 * SEND_OCTETS);
    stage.says("250 ok\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250)]);
}

#[test]
fn content_that_is_pulled() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    stage.begins(Transaction { content: Content::Pulled, ..transaction(&["bo@there.example"]) });
    assert!(!stage.wants_body);
    stage.says("250 a\r\n250 b\r\n354 c\r\n");
    assert!(stage.wants_body);
    assert_eq!(stage.is_told(Input::Body(&MESSAGE[..18])), "", "small pieces are gathered");
    assert!(stage.wants_body);
    stage.is_told(Input::Body(&MESSAGE[18..]));
    assert_eq!(stage.is_told(Input::BodyEnd), MESSAGE_ON_WIRE);
    assert!(!stage.wants_body);
    stage.says("250 ok\r\n");
    assert_eq!(outcomes(&stage.report()), [(0, DELIVERED, 250)]);
}

#[test]
fn parameters_go_only_where_they_are_offered() {
    let mut full = meta(&["bo@there.example", "cy+tag@there.example", "grå@there.example"]);
    full.envelope.ret = Some(DsnReturn::Headers);
    full.envelope.envid = Some("a+b c".into());
    full.envelope.recipients[0].notify = Some(Notify { success: true, failure: true, delay: false });
    full.envelope.recipients[0].original = Some("rfc822;Bo=x@old.example".into());
    full.envelope.recipients[1].notify = Some(Notify::NEVER);
    let full = Transaction { alphabet: Alphabet::EightBitBody, ..transaction_of(full) };

    let mut stage = Stage::ready(settings(), &["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN"]);
    assert_eq!(
        stage.begins(full.clone()),
        "MAIL FROM:<ada@here.example> SIZE=24 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+20c\r\n\
         RCPT TO:<bo@there.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bo+3Dx@old.example\r\n\
         RCPT TO:<cy+tag@there.example> NOTIFY=NEVER ORCPT=rfc822;cy+2Btag@there.example\r\n\
         RCPT TO:<grå@there.example>\r\nDATA\r\n"
    );
    stage.says("250 a\r\n250 b\r\n250 b\r\n250 b\r\n354 c\r\n");
    stage.says("250 d\r\n");
    let report = stage.report();
    let direct = Disposition::Delivered { relayed: false };
    assert_eq!(outcomes(&report), [(0, direct, 250), (1, direct, 250), (2, direct, 250)]);

    let mut stage = Stage::ready(settings(), &["PIPELINING", "8BITMIME"]);
    assert_eq!(
        stage.begins(full),
        "MAIL FROM:<ada@here.example> BODY=8BITMIME\r\n\
         RCPT TO:<bo@there.example>\r\nRCPT TO:<cy+tag@there.example>\r\nDATA\r\n",
        "and the address that cannot be said is not said"
    );
    stage.says("250 a\r\n250 b\r\n250 b\r\n354 c\r\n");
    stage.says("250 d\r\n");
    assert_eq!(outcomes(&stage.report()), [(2, NEVER, 553), (0, DELIVERED, 250), (1, DELIVERED, 250)]);
}

#[test]
fn a_domain_has_a_second_spelling() {
    let mut stage = Stage::ready(settings(), &["PIPELINING"]);
    let said = stage
        .begins(Transaction { sender: Some(address("ada@münchen.example")), ..transaction(&["bo@münchen.example"]) });
    assert_eq!(said, "MAIL FROM:<ada@xn--mnchen-3ya.example>\r\nRCPT TO:<bo@xn--mnchen-3ya.example>\r\nDATA\r\n");
    let mut stage = Stage::ready(settings(), &["PIPELINING", "8BITMIME", "SMTPUTF8"]);
    let said = stage.begins(Transaction { sender: None, ..transaction(&["bo@münchen.example"]) });
    assert_eq!(said, "MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<bo@münchen.example>\r\nDATA\r\n");
}

#[test]
fn what_the_server_cannot_take_is_refused_without_asking() {
    let cases = [
        (Alphabet::EightBitBody, "ada@here.example", Some(base::Enhanced(5, 6, 3))),
        (Alphabet::Utf8Headers, "ada@here.example", Some(base::Enhanced(5, 6, 7))),
        (Alphabet::SevenBit, "grå@here.example", Some(base::Enhanced(5, 6, 7))),
    ];
    for (alphabet, sender, enhanced) in cases {
        let mut stage = Stage::ready(settings(), &["PIPELINING"]);
        let said = stage.begins(Transaction {
            alphabet,
            sender: Some(address(sender)),
            ..transaction(&["bo@there.example", "cy@there.example"])
        });
        assert_eq!(said, "");
        let report = stage.report();
        assert!(report.results.iter().all(|r| r.disposition == NEVER && r.reply.enhanced == enhanced));
        assert_eq!((report.results.len(), report.ending), (2, Ending::Settled));
        assert!(stage.connection.is_idle());
    }
}

#[test]
fn what_is_larger_than_the_server_takes_is_refused_without_asking() {
    let mut stage = Stage::ready(settings(), &["PIPELINING", "SIZE 10"]);
    assert_eq!(stage.begins(Transaction { size_octets: 11, ..transaction(&["bo@there.example"]) }), "");
    let report = stage.report();
    assert_eq!(report.results[0].disposition, NEVER);
    assert_eq!(report.results[0].reply.enhanced, Some(base::Enhanced(5, 3, 4)));
    for extension in ["SIZE", "SIZE 0", "SIZE 11"] {
        let mut stage = Stage::ready(settings(), &["PIPELINING", extension]);
        let said = stage.begins(Transaction { size_octets: 11, ..transaction(&["bo@there.example"]) });
        assert!(said.starts_with("MAIL FROM"), "{extension}: {said}");
    }
}

#[test]
fn the_servers_limit_splits_the_recipients() {
    let five = ["a@x", "b@x", "c@x", "d@x", "e@x"];
    let mut stage = Stage::ready(settings(), &["PIPELINING", "LIMITS RCPTMAX=2"]);
    let said = stage.begins(transaction(&five));
    assert_eq!(said, "MAIL FROM:<ada@here.example>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n");
    stage.says("250 a\r\n250 b\r\n250 b\r\n354 c\r\n");
    stage.says("250 d\r\n");
    let report = stage.report();
    assert_eq!(outcomes(&report), [(0, DELIVERED, 250), (1, DELIVERED, 250)]);
    assert_eq!(report.not_attempted, [2, 3, 4]);
    let said = stage.begins(Transaction { recipients: report.not_attempted, ..transaction(&five) });
    assert!(said.contains("<c@x>") && said.contains("<d@x>") && !said.contains("<e@x>"));
}

#[test]
fn enough_recipients_for_now() {
    for refusal in ["452 too many", "452 4.5.3 too many", "552 too many", "452 4.3.1 full"] {
        let mut stage = Stage::ready(settings(), &["PIPELINING"]);
        stage.begins(transaction(&["a@x", "b@x", "c@x", "d@x"]));
        stage.says(&format!("250 a\r\n250 b\r\n550 no\r\n{refusal}\r\n{refusal}\r\n354 c\r\n"));
        stage.says("250 d\r\n");
        let report = stage.report();
        assert_eq!(outcomes(&report), [(0, DELIVERED, 250), (1, NEVER, 550)]);
        assert_eq!(report.not_attempted, [2, 3], "{refusal}");
    }
    // About the recipient himself, or with nobody taken before: a failure like any other.
    for (replies, results) in [
        ("250 b\r\n452 4.2.2 mailbox full\r\n", [(0, DELIVERED, 250), (1, LATER, 452)]),
        ("452 too many\r\n250 b\r\n", [(0, LATER, 452), (1, DELIVERED, 250)]),
    ] {
        let mut stage = Stage::ready(settings(), &["PIPELINING"]);
        stage.begins(transaction(&["a@x", "b@x"]));
        stage.says(&format!("250 a\r\n{replies}354 c\r\n"));
        stage.says("250 d\r\n");
        assert_eq!(outcomes(&stage.report()), results);
    }
}

#[test]
fn a_thousand_recipients_do_not_make_a_thousand_steps() {
    let many: Vec<String> = (0..1000).map(|i| format!("u{i}@x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut stage = Stage::ready(Settings { recipients_max: 1000, ..settings() }, &["PIPELINING"]);
    stage.begins(transaction(&many));
    stage.says(&format!("250 a\r\n{}{}354 c\r\n", "250 b\r\n".repeat(900), "550 no\r\n".repeat(100)));
    stage.says("250 d\r\n");
    let report = stage.report();
    assert_eq!(report.results.len(), 1000);
    assert!(report.dialogue.len() <= STEPS_MAX);
    let last: Vec<_> = words(&report.dialogue).into_iter().rev().take(3).collect();
    assert_eq!(
        last,
        [("[809 more RCPT]", "100 of them refused"), ("[content, 24 octets]", "250 d"), ("DATA", "354 c")]
    );
}
