//! Command lines out of a stream of octets.

use bytes::{Buf, BytesMut};

/// What stands at the front of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// A line of so many octets; CRLF stands behind it. The caller takes both off the buffer.
    Whole(usize),
    /// A line that is no line was thrown away, or is being thrown away up to its CRLF.
    Broken(Fault),
    /// More is needed.
    Partial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A lone CR, a lone LF or a NUL.
    Stray,
    TooLong,
    /// So much was thrown away that no CRLF is expected any more.
    Endless,
}

/// Looks at each octet once, however they are cut. A broken line is told as soon as it is known to be
/// one, so that a person with a terminal that sends bare LFs learns why nothing works.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// So much of the buffer is known to hold no LF.
    scanned: usize,
    /// So much of a broken line is already thrown away.
    skipped: Option<usize>,
}

impl Lines {
    /// The line at the front of `input`, which may have `octets_max` with its CRLF.
    pub(super) fn next(&mut self, input: &mut BytesMut, octets_max: usize, discard_max: usize) -> Line {
        if let Some(skipped) = self.skipped {
            match self.skip(skipped, input, discard_max) {
                None => {}
                Some(line) => return line,
            }
        }
        let from = self.scanned.min(input.len());
        let found = memchr::memchr(b'\n', &input[from..]).map(|at| from + at);
        let line_end = match found {
            Some(at) if at < octets_max => at,
            // Where the line ends does not matter: it is too long by what is here already.
            _ if input.len() > octets_max => {
                self.skipped = Some(0);
                self.scanned = 0;
                return Line::Broken(Fault::TooLong);
            }
            _ => {
                self.scanned = input.len();
                return Line::Partial;
            }
        };
        self.scanned = 0;
        if line_end == 0 || input[line_end - 1] != b'\r' {
            input.advance(line_end + 1);
            self.skipped = Some(0);
            return Line::Broken(Fault::Stray);
        }
        let octets = line_end - 1;
        if memchr::memchr2(b'\r', 0, &input[..octets]).is_some() {
            input.advance(octets + 2);
            return Line::Broken(Fault::Stray);
        }
        Line::Whole(octets)
    }

    /// Throws away up to the next CRLF. `None`: it was there.
    fn skip(&mut self, skipped: usize, input: &mut BytesMut, discard_max: usize) -> Option<Line> {
        let end = memchr::memmem::find(input, b"\r\n");
        // A CR at the end may be the first half of it.
        let junk = end.unwrap_or(input.len() - usize::from(input.last() == Some(&b'\r')));
        if skipped + junk > discard_max {
            return Some(Line::Broken(Fault::Endless));
        }
        input.advance(junk);
        if end.is_some() {
            input.advance(2);
            self.skipped = None;
            return None;
        }
        self.skipped = Some(skipped + junk);
        Some(Line::Partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut input = BytesMut::new();
        let mut read = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match lines.next(&mut input, 16, 32) {
                    Line::Whole(octets) => {
                        read.push(String::from_utf8_lossy(&input[..octets]).into_owned());
                        input.advance(octets + 2);
                    }
                    Line::Broken(Fault::Endless) => {
                        read.push("Endless".into());
                        return read;
                    }
                    Line::Broken(fault) => read.push(format!("{fault:?}")),
                    Line::Partial => break,
                }
            }
            assert!(input.len() <= 16, "a line that is too long is not kept");
        }
        read
    }

    #[test]
    fn however_it_is_cut_it_reads_the_same() {
        for (stream, expected) in [
            (&b"a\r\nbc\r\n\r\n"[..], &["a", "bc", ""][..]),
            (b"12345678901234\r\nx\r\n", &["12345678901234", "x"]),
            (b"123456789012345\r\nx\r\n", &["TooLong", "x"]),
            (b"1234567890123456789\nq\r\nx\r\n", &["TooLong", "x"]),
            (b"a\nb\r\nx\r\n", &["Stray", "x"]),
            (b"\nb\r\r\nx\r\n", &["Stray", "x"]),
            (b"a\rb\r\nx\r\n", &["Stray", "x"]),
            (b"a\0b\r\nx\r\n", &["Stray", "x"]),
            (b"a\r\r\nx\r\n", &["Stray", "x"]),
            (b"a\n12345678901234567890123456789012\r\nx\r\n", &["Stray", "x"]),
            (b"a\n123456789012345678901234567890123\r\nx\r\n", &["Stray", "Endless"]),
        ] {
            assert_eq!(read(&[stream]), expected, "{:?}", String::from_utf8_lossy(stream));
            let octets: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(read(&octets), expected, "{:?} octet by octet", String::from_utf8_lossy(stream));
        }
    }
}
