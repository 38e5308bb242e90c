//! Reading the replies of SMTP servers (RFC 5321 §4.2), which may be anybody's.
//!
//! Tolerant where the world is sloppy (a bare LF ends a line, the text may be missing, may be
//! 8-bit, may hold NULs), strict where sloppiness loses mail: each line starts with three digits,
//! all lines of one reply carry the same code, and there is an end to it. Works however the
//! octets are cut, and looks at each of them once.

use base::Reply;
use bytes::{Buf, BytesMut};

/// More lines than this are no reply: EHLO, the longest honest one, has about twenty.
pub const LINES_MAX: usize = 128;
/// A reply, all its lines together, with line ends. RFC 5321 §4.5.3.1.5 gives a line 512 octets.
pub const OCTETS_MAX: usize = 64 * 1024;

/// Why what a peer sent is no reply. All are the peer's fault, and none says anything about the
/// message: the connection cannot be used any more, and the mail waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("the server sent a line that starts with no three-digit code")]
    Syntax,
    #[error("the server sent one reply with two different codes")]
    CodesDiffer,
    #[error("the server sent a reply of more than {LINES_MAX} lines")]
    TooManyLines,
    #[error("the server sent a reply of more than {OCTETS_MAX} octets")]
    TooLong,
}

/// A reply with all its lines, parted by `\n`, as they came (made UTF-8, without the codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'a> {
    pub code: u16,
    pub lines: &'a str,
}

impl Parsed<'_> {
    /// What is kept of it: safe to show and at most 1 KiB.
    pub fn to_reply(self) -> Reply {
        Reply::from_peer(self.code, self.lines)
    }
}

/// Takes replies out of a stream of octets.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// The code of a reply of which only some lines have come.
    open: Option<u16>,
    text: String,
    lines: usize,
    octets: usize,
    /// So much of the buffer is known to hold no line end.
    scanned: usize,
}

impl ReplyParser {
    /// Takes the next whole reply off the front of `buffer`. What it leaves there belongs to the
    /// next reply, and is never more than [`OCTETS_MAX`].
    ///
    /// # Errors
    /// When it is no reply. After an error the stream has no meaning any more.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Parsed<'_>>, ReplyError> {
        loop {
            let from = self.scanned.min(buffer.len());
            let Some(found) = memchr::memchr(b'\n', &buffer[from..]) else {
                self.scanned = buffer.len();
                if self.octets + buffer.len() > OCTETS_MAX {
                    return Err(ReplyError::TooLong);
                }
                return Ok(None);
            };
            let length = from + found + 1;
            let line = &buffer[..length - 1];
            let last = self.line(line.strip_suffix(b"\r").unwrap_or(line), length)?;
            self.scanned = 0;
            buffer.advance(length);
            if let Some(code) = last {
                return Ok(Some(Parsed { code, lines: &self.text }));
            }
        }
    }

    /// Takes one line in. `Some(code)`: it was the last of its reply.
    fn line(&mut self, line: &[u8], octets: usize) -> Result<Option<u16>, ReplyError> {
        if self.open.is_none() {
            self.text.clear();
            self.lines = 0;
            self.octets = 0;
        }
        self.lines += 1;
        self.octets += octets;
        if self.octets > OCTETS_MAX {
            return Err(ReplyError::TooLong);
        }
        if self.lines > LINES_MAX {
            return Err(ReplyError::TooManyLines);
        }
        let (code, mark, text) = take_apart(line).ok_or(ReplyError::Syntax)?;
        if self.open.is_some_and(|open| open != code) {
            return Err(ReplyError::CodesDiffer);
        }
        if self.lines > 1 {
            self.text.push('\n');
        }
        self.text.push_str(&String::from_utf8_lossy(text));
        match mark {
            Mark::More => {
                self.open = Some(code);
                Ok(None)
            }
            Mark::Last => {
                self.open = None;
                Ok(Some(code))
            }
        }
    }
}

enum Mark {
    More,
    Last,
}

/// `250-text`, `250 text` or `250`. Any three digits: what a code means is for others to say.
fn take_apart(line: &[u8]) -> Option<(u16, Mark, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let mut code = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        code = code * 10 + u16::from(digit - b'0');
    }
    match rest {
        [] => Some((code, Mark::Last, rest)),
        [b' ', text @ ..] => Some((code, Mark::Last, text)),
        [b'-', text @ ..] => Some((code, Mark::More, text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a parser makes of a stream that comes in pieces of `piece` octets.
    fn read(stream: &[u8], piece: usize) -> Result<Vec<(u16, String)>, ReplyError> {
        let mut parser = ReplyParser::default();
        let mut buffer = BytesMut::new();
        let mut replies = Vec::new();
        for part in stream.chunks(piece) {
            buffer.extend_from_slice(part);
            while let Some(reply) = parser.next(&mut buffer)? {
                replies.push((reply.code, reply.lines.to_owned()));
            }
        }
        Ok(replies)
    }

    #[test]
    fn replies_are_read_however_they_are_cut() {
        let stream = b"220 mx ready\r\n250-one\r\n250-\r\n250 two\r\n354\r\n250 \r\n";
        let whole = vec![
            (220, "mx ready".to_owned()),
            (250, "one\n\ntwo".to_owned()),
            (354, String::new()),
            (250, String::new()),
        ];
        for piece in 1..=stream.len() {
            assert_eq!(read(stream, piece), Ok(whole.clone()), "in pieces of {piece}");
        }
    }

    #[test]
    fn sloppy_line_ends_and_odd_octets_are_taken_as_they_are() {
        assert_eq!(read(b"250-a\n250 b\n", 5), Ok(vec![(250, "a\nb".to_owned())]));
        assert_eq!(read(b"999 what\r\n", 99), Ok(vec![(999, "what".to_owned())]));
        assert_eq!(read(b"250 a\0b\r\r\n", 99), Ok(vec![(250, "a\0b\r".to_owned())]));
        assert_eq!(read(b"550 gr\xe5 \xff\r\n", 99), Ok(vec![(550, "gr\u{FFFD} \u{FFFD}".to_owned())]));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for stream in ["hello\r\n", "25 x\r\n", "2500 x\r\n", "\r\n", " 250 x\r\n", "25o x\r\n", "250\tx\r\n"] {
            assert_eq!(read(stream.as_bytes(), 3), Err(ReplyError::Syntax), "{stream:?}");
        }
        assert_eq!(read(b"250-a\r\n550 b\r\n", 4), Err(ReplyError::CodesDiffer));
    }

    #[test]
    fn an_endless_reply_has_an_end() {
        assert_eq!(read(&b"220-x\r\n".repeat(LINES_MAX + 1), 7), Err(ReplyError::TooManyLines));
        assert_eq!(read(&[b'2'; OCTETS_MAX + 2], 1000), Err(ReplyError::TooLong));
        let long = format!("220-{}\r\n", "x".repeat(OCTETS_MAX / 16));
        assert_eq!(read(long.repeat(17).as_bytes(), 4096), Err(ReplyError::TooLong));
        // 10 MB in one piece are no different.
        let huge = format!("220 {}\r\n", "x".repeat(10 << 20));
        assert_eq!(read(huge.as_bytes(), huge.len()), Err(ReplyError::TooLong));
    }

    proptest! {
        #[test]
        fn anything_is_read_the_same_in_one_piece_and_in_many(
            stream in proptest::collection::vec(
                prop_oneof![Just(b'2'), Just(b'5'), Just(b'0'), Just(b'-'), Just(b' '), Just(b'\r'), Just(b'\n'), any::<u8>()],
                0..200,
            ),
            piece in 1usize..9,
        ) {
            prop_assert_eq!(read(&stream, piece), read(&stream, stream.len().max(1)));
        }
    }
}
