//! STARTTLS (RFC 3207).

use super::*;

#[test]
fn the_handshake_forgets_all_that_was_said() {
    let mut play = Play::greeted();
    assert_eq!(play.say("STARTTLS\r\n"), "220 2.0.0 Ready to start TLS\r\n");
    assert_eq!(play.tls_starts, 1);
    assert_eq!(play.happens(Input::TlsStarted), "", "there is no second greeting");
    assert_eq!(play.session.client(), &Client { tls: true, ..Client::default() });
    assert_eq!(play.codes("MAIL FROM:<a@b>\r\n"), [503], "the name is forgotten");
    let listed = play.say("EHLO c\r\n");
    assert!(listed.contains("250-AUTH PLAIN LOGIN") && !listed.contains("STARTTLS"), "{listed}");
    assert_eq!(play.codes("STARTTLS\r\n"), [503], "once is enough");
}

#[test]
fn octets_in_front_of_the_handshake_are_never_run() {
    let mut play = Play::greeted();
    assert_eq!(play.codes("STARTTLS\r\nEHLO evil\r\n"), [554]);
    assert!(play.closed && play.tls_starts == 0);
    // Half a line in front of the handshake is no half of a line behind it.
    let mut play = Play::greeted();
    play.say("STARTTLS\r\n");
    assert!(play.input.is_empty());
    play.happens(Input::TlsStarted);
    assert_eq!(play.codes("EHLO c\r\n"), [250]);
}

#[test]
fn starttls_has_its_place() {
    let mut play = Play::with(Offer { starttls: false, ..offer() }, Limits::default(), false);
    play.say("EHLO c\r\n");
    assert_eq!(play.codes("STARTTLS\r\n"), [502]);
    assert_eq!(Play::greeted().codes("STARTTLS now\r\n"), [501]);
    let mut play = Play::with(Offer { auth: AuthOffer::Always, ..offer() }, Limits::default(), false);
    play.say("EHLO c\r\n");
    assert_eq!(play.codes("AUTH PLAIN AGFkYQBzZWNyZXQ=\r\n"), [235]);
    assert_eq!(play.codes("STARTTLS\r\n"), [503], "who is authenticated has sent his password already");
}

#[test]
fn a_handshake_that_hangs_can_be_ended() {
    let mut play = Play::greeted();
    play.say("STARTTLS\r\n");
    play.happens(Input::Idle);
    assert!(play.closed);
}
