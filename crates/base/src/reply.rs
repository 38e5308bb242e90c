//! What an SMTP server says: ours, and those of the world.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl Enhanced {
    /// Reads `x.y.z` at the start of a reply text; what follows is the text itself.
    pub fn split(text: &str) -> (Option<Enhanced>, &str) {
        let (head, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = head.split('.');
        let mut number = |digits_max: usize| {
            parts
                .next()
                .filter(|p| !p.is_empty() && p.len() <= digits_max && p.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|p| p.parse::<u16>().ok())
        };
        match (number(1), number(3), number(3)) {
            (Some(class @ (2 | 4 | 5)), Some(subject), Some(detail)) if parts.next().is_none() => {
                (Some(Enhanced(class as u8, subject, detail)), rest)
            }
            _ => (None, text),
        }
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What the first digit of a reply code says (RFC 5321 §4.2.1). A code that no RFC knows is
/// [`ReplyClass::Temporary`]: unknown never loses mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyClass {
    Success,
    Intermediate,
    Temporary,
    Permanent,
}

/// A reply: code, enhanced code where one was given, and the text (lines parted by `\n`, without the codes).
///
/// Text from outside is kept as data: control characters are already replaced, and it is never longer
/// than [`Reply::TEXT_OCTETS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub code: u16,
    pub enhanced: Option<Enhanced>,
    pub text: Box<str>,
}

impl Reply {
    /// Longer texts of peers are cut: 1 KB says enough.
    pub const TEXT_OCTETS_MAX: usize = 1024;

    /// A reply of ours. `text` must not contain CR; several lines are parted by `\n`.
    pub fn new(code: u16, enhanced: Enhanced, text: impl Into<Box<str>>) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: text.into() }
    }

    /// A reply as a peer sent it: the text is made safe to keep and to show (RFC 5321 allows
    /// only printable characters; what else came is replaced) and cut to size.
    pub fn from_peer(code: u16, lines: &str) -> Reply {
        let (enhanced, _) = Enhanced::split(lines);
        // The enhanced code is repeated on each line of a multi-line reply (RFC 2034 §4).
        let mut text = String::with_capacity(lines.len().min(Reply::TEXT_OCTETS_MAX));
        for (number, line) in lines.split('\n').enumerate() {
            if number > 0 {
                text.push('\n');
            }
            let own = if enhanced.is_some() { Enhanced::split(line).1 } else { line };
            for c in own.chars() {
                text.push(if c.is_control() { '\u{FFFD}' } else { c });
                if text.len() >= Reply::TEXT_OCTETS_MAX - 4 {
                    text.push('…');
                    return Reply { code, enhanced, text: text.into() };
                }
            }
        }
        Reply { code, enhanced, text: text.into() }
    }

    pub fn class(&self) -> ReplyClass {
        match self.code {
            200..=299 => ReplyClass::Success,
            300..=399 => ReplyClass::Intermediate,
            500..=599 => ReplyClass::Permanent,
            _ => ReplyClass::Temporary,
        }
    }
}

impl fmt::Display for Reply {
    /// One line, for people: `550 5.1.1 no such user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in self.text.lines() {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_reply_is_taken_apart() {
        let reply = Reply::from_peer(550, "5.1.1 no such user\n5.1.1 here");
        assert_eq!(reply.enhanced, Some(Enhanced(5, 1, 1)));
        assert_eq!(&*reply.text, "no such user\nhere");
        assert_eq!(reply.to_string(), "550 5.1.1 no such user here");
        assert_eq!(reply.class(), ReplyClass::Permanent);
    }

    #[test]
    fn a_hostile_reply_is_kept_as_harmless_data() {
        let reply = Reply::from_peer(450, &"\u{1b}[31mx\r".repeat(1000));
        assert!(reply.text.len() <= Reply::TEXT_OCTETS_MAX);
        assert!(!reply.text.contains(|c: char| c.is_control()));
        assert_eq!(Reply::from_peer(250, "5..1 x").enhanced, None);
        assert_eq!(Reply::from_peer(250, "9.1.1 x").enhanced, None);
        assert_eq!(Reply::from_peer(999, "what").class(), ReplyClass::Temporary);
    }
}
