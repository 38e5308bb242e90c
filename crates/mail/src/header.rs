//! A header section taken apart: fields as they stand, without a copy.
//!
//! The section ends at the first empty line, or before the first line that is neither a field nor
//! a continuation; what follows is the body. Only CRLF ends a line.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// What a line of a header section is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The empty line that ends the section.
    Empty,
    /// It begins with white space: part of the field before it.
    Continuation,
    /// It begins a field; its name has this many octets. `spaced`: white space stands between the
    /// name and the colon, which is obsolete (RFC 5322 §4.5) and which readers disagree about.
    Field { name_octets: usize, spaced: bool },
    /// No field: the body begins here without an empty line.
    Other,
}

/// Says what `line` is, given with or without its CRLF.
pub fn classify(line: &[u8]) -> Line {
    match line.first() {
        Some(b' ' | b'\t') => return Line::Continuation,
        None => return Line::Empty,
        Some(b'\r') if line == b"\r\n" => return Line::Empty,
        Some(_) => {}
    }
    let Some(colon) = memchr(b':', line) else { return Line::Other };
    let mut name_octets = colon;
    while name_octets > 0 && matches!(line[name_octets - 1], b' ' | b'\t') {
        name_octets -= 1;
    }
    // ftext of RFC 5322 §3.6.8: printable ASCII but the colon.
    if name_octets == 0 || !line[..name_octets].iter().all(|b| matches!(b, 33..=126)) {
        return Line::Other;
    }
    Line::Field { name_octets, spaced: name_octets != colon }
}

/// One field of a header section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The whole field with its continuations and its last CRLF (which is absent only where the
    /// input ends without one).
    pub raw: &'a [u8],
    name_octets: usize,
}

impl<'a> Field<'a> {
    /// The name as it was written.
    pub fn name(&self) -> &'a [u8] {
        &self.raw[..self.name_octets]
    }

    /// Whether the field has this name, in whatever case.
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// What stands behind the colon, folds and all, without the last CRLF.
    pub fn value(&self) -> &'a [u8] {
        let behind_name = &self.raw[self.name_octets..];
        // A field has a colon; were it missing, everything behind the name would be the value.
        let value = memchr(b':', behind_name).map_or(behind_name, |colon| &behind_name[colon + 1..]);
        value.strip_suffix(b"\r\n").unwrap_or(value)
    }

    /// The value on one line (RFC 5322 §2.2.3: each CRLF before white space goes), without white
    /// space at its ends.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        unfold(self.value())
    }

    /// The unfolded value as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.unfolded()).into_owned()
    }
}

pub(crate) fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memmem::find(value, b"\r\n").is_none() {
        return Cow::Borrowed(value);
    }
    let mut unfolded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memmem::find(rest, b"\r\n") {
        unfolded.extend_from_slice(&rest[..at]);
        rest = &rest[at + 2..];
    }
    unfolded.extend_from_slice(rest);
    Cow::Owned(unfolded)
}

/// The fields of a header section, in order; ends where the section ends.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What follows the fields read so far. Once the iterator is at its end: the empty line (if
    /// there is one) and the body.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let Line::Field { name_octets, .. } = classify(first_line(self.rest)) else { return None };
        let mut end = line_octets(self.rest);
        while end < self.rest.len() && matches!(self.rest[end], b' ' | b'\t') {
            end += line_octets(&self.rest[end..]);
        }
        let (raw, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Field { raw, name_octets })
    }
}

fn first_line(text: &[u8]) -> &[u8] {
    &text[..line_octets(text)]
}

/// How long the first line of `text` is, its CRLF included.
pub(crate) fn line_octets(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(at) = memchr(b'\n', &text[from..]) {
        let end = from + at + 1;
        if end >= 2 && text[end - 2] == b'\r' {
            return end;
        }
        from = end;
    }
    text.len()
}

/// The fields of a message, or of a header section alone.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

/// Parts a message into its fields (with their last CRLF) and its body; the empty line between
/// them belongs to neither.
pub fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let mut fields = fields(message);
    for _ in fields.by_ref() {}
    let rest = fields.rest();
    let section = &message[..message.len() - rest.len()];
    (section, rest.strip_prefix(b"\r\n").unwrap_or(rest))
}

/// The first field of this name.
pub fn find<'a>(message: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(message).find(|field| field.is(name))
}

/// Text as a person reads it: encoded words (RFC 2047) decoded. What cannot be decoded stays as it
/// is. Control characters are replaced, so that the result is one line.
pub fn decode_words(value: &[u8]) -> String {
    // The reader wants a terminated field value; at most the first 64 KiB are worth showing.
    let value = unfold(&value[..value.len().min(DECODED_OCTETS_MAX)]).into_owned();
    let terminated = [value.as_slice(), b"\n"].concat();
    let parsed = mail_parser::parsers::MessageStream::new(&terminated).parse_unstructured();
    let text = match parsed {
        mail_parser::HeaderValue::Text(text) => text.into_owned(),
        _ => String::from_utf8_lossy(&value).into_owned(),
    };
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c }).collect()
}

/// How much of a value is decoded for display.
const DECODED_OCTETS_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(classify(b"\r\n"), Line::Empty);
        assert_eq!(classify(b""), Line::Empty);
        assert_eq!(classify(b" more\r\n"), Line::Continuation);
        assert_eq!(classify(b"\t\r\n"), Line::Continuation);
        assert_eq!(classify(b"Subject: x\r\n"), Line::Field { name_octets: 7, spaced: false });
        assert_eq!(classify(b"From : x\r\n"), Line::Field { name_octets: 4, spaced: true });
        assert_eq!(classify(b"X:"), Line::Field { name_octets: 1, spaced: false });
        for other in [&b"hello\r\n"[..], b": x\r\n", b"two words: x\r\n", b"S\xfcbject: x\r\n", b"\r", b"\rX: y\r\n"] {
            assert_eq!(classify(other), Line::Other, "{other:?}");
        }
    }

    #[test]
    fn fields_are_read_in_order_with_their_folds() {
        let message = b"A: 1\r\nSubject: one\r\n\ttwo\r\n  three\r\nB:\r\n\r\nC: body\r\n";
        let names: Vec<_> = fields(message).map(|f| f.name().to_vec()).collect();
        assert_eq!(names, [&b"A"[..], b"Subject", b"B"]);
        let subject = find(message, "SUBJECT").unwrap();
        assert_eq!(subject.value(), b" one\r\n\ttwo\r\n  three");
        assert_eq!(subject.text(), "one\ttwo  three");
        assert_eq!(split(message), (&message[..39], &b"C: body\r\n"[..]));
        assert_eq!(fields(message).map(|f| f.raw.len()).sum::<usize>(), 39);
    }

    #[test]
    fn garbage_ends_the_section_before_it() {
        assert_eq!(split(b"A: 1\r\nno field\r\n\r\nx"), (&b"A: 1\r\n"[..], &b"no field\r\n\r\nx"[..]));
        assert_eq!(split(b"body only"), (&b""[..], &b"body only"[..]));
        assert_eq!(split(b""), (&b""[..], &b""[..]));
        assert_eq!(split(b"A: 1"), (&b"A: 1"[..], &b""[..]));
        assert_eq!(find(b"A: 1\nB: 2\r\n", "B"), None, "a lone LF ends no line");
    }

    #[test]
    fn encoded_words_are_decoded_for_display() {
        assert_eq!(
            decode_words(b" =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus\r\n =?iso-8859-1?B?S/ZsbgA=?="),
            "Grüße aus Köln\u{FFFD}"
        );
        assert_eq!(decode_words(b"plain"), "plain");
        assert_eq!(decode_words(b""), "");
        assert_eq!(decode_words(b"=?utf-8?q?a=0D=0ABcc:_x?="), "a\u{FFFD}\u{FFFD}Bcc: x");
        assert_eq!(decode_words("grün".as_bytes()), "grün");
    }
}
