//! AUTH (RFC 4954).

use super::*;

/// `\0ada\0secret`
const RIGHT: &str = "AGFkYQBzZWNyZXQ=";
/// `\0ada\0wrong`
const WRONG: &str = "AGFkYQB3cm9uZw==";
const FAILED: &str = "535 5.7.8 Authentication credentials invalid\r\n";

#[test]
fn plain_with_and_without_an_initial_response() {
    let mut play = Play::under_tls();
    assert_eq!(play.say(format!("AUTH PLAIN {RIGHT}\r\n")), "235 2.7.0 Authentication succeeded\r\n");
    assert!(play.session.client().authenticated);
    let login = &play.logins[0];
    assert_eq!(
        (login.mechanism, login.user.as_str(), login.secret.expose_secret()),
        (Mechanism::Plain, "ada", &b"secret"[..])
    );
    let mut play = Play::under_tls();
    assert_eq!(play.say("auth plain\r\n"), "334 \r\n");
    assert_eq!(play.codes(format!("{RIGHT}\r\n")), [235]);
}

#[test]
fn login_with_and_without_an_initial_response() {
    let mut play = Play::under_tls();
    assert_eq!(play.say("AUTH LOGIN\r\n"), "334 VXNlcm5hbWU6\r\n");
    assert_eq!(play.say("YWRh\r\n"), "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(play.codes("c2VjcmV0\r\n"), [235]);
    assert_eq!(play.logins[0].mechanism, Mechanism::Login);
    let mut play = Play::under_tls();
    assert_eq!(play.say("AUTH LOGIN YWRh\r\n"), "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(play.codes("c2VjcmV0\r\n"), [235]);
}

#[test]
fn whatever_is_wrong_is_said_in_the_same_words() {
    for response in [
        WRONG,
        "AGJvYgBzZWNyZXQ=",     // \0bob\0secret
        "YWRh",                 // ada
        "AGFkYQA=",             // \0ada\0
        "AABzZWNyZXQ=",         // \0\0secret
        "AGFkYQBzZWNyZXQAeA==", // \0ada\0secret\0x
        "Ym9iAGFkYQBzZWNyZXQ=", // bob\0ada\0secret
        "AP8Ac2VjcmV0",         // no UTF-8
        "=",
    ] {
        assert_eq!(Play::under_tls().say(format!("AUTH PLAIN {response}\r\n")), FAILED, "{response}");
    }
    // One may name oneself twice.
    assert_eq!(Play::under_tls().codes("AUTH PLAIN YWRhAGFkYQBzZWNyZXQ=\r\n"), [235]);
}

#[test]
fn a_user_name_that_is_too_long_is_not_even_looked_up() {
    let mut play = Play::under_tls();
    let response = data_encoding::BASE64.encode(format!("\0{}\0x", "a".repeat(CREDENTIAL_OCTETS_MAX + 1)).as_bytes());
    assert_eq!(play.say(format!("AUTH PLAIN {response}\r\n")), FAILED);
    let response = data_encoding::BASE64.encode(format!("\0{}\0x", ")('*\"".repeat(200)).as_bytes());
    assert_eq!(play.say(format!("AUTH PLAIN {response}\r\n")), FAILED);
    assert_eq!(play.logins.len(), 1);
}

#[test]
fn an_exchange_can_be_cancelled_and_ends_with_any_error() {
    for (answer, code) in
        [("*", 501), ("no base64!", 501), ("YQ", 501), ("", 535), ("a\nb", 500), (&"A".repeat(13_000), 500)]
    {
        let mut play = Play::under_tls();
        play.say("AUTH PLAIN\r\n");
        assert_eq!(play.codes(format!("{answer}\r\n")), [code], "{answer}");
        assert_eq!(play.codes("NOOP\r\n"), [250], "lines are commands again behind {answer}");
    }
    assert_eq!(Play::under_tls().say(format!("AUTH PLAIN {}\r\n", "A".repeat(13_000))), "500 5.5.6 Line too long\r\n");
    assert_eq!(Play::under_tls().codes("AUTH PLAIN ***\r\nAUTH"), [554]);
    assert_eq!(Play::under_tls().codes("AUTH PLAIN ***\r\n"), [501]);
}

#[test]
fn auth_only_where_and_when_it_is_right() {
    let mut play = Play::greeted();
    assert!(!play.said.contains("AUTH"));
    assert_eq!(play.codes(format!("AUTH PLAIN {RIGHT}\r\n")), [538], "not in the clear");
    assert!(play.logins.is_empty());
    let mut play = Play::with(Offer { auth: AuthOffer::Always, ..offer() }, Limits::default(), false);
    assert!(play.say("EHLO c\r\n").contains("250-AUTH PLAIN LOGIN"));
    assert_eq!(play.codes(format!("AUTH PLAIN {RIGHT}\r\n")), [235]);
    let mut play = Play::with(Offer { auth: AuthOffer::Never, ..offer() }, Limits::default(), true);
    assert!(!play.say("EHLO c\r\n").contains("AUTH"));
    assert_eq!(play.codes(format!("AUTH PLAIN {RIGHT}\r\n")), [502]);
    let mut play = Play::under_tls();
    assert_eq!(play.codes("AUTH CRAM-MD5\r\n"), [504]);
    play.say("MAIL FROM:<a@b>\r\n");
    assert_eq!(play.codes(format!("AUTH PLAIN {RIGHT}\r\n")), [503], "not within a transaction");
    play.say("RSET\r\n");
    assert_eq!(play.codes(format!("AUTH PLAIN {RIGHT}\r\n")), [235]);
    assert_eq!(play.codes(format!("AUTH PLAIN {RIGHT}\r\n")), [503], "once is enough");
    play.say("EHLO again\r\n");
    assert!(play.session.client().authenticated, "EHLO forgets a transaction, not who somebody is");
    let mut play = Play::with(offer(), Limits::default(), true);
    play.say("HELO c\r\n");
    assert_eq!(play.codes(format!("AUTH PLAIN {RIGHT}\r\n")), [503], "AUTH is an extension");
}

#[test]
fn too_many_failures_are_the_end_and_trouble_of_ours_is_none() {
    let mut play = Play::under_tls();
    play.judge.unavailable = true;
    for _ in 0..5 {
        assert_eq!(play.codes(format!("AUTH PLAIN {RIGHT}\r\n")), [454]);
    }
    play.judge.unavailable = false;
    for _ in 0..3 {
        assert_eq!(play.say(format!("AUTH PLAIN {WRONG}\r\n")), FAILED);
    }
    assert_eq!(play.codes(format!("AUTH PLAIN {WRONG}\r\n")), [421]);
    assert!(play.closed);
}

#[test]
fn a_password_is_not_shown_while_it_is_checked() {
    let mut session = Session::new(Arc::new(offer()), Limits::default(), true);
    let mut input = BytesMut::from("EHLO c\r\n");
    while session.poll(&mut input).is_some() {}
    input.extend_from_slice(b"AUTH LOGIN YWRh\r\n");
    while session.poll(&mut input).is_some() {}
    input.extend_from_slice(b"c2VjcmV0\r\n");
    let Some(Output::Authenticate(credentials)) = session.poll(&mut input) else { panic!("a login is asked about") };
    let shown = format!("{credentials:?}");
    assert!(shown.contains("Secret(…)") && !shown.contains("[115, 101"), "{shown}");
    assert!(session.poll(&mut input).is_none() && input.is_empty());
}
