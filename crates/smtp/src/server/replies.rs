//! What we say, gathered until it is sent.

use std::io::Write as _;

use base::Reply;

/// So many octets of replies are gathered; then they are sent before the next command is read.
pub const REPLIES_OCTETS: usize = 8 * 1024;

#[derive(Debug, Default)]
pub(super) struct Replies {
    text: Vec<u8>,
    /// The caller has them.
    given: bool,
}

impl Replies {
    /// One line, with its codes.
    pub(super) fn line(&mut self, line: &str) {
        self.text.extend_from_slice(line.as_bytes());
        self.text.extend_from_slice(b"\r\n");
    }

    /// One line, written out.
    pub(super) fn format(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a Vec cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.extend_from_slice(b"\r\n");
    }

    /// A reply of any number of lines; the enhanced code stands on each (RFC 2034 §4). Characters
    /// that a reply may not have become `?`: the text may come from far away.
    pub(super) fn reply(&mut self, reply: &Reply) {
        let mut lines = reply.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            let _ = write!(self.text, "{}{separator}", reply.code);
            if let Some(enhanced) = reply.enhanced {
                let _ = write!(self.text, "{enhanced} ");
            }
            self.text.extend(line.bytes().map(|b| if matches!(b, b' '..=b'~') { b } else { b'?' }));
            self.text.extend_from_slice(b"\r\n");
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= REPLIES_OCTETS
    }

    /// Hands all of it out.
    pub(super) fn give(&mut self) -> &[u8] {
        self.given = true;
        &self.text
    }

    /// Forgets what was handed out.
    pub(super) fn clear_given(&mut self) {
        if std::mem::take(&mut self.given) {
            self.text.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use base::Enhanced;

    use super::*;

    #[test]
    fn a_reply_stays_one_reply() {
        let mut replies = Replies::default();
        replies.reply(&Reply::new(550, Enhanced(5, 7, 1), "no\r250 yes\nnever: ü"));
        assert_eq!(replies.give(), b"550-5.7.1 no?250 yes\r\n550 5.7.1 never: ??\r\n");
        replies.clear_given();
        assert!(replies.is_empty());
        replies.reply(&Reply { code: 421, enhanced: None, text: "".into() });
        assert_eq!(replies.give(), b"421 \r\n");
    }
}
