use super::*;
use proptest::prelude::*;

fn lines(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn converted(text: &str) -> String {
    let message = lines(text);
    String::from_utf8(to_seven_bit(&message).unwrap().into_owned()).unwrap().replace("\r\n", "\n")
}

fn refused(text: &str) -> NotConvertible {
    to_seven_bit(&lines(text)).unwrap_err()
}

#[test]
fn a_text_becomes_quoted_printable() {
    assert_eq!(
        converted(
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nX: y\n\nGrüße = hi all of you\n"
        ),
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\nX: y\n\nGr=C3=BC=C3=9Fe =3D hi all of you\n"
    );
}

#[test]
fn a_text_that_says_nothing_of_itself_is_labelled() {
    assert_eq!(
        converted("Subject: x\n\nGrüße und vieles mehr\n"),
        "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe und vieles mehr\n"
    );
    let latin = to_seven_bit(b"Subject: x\r\n\r\na long line and \xfc\r\n").unwrap().into_owned();
    assert!(String::from_utf8(latin).unwrap().contains("charset=unknown-8bit\r\n"));
    assert!(
        converted("grün und noch viel mehr Text\n")
            .ends_with("quoted-printable\n\ngr=C3=BCn und noch viel mehr Text\n")
    );
}

#[test]
fn what_is_no_text_becomes_base64() {
    let mut message = lines("Content-Type: image/png\nContent-Transfer-Encoding: binary\n\n");
    let header_octets = message.len();
    message.extend((0..=255).cycle().take(1000));
    let out = to_seven_bit(&message).unwrap();
    let (section, body) = header::split(&out);
    assert_eq!(header::find(section, "content-transfer-encoding").unwrap().text(), "base64");
    let bare: Vec<u8> = body.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    assert_eq!(data_encoding::BASE64.decode(&bare).unwrap(), &message[header_octets..]);
    assert!(body.ends_with(b"\r\n") && is_seven_bit_clean(&out));
}

#[test]
fn only_parts_that_need_it_change_and_containers_are_relabelled() {
    assert_eq!(
        converted(
            "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n\npreamble é\n--b\nContent-Transfer-Encoding: 8bit\n\nplain\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: in\nContent-Type: text/plain; charset=utf-8\n\nüber all this text\n--b\nContent-Type: text/x\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n"
        ),
        "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\nMIME-Version: 1.0\n\npreamble ??\n--b\nContent-Transfer-Encoding: 7bit\n\nplain\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: in\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BCber all this text\n--b\nContent-Type: text/x\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n"
    );
}

#[test]
fn what_may_not_be_converted_is_refused() {
    assert_eq!(refused("Subject: grün\n\nx\n"), NotConvertible::HeaderEightBit);
    assert_eq!(
        refused(
            "Content-Type: multipart/signed; boundary=b\n\n--b\n\ngrün\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n"
        ),
        NotConvertible::Signed
    );
    for encoding in ["quoted-printable", "base64", "x-uuencode", "8bit\nContent-Transfer-Encoding: 7bit"] {
        assert_eq!(refused(&format!("Content-Transfer-Encoding: {encoding}\n\ngrün\n")), NotConvertible::Mislabelled);
    }
    assert_eq!(
        refused("Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\nü\n--b--\n"),
        NotConvertible::Mislabelled
    );
    assert_eq!(refused("Content-Type: message/partial; id=1; number=1\n\nü\n"), NotConvertible::Fragment);
    assert_eq!(refused("Content-Type: multipart/mixed\n\n--b\n\nü\n"), NotConvertible::TooComplex);
    assert_eq!(refused("Content-Type: message/rfc822\n\nSubject: ü\n\nx\n"), NotConvertible::HeaderEightBit);
}

#[test]
fn a_signed_part_without_eight_bit_content_stays_as_it_is() {
    let signed = "--o\nContent-Type: multipart/signed; boundary=s\n\n--s\nContent-Transfer-Encoding: 8bit\n\nplain \n--s\nContent-Type: application/pgp-signature\n\nx\n--s--\n";
    let out = converted(&format!(
        "Content-Type: multipart/mixed; boundary=o\n\n{signed}--o\n\nü this is a footer of a list\n--o--\n"
    ));
    assert!(out.contains(signed));
    assert!(out.contains("=C3=BC this"));
}

#[test]
fn messages_in_utf8_travel_encoded() {
    let out = converted(
        "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/global\n\nSubject: ü\n\nx\n--o--\n",
    );
    assert!(out.contains(
        "Content-Type: message/global\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogw7wNCg0KeA==\n--o--"
    ));
}

#[test]
fn bombs_are_refused_and_not_explored() {
    let deep: String =
        (0..10_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
    assert_eq!(refused(&(deep + "\nü")), NotConvertible::TooComplex);
    let nested = "Content-Type: message/rfc822\n\n".repeat(10_000) + "\n\nü";
    assert_eq!(refused(&nested), NotConvertible::TooComplex);
    let many = "Content-Type: multipart/mixed; boundary=b\n\n".to_owned() + &"--b\n\nü\n".repeat(100_000);
    assert_eq!(refused(&many), NotConvertible::TooComplex);
}

proptest! {
    #[test]
    fn whatever_comes_out_is_ascii_and_needs_no_second_pass(
        tokens in proptest::collection::vec(prop_oneof![
            Just("\r\n"), Just("\r\n\r\n"), Just("\r\n--a\r\n"), Just("\r\n--a--\r\n"), Just("--b\r\n"),
            Just("Content-Type: multipart/mixed; boundary=a\r\n"), Just("Content-Type: multipart/signed; boundary=b\r\n"),
            Just("Content-Type: message/rfc822\r\n"), Just("Content-Transfer-Encoding: 8bit\r\n"), Just("Content-Transfer-Encoding: binary\r\n"),
            Just("text\r\n"), Just("grün und mehr Text\r\n"), Just("\u{80}"), Just("X: y\r\n"), Just("\r"), Just("\n"),
        ], 0..25),
    ) {
        let message = tokens.concat();
        if let Ok(out) = to_seven_bit(message.as_bytes()) {
            prop_assert!(out.is_ascii());
            let again = to_seven_bit(&out).map(Cow::into_owned);
            prop_assert_eq!(again.as_deref(), Ok(&*out));
        }
    }

    #[test]
    fn any_octets_are_taken(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(out) = to_seven_bit(&message) {
            prop_assert!(out.is_ascii());
        }
    }
}
