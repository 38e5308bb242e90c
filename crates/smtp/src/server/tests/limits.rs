//! What a client may take of us.

use super::*;

#[test]
fn lines_have_an_end() {
    let mut play = Play::greeted();
    let line = format!("NOOP {}\r\n", "x".repeat(2048 - 7));
    assert_eq!(line.len(), 2048);
    assert_eq!(play.codes(&line), [250]);
    assert_eq!(play.codes(format!("x{line}NOOP\r\n")), [500, 250]);
    // A name of 64 KiB, a parameter of 5 KB: thrown away, step is kept.
    assert_eq!(play.codes(format!("EHLO {}\r\n", "x".repeat(60_000))), [500]);
    assert_eq!(play.codes(format!("MAIL FROM:<a@b> ENVID={}\r\nNOOP\r\n", "x".repeat(5000))), [500, 250]);
}

#[test]
fn a_line_without_an_end_is_cut() {
    let mut play = Play::greeted();
    let mut said = Vec::new();
    let mut sent = 0;
    while !play.closed {
        said.extend(play.codes("x".repeat(1000)));
        sent += 1000;
        assert!(play.input.len() <= 3000 && sent < 70_000);
    }
    assert_eq!(said, [500, 421]);
}

#[test]
fn broken_lines_are_one_error_each() {
    let mut play = Play::greeted();
    assert_eq!(play.codes("MAIL FROM:<a@b>\nRCPT TO:<x@y>\nDATA\r\nNOOP\r\n"), [500, 250]);
    assert_eq!(play.codes("NOOP\rNOOP\r\nNO\0OP\r\nNOOP\r\n"), [500, 500, 250]);
    // A person at a terminal that sends bare LFs is told at once.
    assert_eq!(play.codes("NOOP\n"), [500]);
    assert_eq!(play.codes("NOOP\n\r\nNOOP\r\n"), [250]);
}

#[test]
fn recipients_have_a_number_and_the_first_ones_stay() {
    let mut play = Play::limited(Limits { recipients_max: 3, recipients_refused_max: 5, ..Limits::default() });
    play.say("MAIL FROM:<a@b>\r\n");
    let group: String = (0..5).map(|n| format!("RCPT TO:<r{n}@x>\r\n")).collect();
    assert_eq!(play.codes(&group), [250, 250, 250, 452, 452]);
    assert_eq!(play.codes("RCPT TO:<r0@x>\r\n"), [250], "a known one is not one too many");
    assert_eq!(play.codes("DATA\r\n"), [354]);
    assert_eq!(play.codes("x\r\n.\r\n"), [250]);
    assert_eq!(play.stored[0].0.recipients.len(), 3);
    play.say("MAIL FROM:<a@b>\r\n");
    assert_eq!(play.codes(&group), [250, 250, 250, 452, 452]);
    assert_eq!(play.codes("RCPT TO:<bad@x>\r\n".repeat(2)), [452, 452]);
    assert_eq!(play.codes(&group[..16 * 4]), [250, 250, 250, 452]);
    assert_eq!(play.codes("RCPT TO:<more@x>\r\n"), [421]);
    assert!(play.closed);
}

#[test]
fn refused_recipients_are_counted() {
    let mut play = Play::limited(Limits { recipients_refused_max: 2, ..Limits::default() });
    assert_eq!(play.codes(format!("MAIL FROM:<a@b>\r\n{}", "RCPT TO:<bad@x>\r\n".repeat(3))), [250, 550, 550, 421]);
    assert!(play.closed);
}

#[test]
fn errors_are_counted_and_forgiven_with_a_message() {
    let mut play = Play::greeted();
    let errors = "FOO\r\n".repeat(20);
    assert_eq!(play.codes(&errors), [500; 20]);
    play.say("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nDATA\r\n");
    assert_eq!(play.codes(".\r\n"), [250]);
    assert_eq!(play.codes(&errors), [500; 20]);
    assert_eq!(play.codes("FOO\r\nNOOP\r\n"), [421]);
    assert!(play.closed);
    // Also those who have no right to send and try on and on.
    let mut play = Play::greeted();
    play.judge.mail = Err(refusal(530));
    let said = play.codes("MAIL FROM:<a@b>\r\n".repeat(30));
    assert_eq!((said.len(), said[19], said[20]), (21, 530, 421));
}

#[test]
fn an_open_message_is_forgotten_when_the_errors_are_too_many() {
    let mut play = Play::greeted();
    play.say("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nBDAT 1\r\na");
    play.say("FOO\r\n".repeat(30));
    assert!(play.closed && play.aborted == 1);
}

#[test]
fn commands_without_mail_are_counted() {
    for junk in ["NOOP\r\n", "RSET\r\n", "VRFY x\r\n", "HELP\r\n", "EXPN x\r\n"] {
        let mut play = Play::greeted();
        let said = play.codes(junk.repeat(1000));
        assert_eq!((said.len(), said[100]), (101, 421), "{junk}");
        assert!(play.closed);
    }
    let mut play = Play::greeted();
    let said: Vec<u16> = (0..101).flat_map(|_| play.codes("EHLO c\r\n")).collect();
    assert_eq!((said[99], said[100]), (250, 421));
    // Who sends mail may RSET as often as he likes.
    let mut play = Play::greeted();
    for _ in 0..150 {
        assert_eq!(play.codes("RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nBDAT 0 LAST\r\n"), [250; 4]);
    }
}

#[test]
fn transactions_have_a_number() {
    let mut play = Play::limited(Limits { transactions_max: 2, ..Limits::default() });
    assert!(play.said.contains("MAILMAX=2"));
    assert_eq!(
        play.codes("MAIL FROM:<a@b>\r\nRSET\r\nMAIL FROM:<a@b>\r\nRSET\r\nMAIL FROM:<a@b>\r\n"),
        [250, 250, 250, 250, 421]
    );
    assert!(play.closed);
}

#[test]
fn idle_and_shutdown_between_commands() {
    let mut play = Play::greeted();
    assert!(play.happens(Input::Idle).starts_with("421 4.4.2 "));
    assert!(play.closed);
    assert_eq!(play.happens(Input::Idle), "", "twice is no harm");
    let mut play = Play::greeted();
    play.say("MAIL FROM:<a@b>\r\n");
    assert_eq!(play.happens(Input::Leave(refusal(421))), "421 4.7.1 not today\r\n");
    assert!(play.closed);
    let mut play = Play::greeted();
    play.say("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\nBDAT 1\r\na");
    assert_eq!(play.happens(Input::Leave(refusal(421))), "", "a message in chunks may finish");
    assert_eq!(play.codes("BDAT 0 LAST\r\nMAIL FROM:<a@b>\r\n"), [250, 421]);
    assert!(play.closed);
}

#[test]
fn replies_to_a_flood_are_sent_before_more_is_read() {
    let mut play = Play::greeted();
    play.say("MAIL FROM:<a@b>\r\nRCPT TO:<b@c>\r\n");
    let sends = play.sends;
    play.say("BDAT 0\r\n".repeat(10_000));
    assert!(play.sends > sends + 10);
}
