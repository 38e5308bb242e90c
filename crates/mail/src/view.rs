//! A message as a page shows it: header fields decoded, its texts, the names of what is attached.
//!
//! Everything in a [`View`] comes from outside: it is text to be escaped where it is shown, and `html` is
//! to be shown only where it can do nothing (a sandboxed frame, no network). Sizes and counts are limited
//! whatever the message holds; what was left out is told by [`View::complete`].

use mail_parser::decoders::charsets::map::charset_decoder;

use crate::encoding::{base64_octets, decode_base64, decode_quoted_printable};
use crate::header;
use crate::mime::{self, Encoding, Part, Shape, WalkLimits};

/// Each of the two texts is cut to this size, in octets of UTF-8.
pub const TEXT_OCTETS_MAX: usize = 1024 * 1024;
/// Header fields that are shown.
pub const FIELDS_MAX: usize = 1000;
/// All header values together, in octets.
pub const HEADER_OCTETS_MAX: usize = 256 * 1024;

const LIMITS: WalkLimits = WalkLimits { depth_max: 32, parts_max: 1000, into_messages: false };
/// A file's name is cut to this many characters.
const NAME_CHARS_MAX: usize = 255;

/// What there is to see of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Name and value of each field, in order, decoded and on one line.
    pub headers: Vec<(String, String)>,
    /// The first field of this name, as all of the next.
    pub subject: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// The first plain text that is no attachment.
    pub text: Option<String>,
    /// The first HTML text that is no attachment.
    pub html: Option<String>,
    /// All other content.
    pub attachments: Vec<Attachment>,
    /// Whether nothing was cut or left out.
    pub complete: bool,
}

/// Something attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// As the message names it: fit to show, not to open a file by.
    pub name: Option<String>,
    /// `image/png`, in lower case.
    pub content_type: String,
    /// Decoded.
    pub octets: u64,
}

/// Reads a message. Whatever the octets are, there is something to show.
pub fn view(message: &[u8]) -> View {
    let mut view = View { complete: true, ..View::default() };
    push_headers(&mut view, message);
    let found = mime::walk(message, LIMITS);
    view.complete &= found.complete;
    for part in &found.parts {
        if part.shape != Shape::Multipart {
            push_part(&mut view, message, part);
        }
    }
    view
}

fn push_headers(view: &mut View, message: &[u8]) {
    let mut octets = 0;
    for field in header::fields(message) {
        octets += field.raw.len();
        if view.headers.len() >= FIELDS_MAX || octets > HEADER_OCTETS_MAX {
            view.complete = false;
            return;
        }
        let value = header::decode_words(field.value());
        let slot = match () {
            () if field.is("Subject") => Some(&mut view.subject),
            () if field.is("From") => Some(&mut view.from),
            () if field.is("To") => Some(&mut view.to),
            () => None,
        };
        if let Some(slot @ None) = slot {
            *slot = Some(value.clone());
        }
        view.headers.push((String::from_utf8_lossy(field.name()).into_owned(), value));
    }
}

fn push_part(view: &mut View, message: &[u8], part: &Part) {
    let section = &message[part.header.clone()];
    let body = &message[part.body.clone()];
    let disposition = header::find(section, "Content-Disposition").and_then(|field| mime::structured(&field));
    let attached = disposition.as_ref().is_some_and(|d| d.ctype().trim().eq_ignore_ascii_case("attachment"));
    let name =
        disposition.as_ref().and_then(|d| d.attribute("filename")).or(part.content.name.as_deref()).map(file_name);
    let inline = part.shape == Shape::Leaf && !attached && name.is_none();
    let slot = match part.content.subtype.as_str() {
        "plain" if inline && part.content.kind == "text" => Some(&mut view.text),
        "html" if inline && part.content.kind == "text" => Some(&mut view.html),
        _ => None,
    };
    if let Some(slot @ None) = slot {
        let (text, whole) = text_of(part, body);
        *slot = Some(text);
        view.complete &= whole;
        return;
    }
    let octets = match part.encoding {
        Encoding::Base64 => base64_octets(body),
        Encoding::QuotedPrintable => decode_quoted_printable(body).len(),
        _ => body.len(),
    };
    let content_type = format!("{}/{}", part.content.kind, part.content.subtype);
    view.attachments.push(Attachment { name, content_type, octets: octets as u64 });
}

/// A name on one line; encoded words in it, which should not be there but are, decoded.
fn file_name(name: &str) -> String {
    header::decode_words(name.as_bytes()).chars().take(NAME_CHARS_MAX).collect()
}

/// The text of a part, cut to size, and whether it is all of it.
fn text_of(part: &Part, body: &[u8]) -> (String, bool) {
    // Encoded, an octet of text takes at most three, and a soft line break may follow each.
    let looked_at = &body[..body.len().min(TEXT_OCTETS_MAX * 4)];
    let mut octets = match part.encoding {
        Encoding::Base64 => decode_base64(looked_at),
        Encoding::QuotedPrintable => decode_quoted_printable(looked_at),
        _ => looked_at.to_vec(),
    };
    let mut whole = looked_at.len() == body.len() && octets.len() <= TEXT_OCTETS_MAX;
    octets.truncate(TEXT_OCTETS_MAX);
    let mut text = decode_charset(part.content.charset.as_deref(), &octets);
    if text.len() > TEXT_OCTETS_MAX {
        let mut end = TEXT_OCTETS_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        whole = false;
    }
    (text, whole)
}

/// Octets as text: by their charset where it is known, else as UTF-8 with what is none replaced. Text
/// that calls itself ASCII is read as UTF-8 too, which it often is.
fn decode_charset(charset: Option<&str>, octets: &[u8]) -> String {
    let named = charset.filter(|name| !name.eq_ignore_ascii_case("us-ascii") && !name.eq_ignore_ascii_case("utf-8"));
    match named.and_then(|name| charset_decoder(name.as_bytes())) {
        Some(decode) => decode(octets),
        None => String::from_utf8_lossy(octets).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &str) -> Vec<u8> {
        text.replace('\n', "\r\n").into_bytes()
    }

    #[test]
    fn a_message_is_shown_decoded() {
        let view = view(&lines(
            "From: =?utf-8?q?Ad=C3=A4?= <ada@example.org>\nTo: bob@example.com\nSubject: =?iso-8859-1?q?K=F6ln?=\nSubject: second\nContent-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ngr=FCn\n--a\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\nPHA+w7w8L3A+\n--a--\n--m\nContent-Type: image/png\nContent-Disposition: attachment; filename*=utf-8''%C3%BC%2F..%2Fx.png\nContent-Transfer-Encoding: base64\n\nAAAA\nAA==\n--m\nContent-Type: text/plain; name=\"=?utf-8?q?n=C3=B6te?=\"\n\nnote\n--m\nContent-Type: message/rfc822\n\nSubject: in\n\nx\n--m--\n",
        ));
        assert_eq!(view.subject.as_deref(), Some("Köln"));
        assert_eq!(view.from.as_deref(), Some("Adä <ada@example.org>"));
        assert_eq!(view.to.as_deref(), Some("bob@example.com"));
        assert_eq!(view.headers.len(), 5);
        assert_eq!(view.text.as_deref(), Some("grün"));
        assert_eq!(view.html.as_deref(), Some("<p>ü</p>"));
        let attachments: Vec<_> =
            view.attachments.iter().map(|a| (a.name.as_deref(), &*a.content_type, a.octets)).collect();
        assert_eq!(
            attachments,
            [(Some("ü/../x.png"), "image/png", 4), (Some("nöte"), "text/plain", 4), (None, "message/rfc822", 16)]
        );
        assert!(view.complete);
    }

    #[test]
    fn simple_and_odd_messages_have_something_to_show() {
        assert_eq!(view(b"just text").text.as_deref(), Some("just text"));
        assert_eq!(view(b"").text.as_deref(), Some(""));
        assert_eq!(view(b"A: 1\r\n\r\n\xff\xfe").text.as_deref(), Some("\u{FFFD}\u{FFFD}"));
        let odd = view(b"Content-Type: text/plain; charset=x-unknown\r\n\r\n\xc3\xbc");
        assert_eq!(odd.text.as_deref(), Some("ü"));
        let two = view(&lines("Content-Type: multipart/mixed; boundary=m\n\n--m\n\none\n--m\n\ntwo\n--m--\n"));
        assert_eq!((two.text.as_deref(), two.attachments.len()), (Some("one"), 1));
        let seven = view(b"Content-Type: text/plain; charset=utf-7\r\n\r\n+AOQ-");
        assert_eq!(seven.text.as_deref(), Some("ä"));
    }

    #[test]
    fn large_messages_are_cut_and_say_so() {
        let text = "ü".repeat(TEXT_OCTETS_MAX);
        let shown = view(format!("A: 1\r\n\r\n{text}").as_bytes());
        assert_eq!(shown.text.map(|t| t.len()), Some(TEXT_OCTETS_MAX));
        assert!(!shown.complete);
        let exact = view(format!("A: 1\r\n\r\n{}", "x".repeat(TEXT_OCTETS_MAX)).as_bytes());
        assert!(exact.complete && exact.text.is_some_and(|t| t.len() == TEXT_OCTETS_MAX));
        let latin =
            [&b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\n"[..], &vec![0xfc; TEXT_OCTETS_MAX]].concat();
        let shown = view(&latin);
        assert!(!shown.complete && shown.text.is_some_and(|t| t.len() == TEXT_OCTETS_MAX));
        let fields = "X: y\r\n".repeat(100_000);
        let shown = view(fields.as_bytes());
        assert!(!shown.complete && shown.headers.len() == FIELDS_MAX);
    }

    #[test]
    fn bombs_are_not_explored() {
        let nested = view("Content-Type: message/rfc822\r\n\r\n".repeat(10_000).as_bytes());
        assert_eq!(nested.attachments.len(), 1);
        let deep: String =
            (0..10_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
        assert_eq!(view(deep.as_bytes()).attachments.len(), 1);
        // A million parts, each of which names a boundary that never comes.
        let parts = "--b\r\nContent-Type: multipart/mixed; boundary=never\r\n\r\n".repeat(100_000);
        let many = view(format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}").as_bytes());
        assert!(!many.complete && many.attachments.len() <= 1000);
        let words = "Subject: ".to_owned() + &"=?utf-8?q?a?= ".repeat(50_000) + "\r\n\r\n";
        assert!(!view(words.as_bytes()).complete);
    }

    proptest! {
        #[test]
        fn any_octets_can_be_shown(message in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(view(&message).attachments.len() <= 1000);
        }

        #[test]
        fn any_message_like_text_can_be_shown(
            tokens in proptest::collection::vec(prop_oneof![
                Just("\r\n".to_owned()), Just("\r\n\r\n".to_owned()), Just("\r\n--a\r\n".to_owned()),
                Just("Content-Type: multipart/mixed; boundary=a\r\n".to_owned()), Just("Content-Type: ".to_owned()),
                Just("Content-Transfer-Encoding: base64\r\n".to_owned()), Just("Content-Disposition: attachment; filename*0*=".to_owned()),
                Just("; charset=utf-7\r\n".to_owned()), Just("Subject: =?utf-7?b?".to_owned()), Just("?=".to_owned()),
                Just("filename*=utf-8''%".to_owned()), Just("text/plain".to_owned()), "[\\PC\r\n\t;\"'*=()%]{0,8}",
            ], 0..25),
        ) {
            let view = view(tokens.concat().as_bytes());
            for (_, value) in &view.headers {
                prop_assert!(!value.contains(['\r', '\n', '\0']));
            }
        }
    }
}
