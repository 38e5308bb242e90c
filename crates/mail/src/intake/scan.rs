//! Finds the end of a header section that may come in pieces, and notes the fields that matter.

use std::ops::Range;

use memchr::memchr;

use super::VALUE_OCTETS_MAX;
use crate::header::{Line, classify, unfold};

/// Where a header section ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// The fields' octets.
    pub at: usize,
    /// An empty line follows.
    pub blank: bool,
    /// The last field's line lacks its CRLF.
    pub cut_line: bool,
}

impl End {
    /// Where the body begins.
    pub fn body_from(self) -> usize {
        if self.blank { self.at + 2 } else { self.at }
    }
}

/// What the fields said.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub received: u32,
    pub from_fields: u32,
    pub from: Option<Box<str>>,
    pub subject: Option<Box<str>>,
    pub message_id: Option<Box<str>>,
    pub has_date: bool,
    pub has_message_id: bool,
    pub repeated: Option<&'static str>,
    pub spaced_name: bool,
}

/// The scan so far. Every octet is looked at a fixed number of times, however the input is cut.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub found: Found,
    /// Fields that a submission loses, in order; neighbours are one range.
    pub removable: Vec<Range<usize>>,
    /// Where the current line begins.
    line_from: usize,
    /// Up to here no line end is left unseen.
    searched: usize,
    open: Option<Open>,
    /// Once-only fields seen, one bit each.
    seen: u32,
}

/// A field whose end is not known yet.
#[derive(Debug)]
struct Open {
    from: usize,
    name_octets: usize,
}

/// The fields that stand at most once (RFC 5322 §3.6; RFC 2045 §4, §5, §6), by length of the name
/// and then as likely.
const ONCE: [&str; 14] = [
    "To",
    "Cc",
    "Bcc",
    "From",
    "Date",
    "Sender",
    "Subject",
    "Reply-To",
    "Message-ID",
    "References",
    "In-Reply-To",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

impl Scan {
    /// Goes on with `section`: what came so far, from its first octet. `None`: the end has not come.
    pub fn advance(&mut self, section: &[u8]) -> Option<End> {
        while let Some(at) = memchr(b'\n', &section[self.searched..]) {
            let line_end = self.searched + at + 1;
            self.searched = line_end;
            let line = &section[self.line_from..line_end];
            if !line.ends_with(b"\r\n") {
                continue;
            }
            if let Some(end) = self.line(section, line) {
                return Some(end);
            }
            self.line_from = line_end;
        }
        self.searched = section.len();
        None
    }

    /// The input ended within the header section, which is `section`.
    pub fn finish(&mut self, section: &[u8]) -> End {
        let line = &section[self.line_from..];
        if !line.is_empty()
            && let Some(end) = self.line(section, line)
        {
            return end;
        }
        self.close(section, section.len());
        End { at: section.len(), blank: false, cut_line: !line.is_empty() }
    }

    /// `section` is as long as it may be and has no end. Where its last line is no field, the line is
    /// body and the section ends before it; else the section is too large, and its end says so.
    pub fn overflow(&mut self, section: &[u8]) -> End {
        self.finish(section)
    }

    /// Takes one line; gives the section's end if it ends before this line.
    fn line(&mut self, section: &[u8], line: &[u8]) -> Option<End> {
        let blank = match classify(line) {
            Line::Field { name_octets, spaced } => {
                self.close(section, self.line_from);
                self.open = Some(Open { from: self.line_from, name_octets });
                self.found.spaced_name |= spaced;
                return None;
            }
            Line::Continuation if self.open.is_some() => return None,
            Line::Empty => true,
            Line::Continuation | Line::Other => false,
        };
        self.close(section, self.line_from);
        Some(End { at: self.line_from, blank, cut_line: false })
    }

    /// The open field ends at `end`: notes what it says.
    fn close(&mut self, section: &[u8], end: usize) {
        let Some(Open { from, name_octets }) = self.open.take() else { return };
        let field = &section[from..end];
        let (name, behind) = field.split_at(name_octets);
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name_octets {
            3 if is("Bcc") => self.remove(from..end),
            4 if is("From") => {
                self.found.from_fields += 1;
                note(&mut self.found.from, behind);
            }
            4 if is("Date") => self.found.has_date = true,
            7 if is("Subject") => note(&mut self.found.subject, behind),
            8 if is("Received") => self.found.received += 1,
            10 if is("Message-ID") => {
                self.found.has_message_id = true;
                note(&mut self.found.message_id, behind);
            }
            10 if is("Resent-Bcc") => self.remove(from..end),
            11 if is("Return-Path") => self.remove(from..end),
            _ => {}
        }
        let once = ONCE.iter().position(|known| known.len() == name_octets && is(known));
        if let Some(bit) = once {
            if self.seen & (1 << bit) != 0 && self.found.repeated.is_none() {
                self.found.repeated = Some(ONCE[bit]);
            }
            self.seen |= 1 << bit;
        }
    }

    fn remove(&mut self, field: Range<usize>) {
        match self.removable.last_mut() {
            Some(last) if last.end == field.start => last.end = field.end,
            _ => self.removable.push(field),
        }
    }
}

/// Keeps the first value of a field; `behind` is what stands behind its name.
fn note(slot: &mut Option<Box<str>>, behind: &[u8]) {
    if slot.is_some() {
        return;
    }
    let value = memchr(b':', behind).map_or(behind, |colon| &behind[colon + 1..]).trim_ascii();
    // Folds go, so a little more than is kept is enough to look at.
    let value = unfold(&value[..value.len().min(2 * VALUE_OCTETS_MAX)]);
    let text = String::from_utf8_lossy(&value);
    let mut octets = text.len().min(VALUE_OCTETS_MAX);
    while !text.is_char_boundary(octets) {
        octets -= 1;
    }
    *slot = Some(text[..octets].into());
}
