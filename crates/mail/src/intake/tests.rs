use super::*;
use crate::header;
use proptest::prelude::*;

const TRACE: &[u8] = b"Received: by here; now\r\n";

fn options() -> IntakeOptions {
    let fixups = Fixups {
        id: MessageId::from_bytes([1; 16]),
        host: Domain::parse("relay.example.net").unwrap(),
        now: Timestamp::from_secs(0),
    };
    IntakeOptions { limits: IntakeLimits::default(), trace: TRACE.to_vec(), fixups: Some(fixups) }
}

const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n";
const ID: &str = "Message-ID: <01010101-0101-0101-0101-010101010101@relay.example.net>\r\n";

/// Feeds a message in the given pieces.
fn run<'a>(
    options: IntakeOptions,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Inspected), IntakeError> {
    let mut intake = Intake::new(options);
    let mut out = Vec::new();
    for piece in pieces {
        let portion = intake.feed(piece)?;
        out.extend_from_slice(portion.header);
        out.extend_from_slice(portion.body);
    }
    let finished = intake.finish()?;
    out.extend_from_slice(&finished.tail);
    assert_eq!(finished.inspected.octets, out.len() as u64);
    Ok((out, finished.inspected))
}

fn whole(message: &[u8]) -> (Vec<u8>, Inspected) {
    run(options(), [message]).unwrap()
}

/// What leaves for `message`, without our trace field in front.
fn sent(message: &[u8]) -> String {
    let (out, _) = whole(message);
    String::from_utf8(out.strip_prefix(TRACE).unwrap().to_vec()).unwrap()
}

#[test]
fn a_complete_message_is_only_given_our_trace() {
    let message = "Date: x\r\nFrom: a@b\r\nMESSAGE-ID: <1@b>\r\n\r\nbody\r\n.\r\n\r\n";
    assert_eq!(sent(message.as_bytes()), message);
}

#[test]
fn date_and_message_id_are_added_behind_the_clients_fields() {
    assert_eq!(sent(b"From: a@b\r\n\r\nhi\r\n"), format!("From: a@b\r\n{DATE}{ID}\r\nhi\r\n"));
    let (_, inspected) = whole(b"From: a@b\r\n\r\nhi\r\n");
    assert_eq!(inspected.message_id.as_deref(), Some(&ID["Message-ID: ".len()..ID.len() - 2]));
}

#[test]
fn what_must_not_travel_is_taken_out_whole() {
    let message = b"Bcc: secret@x,\r\n other@x\r\nReturn-Path: <a@b>\r\nFrom: a@b\r\nresent-bcc : x@y\r\nX: 1\r\nBCC:\r\n\r\nBcc: text\r\n";
    assert_eq!(sent(message), format!("From: a@b\r\nX: 1\r\n{DATE}{ID}\r\nBcc: text\r\n"));
    let untouched = IntakeOptions { fixups: None, ..options() };
    let (out, _) = run(untouched, [&message[..]]).unwrap();
    assert_eq!(out, [TRACE, message].concat());
}

#[test]
fn messages_without_header_or_without_body_become_valid() {
    assert_eq!(sent(b""), format!("{DATE}{ID}\r\n"));
    assert_eq!(sent(b"\r\nhi"), format!("{DATE}{ID}\r\nhi"));
    assert_eq!(sent(b"just text\r\nFrom: a\r\n"), format!("{DATE}{ID}\r\njust text\r\nFrom: a\r\n"));
    assert_eq!(sent(b" indented\r\n"), format!("{DATE}{ID}\r\n indented\r\n"));
    assert_eq!(sent(b"From: a@b\r\n"), format!("From: a@b\r\n{DATE}{ID}\r\n"));
    assert_eq!(sent(b"From: a@b"), format!("From: a@b\r\n{DATE}{ID}\r\n"));
    assert_eq!(sent(b"From: a@b\r\nBcc: x"), format!("From: a@b\r\n{DATE}{ID}\r\n"));
    assert_eq!(
        sent(b"From: a@b\r\ntext here\r\nTo: x\r\n"),
        format!("From: a@b\r\n{DATE}{ID}\r\ntext here\r\nTo: x\r\n")
    );
    assert_eq!(sent(b"\r"), format!("{DATE}{ID}\r\n\r"));
}

#[test]
fn what_the_history_wants_to_know_is_found() {
    let subject = "s".repeat(600);
    let message = format!(
        "Received: 1\r\nreceived: 2\r\nFrom: Ada\r\n <a@b>\r\nSubject: {subject}\r\nMessage-ID:\r\n <x@y>\r\n\r\ntext"
    );
    let (_, inspected) = whole(message.as_bytes());
    assert_eq!(inspected.received, 2);
    assert_eq!(inspected.from.as_deref(), Some("Ada <a@b>"));
    assert_eq!(inspected.from_fields, 1);
    assert_eq!(inspected.subject.as_deref(), Some(&subject[..512]));
    assert_eq!(inspected.message_id.as_deref(), Some("<x@y>"));
    assert!(!inspected.eight_bit && !inspected.spaced_name);
    assert_eq!(inspected.repeated, None);
}

#[test]
fn a_subject_is_cut_between_characters() {
    let (_, inspected) = whole(format!("Subject: {}\r\n\r\n", "ü€".repeat(300)).as_bytes());
    let subject = inspected.subject.unwrap();
    assert!(subject.len() <= 512 && subject.len() > 508 && inspected.eight_bit_header && inspected.eight_bit);
    let (_, inspected) = whole(b"Subject: \xff\xfe\r\n\r\n");
    assert_eq!(inspected.subject.as_deref(), Some("\u{FFFD}\u{FFFD}"));
}

#[test]
fn eight_bit_is_seen_wherever_it_stands() {
    assert!(whole(b"A: 1\r\n\r\n\x80").1.eight_bit);
    assert!(!whole(b"A: 1\r\n\r\n\x80").1.eight_bit_header);
    assert!(whole(b"gr\xc3\xbcn").1.eight_bit);
    assert!(!whole(b"Bcc: gr\xc3\xbcn@x\r\n\r\n").1.eight_bit, "the field that had it is gone");
    assert!(!whole(b"A: \x7f\r\n\r\n\x7f").1.eight_bit);
}

#[test]
fn what_readers_disagree_about_is_reported() {
    let two = whole(b"From: a@b\r\nFROM: c@d\r\n\r\n").1;
    assert_eq!((two.from_fields, two.repeated), (2, Some("From")));
    assert_eq!(whole(b"From: a@b\r\nFrom : c@d\r\n\r\n").1.from_fields, 2);
    assert!(whole(b"From : c@d\r\n\r\n").1.spaced_name);
    assert_eq!(whole(b"To: x\r\n\r\n").1.from_fields, 0);
    assert_eq!(whole(b"Subject: 1\r\nsubject: 2\r\n\r\n").1.repeated, Some("Subject"));
    assert_eq!(whole(b"content-type: 1\r\nContent-Type: 2\r\n\r\n").1.repeated, Some("Content-Type"));
    assert_eq!(whole(b"Received: 1\r\nReceived: 2\r\nX: 1\r\nX: 2\r\n\r\n").1.repeated, None);
}

#[test]
fn a_message_that_goes_in_circles_is_refused() {
    let hops = |n: usize| format!("{}From: a@b\r\n\r\n", "Received: x\r\n".repeat(n));
    assert_eq!(run(options(), [hops(49).as_bytes()]).unwrap().1.received, 49);
    assert_eq!(run(options(), [hops(50).as_bytes()]).unwrap_err(), IntakeError::TooManyHops { received: 50 });
}

#[test]
fn the_header_limit_is_exact_and_says_so_again() {
    let limits = IntakeLimits { header_octets_max: 100, received_max: 50 };
    let small = || IntakeOptions { limits, ..options() };
    let error = IntakeError::HeaderTooLarge { octets_max: 100 };
    for piece_octets in [1, 7, 1000] {
        let with_header = |octets: usize, end: &str| format!("X: {}\r\n{end}", "x".repeat(octets - 5));
        for (end, fits) in [("\r\n", 100), ("\r\nbody", 100), ("", 100), ("not a field\r\n", 100)] {
            let take = |octets| {
                let message = with_header(octets, end).into_bytes();
                run(small(), message.chunks(piece_octets)).map(|_| ())
            };
            assert_eq!(take(fits), Ok(()), "{end:?} in pieces of {piece_octets}");
            assert_eq!(take(fits + 1), Err(error), "{end:?} in pieces of {piece_octets}");
        }
    }
    let mut intake = Intake::new(small());
    let large = [b"X: ", &[b'x'; 200][..]].concat();
    assert_eq!(intake.feed(&large).unwrap_err(), error);
    assert_eq!(intake.feed(b"\r\n\r\n").unwrap_err(), error);
    assert_eq!(intake.finish().unwrap_err(), error);
}

#[test]
fn a_body_without_a_header_may_have_any_line_length() {
    let text = vec![b'x'; 1_000_000];
    for piece_octets in [1000, 1_000_000] {
        let (out, _) = run(options(), text.chunks(piece_octets)).unwrap();
        assert!(out.ends_with(&text) && out.len() < text.len() + 300);
    }
}

#[test]
fn a_huge_header_is_refused_without_being_kept() {
    let piece = [b'x'; 65536];
    let mut intake = Intake::new(options());
    intake.feed(b"X: ").unwrap();
    let mut fed = 0;
    let refused = loop {
        fed += piece.len();
        if let Err(error) = intake.feed(&piece) {
            break error;
        }
        let State::Header { held, .. } = &intake.state else { panic!("no end was seen") };
        assert!(held.len() <= 256 * 1024 + 2);
    };
    assert_eq!(refused, IntakeError::HeaderTooLarge { octets_max: 256 * 1024 });
    assert!(fed <= 5 * piece.len(), "refused as soon as it is too large");
}

#[test]
fn a_hundred_thousand_fields_are_refused_or_read_in_one_pass() {
    let many = "A:\r\n".repeat(100_000) + "\r\n";
    assert_eq!(run(options(), [many.as_bytes()]).unwrap_err(), IntakeError::HeaderTooLarge { octets_max: 262_144 });
    let limits = IntakeLimits { header_octets_max: 1 << 20, received_max: 50 };
    let bccs = "Bcc:\r\n".repeat(100_000) + "\r\n";
    let mut intake = Intake::new(IntakeOptions { limits, ..options() });
    for piece in bccs.as_bytes()[..599_999].chunks(1) {
        intake.feed(piece).unwrap();
    }
    let State::Header { scan, .. } = &intake.state else { panic!("the section has not ended") };
    assert_eq!(scan.removable.len(), 1, "neighbours are one range");
    let (out, _) = run(IntakeOptions { limits, ..options() }, [bccs.as_bytes()]).unwrap();
    assert_eq!(out, [TRACE, DATE.as_bytes(), ID.as_bytes(), b"\r\n"].concat());
}

#[test]
fn lines_of_every_length_pass_unchanged() {
    for octets in [0, 1, 998, 999, 1000, 1001, 100_000] {
        let line = "y".repeat(octets);
        let message =
            format!("Date: x\r\nMessage-ID: <x>\r\nX: {line}\r\n {line}\r\n\r\n{line}\r\n.{line}\r\n..\r\n{line}");
        assert_eq!(sent(message.as_bytes()), message);
    }
}

/// Bytes that look like a message often enough to reach the deeper corners.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"From: a@b\r\n".to_vec()),
        Just(b"Bcc: x@y\r\n".to_vec()),
        Just(b"bcc :\r\n fold\r\n".to_vec()),
        Just(b"Return-Path: <>\r\n".to_vec()),
        Just(b"Date: d\r\n".to_vec()),
        Just(b"message-id: <i>\r\n".to_vec()),
        Just(b"Subject: ".to_vec()),
        Just(b" folded\r\n".to_vec()),
        Just(b":".to_vec()),
        Just(b"text".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn pieces_make_no_difference(message in messages(), cuts in proptest::collection::vec(1_usize..9, 1..40), max in 0_usize..60) {
        let limits = IntakeLimits { header_octets_max: max, received_max: 3 };
        for options in [options(), IntakeOptions { limits, ..options() }] {
            let once = run(options.clone(), [&message[..]]);
            let mut rest = &message[..];
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle().take(200) {
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            prop_assert_eq!(run(options, pieces), once);
        }
    }

    #[test]
    fn the_clients_bytes_leave_as_they_came(message in messages()) {
        let (out, inspected) = whole(&message);
        let (section, body) = header::split(&message);
        let gone = ["Bcc", "Resent-Bcc", "Return-Path"];
        let mut kept: Vec<u8> = header::fields(section).filter(|f| !gone.iter().any(|g| f.is(g))).flat_map(|f| f.raw.to_vec()).collect();
        if !kept.is_empty() && !kept.ends_with(b"\r\n") {
            kept.extend_from_slice(b"\r\n");
        }
        let out = out.strip_prefix(TRACE).expect("our trace comes first");
        let rest = out.strip_prefix(&kept[..]).expect("then the client's own fields");
        let ours = rest.strip_suffix(body).expect("the body comes last");
        let mut expected = String::new();
        if header::find(section, "Date").is_none() { expected += DATE; }
        if header::find(section, "Message-ID").is_none() { expected += ID; }
        expected += "\r\n";
        prop_assert_eq!(ours, expected.as_bytes());
        prop_assert_eq!(inspected.eight_bit, !out.is_ascii());
        // What left is a message whose header section ends with an empty line.
        let again: Vec<u8> = header::fields(out).flat_map(|f| f.raw.to_vec()).collect();
        prop_assert!(out[again.len()..].starts_with(b"\r\n"));
        prop_assert_eq!(header::split(out).1, body);
    }
}
