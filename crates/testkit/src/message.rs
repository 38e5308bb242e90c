//! Messages to send, and the comparison of what was sent with what arrived.

use std::fmt::Write as _;

/// Fields that a server on the way may put above a message (RFC 5321 §4.4, and what local delivery adds).
const TRACE_FIELDS: [&str; 6] =
    ["received", "return-path", "delivered-to", "x-original-to", "envelope-to", "delivery-date"];

/// A message that can be recognised at the far end.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    /// A small complete message: nothing need be added to its header.
    pub fn new(id: &str) -> Message {
        let fields = [
            ("Date", "Sun, 22 Nov 2026 10:00:00 +0000"),
            ("From", "Ada <ada@sender.test>"),
            ("To", "Bob <bob@example.test>"),
            ("Subject", "A story"),
            ("Message-ID", &format!("<{id}@client.test>")),
            ("X-Story-Id", id),
        ];
        Message {
            id: id.to_owned(),
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: b"Hello Bob,\r\n\r\n.a line that begins with a dot\r\n..and one with two\r\n\r\nAda\r\n".to_vec(),
        }
    }

    /// Sets a field, or takes it away where `value` is empty.
    pub fn field(mut self, name: &str, value: &str) -> Message {
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Message {
        self.body = body.into();
        self
    }

    /// Fills the body up so that the whole has about `octets`.
    pub fn sized(self, octets: usize) -> Message {
        let mut body = Vec::with_capacity(octets);
        let mut number = 0;
        while body.len() + 500 < octets {
            number += 1;
            body.extend_from_slice(format!("line {number:>8} of {:-<50}\r\n", self.id).as_bytes());
        }
        self.body(body)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut head = String::new();
        for (name, value) in &self.fields {
            write!(head, "{name}: {value}\r\n").expect("a string takes everything");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The value of a field, unfolded; the first one of that name.
pub fn field(message: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let head = text.split("\r\n\r\n").next()?.replace("\r\n\t", " ").replace("\r\n ", " ");
    head.split("\r\n").find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// Which story message this is.
pub fn story_id(message: &[u8]) -> Option<String> {
    field(message, "X-Story-Id")
}

/// `arrived` must be `sent` with nothing but trace fields above it; these are given back.
///
/// # Panics
/// With the first difference.
#[track_caller]
pub fn expect_only_trace_added(sent: &[u8], arrived: &[u8]) -> String {
    let Some(added) = arrived.len().checked_sub(sent.len()) else {
        panic!("{} octets were sent, {} arrived: {:?}", sent.len(), arrived.len(), String::from_utf8_lossy(arrived));
    };
    if let Some(at) = sent.iter().zip(&arrived[added..]).position(|(sent, arrived)| sent != arrived) {
        let around = |bytes: &[u8], at: usize| {
            String::from_utf8_lossy(&bytes[at.saturating_sub(60)..(at + 60).min(bytes.len())]).into_owned()
        };
        panic!(
            "octet {at} from the start of what was sent differs:\n  sent    {:?}\n  arrived {:?}\n  above {:?}",
            around(sent, at),
            around(arrived, added + at),
            String::from_utf8_lossy(&arrived[..added.min(2000)]),
        );
    }
    let trace = String::from_utf8_lossy(&arrived[..added]).into_owned();
    for line in trace.split_inclusive("\r\n") {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let folded = line.starts_with([' ', '\t']);
        assert!(line.ends_with("\r\n"), "a torn line was added: {line:?}");
        assert!(folded || TRACE_FIELDS.contains(&name.as_str()), "no trace field, but added: {line:?}");
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_fields_are_told_from_changes() {
        let sent = Message::new("one").bytes();
        let arrived = [b"Received: from a\r\n\tby b\r\n".as_slice(), &sent].concat();
        assert_eq!(expect_only_trace_added(&sent, &arrived), "Received: from a\r\n\tby b\r\n");
        assert_eq!(story_id(&arrived).as_deref(), Some("one"));
    }

    #[test]
    #[should_panic(expected = "no trace field")]
    fn another_field_is_a_change() {
        let sent = Message::new("one").bytes();
        expect_only_trace_added(&sent, &[b"X-Advertisement: buy\r\n".as_slice(), &sent].concat());
    }

    #[test]
    #[should_panic(expected = "differs")]
    fn another_octet_is_a_change() {
        let sent = Message::new("one").bytes();
        let mut arrived = sent.clone();
        let last = arrived.len() - 3;
        arrived[last] = b'x';
        expect_only_trace_added(&sent, &arrived);
    }
}
