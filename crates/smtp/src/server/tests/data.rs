//! Content by DATA.

use super::*;

const OPEN: &str = "MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n";

/// What makes other servers see the end of a message (SMTP smuggling), and must not be one here.
const FALSE_ENDS: [&[u8]; 11] = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
];

#[test]
fn a_smuggled_end_refuses_the_whole_and_keeps_step() {
    for end in FALSE_ENDS {
        for cut in [1, 2, 3, 1000] {
            let mut play = Play::greeted();
            play.say(OPEN);
            let mut sent = b"Subject: a\r\n\r\nx".to_vec();
            sent.extend_from_slice(end);
            sent.extend_from_slice(b"MAIL FROM:<evil@b>\r\nRCPT TO:<victim@c>\r\nDATA\r\ny\r\n.\r\n");
            let said = codes(&play.say_in_pieces(&sent, cut));
            assert_eq!(said, [550], "{:?} in pieces of {cut}", String::from_utf8_lossy(end));
            assert_eq!((play.stored.len(), play.aborted), (0, 1));
            // Postfix 20260803: no half of the transaction is left.
            assert_eq!(play.codes("RCPT TO:<x@y>\r\nDATA\r\n"), [503, 503]);
            assert_eq!(play.codes(OPEN), [250, 250, 354]);
            assert_eq!(play.codes("x\r\n.\r\n"), [250], "the session goes on");
        }
    }
}

#[test]
fn a_true_end_behind_a_lone_cr_is_an_end() {
    let mut play = Play::greeted();
    play.say(OPEN);
    assert_eq!(play.codes("x\r\r\n.\r\nNOOP\r\n"), [550, 250]);
}

#[test]
fn strays_anywhere_refuse_the_message() {
    for text in ["a\nb\r\n", "a\rb\r\n", "\n", "\ra\r\n", "a\0b\r\n", "H: x\nY: z\r\n\r\n", "x\r\n\r\n\0"] {
        let mut play = Play::greeted();
        play.say(OPEN);
        assert!(play.say(format!("{text}\r\n.\r\n")).starts_with("550 5.6.11 "), "{text:?}");
        assert_eq!(play.codes("NOOP\r\n"), [250]);
    }
}

#[test]
fn bodies_come_out_as_they_went_in() {
    let long = format!("{}\r\n", "x".repeat(100_000));
    for body in ["", "\r\n", ".\r\n", "..\r\n", ".\r\n.\r\n..a\r\n", "Subject: x\r\n", "a\r\n\r\nb.\r\n", &long] {
        for cut in [1, 7, 4096] {
            let mut play = Play::greeted();
            play.say(OPEN);
            let stuffed: String = body
                .split_inclusive("\r\n")
                .map(|l| if l.starts_with('.') { format!(".{l}") } else { l.into() })
                .collect();
            play.say_in_pieces(format!("{stuffed}.\r\n"), cut);
            assert_eq!(String::from_utf8_lossy(&play.stored[0].1), body);
        }
    }
}

#[test]
fn the_size_limit_is_exact_and_does_not_count_stuffing() {
    let limits = Limits { message_octets_max: 20, ..Limits::default() };
    for (text, code) in [("..3456789\r\n.89012345\r\n.\r\n", 250), ("..3456789\r\n.890123456\r\n.\r\n", 552)] {
        for cut in [1, 1000] {
            let mut play = Play::limited(limits);
            play.say(OPEN);
            let said = play.say_in_pieces(text, cut);
            assert_eq!(codes(&said), [code], "{text:?}");
            assert_eq!(play.codes("RCPT TO:<b@c>\r\n"), [503]);
        }
    }
    let mut play = Play::limited(limits);
    assert_eq!(play.codes("MAIL FROM:<a@b> SIZE=21\r\nMAIL FROM:<a@b> SIZE=20\r\n"), [552, 250]);
}

#[test]
fn what_never_ends_is_cut() {
    let limits = Limits { message_octets_max: 1000, discard_octets_max: 5000, ..Limits::default() };
    let mut play = Play::limited(limits);
    play.say(OPEN);
    for _ in 0..6 {
        assert_eq!(play.say("x".repeat(1000)), "");
        assert!(play.input.len() <= 1000);
    }
    assert!(play.say("x").starts_with("552 5.3.4 "));
    assert!(play.closed && play.aborted == 1 && play.open.is_none());
}

#[test]
fn timeouts_and_shutdown_while_content_comes() {
    let mut play = Play::greeted();
    play.say(OPEN);
    play.say("half\r\n");
    assert_eq!(play.happens(Input::Leave(refusal(421))), "", "what is under way may finish");
    assert!(!play.closed);
    assert_eq!(play.codes(".\r\n"), [250, 421]);
    assert!(play.closed && play.stored.len() == 1);

    let mut play = Play::greeted();
    play.say(OPEN);
    play.say("half\r\n");
    assert!(play.happens(Input::Idle).starts_with("421 4.4.2 "));
    assert!(play.closed && play.aborted == 1);

    // While the message is being stored the answer comes first.
    let mut play = Play::greeted();
    play.judge.hold = true;
    play.say(OPEN);
    assert_eq!(play.say("x\r\n.\r\n"), "");
    assert_eq!(play.happens(Input::Cut(refusal(421))), "");
    assert_eq!(codes(&play.happens(Input::Stored(Ok(ID)))), [250, 421]);
    assert!(play.closed);
}

#[test]
fn answers_that_nobody_asked_for_are_ignored() {
    let mut play = Play::greeted();
    for answer in [
        Input::TlsStarted,
        Input::Authenticated(Login::Accepted),
        Input::Mail(Ok(())),
        Input::Recipient(Ok(())),
        Input::Begin(Ok(())),
        Input::Stored(Ok(ID)),
    ] {
        assert_eq!(play.happens(answer), "");
    }
    assert!(!play.session.client().authenticated && !play.session.client().tls);
    assert_eq!(play.codes("MAIL FROM:<a@b>\r\n"), [250]);
}
