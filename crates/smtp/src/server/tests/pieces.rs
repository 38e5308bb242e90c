//! Whatever comes, however it is cut.

use proptest::prelude::*;

use super::*;

/// Groups of commands, each sent when the one before is answered.
const DIALOGUES: [&[&str]; 6] = [
    &[
        "EHLO c\r\n",
        "MAIL FROM:<a@b> SIZE=3\r\nRCPT TO:<x@y>\r\nRCPT TO:<bad@y>\r\nDATA\r\n",
        "a\r\n..\r\n.b\r\n.\r\nQUIT\r\n",
    ],
    &[
        "EHLO c\r\n",
        "MAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nBDAT 5\r\nab\r\n\rBDAT 3 LAST\r\n\nc\nNOOP\r\nRSET\r\n",
        "DATA\r\n",
    ],
    &[
        "EHLO c\r\n",
        "MAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\n",
        "a\n.\r\nMAIL FROM:<x@y>\r\n.\r\nMAIL FROM:<a@b>\r\nQUIT\r\n",
    ],
    &["HELO c\r\n", "BDAT 3\r\nabcBDAT x\r\nMAIL FROM:<a@b>\r\n"],
    &[
        "EHLO c\r\n",
        "AUTH LOGIN\r\n",
        "YWRh\r\n",
        "c2VjcmV0\r\n",
        "MAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nBDAT 0 LAST\r\n",
    ],
    &[
        "EHLO c\r\n",
        "a\nb\r\nx\0\r\nNOOP\rNOOP\r\n\r\nMAIL FROM:<a@b>\nRSET\r\nNOOP\r\n",
        "MAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\n",
        ".\r\nQUIT\r\n",
    ],
];

/// All that can be seen of a session.
#[derive(Debug, PartialEq)]
struct Seen {
    said: String,
    stored: Vec<(Envelope, Vec<u8>)>,
    aborted: usize,
    closed: bool,
}

fn play_out(groups: &[&str], limits: Limits, mut cuts: impl Iterator<Item = usize>) -> Seen {
    let mut play = Play::with(Offer { auth: AuthOffer::Always, ..offer() }, limits, false);
    for group in groups {
        let mut rest = group.as_bytes();
        while !rest.is_empty() && !play.closed {
            let (piece, behind) = rest.split_at(cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
            play.say(piece);
            rest = behind;
        }
    }
    Seen { said: play.said, stored: play.stored, aborted: play.aborted, closed: play.closed }
}

#[test]
fn cut_at_any_octet_the_dialogue_is_the_same() {
    for groups in DIALOGUES {
        let whole = play_out(groups, Limits::default(), std::iter::empty());
        assert_eq!(play_out(groups, Limits::default(), std::iter::repeat(1)), whole);
        let octets: usize = groups.iter().map(|g| g.len()).sum();
        for cut in 1..octets {
            // Each group is cut once, at the same distance from its start.
            let cuts = groups.iter().flat_map(|g| if cut < g.len() { vec![cut, usize::MAX] } else { vec![usize::MAX] });
            assert_eq!(play_out(groups, Limits::default(), cuts), whole, "cut at {cut}");
        }
    }
}

/// Octets that are likely to mean something.
fn speech() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"EHLO c\r\n".to_vec()),
        Just(b"MAIL FROM:<a@b>".to_vec()),
        Just(b"RCPT TO:<x@y>\r\n".to_vec()),
        Just(b"RCPT TO:<bad@y>\r\n".to_vec()),
        Just(b"DATA\r\n".to_vec()),
        Just(b"BDAT 7".to_vec()),
        Just(b" LAST".to_vec()),
        Just(b"BDAT 0 LAST\r\n".to_vec()),
        Just(b"AUTH LOGIN\r\n".to_vec()),
        Just(b"STARTTLS\r\n".to_vec()),
        Just(b"RSET\r\n".to_vec()),
        Just(b" SIZE=30".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n.\r\n".to_vec()),
        Just(b".".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 1..20),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_or_keep_much(octets in speech(), cut in 1_usize..50, mishap in 0_usize..200) {
        let limits = Limits { line_octets_max: 64, auth_line_octets_max: 64, line_discard_octets_max: 128,
            message_octets_max: 40, discard_octets_max: 40, ..Limits::default() };
        let mut play = Play::limited(limits);
        for (number, piece) in octets.chunks(cut).enumerate() {
            if play.closed {
                break;
            }
            play.say(piece);
            if play.tls_starts > 0 && !play.session.client().tls {
                play.happens(Input::TlsStarted);
            }
            prop_assert!(play.closed || play.input.len() <= 64);
            if number == mishap {
                play.happens(if mishap % 2 == 0 { Input::Idle } else { Input::Leave(refusal(421)) });
            }
        }
        for (envelope, body) in &play.stored {
            prop_assert!(!envelope.recipients.is_empty());
            let text: String = body.iter().map(|b| char::from(*b)).collect();
            prop_assert!(text.len() <= 40 && !text.replace("\r\n", "").contains(['\r', '\n', '\0']));
        }
    }

    #[test]
    fn content_and_limits_do_not_depend_on_the_cut(
        content in "([a.]{0,5}(\r\n|\r\n|\r\n|\r|\n|\0)){0,12}",
        cuts in proptest::collection::vec(1_usize..30, 40),
    ) {
        let limits = Limits { message_octets_max: 30, discard_octets_max: 20, ..Limits::default() };
        let end = format!("{content}\r\n.\r\nNOOP\r\n");
        let groups = ["EHLO c\r\n", "MAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\n", &end];
        let whole = play_out(&groups, limits, std::iter::empty());
        let cut = play_out(&groups, limits, cuts.into_iter());
        prop_assert_eq!(whole, cut);
    }
}
