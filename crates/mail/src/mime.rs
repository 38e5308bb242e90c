//! The parts of a message (RFC 2045, 2046) as ranges of its octets: one pass, no recursion, no copy.
//!
//! Everything outside input can grow has a limit: how deep parts nest, how many there are, how long a
//! boundary is, how much of a field is looked into. What lies beyond stays one opaque piece, and
//! [`Parts::complete`] or [`Shape::Opaque`] says so.

use std::ops::Range;

use memchr::memmem;

use crate::header::{self, Field, Line, classify, line_octets};

/// Limits of one walk.
#[derive(Debug, Clone, Copy)]
pub struct WalkLimits {
    /// How many containers a part may lie in.
    pub depth_max: usize,
    pub parts_max: usize,
    /// Whether the parts of an attached message (`message/rfc822`) are parts too.
    pub into_messages: bool,
}

/// A boundary has at most 70 octets (RFC 2046 §5.1.1); some senders write longer ones.
const BOUNDARY_OCTETS_MAX: usize = 256;
/// How much of a structured field is read.
const FIELD_OCTETS_MAX: usize = 8 * 1024;

/// One part: the message itself is the first.
#[derive(Debug, Clone)]
pub struct Part {
    /// The container it lies in, by index.
    pub parent: Option<usize>,
    /// Its fields, with their last CRLF.
    pub header: Range<usize>,
    /// Whether an empty line stands between header and body.
    pub blank: bool,
    pub body: Range<usize>,
    pub content: Content,
    pub encoding: Encoding,
    pub shape: Shape,
}

/// How a part is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Content; its octets are not looked into.
    Leaf,
    /// Its parts follow, as far as the limits allow.
    Multipart,
    /// The next part is the message that it carries.
    Message,
    /// A container into which was not looked: too deep, without a usable boundary, or encoded.
    Opaque,
}

/// The `Content-Transfer-Encoding` (RFC 2045 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// No field: 7bit.
    Absent,
    SevenBit,
    EightBit,
    Binary,
    QuotedPrintable,
    Base64,
    /// A word nobody knows, or two fields.
    Other,
}

impl Encoding {
    /// Whether the octets stand for themselves.
    pub fn is_identity(self) -> bool {
        matches!(self, Encoding::Absent | Encoding::SevenBit | Encoding::EightBit | Encoding::Binary)
    }
}

/// The `Content-Type` (RFC 2045 §5), with what it is by default where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// In lower case: `text`.
    pub kind: String,
    /// In lower case: `plain`.
    pub subtype: String,
    pub boundary: Option<String>,
    pub charset: Option<String>,
    /// The `name` parameter: an old way of naming a file.
    pub name: Option<String>,
    /// Whether a field said so.
    pub stated: bool,
}

impl Content {
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind == kind && self.subtype == subtype
    }

    fn default_in(parent: Option<&Content>) -> Content {
        let digest = parent.is_some_and(|parent| parent.is("multipart", "digest"));
        let (kind, subtype) = if digest { ("message", "rfc822") } else { ("text", "plain") };
        let (kind, subtype) = (kind.to_owned(), subtype.to_owned());
        Content { kind, subtype, boundary: None, charset: None, name: None, stated: false }
    }

    fn read(field: &Field<'_>) -> Option<Content> {
        let parsed = structured(field)?;
        let attribute = |name| parsed.attribute(name).map(str::to_owned);
        Some(Content {
            kind: parsed.ctype().trim().to_ascii_lowercase(),
            subtype: parsed.subtype().unwrap_or_default().trim().to_ascii_lowercase(),
            boundary: attribute("boundary"),
            charset: attribute("charset"),
            name: attribute("name"),
            stated: true,
        })
    }
}

/// Reads a field of the form `value; attribute=value`, its continuations and encodings (RFC 2231)
/// resolved. `None`: it has no such form.
pub(crate) fn structured(field: &Field<'_>) -> Option<mail_parser::ContentType<'static>> {
    let value = field.value();
    let mut value = value[..value.len().min(FIELD_OCTETS_MAX)].to_vec();
    value.extend_from_slice(b"\r\n");
    match mail_parser::parsers::MessageStream::new(&value).parse_content_type().into_owned() {
        mail_parser::HeaderValue::ContentType(parsed) => Some(parsed),
        _ => None,
    }
}

/// The parts of one message.
#[derive(Debug, Clone)]
pub struct Parts {
    /// In the order in which they stand.
    pub parts: Vec<Part>,
    /// Whether all parts are here: there were not more than the limit.
    pub complete: bool,
}

/// Takes a message apart. Linear in its length, whatever it holds: a line is compared with at most
/// `depth_max` boundaries.
pub fn walk(message: &[u8], limits: WalkLimits) -> Parts {
    let mut walker = Walker { message, limits, parts: Vec::new(), open: Vec::new() };
    let complete = walker.run();
    Parts { parts: walker.parts, complete }
}

struct Walker<'a> {
    message: &'a [u8],
    limits: WalkLimits,
    parts: Vec<Part>,
    /// The parts whose end is not known yet, each inside the one before it.
    open: Vec<Open>,
}

struct Open {
    part: usize,
    /// `--boundary`, while more parts of it may come.
    delimiter: Option<Vec<u8>>,
}

/// A line that parts a multipart's parts, or closes it.
struct Delimiter {
    /// Index into `Walker::open`.
    of: usize,
    closing: bool,
}

impl Walker<'_> {
    fn run(&mut self) -> bool {
        let mut at = 0;
        let mut complete = true;
        loop {
            let body = self.part(at);
            if self.parts.last().is_some_and(|part| part.shape == Shape::Message) {
                if self.parts.len() >= self.limits.parts_max {
                    complete = false;
                    break;
                }
                at = body;
                continue;
            }
            match self.next_part(body) {
                Some(next) if self.parts.len() < self.limits.parts_max => at = next,
                Some(_) => {
                    complete = false;
                    break;
                }
                None => break,
            }
        }
        self.close_from(0, self.message.len());
        complete
    }

    /// Reads the header of the part that begins at `at`; says where its body begins.
    fn part(&mut self, at: usize) -> usize {
        let (header_end, body) = self.header_end(at);
        let parent = self.open.last().map(|open| open.part);
        let section = &self.message[at..header_end];
        let content_type = header::find(section, "Content-Type").map(|field| Content::read(&field));
        let content = match content_type {
            // What cannot be read is plain text (RFC 2045 §5.2).
            None | Some(None) => Content::default_in(parent.and_then(|p| self.parts.get(p)).map(|p| &p.content)),
            Some(Some(content)) => content,
        };
        let encoding = encoding_of(section);
        let shape = self.shape_of(&content, encoding);
        let delimiter = match (&content.boundary, shape) {
            (Some(boundary), Shape::Multipart) => Some([b"--", boundary.as_bytes()].concat()),
            _ => None,
        };
        self.open.push(Open { part: self.parts.len(), delimiter });
        let blank = body > header_end;
        self.parts.push(Part { parent, header: at..header_end, blank, body: body..body, content, encoding, shape });
        body
    }

    /// Where the fields that begin at `at` end, and where the body begins.
    fn header_end(&self, at: usize) -> (usize, usize) {
        let mut end = at;
        let mut any = false;
        while end < self.message.len() {
            let line = &self.message[end..end + line_octets(&self.message[end..])];
            match classify(line) {
                Line::Empty => return (end, end + line.len()),
                Line::Continuation if any => {}
                Line::Field { .. } if self.delimiter(line).is_none() => any = true,
                _ => return (end, end),
            }
            end += line.len();
        }
        (end, end)
    }

    fn shape_of(&self, content: &Content, encoding: Encoding) -> Shape {
        let message = content.is("message", "rfc822") && self.limits.into_messages;
        if content.kind != "multipart" && !message {
            return Shape::Leaf;
        }
        let too_deep = self.open.len() >= self.limits.depth_max;
        let boundary = content.boundary.as_deref().unwrap_or_default();
        let usable = !boundary.is_empty() && boundary.len() <= BOUNDARY_OCTETS_MAX && boundary.is_ascii();
        match message {
            _ if too_deep => Shape::Opaque,
            true if encoding.is_identity() => Shape::Message,
            false if usable => Shape::Multipart,
            _ => Shape::Opaque,
        }
    }

    /// Looks from `from`, the beginning of a line, for the line that begins the next part; closes
    /// what ends before it. `None`: no more parts.
    fn next_part(&mut self, from: usize) -> Option<usize> {
        let mut line_from = from;
        loop {
            line_from = self.next_candidate(line_from)?;
            let line_end = line_from + line_octets(&self.message[line_from..]);
            if let Some(Delimiter { of, closing }) = self.delimiter(&self.message[line_from..line_end]) {
                // The CRLF before a delimiter is part of it (RFC 2046 §5.1.1).
                self.close_from(of + 1, line_from.saturating_sub(2));
                if !closing {
                    return Some(line_end);
                }
                if let Some(closed) = self.open.get_mut(of) {
                    closed.delimiter = None;
                }
            }
            line_from = line_end;
        }
    }

    /// The next line from `line_from` on that begins with `--`.
    fn next_candidate(&self, line_from: usize) -> Option<usize> {
        if self.open.iter().all(|open| open.delimiter.is_none()) {
            return None;
        }
        let rest = &self.message[line_from..];
        if rest.starts_with(b"--") {
            return Some(line_from);
        }
        memmem::find(rest, b"\r\n--").map(|at| line_from + at + 2)
    }

    /// Whether a line is a delimiter of an open multipart; the innermost counts.
    fn delimiter(&self, line: &[u8]) -> Option<Delimiter> {
        if !line.starts_with(b"--") {
            return None;
        }
        self.open.iter().enumerate().rev().find_map(|(of, open)| {
            let behind = line.strip_prefix(open.delimiter.as_deref()?)?;
            let (closing, padding) = match behind.strip_prefix(b"--") {
                Some(padding) => (true, padding),
                None => (false, behind),
            };
            padding.iter().all(u8::is_ascii_whitespace).then_some(Delimiter { of, closing })
        })
    }

    /// The bodies of the open parts from index `first` on end at `end`, or where they began if that is
    /// later (no octet may lie between a header and the delimiter behind it).
    fn close_from(&mut self, first: usize, end: usize) {
        let mut end = end;
        for open in self.open.drain(first.min(self.open.len())..).rev() {
            if let Some(part) = self.parts.get_mut(open.part) {
                // A container reaches as far as what lies in it.
                end = end.max(part.body.start);
                part.body.end = end;
            }
        }
    }
}

fn encoding_of(section: &[u8]) -> Encoding {
    let mut fields = header::fields(section).filter(|field| field.is("Content-Transfer-Encoding"));
    let Some(field) = fields.next() else { return Encoding::Absent };
    if fields.next().is_some() {
        return Encoding::Other;
    }
    let value = field.unfolded();
    let known = [
        ("7bit", Encoding::SevenBit),
        ("8bit", Encoding::EightBit),
        ("binary", Encoding::Binary),
        ("quoted-printable", Encoding::QuotedPrintable),
        ("base64", Encoding::Base64),
    ];
    let same = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
    known.iter().find(|(name, _)| same(name)).map_or(Encoding::Other, |(_, encoding)| *encoding)
}

#[cfg(test)]
mod tests;
