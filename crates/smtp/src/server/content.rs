//! The content of a message on its way through: where it ends, and whether it may be taken.

use memchr::memmem::Finder;

/// Why a content is refused; told at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// A lone CR, a lone LF or a NUL is in it.
    Stray,
    TooLarge,
}

/// What is known of the content so far, whether it comes by DATA or in chunks.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// As RFC 1870 counts, thrown-away ones included.
    octets: u64,
    /// The last octet was a CR.
    after_cr: bool,
    refused: Option<Refused>,
}

impl Content {
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Looks at the next piece. If it, or one before it, makes the whole unacceptable, it says so.
    ///
    /// What counts is the first fault in the order of octets, so that the cut into pieces decides
    /// nothing.
    pub(super) fn take(&mut self, piece: &[u8], octets_max: u64) -> Option<Refused> {
        let room = usize::try_from(octets_max.saturating_sub(self.octets)).unwrap_or(usize::MAX);
        self.octets = self.octets.saturating_add(piece.len() as u64);
        if self.refused.is_some() {
            return self.refused;
        }
        if has_stray(self.after_cr, &piece[..piece.len().min(room)]) {
            self.refused = Some(Refused::Stray);
        } else if piece.len() > room {
            self.refused = Some(Refused::TooLarge);
        }
        self.after_cr = piece.last().map_or(self.after_cr, |last| *last == b'\r');
        self.refused
    }

    /// The client announces more than there is room for.
    pub(super) fn refuse_too_large(&mut self) {
        self.refused.get_or_insert(Refused::TooLarge);
    }

    /// The content is complete: a CR at its very end is a lone one.
    pub(super) fn end(&mut self) -> Option<Refused> {
        if self.refused.is_none() && self.after_cr {
            self.refused = Some(Refused::Stray);
        }
        self.refused
    }
}

/// Whether a CR stands before anything but LF, an LF behind anything but CR, or there is a NUL.
/// Written without branches, so that the compiler makes vector code of it.
fn has_stray(after_cr: bool, piece: &[u8]) -> bool {
    let Some((first, rest)) = piece.split_first() else { return false };
    let edge = (*first == b'\n') != after_cr || *first == 0;
    let inner = piece.iter().zip(rest).fold(0_u8, |found, (before, octet)| {
        found | u8::from((*before == b'\r') != (*octet == b'\n')) | u8::from(*octet == 0)
    });
    edge || inner != 0
}

/// What stands at the front of the buffer during DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Content, from the first position to the second.
    Body { from: usize, to: usize },
    /// The final dot and its CRLF: so many octets.
    End(usize),
    /// More is needed.
    Partial,
}

/// Takes dot-stuffing off and finds the end (RFC 5321 §4.5.2). Two octets at most stay in the buffer
/// while it is unclear what they are.
#[derive(Debug)]
pub(super) struct Dots {
    dot_line: Finder<'static>,
    line_start: bool,
}

impl Dots {
    pub(super) fn new() -> Dots {
        // The end of DATA's own command line is the CRLF in front of the first dot.
        Dots { dot_line: Finder::new(b"\r\n."), line_start: true }
    }

    /// Says what comes next; the caller then takes that off the buffer.
    pub(super) fn next(&mut self, input: &[u8]) -> Piece {
        let from = match input {
            [b'.', b'\r', b'\n', ..] if self.line_start => return Piece::End(3),
            [b'.'] | [b'.', b'\r'] if self.line_start => return Piece::Partial,
            [b'.', ..] if self.line_start => 1,
            _ => 0,
        };
        let (to, line_start) = match self.dot_line.find(&input[from..]) {
            Some(at) => (from + at + 2, true),
            // A CR at the end may be the first third of what we look for.
            None if input.last() == Some(&b'\r') => (input.len() - 1, false),
            None => (input.len(), input.ends_with(b"\r\n")),
        };
        if to == from {
            return Piece::Partial;
        }
        self.line_start = line_start;
        Piece::Body { from, to }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unstuffed(pieces: &[&[u8]]) -> (Vec<u8>, Option<usize>) {
        let mut dots = Dots::new();
        let (mut input, mut body) = (Vec::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match dots.next(&input) {
                    Piece::Body { from, to } => {
                        body.extend_from_slice(&input[from..to]);
                        input.drain(..to);
                    }
                    Piece::End(octets) => {
                        return (body, Some(input.len() - octets));
                    }
                    Piece::Partial => break,
                }
            }
            assert!(input.len() <= 2, "{input:?} is held back");
        }
        (body, None)
    }

    #[test]
    fn dots_are_taken_off_and_only_one_thing_is_the_end() {
        for (stream, body) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b".a\r\n.\r\n", b"a\r\n"),
            (b"\r\n..b\r\n...\r\n.\r\n", b"\r\n.b\r\n..\r\n"),
            (b"a\r\n\r\n.\r\n", b"a\r\n\r\n"),
            (b"a\n.\n\r\n.\r\n", b"a\n.\n\r\n"),
            (b"a\n.\r\n\r\n.\r\n", b"a\n.\r\n\r\n"),
            (b"a\r.\r\n\r\n.\r\n", b"a\r.\r\n\r\n"),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
            (b"a\r\n\0.\r\n\r\n.\r\n", b"a\r\n\0.\r\n\r\n"),
        ] {
            let text = String::from_utf8_lossy(stream);
            assert_eq!(unstuffed(&[stream]), (body.to_vec(), Some(0)), "{text:?}");
            let octets: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(unstuffed(&octets), (body.to_vec(), Some(0)), "{text:?} octet by octet");
        }
    }

    #[test]
    fn strays_are_found_across_pieces() {
        for (text, bad) in [
            (&b"a\r\nb\r\n"[..], false),
            (b"\r\n\r\n", false),
            (b"", false),
            (b"a\rb", true),
            (b"a\nb", true),
            (b"\n", true),
            (b"a\r\r\n", true),
            (b"a\r\n\n", true),
            (b"a\0b", true),
            (b"\0", true),
            (b"a\r", true),
        ] {
            for size in 1..=4 {
                let mut content = Content::default();
                for piece in text.chunks(size) {
                    content.take(piece, 1000);
                }
                assert_eq!(content.end().is_some(), bad, "{:?} by {size}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn the_first_fault_counts_and_the_limit_is_exact() {
        let judged = |text: &[u8], octets_max: u64, size: usize| {
            let mut content = Content::default();
            for piece in text.chunks(size) {
                content.take(piece, octets_max);
            }
            content.end()
        };
        for size in 1..=8 {
            assert_eq!(judged(b"12345678", 8, size), None);
            assert_eq!(judged(b"123456789", 8, size), Some(Refused::TooLarge));
            assert_eq!(judged(b"123\n567890", 8, size), Some(Refused::Stray));
            assert_eq!(judged(b"12345678\n", 8, size), Some(Refused::TooLarge));
        }
    }

    proptest! {
        #[test]
        fn stuffing_comes_off_as_it_was_put_on(
            lines in proptest::collection::vec("[.a\r]{0,4}", 0..20),
            cut in 1_usize..9,
        ) {
            let (mut sent, mut body) = (Vec::new(), Vec::new());
            for line in &lines {
                if line.starts_with('.') {
                    sent.push(b'.');
                }
                sent.extend_from_slice(line.as_bytes());
                sent.extend_from_slice(b"\r\n");
                body.extend_from_slice(line.as_bytes());
                body.extend_from_slice(b"\r\n");
            }
            sent.extend_from_slice(b".\r\nQUIT\r\n");
            let pieces: Vec<&[u8]> = sent.chunks(cut).collect();
            prop_assert_eq!(unstuffed(&pieces).0, body);
        }

        #[test]
        fn strays_are_those_a_slow_reader_finds(octets in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(b'a')], 0..40), cut in 1_usize..9) {
            let text: String = octets.iter().map(|b| char::from(*b)).collect();
            let slow = text.replace("\r\n", "").contains(['\r', '\n', '\0']);
            let mut content = Content::default();
            for piece in octets.chunks(cut) {
                content.take(piece, 1000);
            }
            prop_assert_eq!(content.end().is_some(), slow);
        }
    }
}
