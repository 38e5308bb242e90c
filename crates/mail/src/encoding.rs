//! Transfer encodings (RFC 2045 §6.7, §6.8) and encoded words (RFC 2047): how octets that may not
//! stand in a message are written so that they may.

use data_encoding::BASE64;

/// The longest line of an encoding, without its CRLF (RFC 2045 §6.7, §6.8).
pub const ENCODED_LINE_OCTETS_MAX: usize = 76;

/// The longest line of a message, without its CRLF (RFC 5322 §2.1.1).
pub const LINE_OCTETS_MAX: usize = 998;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes text as quoted-printable. CRLF stays a line end; any other CR or LF, every octet above 126
/// and every control character but TAB is written as `=XX`, and so is what stands at the end of a
/// line and would be lost there.
pub fn push_quoted_printable(out: &mut Vec<u8>, text: &[u8]) {
    let mut column = 0;
    let mut rest = text;
    while let Some((&octet, behind)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            rest = &rest[2..];
            column = 0;
            continue;
        }
        let line_ends = behind.is_empty() || behind.starts_with(b"\r\n");
        let literal = match octet {
            b'=' => false,
            b' ' | b'\t' => !line_ends,
            b'!'..=b'~' => true,
            _ => false,
        };
        let width = if literal { 1 } else { 3 };
        // The `=` of a soft line break needs a column of its own.
        let room = if line_ends { ENCODED_LINE_OCTETS_MAX } else { ENCODED_LINE_OCTETS_MAX - 1 };
        if column + width > room {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if literal {
            out.push(octet);
        } else {
            push_escaped(out, octet);
        }
        column += width;
        rest = behind;
    }
}

fn push_escaped(out: &mut Vec<u8>, octet: u8) {
    out.extend_from_slice(&[b'=', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
}

/// Writes octets as base64, in lines parted by CRLF and without one at the end.
pub fn push_base64(out: &mut Vec<u8>, octets: &[u8]) {
    let mut line = [0; ENCODED_LINE_OCTETS_MAX];
    for (number, chunk) in octets.chunks(ENCODED_LINE_OCTETS_MAX / 4 * 3).enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let line = &mut line[..BASE64.encode_len(chunk.len())];
        BASE64.encode_mut(chunk, line);
        out.extend_from_slice(line);
    }
}

/// Whether text is better written as quoted-printable, which stays readable, than as base64, which is
/// shorter once more than one octet in six must be escaped. Short texts may have some more.
pub fn prefers_quoted_printable(text: &[u8]) -> bool {
    let escaped = text.iter().filter(|octet| !octet.is_ascii() || **octet == b'=').count();
    escaped <= text.len() / 6 + 16
}

/// Whether content may stand as it is on a 7-bit way: ASCII without NUL, lines that end with CRLF
/// and are not too long.
pub fn is_seven_bit_clean(content: &[u8]) -> bool {
    let mut line_octets = 0;
    let mut octets = content.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' if octets.next_if_eq(&b'\n').is_some() => line_octets = 0,
            b'\r' | b'\n' | 0 | 128.. => return false,
            _ => line_octets += 1,
        }
        if line_octets > LINE_OCTETS_MAX {
            return false;
        }
    }
    true
}

/// Reads quoted-printable as mail has it: what is no valid escape stands for itself.
pub fn decode_quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        let behind = &rest[at + 1..];
        let padding = behind.iter().take_while(|octet| matches!(octet, b' ' | b'\t')).count();
        let line_end = behind[padding..].strip_prefix(b"\r\n").or_else(|| behind[padding..].strip_prefix(b"\n"));
        rest = match (behind, line_end) {
            (_, Some(next_line)) => next_line,
            ([high, low, next @ ..], None) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                out.push(high << 4 | low);
                next
            }
            _ => {
                out.push(b'=');
                behind
            }
        };
    }
    out.extend_from_slice(rest);
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Reads base64 as mail has it: other characters are skipped (RFC 2045 §6.8), the padding ends it, and
/// what is left over is dropped.
pub fn decode_base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for octet in text.iter().take_while(|octet| **octet != b'=') {
        let Some(value) = base64_value(*octet) else { continue };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

fn base64_value(octet: u8) -> Option<u8> {
    Some(match octet {
        b'A'..=b'Z' => octet - b'A',
        b'a'..=b'z' => octet - b'a' + 26,
        b'0'..=b'9' => octet - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// How many octets [`decode_base64`] gives.
pub fn base64_octets(text: &[u8]) -> usize {
    let digits = text.iter().take_while(|octet| **octet != b'=').filter(|octet| base64_value(**octet).is_some());
    digits.count() * 6 / 8
}

const WORD_BEFORE: &str = "=?utf-8?B?";
const WORD_BEHIND: &str = "?=";
/// Octets of text for which a place in a line is worth to begin an encoded word at.
const WORD_TEXT_OCTETS_MIN: usize = 9;

/// Writes text as encoded words: of at most 75 octets, in lines of at most 76 (RFC 2047 §2). Characters
/// are never cut in two (§5). `column` is how much already stands in the line.
///
/// `text` need not be looked at for line ends: they are encoded like everything else.
pub fn push_encoded_words(out: &mut String, text: &str, column: usize) {
    let mut column = column;
    let mut rest = text;
    while !rest.is_empty() {
        let room = ENCODED_LINE_OCTETS_MAX.saturating_sub(column.max(1) + WORD_BEFORE.len() + WORD_BEHIND.len());
        let room = room / 4 * 3;
        if room < WORD_TEXT_OCTETS_MIN {
            out.push_str("\r\n ");
            column = 1;
            continue;
        }
        let mut taken = rest.len().min(room);
        while !rest.is_char_boundary(taken) {
            taken -= 1;
        }
        let (word, behind) = rest.split_at(taken);
        out.push_str(WORD_BEFORE);
        BASE64.encode_append(word.as_bytes(), out);
        out.push_str(WORD_BEHIND);
        // The line is full: the next word begins a new one.
        column = ENCODED_LINE_OCTETS_MAX;
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quoted_printable(text: &[u8]) -> String {
        let mut out = Vec::new();
        push_quoted_printable(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quoted_printable_writes_what_the_standard_says() {
        assert_eq!(quoted_printable("grün = green\r\n".as_bytes()), "gr=C3=BCn =3D green\r\n");
        assert_eq!(quoted_printable(b"end \r\n\tx\t\r\nend "), "end=20\r\n\tx=09\r\nend=20");
        assert_eq!(quoted_printable(b"\0\r\x7f\n"), "=00=0D=7F=0A");
        assert_eq!(quoted_printable(&[b'x'; 76]), "x".repeat(76));
        assert_eq!(quoted_printable(&[b'x'; 77]), format!("{}=\r\nxx", "x".repeat(75)));
        assert_eq!(quoted_printable(b""), "");
    }

    #[test]
    fn a_clean_content_is_told_from_an_unclean_one() {
        assert!(is_seven_bit_clean(b""));
        assert!(is_seven_bit_clean(&[&[b'x'; 998][..], b"\r\n", &[b'y'; 998]].concat()));
        for unclean in [&[b'x'; 999][..], b"a\rb", b"a\nb", b"\0", b"\x80", b"a\r"] {
            assert!(!is_seven_bit_clean(unclean), "{unclean:?}");
        }
    }

    #[test]
    fn what_is_badly_encoded_is_read_as_far_as_it_goes() {
        assert_eq!(decode_quoted_printable(b"a=C3=bc= \r\nb=\nc=zz=4"), "a\u{fc}bc=zz=4".as_bytes());
        assert_eq!(decode_quoted_printable(b"x="), b"x=");
        assert_eq!(decode_base64(b"S\r\n/Z!s b g = = junk"), b"K\xf6ln");
        assert_eq!(decode_base64(b"Q"), b"");
        assert_eq!(decode_base64(b"QUI"), b"AB");
    }

    proptest! {
        #[test]
        fn both_encodings_give_back_what_went_in(octets in proptest::collection::vec(any::<u8>(), 0..600), lines in "[ -~\r\n\t=]{0,400}") {
            for content in [octets.as_slice(), lines.as_bytes()] {
                let encoded = quoted_printable(content);
                prop_assert!(encoded.split("\r\n").all(|line| line.len() <= 76 && !line.ends_with([' ', '\t'])));
                prop_assert!(is_seven_bit_clean(encoded.as_bytes()));
                let decoded = mail_parser::decoders::quoted_printable::quoted_printable_decode(encoded.as_bytes());
                prop_assert_eq!(decoded.as_deref(), Some(content));
                prop_assert_eq!(&*decode_quoted_printable(encoded.as_bytes()), content);

                let mut encoded = Vec::new();
                push_base64(&mut encoded, content);
                prop_assert!(encoded.split(|b| *b == b'\n').all(|line| line.len() <= 77));
                let bare: Vec<u8> = encoded.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
                let decoded = BASE64.decode(&bare);
                prop_assert_eq!(decoded.as_deref(), Ok(content));
                prop_assert_eq!(&*decode_base64(&encoded), content);
                prop_assert_eq!(base64_octets(&encoded), content.len());
            }
        }

        #[test]
        fn encoded_words_give_back_what_went_in(text in "\\PC{0,200}", column in 0_usize..90) {
            let mut encoded = String::new();
            push_encoded_words(&mut encoded, &text, column.min(70));
            if column <= 70 {
                prop_assert!(encoded.split("\r\n").next().is_none_or(|first| first.is_empty() || first.len() + column <= 76));
            }
            prop_assert!(encoded.is_ascii() && encoded.split("\r\n").all(|line| line.len() <= 76));
            let decoded = crate::header::decode_words(encoded.as_bytes());
            prop_assert_eq!(decoded, text);
        }
    }
}
