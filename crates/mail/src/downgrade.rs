//! 8-bit bodies made fit for a server that takes 7-bit only (RFC 6152 §3): each part with 8-bit content is
//! written as quoted-printable or base64, and says so.
//!
//! Nothing else changes, and what a reader decodes is the same octets. What cannot be converted
//! without breaking it (RFC 2045 §6.4, RFC 1847 §2.1, RFC 6532) is an error, and the message has to be
//! bounced for that server: 8-bit header fields, 8-bit content under a signature, content that already
//! claims to be encoded, containers that are too deep or cannot be taken apart.
//!
//! A DKIM signature that a client made over the 8-bit body does not survive this (RFC 6376 §5.3 says to
//! convert first and sign then).

use std::borrow::Cow;
use std::ops::Range;

use crate::encoding::{is_seven_bit_clean, prefers_quoted_printable, push_base64, push_quoted_printable};
use crate::header;
use crate::mime::{self, Encoding, Part, Shape, WalkLimits};

/// Containers within containers that are looked into.
pub const DEPTH_MAX: usize = 64;
/// Parts that are looked at.
pub const PARTS_MAX: usize = 10_000;

/// Why a message cannot be sent to a server that takes 7-bit only. The message is as its sender made it:
/// the recipient's server is what lacks something (RFC 3463: 5.6.3, 5.6.7 for the header).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotConvertible {
    #[error("a header field has characters outside ASCII, which need SMTPUTF8")]
    HeaderEightBit,
    #[error("a signed part has 8-bit content, and converting it would break the signature")]
    Signed,
    #[error("a part has 8-bit content although its encoding does not allow it")]
    Mislabelled,
    #[error("a part of type message/partial or message/external-body has 8-bit content")]
    Fragment,
    #[error("the message has too many parts, or they are nested too deeply")]
    TooComplex,
}

/// The message in 7 bits: ASCII only. A message that is ASCII already is given back as it is.
///
/// # Errors
/// [`NotConvertible`] where the standards allow no conversion.
pub fn to_seven_bit(message: &[u8]) -> Result<Cow<'_, [u8]>, NotConvertible> {
    if message.is_ascii() {
        return Ok(Cow::Borrowed(message));
    }
    let limits = WalkLimits { depth_max: DEPTH_MAX, parts_max: PARTS_MAX, into_messages: true };
    let found = mime::walk(message, limits);
    if !found.complete {
        return Err(NotConvertible::TooComplex);
    }
    let mut converter = Converter { message, out: Vec::with_capacity(message.len() * 5 / 4), copied_to: 0 };
    // Whether each part lies in a signed one.
    let mut signed: Vec<bool> = Vec::with_capacity(found.parts.len());
    for part in &found.parts {
        let inside = part.parent.is_some_and(|parent| signed.get(parent).copied().unwrap_or_default());
        let is_signed = is_signed(part);
        signed.push(inside || is_signed);
        if inside {
            continue;
        }
        if !message[part.header.clone()].is_ascii() {
            return Err(NotConvertible::HeaderEightBit);
        }
        if is_signed {
            if !message[part.body.clone()].is_ascii() {
                return Err(NotConvertible::Signed);
            }
            continue;
        }
        converter.part(part)?;
    }
    converter.copy_to(message.len());
    Ok(Cow::Owned(converter.out))
}

/// Nothing under these may change by an octet (RFC 1847).
fn is_signed(part: &Part) -> bool {
    part.content.kind == "multipart" && matches!(part.content.subtype.as_str(), "signed" | "encrypted")
}

struct Converter<'a> {
    message: &'a [u8],
    out: Vec<u8>,
    copied_to: usize,
}

impl Converter<'_> {
    fn part(&mut self, part: &Part) -> Result<(), NotConvertible> {
        let body = &self.message[part.body.clone()];
        match part.shape {
            Shape::Opaque if !body.is_ascii() => Err(NotConvertible::TooComplex),
            Shape::Opaque => Ok(()),
            Shape::Multipart | Shape::Message => match part.encoding {
                Encoding::Absent | Encoding::SevenBit => Ok(()),
                Encoding::EightBit | Encoding::Binary => {
                    self.label(part, "7bit", None);
                    Ok(())
                }
                _ if body.is_ascii() => Ok(()),
                _ => Err(NotConvertible::Mislabelled),
            },
            Shape::Leaf => self.leaf(part, body),
        }
    }

    fn leaf(&mut self, part: &Part, body: &[u8]) -> Result<(), NotConvertible> {
        match part.encoding {
            Encoding::QuotedPrintable | Encoding::Base64 | Encoding::Other if !body.is_ascii() => {
                return Err(NotConvertible::Mislabelled);
            }
            Encoding::EightBit | Encoding::Binary if is_seven_bit_clean(body) => {
                self.label(part, "7bit", None);
                return Ok(());
            }
            Encoding::Binary => {}
            _ if body.is_ascii() => return Ok(()),
            _ => {}
        }
        if part.content.kind == "message" && matches!(part.content.subtype.as_str(), "partial" | "external-body") {
            return Err(NotConvertible::Fragment);
        }
        // A text that says nothing of itself is said to be what it is (RFC 1428 for the unknown).
        let stated = match std::str::from_utf8(body) {
            _ if part.content.stated || body.is_ascii() => None,
            Ok(_) => Some("utf-8"),
            Err(_) => Some("unknown-8bit"),
        };
        if part.content.kind == "text" && prefers_quoted_printable(body) {
            self.label(part, "quoted-printable", stated);
            self.copy_to(part.body.start);
            push_quoted_printable(&mut self.out, body);
        } else {
            self.label(part, "base64", stated);
            self.copy_to(part.body.start);
            push_base64(&mut self.out, body);
            if part.body.end == self.message.len() {
                self.out.extend_from_slice(b"\r\n");
            }
        }
        self.copied_to = part.body.end;
        Ok(())
    }

    /// Copies the part's header with its new encoding, and its type where it had none.
    fn label(&mut self, part: &Part, encoding: &str, charset: Option<&str>) {
        let section = &self.message[part.header.clone()];
        self.copy_to(part.header.start);
        let field = format!("Content-Transfer-Encoding: {encoding}\r\n");
        let mut labelled = false;
        let mut versioned = part.parent.is_some();
        for each in header::fields(section) {
            versioned |= each.is("MIME-Version");
            if each.is("Content-Transfer-Encoding") {
                self.out.extend_from_slice(field.as_bytes());
                labelled = true;
            } else {
                self.out.extend_from_slice(each.raw);
            }
        }
        if !versioned {
            self.out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        if let Some(charset) = charset {
            self.out.extend_from_slice(format!("Content-Type: text/plain; charset={charset}\r\n").as_bytes());
        }
        if !labelled {
            self.out.extend_from_slice(field.as_bytes());
        }
        if !part.blank {
            self.out.extend_from_slice(b"\r\n");
        }
        self.copied_to = part.header.end;
    }

    /// Copies what stands between parts. Text outside all parts is no content (RFC 2046 §5.1.1): what it
    /// has above ASCII is replaced.
    fn copy_to(&mut self, end: usize) {
        let between: Range<usize> = self.copied_to..end.max(self.copied_to);
        let octets = &self.message[between];
        if octets.is_ascii() {
            self.out.extend_from_slice(octets);
        } else {
            self.out.extend(octets.iter().map(|octet| if octet.is_ascii() { *octet } else { b'?' }));
        }
        self.copied_to = end.max(self.copied_to);
    }
}

#[cfg(test)]
mod tests;
