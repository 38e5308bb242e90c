//! Content on its way out: dots are stuffed, line ends are checked (RFC 5321 §4.5.2, §2.3.8).
//!
//! The message is CRLF-only when it is accepted; this is the second wall. A lone CR or LF that
//! left here could end the message early at a sloppy server and make commands of the rest (SMTP
//! smuggling), so it never leaves.

/// The content has a CR or an LF that is no line end. Ours is the fault: such a message must not
/// have been accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content has a CR or LF that is not part of a line end")]
pub struct LoneLineEnd;

/// Copies content into an outgoing buffer, piece by piece, in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DotStuffer {
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    InLine,
    AfterCr,
}

impl Default for DotStuffer {
    fn default() -> DotStuffer {
        DotStuffer::new()
    }
}

impl DotStuffer {
    /// At the beginning of the content.
    pub fn new() -> DotStuffer {
        DotStuffer { place: Place::LineStart }
    }

    /// Appends `piece`, stuffed, to `out`.
    ///
    /// # Errors
    /// When it has a lone CR or LF. `out` is then left as it was.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), LoneLineEnd> {
        let before = out.len();
        self.copy(piece, out).inspect_err(|_| out.truncate(before))
    }

    fn copy(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), LoneLineEnd> {
        let Some((first, last)) = piece.first().zip(piece.last()) else { return Ok(()) };
        out.reserve(piece.len() + 16);
        match (self.place, first) {
            (Place::AfterCr, b'\n') | (Place::LineStart | Place::InLine, b'\r') => {}
            (Place::AfterCr, _) | (_, b'\n') => return Err(LoneLineEnd),
            (Place::LineStart, b'.') => out.push(b'.'),
            (Place::LineStart | Place::InLine, _) => {}
        }
        let mut copied = 0;
        // Every line end has two octets; each is looked at with its neighbour.
        for at in memchr::memchr2_iter(b'\r', b'\n', piece) {
            if piece[at] == b'\r' {
                if piece.get(at + 1).is_some_and(|next| *next != b'\n') {
                    return Err(LoneLineEnd);
                }
                continue;
            }
            let after_cr = if at == 0 { self.place == Place::AfterCr } else { piece[at - 1] == b'\r' };
            if !after_cr {
                return Err(LoneLineEnd);
            }
            if piece.get(at + 1) == Some(&b'.') {
                out.extend_from_slice(&piece[copied..=at]);
                out.push(b'.');
                copied = at + 1;
            }
        }
        out.extend_from_slice(&piece[copied..]);
        self.place = match last {
            b'\n' => Place::LineStart,
            b'\r' => Place::AfterCr,
            _ => Place::InLine,
        };
        Ok(())
    }

    /// Appends the end of the content: a line end if the last line has none, and the final dot.
    ///
    /// # Errors
    /// When the content ended with a lone CR.
    pub fn end(self, out: &mut Vec<u8>) -> Result<(), LoneLineEnd> {
        match self.place {
            Place::LineStart => out.extend_from_slice(b".\r\n"),
            Place::InLine => out.extend_from_slice(b"\r\n.\r\n"),
            Place::AfterCr => return Err(LoneLineEnd),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stuffed(content: &[u8], piece: usize) -> Result<Vec<u8>, LoneLineEnd> {
        let mut out = Vec::new();
        let mut stuffer = DotStuffer::new();
        for part in content.chunks(piece) {
            stuffer.push(part, &mut out)?;
        }
        stuffer.end(&mut out)?;
        Ok(out)
    }

    /// What a strict server makes of it: `None` if the content does not end just at the end.
    fn unstuffed(wire: &[u8]) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let mut rest = wire;
        loop {
            let end = rest.windows(2).position(|w| w == b"\r\n")? + 2;
            let (line, after) = rest.split_at(end);
            if line == b".\r\n" {
                return after.is_empty().then_some(content);
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            rest = after;
        }
    }

    #[test]
    fn dots_at_line_starts_are_doubled() {
        let content = b".\r\n..\r\n.a\r\nb.\r\n\r\n.";
        for piece in 1..=content.len() {
            assert_eq!(
                stuffed(content, piece),
                Ok(b"..\r\n...\r\n..a\r\nb.\r\n\r\n..\r\n.\r\n".to_vec()),
                "in pieces of {piece}"
            );
        }
        assert_eq!(stuffed(b"", 1), Ok(b".\r\n".to_vec()));
        assert_eq!(stuffed(b"a", 1), Ok(b"a\r\n.\r\n".to_vec()));
        assert_eq!(stuffed(b"a\r\n", 1), Ok(b"a\r\n.\r\n".to_vec()));
    }

    #[test]
    fn no_lone_line_end_leaves() {
        for content in [
            "a\n.\nb",
            "a\n.\r\n",
            "a\r.\r",
            "a\r.\r\n",
            "\n",
            "\r",
            "a\r",
            "a\r\r\n",
            "\r\n\n",
            "a\r\n\0\r.\r\n",
            "a\r\n.\r\r\n",
        ] {
            for piece in 1..=content.len() {
                assert_eq!(stuffed(content.as_bytes(), piece), Err(LoneLineEnd), "{content:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_refused_piece_leaves_nothing_behind() {
        let mut out = b"before".to_vec();
        assert_eq!(DotStuffer::new().push(b"good\r\nbad\n", &mut out), Err(LoneLineEnd));
        assert_eq!(out, b"before");
    }

    proptest! {
        #[test]
        fn the_server_gets_what_was_sent(
            lines in proptest::collection::vec("[.a\u{0}\u{e9}]{0,6}", 0..12),
            piece in 1usize..9,
        ) {
            let mut content = lines.join("\r\n").into_bytes();
            let wire = stuffed(&content, piece);
            if !content.is_empty() && !content.ends_with(b"\r\n") {
                content.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(wire.map(|w| unstuffed(&w)), Ok(Some(content)));
        }

        #[test]
        fn whatever_leaves_is_one_message(
            content in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..60),
            piece in 1usize..9,
        ) {
            if let Ok(wire) = stuffed(&content, piece) {
                prop_assert!(unstuffed(&wire).is_some());
            }
        }
    }
}
