use std::borrow::Cow;

use base::{MessageId, Timestamp};
use mail::intake::{Fixups, Intake, IntakeLimits, IntakeOptions};

use super::commands::{Deeds, converse};

const HEAD: [&[u8]; 2] =
    [b"EHLO client.test\r\n", b"MAIL FROM:<ada@sender.test> BODY=8BITMIME\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"];

/// The content of a message: what is taken is clean and the same however it was cut up, and everything that later
/// reads it (the header's repair, the conversion to 7 bits, the page that shows it) bears it.
pub fn data(input: &[u8]) {
    let pieces: Vec<&[u8]> = super::cut(input).collect();
    let deeds = received(&pieces);
    let whole = pieces.concat();
    let at_once = received(&[&whole]);
    assert_eq!(deeds.messages, at_once.messages, "in pieces and at once");
    for message in &deeds.messages {
        expect_clean(message);
        taken_in(message);
        if let Ok(converted) = mail::downgrade::to_seven_bit(message) {
            assert!(converted.is_ascii(), "converted, and still not in 7 bits");
            if let Cow::Owned(converted) = converted {
                expect_clean(&converted);
            }
        }
        let view = mail::view::view(message);
        drop(view);
    }
}

fn received(pieces: &[&[u8]]) -> Deeds {
    let mut all = HEAD.to_vec();
    all.extend_from_slice(pieces);
    all.push(b"\r\n.\r\n");
    let deeds = converse(&all);
    assert!(deeds.sent.windows(5).any(|five| five == b"\r\n354"), "the content is read as content");
    deeds
}

/// Only CRLF ends a line, and there is no NUL: nobody behind us can find another end of data in it.
pub(super) fn expect_clean(message: &[u8]) {
    let mut before = 0;
    for (at, octet) in message.iter().enumerate() {
        let bad = match octet {
            0 => true,
            b'\n' => before != b'\r',
            b'\r' => message.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        assert!(!bad, "{octet:#04x} at {at} of {:?}", String::from_utf8_lossy(message));
        before = *octet;
    }
}

/// The header is completed the same way however the message is cut up, and the body is left alone.
fn taken_in(message: &[u8]) {
    let inspect = |chunk: usize| {
        let fixups = Fixups {
            id: MessageId::from_bytes([1; 16]),
            host: "relay.test".parse().expect("a good name"),
            now: Timestamp::from_secs(1_800_000_000),
        };
        let options =
            IntakeOptions { limits: IntakeLimits::default(), trace: b"Received: x\r\n".to_vec(), fixups: Some(fixups) };
        let mut intake = Intake::new(options);
        let mut out = Vec::new();
        for piece in message.chunks(chunk) {
            let portion = intake.feed(piece)?;
            out.extend_from_slice(portion.header);
            out.extend_from_slice(portion.body);
        }
        let finished = intake.finish()?;
        out.extend_from_slice(&finished.tail);
        assert_eq!(finished.inspected.octets, out.len() as u64, "what left is what was counted");
        Ok::<_, mail::intake::IntakeError>(out)
    };
    let at_once = inspect(message.len().max(1));
    assert_eq!(inspect(1), at_once, "octet by octet and at once");
    if let Ok(out) = at_once {
        expect_clean(&out);
        let body = message.windows(4).position(|four| four == b"\r\n\r\n").map(|at| &message[at + 4..]);
        if let Some(body) = body.filter(|_| !message.starts_with(b"\r\n")) {
            assert!(out.ends_with(body), "the body is left alone");
        }
    }
}
