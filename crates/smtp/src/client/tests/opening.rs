//! From the greeting to readiness, and all the ways in which it does not come to that.

use super::*;

#[test]
fn a_server_that_knows_only_helo() {
    let mut stage = Stage::new(settings());
    assert_eq!(stage.says("220 old.example\r\n"), "EHLO relay.example\r\n");
    assert_eq!(stage.says("502 what?\r\n"), "HELO relay.example\r\n");
    assert_eq!(stage.says("250 old.example PIPELINING\r\n"), "");
    assert!(stage.ready);
    assert_eq!(*stage.connection.capabilities(), Capabilities::default());
    assert_eq!(stage.connection.peer_name(), "old.example");
    let steps = stage.connection.take_dialogue();
    assert_eq!(
        words(&steps),
        [
            ("[greeting]", "220 old.example"),
            ("EHLO relay.example", "502 what?"),
            ("HELO relay.example", "250 old.example PIPELINING")
        ]
    );
    assert_eq!((steps[1].at_us, steps[1].took_us), (1000, 1000));
}

#[test]
fn a_server_that_does_not_want_us() {
    for (greeting, code) in [("554 go away\r\n", 554), ("450 later\r\n", 450), ("999 what\r\n", 999)] {
        let mut stage = Stage::new(settings());
        assert_eq!(stage.says(greeting), "");
        assert!(stage.closed && !stage.ready);
        assert!(
            matches!(&stage.failure, Some(Failure::Refused { at: Phase::Greeting, reply }) if reply.code == code),
            "{:?}",
            stage.failure
        );
    }
    let mut stage = Stage::new(settings());
    stage.says("421 4.3.2 closing\r\n");
    assert!(matches!(stage.failure, Some(Failure::Closing(_))));

    let mut stage = Stage::new(settings());
    stage.says("220 x\r\n");
    stage.says("550 no\r\n");
    stage.says("550 no\r\n");
    assert!(matches!(stage.failure, Some(Failure::Refused { at: Phase::Hello, .. })));

    let mut stage = Stage::new(settings());
    stage.says("220 x\r\n");
    stage.says("451 greylisted\r\n");
    assert!(matches!(stage.failure, Some(Failure::Refused { at: Phase::Hello, .. })), "a 4xx is no reason for HELO");
}

#[test]
fn a_server_that_talks_nonsense() {
    for greeting in ["HTTP/1.1 400 Bad Request\r\n", "354 go on\r\n", "220-a\r\n250 b\r\n", "\0\0\0\0\n"] {
        let mut stage = Stage::new(settings());
        stage.says(greeting);
        assert!(stage.closed);
        let failure = stage.failure.expect("it failed");
        assert!(matches!(failure, Failure::Reply(_) | Failure::OutOfOrder(_)), "{failure:?}");
        assert_eq!(failure.reply().class(), base::ReplyClass::Temporary);
    }
    let mut stage = Stage::new(settings());
    for _ in 0..1000 {
        stage.says("220-for ever\r\n");
    }
    assert!(stage.closed && matches!(stage.failure, Some(Failure::Reply(_))));
}

#[test]
fn a_server_that_never_greets() {
    let mut stage = Stage::new(settings());
    stage.says("2");
    stage.says("2");
    assert_eq!(stage.waits(), Some(Duration::from_secs(60) - Duration::from_millis(2)), "an octet is no reply");
    assert_eq!(stage.failure, Some(Failure::TimedOut(Phase::Greeting)));
    assert!(stage.closed);
    assert_eq!(stage.connection.deadline_us(), None);
    assert_eq!(
        words(&stage.connection.take_dialogue()),
        [("[greeting]", "[the server did not answer in time (the connection)]")]
    );
}

#[test]
fn tls_when_offered() {
    let mut stage = Stage::new(settings());
    stage.says("220 mx.example\r\n");
    assert_eq!(stage.says("250-mx.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n"), "STARTTLS\r\n");
    assert_eq!(stage.says("220 go ahead\r\n"), "");
    assert!(stage.wants_tls);
    assert_eq!(stage.is_told(Input::TlsStarted("TLSv1.3 AES")), "EHLO relay.example\r\n");
    assert!(!stage.connection.capabilities().pipelining, "what was said in plaintext is forgotten");
    assert_eq!(stage.says("250-mx.example\r\n250-STARTTLS\r\n250 8BITMIME\r\n"), "");
    assert!(stage.ready);
    assert!(stage.connection.capabilities().eight_bit_mime);
    let steps = stage.connection.take_dialogue();
    assert_eq!(words(&steps)[3], ("[TLS handshake]", "TLSv1.3 AES"));
}

#[test]
fn words_slipped_in_behind_starttls_end_the_connection() {
    for tail in ["250 evil\r\n", "2", "\n"] {
        let mut stage = Stage::new(settings());
        stage.says("220 mx\r\n");
        stage.says("250-mx\r\n250 STARTTLS\r\n");
        stage.says(&format!("220 go ahead\r\n{tail}"));
        assert_eq!(stage.failure, Some(Failure::ResponseInjection));
        assert!(stage.closed && !stage.ready);
    }
}

#[test]
fn a_reply_that_comes_before_its_command_is_none() {
    let mut stage = Stage::new(settings());
    stage.says("220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 go ahead\r\n");
    assert!(matches!(stage.failure, Some(Failure::OutOfOrder(_))));
    assert!(stage.closed && !stage.wants_tls);
}

#[test]
fn a_refused_starttls_is_plaintext_or_no_delivery() {
    for (wish, ready) in [(StartTls::WhenOffered, true), (StartTls::Demanded, false)] {
        let mut stage = Stage::new(Settings { starttls: wish, ..settings() });
        stage.says("220 mx\r\n");
        stage.says("250-mx\r\n250 STARTTLS\r\n");
        stage.says("454 4.7.0 TLS not available\r\n");
        assert_eq!(stage.ready, ready);
        assert_eq!(matches!(stage.failure, Some(Failure::Refused { at: Phase::StartTls, .. })), !ready);
    }
    let mut stage = Stage::new(Settings { starttls: StartTls::Demanded, ..settings() });
    stage.says("220 mx\r\n");
    stage.says("250 mx\r\n");
    assert_eq!(stage.failure, Some(Failure::TlsMissing));

    let mut stage = Stage::new(Settings { starttls: StartTls::Never, ..settings() });
    stage.says("220 mx\r\n");
    stage.says("250-mx\r\n250 STARTTLS\r\n");
    assert!(stage.ready);
}

#[test]
fn a_handshake_that_fails() {
    let mut stage = Stage::new(settings());
    stage.says("220 mx\r\n");
    stage.says("250-mx\r\n250 STARTTLS\r\n");
    stage.says("220 go ahead\r\n");
    assert_eq!(stage.connection.deadline_us(), Some(stage.now_us + 30_000_000));
    stage.is_told(Input::TlsFailed("alert"));
    assert_eq!(stage.failure, Some(Failure::Handshake("alert".into())));
    let steps = stage.connection.take_dialogue();
    assert_eq!(words(&steps).last(), Some(&("[TLS handshake]", "[the TLS handshake failed: alert]")));
}

fn credentials(over: AuthOver) -> Settings {
    let credentials = Credentials { user: "ada".into(), secret: Secret::from("hunter2"), over };
    Settings { credentials: Some(credentials), ..settings() }
}

fn ehlo(stage: &mut Stage, keywords: &str) -> String {
    stage.says("220 mx\r\n");
    stage.says(&format!("250-mx\r\n250 {keywords}\r\n"))
}

#[test]
fn auth_plain() {
    let mut stage = Stage::new(credentials(AuthOver::Anything));
    assert_eq!(ehlo(&mut stage, "AUTH LOGIN PLAIN"), "AUTH PLAIN AGFkYQBodW50ZXIy\r\n");
    assert_eq!(stage.says("235 2.7.0 welcome\r\n"), "");
    assert!(stage.ready);
    assert!(!format!("{:?}", stage.connection.take_dialogue()).contains("AGFk"));

    // A server that asks again although it has the answer.
    let mut stage = Stage::new(credentials(AuthOver::Anything));
    ehlo(&mut stage, "AUTH PLAIN");
    assert_eq!(stage.says("334 \r\n"), "AGFkYQBodW50ZXIy\r\n");
    stage.says("334 \r\n");
    assert!(stage.closed, "it asks for ever");
}

#[test]
fn auth_login() {
    let mut stage = Stage::new(credentials(AuthOver::Anything));
    assert_eq!(ehlo(&mut stage, "AUTH LOGIN"), "AUTH LOGIN\r\n");
    assert_eq!(stage.says("334 VXNlcm5hbWU6\r\n"), "YWRh\r\n");
    assert_eq!(stage.says("334 UGFzc3dvcmQ6\r\n"), "aHVudGVyMg==\r\n");
    stage.says("235 ok\r\n");
    assert!(stage.ready);
    let steps = stage.connection.take_dialogue();
    assert_eq!(words(&steps)[2..].iter().map(|(sent, _)| *sent).collect::<Vec<_>>(), ["AUTH LOGIN", "***", "***"]);
}

#[test]
fn auth_that_does_not_work() {
    let mut stage = Stage::new(credentials(AuthOver::Anything));
    ehlo(&mut stage, "AUTH PLAIN");
    stage.says("535 5.7.8 no\r\n");
    assert!(matches!(stage.failure, Some(Failure::Refused { at: Phase::Auth, .. })));

    let mut stage = Stage::new(credentials(AuthOver::Anything));
    assert_eq!(ehlo(&mut stage, "AUTH XOAUTH2"), "");
    assert_eq!(stage.failure, Some(Failure::AuthMissing));
}

#[test]
fn a_password_is_not_said_in_plaintext() {
    let mut stage = Stage::new(credentials(AuthOver::TlsOnly));
    assert_eq!(ehlo(&mut stage, "AUTH PLAIN LOGIN"), "");
    assert_eq!(stage.failure, Some(Failure::AuthMissing));

    let mut stage = Stage::new(credentials(AuthOver::TlsOnly));
    ehlo(&mut stage, "STARTTLS");
    stage.says("220 go ahead\r\n");
    stage.is_told(Input::TlsStarted("TLSv1.3"));
    assert_eq!(stage.says("250-mx\r\n250 AUTH PLAIN\r\n"), "AUTH PLAIN AGFkYQBodW50ZXIy\r\n");
}

#[test]
fn a_long_password_does_not_make_a_long_line() {
    let secret = Secret::new(vec![b'x'; 600]);
    let credentials = Credentials { user: "ada".into(), secret, over: AuthOver::Anything };
    let mut stage = Stage::new(Settings { credentials: Some(credentials), ..settings() });
    assert_eq!(ehlo(&mut stage, "AUTH PLAIN"), "AUTH PLAIN\r\n");
    assert!(stage.says("334 \r\n").len() > 800);
}

#[test]
fn goodbye() {
    let mut stage = Stage::ready(settings(), &[]);
    assert!(stage.connection.is_idle());
    assert_eq!(stage.is_told(Input::Quit), "QUIT\r\n");
    assert!(!stage.closed && !stage.connection.is_free());
    stage.says("221 bye\r\n");
    assert!(stage.closed);

    for word in ["221", "421", "500"] {
        let mut stage = Stage::ready(settings(), &[]);
        stage.is_told(Input::Quit);
        stage.says(&format!("{word} x\r\n"));
        assert!(stage.closed, "whatever it says to QUIT");
    }
    let mut stage = Stage::ready(settings(), &[]);
    stage.is_told(Input::Quit);
    assert_eq!(stage.waits(), Some(Duration::from_secs(5)));
    assert!(stage.closed);
}

#[test]
fn an_idle_connection_that_is_spoken_to_or_closed() {
    for words in ["421 4.4.2 idle too long\r\n", "250 what\r\n", "garbage\r\n"] {
        let mut stage = Stage::ready(settings(), &[]);
        assert_eq!(stage.connection.deadline_us(), None);
        stage.says(words);
        assert!(stage.closed && stage.reports.is_empty() && stage.failure.is_none());
    }
    let mut stage = Stage::ready(settings(), &[]);
    stage.is_told(Input::Closed);
    assert!(stage.closed && !stage.connection.is_idle() && !stage.connection.is_free());
}
