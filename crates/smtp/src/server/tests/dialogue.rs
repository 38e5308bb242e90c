//! The order of commands, and envelopes.

use base::{Address, BodyType, DsnReturn, Notify};

use super::*;

#[test]
fn a_message_is_taken() {
    let mut play = Play::new();
    assert_eq!(play.said, "220 mx.example.net ESMTP Postrider\r\n");
    assert_eq!(play.codes("EHLO client.example\r\n"), [250]);
    assert_eq!(play.say("MAIL FROM:<a@example.org>\r\n"), "250 2.1.0 Sender ok\r\n");
    assert_eq!(play.say("RCPT TO:<b@example.com>\r\n"), "250 2.1.5 Recipient ok\r\n");
    assert_eq!(play.say("DATA\r\n"), "354 End data with <CR><LF>.<CR><LF>\r\n");
    assert!(play.session.in_content());
    assert_eq!(play.say("Subject: x\r\n\r\nhello\r\n"), "");
    assert_eq!(play.say(".\r\n"), format!("250 2.0.0 Ok, queued as {ID}\r\n"));
    let (envelope, body) = &play.stored[0];
    assert_eq!(envelope.sender, Address::parse("a@example.org").ok());
    assert_eq!(envelope.recipients.len(), 1);
    assert_eq!(body, b"Subject: x\r\n\r\nhello\r\n");
    assert_eq!(play.say("QUIT\r\n"), "221 2.0.0 Bye\r\n");
    assert!(play.closed);
}

#[test]
fn ehlo_shows_what_there_is() {
    let mut play = Play::new();
    let said = play.say("EHLO c\r\n");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "250-mx.example.net",
            "250-PIPELINING",
            "250-8BITMIME",
            "250-SIZE 52428800",
            "250-STARTTLS",
            "250-CHUNKING",
            "250-DSN",
            "250-SMTPUTF8",
            "250-LIMITS RCPTMAX=1000 MAILMAX=10000",
            "250 ENHANCEDSTATUSCODES",
        ]
    );
    assert_eq!(play.say("HELO c\r\n"), "250 mx.example.net\r\n");
    let said = Play::under_tls().said;
    assert!(said.contains("250-AUTH PLAIN LOGIN\r\n") && !said.contains("STARTTLS"), "{said}");
    let bare = Offer { starttls: false, chunking: false, dsn: false, smtputf8: false, ..offer() };
    let said = Play::with(bare, Limits::default(), false).say("EHLO c\r\n");
    assert!(!said.contains("DSN") && !said.contains("CHUNKING") && !said.contains("UTF8") && !said.contains("TLS"));
}

#[test]
fn verbs_out_of_order_are_503_and_change_nothing() {
    let mut play = Play::new();
    for early in ["MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "STARTTLS", "AUTH PLAIN"] {
        assert_eq!(play.codes(format!("{early}\r\n")), [503], "{early} before EHLO");
    }
    play.say("EHLO c\r\n");
    for early in ["RCPT TO:<a@b>", "DATA"] {
        assert_eq!(play.codes(format!("{early}\r\n")), [503], "{early} before MAIL");
    }
    assert_eq!(play.codes("MAIL FROM:<a@b>\r\nMAIL FROM:<x@y>\r\n"), [250, 503]);
    assert_eq!(play.codes("STARTTLS\r\n"), [503], "not within a transaction");
    assert_eq!(play.codes("DATA\r\n"), [554], "no recipient yet");
    assert_eq!(play.codes("RCPT TO:<b@c>\r\nDATA\r\n"), [250, 354]);
    assert_eq!(play.codes(".\r\n"), [250]);
    assert_eq!(play.stored[0].0.sender, Address::parse("a@b").ok(), "the first MAIL counts");
    assert_eq!(play.codes("RCPT TO:<b@c>\r\nDATA\r\n"), [503, 503], "a transaction ends with its message");
}

#[test]
fn every_end_of_a_transaction_drops_sender_and_recipients() {
    for end in ["RSET\r\n", "EHLO c\r\n", "HELO c\r\n"] {
        let mut play = Play::greeted();
        play.say("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\n");
        assert_eq!(play.codes(end), [250]);
        assert_eq!(play.codes("RCPT TO:<c@d>\r\nDATA\r\n"), [503, 503], "{end}");
        assert_eq!(play.codes("MAIL FROM:<x@y>\r\nDATA\r\n"), [250, 554], "{end}");
    }
}

#[test]
fn commands_that_do_nothing_do_nothing() {
    let mut play = Play::greeted();
    play.say("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\n");
    assert_eq!(
        play.codes("NOOP\r\nNOOP x\r\nVRFY a\r\nEXPN a\r\nHELP\r\nWHAT\r\nMAIL\r\n"),
        [250, 250, 252, 502, 214, 500, 501]
    );
    // Postfix 20260812: VRFY with UTF-8 dropped the sender and kept the recipients.
    assert_eq!(play.codes("VRFY \u{fc}\r\nDATA\r\n"), [252, 354]);
    assert_eq!(play.codes("x\r\n.\r\n"), [250]);
}

#[test]
fn parameters_make_the_envelope() {
    let mut play = Play::greeted();
    play.say("MAIL FROM:<> BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=q+2B1 SIZE=1000 AUTH=<>\r\n");
    play.say("RCPT TO:<gr\u{e5}@example.org> NOTIFY=SUCCESS ORCPT=rfc822;x@y\r\nDATA\r\n");
    play.say(".\r\n");
    let envelope = &play.stored[0].0;
    assert_eq!((&envelope.sender, envelope.body, envelope.smtputf8), (&None, BodyType::EightBitMime, true));
    assert_eq!((envelope.ret, envelope.envid.as_deref()), (Some(DsnReturn::Full), Some("q+1")));
    let recipient = &envelope.recipients[0];
    assert_eq!(recipient.notify, Some(Notify { success: true, failure: false, delay: false }));
    assert_eq!(recipient.original.as_deref(), Some("rfc822;x@y"));
}

#[test]
fn bad_parameters_change_nothing() {
    let mut play = Play::greeted();
    for (line, code) in [
        ("MAIL FROM:<a@b> SIZE=1 SIZE=1", 501),
        ("MAIL FROM:<a@b> FOO=1", 555),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", 555),
        ("MAIL FROM:<a@b> ENVID=a+00b", 501),
        ("MAIL FROM:<a@b> SIZE=52428801", 552),
        ("MAIL FROM:<gr\u{e5}@b>", 553),
        ("RCPT TO:<x@y>", 503),
    ] {
        assert_eq!(play.codes(format!("{line}\r\n")), [code], "{line}");
    }
    assert_eq!(play.codes("MAIL FROM:<a@b> SIZE=52428800\r\n"), [250]);
    for (line, code) in [
        ("RCPT TO:<x@y> NOTIFY=NEVER,FAILURE", 501),
        ("RCPT TO:<x@y> FOO", 555),
        ("RCPT TO:<\u{fc}@y>", 553),
        ("RCPT TO:<x@y> ORCPT=utf-8;\u{fc}@y", 553),
        ("RCPT TO:<>", 501),
        ("DATA", 554),
    ] {
        assert_eq!(play.codes(format!("{line}\r\n")), [code], "{line}");
    }
}

#[test]
fn extensions_are_for_those_who_asked_and_where_they_are_offered() {
    let mut play = Play::new();
    play.say("HELO c\r\n");
    assert_eq!(play.codes("MAIL FROM:<a@b> SIZE=1\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\n"), [555, 554]);
    let mut play =
        Play::with(Offer { dsn: false, smtputf8: false, chunking: false, ..offer() }, Limits::default(), false);
    play.say("EHLO c\r\n");
    assert_eq!(play.codes("MAIL FROM:<a@b> RET=FULL\r\nMAIL FROM:<a@b> SMTPUTF8\r\n"), [555, 555]);
    assert_eq!(play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\nRCPT TO:<a@b>\r\n"), [250, 555, 250]);
    assert_eq!(play.codes("BDAT 4\r\nNOOPNOOP\r\n"), [502, 250], "its octets are swallowed all the same");
}

#[test]
fn postmaster_needs_no_domain() {
    let mut play = Play::greeted();
    assert_eq!(play.codes("MAIL FROM:<>\r\nRCPT TO:<POSTmaster>\r\nDATA\r\n"), [250, 250, 354]);
    play.say(".\r\n");
    assert_eq!(play.stored[0].0.recipients[0].address.as_str(), "postmaster@mx.example.net");
}

#[test]
fn one_mailbox_is_named_once() {
    let mut play = Play::greeted();
    play.say("MAIL FROM:<a@b>\r\n");
    for path in ["a@x", "\"a\"@x", "a@X", "\"\\a\"@x", "A@x", "b@x", "b@x"] {
        assert_eq!(play.codes(format!("RCPT TO:<{path}>\r\n")), [250], "{path}");
    }
    play.say("DATA\r\n");
    play.say(".\r\n");
    let named: Vec<_> = play.stored[0].0.recipients.iter().map(|r| r.address.as_str()).collect();
    assert_eq!(named, ["a@x", "A@x", "b@x"]);
}

#[test]
fn a_pipelined_group_is_answered_in_order_with_one_send() {
    let mut play = Play::greeted();
    let sends = play.sends;
    let said = play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nRCPT TO:<bad@y>\r\nRCPT TO:<z@y>\r\nDATA\r\n");
    assert_eq!(said, [250, 250, 550, 250, 354]);
    assert_eq!(play.sends, sends + 1);
    assert_eq!(play.codes("x\r\n.\r\nMAIL FROM:<a@b>\r\nRSET\r\n"), [250, 250, 250]);
    assert_eq!(play.sends, sends + 2);
    assert_eq!(play.stored[0].0.recipients.len(), 2);
}

#[test]
fn octets_behind_a_command_that_ends_its_group_are_never_run() {
    for group in [
        "EHLO c\r\nMAIL FROM:<a@b>\r\n",
        "STARTTLS\r\nMAIL FROM:<a@b>\r\n",
        "AUTH PLAIN AGFkYQBzZWNyZXQ=\r\nMAIL FROM:<a@b>\r\n",
        "DATA\r\nMAIL FROM:<a@b>\r\n",
    ] {
        let mut play = Play::under_tls();
        assert_eq!(play.codes(group), [554], "{group}");
        assert!(play.closed && play.logins.is_empty() && play.tls_starts == 0);
    }
    // All recipients refused, the content sent all the same: it is not run as commands.
    let mut play = Play::greeted();
    let said = play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<bad@b>\r\nDATA\r\nMAIL FROM:<evil@b>\r\n.\r\n");
    assert_eq!(said, [250, 550, 554]);
    assert!(play.closed && play.stored.is_empty());
    // Behind QUIT nothing is read.
    let mut play = Play::greeted();
    assert_eq!(play.codes("QUIT\r\nMAIL FROM:<a@b>\r\n"), [221]);
    assert!(play.closed);
}

#[test]
fn the_caller_may_refuse() {
    let mut play = Play::greeted();
    play.judge.mail = Err(refusal(530));
    assert_eq!(play.say("MAIL FROM:<a@b>\r\n"), "530 5.7.1 not today\r\n");
    assert_eq!(play.codes("RCPT TO:<a@b>\r\n"), [503]);
    play.judge.mail = Ok(());
    play.judge.begin = Err(refusal(451));
    assert_eq!(play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n"), [250, 250, 451]);
    assert_eq!(play.codes("RCPT TO:<a@b>\r\n"), [503], "a refused DATA ends the transaction");
    play.judge.begin = Ok(());
    play.judge.store = Err(refusal(452));
    assert_eq!(play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n"), [250, 250, 354]);
    assert_eq!(play.codes(".\r\nRCPT TO:<a@b>\r\n"), [452, 503]);
    assert_eq!(play.codes("MAIL FROM:<a@b>\r\nRCPT TO:<bye@b>\r\nNOOP\r\n"), [250, 421]);
    assert!(play.closed, "a refusal with 421 is the end");
}

#[test]
fn every_reply_has_its_enhanced_code_but_those_that_have_none() {
    let mut play = Play::under_tls();
    play.judge.store = Err(refusal(550));
    for line in [
        "WHAT\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "VRFY x\r\n",
        "EXPN x\r\n",
        "HELP\r\n",
        "STARTTLS\r\n",
        "AUTH FOO\r\n",
        "AUTH PLAIN AAA=\r\n",
        "AUTH PLAIN AGEAYg==\r\n",
        "MAIL FROM:<x\r\n",
        "RCPT TO:<x@y>\r\n",
        "DATA\r\n",
        "BDAT 0\r\n",
        "MAIL FROM:<x@y>\r\n",
        "RCPT TO:<x@y>\r\n",
        "RCPT TO:<x@y>\r\n",
        "RCPT TO:<x@-y>\r\n",
        "BDAT 0\r\n",
        "DATA\r\n",
        "BDAT 0 LAST\r\n",
        "a\nb\r\n",
        "QUIT\r\n",
    ] {
        let said = play.say(line);
        let mut words = said.split([' ', '-']);
        let code = words.next().unwrap();
        let enhanced = words.next().unwrap();
        assert!(Enhanced::split(enhanced).0.is_some_and(|e| code.starts_with(&e.0.to_string())), "{line}: {said}");
        assert_eq!(said.matches("\r\n").count(), 1, "{line}: {said}");
    }
}
