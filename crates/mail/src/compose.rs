//! A plain message from its parts, and files made fit for the wire.

use crate::encoding::{ENCODED_LINE_OCTETS_MAX, is_seven_bit_clean, push_encoded_words, push_quoted_printable};
use base::Address;

/// A name and an address, as `From` and `To` have them.
#[derive(Debug, Clone, Copy)]
pub struct Mailbox<'a> {
    pub name: Option<&'a str>,
    pub address: &'a Address,
}

/// A message of text alone.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a> {
    pub from: Mailbox<'a>,
    pub to: &'a [Mailbox<'a>],
    pub subject: &'a str,
    /// Any line ends.
    pub text: &'a str,
}

/// Why no message was made: the caller's text cannot be what it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error("the {field} has a line end or a control character; a header field is one line of text")]
    ControlCharacter { field: &'static str },
    #[error("a message needs at least one recipient")]
    NoRecipient,
}

/// The message, CRLF line ends, without `Date` and `Message-ID` (acceptance adds them). ASCII, unless an
/// address is not: such a message needs SMTPUTF8.
///
/// # Errors
/// [`ComposeError`] names the field that cannot be written. Nothing is repaired: a line end in a name or
/// a subject is an attempt to add a field, or a mistake.
pub fn plain(message: &Plain<'_>) -> Result<Vec<u8>, ComposeError> {
    if message.to.is_empty() {
        return Err(ComposeError::NoRecipient);
    }
    let mut out = String::with_capacity(512 + message.text.len());
    push_mailboxes(&mut out, "From", "sender's name", &[message.from])?;
    push_mailboxes(&mut out, "To", "recipient's name", message.to)?;
    push_unstructured(&mut out, "Subject", "subject", message.subject)?;
    out.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
    let text = with_crlf(message.text.as_bytes());
    let mut out = out.into_bytes();
    if is_seven_bit_clean(&text) {
        out.extend_from_slice(b"Content-Transfer-Encoding: 7bit\r\n\r\n");
        out.extend_from_slice(&text);
    } else {
        out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        push_quoted_printable(&mut out, &text);
    }
    if !text.is_empty() && !text.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

/// Refuses what could end a line for any reader: all control characters, U+0085 among them, and the line
/// and paragraph separators of Unicode.
fn check(field: &'static str, text: &str) -> Result<(), ComposeError> {
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.contains(forbidden) { Err(ComposeError::ControlCharacter { field }) } else { Ok(()) }
}

/// Whether a text stands for itself in a header: not taken for encoded words, nor lost at a fold.
fn is_plain(text: &str) -> bool {
    text.is_ascii()
        && !text.contains("=?")
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && text.split(' ').all(|word| word.len() <= ENCODED_LINE_OCTETS_MAX / 2)
}

fn push_unstructured(out: &mut String, name: &str, what: &'static str, text: &str) -> Result<(), ComposeError> {
    check(what, text)?;
    let line_from = out.len();
    out.push_str(name);
    out.push_str(": ");
    if is_plain(text) {
        push_folded(out, text, line_from);
    } else {
        let column = out.len() - line_from;
        push_encoded_words(out, text, column);
    }
    out.push_str("\r\n");
    Ok(())
}

/// Folds before a space, which stays, so that unfolding gives the same text.
fn push_folded(out: &mut String, text: &str, line_from: usize) {
    let mut line_from = line_from;
    for (number, word) in text.split(' ').enumerate() {
        if number > 0 {
            // A line of white space alone would be lost, so a space is folded only before a word.
            if !word.is_empty() && out.len() - line_from + 1 + word.len() > ENCODED_LINE_OCTETS_MAX {
                out.push_str("\r\n");
                line_from = out.len();
            }
            out.push(' ');
        }
        out.push_str(word);
    }
}

fn push_mailboxes(
    out: &mut String,
    name: &str,
    what: &'static str,
    mailboxes: &[Mailbox<'_>],
) -> Result<(), ComposeError> {
    let mut line_from = out.len();
    out.push_str(name);
    out.push(':');
    for (number, mailbox) in mailboxes.iter().enumerate() {
        if number > 0 {
            out.push_str(",\r\n");
            line_from = out.len();
        }
        out.push(' ');
        match mailbox.name.filter(|name| !name.is_empty()) {
            None => out.push_str(mailbox.address.as_str()),
            Some(name) => {
                check(what, name)?;
                push_phrase(out, name, line_from);
                // An address may be as long as a line should be.
                out.push_str(if name.len() + mailbox.address.as_str().len() > 60 { "\r\n <" } else { " <" });
                out.push_str(mailbox.address.as_str());
                out.push('>');
            }
        }
    }
    out.push_str("\r\n");
    Ok(())
}

/// A display name: as it is, quoted, or as encoded words.
fn push_phrase(out: &mut String, name: &str, line_from: usize) {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    if !is_plain(name) || name.len() > 60 {
        let column = out.len() - line_from;
        push_encoded_words(out, name, column);
    } else if name.split(' ').all(|word| !word.is_empty() && word.chars().all(is_atom)) {
        out.push_str(name);
    } else {
        out.push('"');
        for c in name.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
    }
}

/// A file made fit for the wire: each LF, each CR and each CRLF becomes CRLF. The line `From …` that mbox files
/// and patches begin with is no part of a message and goes.
pub fn normalise(file: &[u8]) -> Vec<u8> {
    let mut rest = file;
    if rest.starts_with(b"From ") {
        let line_end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        rest = &rest[line_end..];
        rest = rest
            .strip_prefix(b"\r\n")
            .or_else(|| rest.strip_prefix(b"\n"))
            .or_else(|| rest.strip_prefix(b"\r"))
            .unwrap_or(rest);
    }
    with_crlf(rest)
}

/// Line ends alone: each LF, each CR and each CRLF becomes CRLF.
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"\r\n");
        rest = if rest[at..].starts_with(b"\r\n") { &rest[at + 2..] } else { &rest[at + 1..] };
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header;
    use proptest::prelude::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn message(name: Option<&str>, subject: &str, text: &str) -> Result<String, ComposeError> {
        let (ada, bob) = (address("ada@example.org"), address("bob@example.com"));
        let to = [Mailbox { name, address: &bob }, Mailbox { name: None, address: &ada }];
        let message = plain(&Plain { from: Mailbox { name, address: &ada }, to: &to, subject, text })?;
        Ok(String::from_utf8(message).unwrap())
    }

    #[test]
    fn a_plain_message_is_plain() {
        assert_eq!(
            message(Some("Ada Lovelace"), "Hello", "one\ntwo").unwrap(),
            "From: Ada Lovelace <ada@example.org>\r\nTo: Ada Lovelace <bob@example.com>,\r\n ada@example.org\r\n\
             Subject: Hello\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 7bit\r\n\r\none\r\ntwo\r\n"
        );
    }

    #[test]
    fn names_and_texts_are_encoded_where_they_must_be() {
        let text = message(Some("Ada \"the\" L., Dr."), "Grüße", "ü\n").unwrap();
        assert!(text.contains("From: \"Ada \\\"the\\\" L., Dr.\" <ada@example.org>\r\n"), "{text}");
        assert!(text.contains("Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n"));
        assert!(text.ends_with("quoted-printable\r\n\r\n=C3=BC\r\n"));
        assert!(message(Some("Å"), "=?x?", "").unwrap().contains("From: =?utf-8?B?w4U=?= <ada@example.org>\r\n"));
    }

    #[test]
    fn a_field_cannot_be_smuggled_in() {
        for bad in ["a\r\nBcc: x", "a\nb", "a\rb", "a\0b", "a\u{85}b", "a\u{2028}b", "a\u{2029}b", "\u{1b}[31m"] {
            let subject = message(None, bad, "").unwrap_err();
            assert_eq!(subject, ComposeError::ControlCharacter { field: "subject" }, "{bad:?}");
            assert!(subject.to_string().contains("subject"));
            assert_eq!(
                message(Some(bad), "", "").unwrap_err(),
                ComposeError::ControlCharacter { field: "sender's name" }
            );
        }
        let from = address("ada@example.org");
        let nobody = Plain { from: Mailbox { name: None, address: &from }, to: &[], subject: "", text: "" };
        assert_eq!(plain(&nobody).unwrap_err(), ComposeError::NoRecipient);
    }

    #[test]
    fn files_are_made_fit_for_the_wire() {
        assert_eq!(normalise(b"A: 1\n\nx\r\ny\rz"), b"A: 1\r\n\r\nx\r\ny\r\nz");
        assert_eq!(normalise(b"From 0123 Mon Sep 17\nFrom: a@b\n\nFrom x\n"), b"From: a@b\r\n\r\nFrom x\r\n");
        assert_eq!(normalise(b"From x"), b"");
        assert_eq!(normalise(b"From: x"), b"From: x");
        assert_eq!(normalise(b""), b"");
        assert_eq!(with_crlf(b"From x\n\r"), b"From x\r\n\r\n");
    }

    proptest! {
        #[test]
        fn every_subject_and_name_is_read_back(subject in "(\\PC| |[a-z]{1,90}|=\\?){0,40}", name in "(\\PC|[a-z .\"\\\\]){1,80}") {
            prop_assume!(check("", &subject).is_ok() && check("", &name).is_ok());
            let text = message(Some(&name), &subject, "body").unwrap();
            prop_assert!(text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 300));
            let names: Vec<_> = header::fields(text.as_bytes()).map(|f| String::from_utf8_lossy(f.name()).into_owned()).collect();
            prop_assert_eq!(names, ["From", "To", "Subject", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]);
            let read = header::decode_words(header::find(text.as_bytes(), "Subject").unwrap().value());
            prop_assert_eq!(read, subject);
        }

        #[test]
        fn a_normalised_file_has_no_lone_line_end(file in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80)) {
            let out = with_crlf(&file);
            let bare = |(at, b): (usize, &u8)| match b {
                b'\n' => at == 0 || out[at - 1] != b'\r',
                b'\r' => out.get(at + 1) != Some(&b'\n'),
                _ => false,
            };
            prop_assert!(!out.iter().enumerate().any(bare));
            prop_assert_eq!(with_crlf(&out), out);
        }
    }
}
