//! The trace field that we add (RFC 5321 §4.4), and dates as header fields write them.

use std::fmt::Write as _;
use std::net::IpAddr;

use base::{Address, MessageId, Timestamp};

/// What the `Received:` field tells of one acceptance.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedFrom<'a> {
    /// What the client called itself. `None`: the message came from no SMTP client.
    pub client: Option<Client<'a>>,
    /// Our own name.
    pub by: &'a str,
    pub id: MessageId,
    /// The recipient, where the message has exactly one: with several, the field would tell each
    /// of the others (RFC 5321 §7.6).
    pub recipient: Option<&'a Address>,
    pub at: Timestamp,
}

/// The SMTP client that handed a message in.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub helo: &'a str,
    pub address: IpAddr,
    pub protocol: Protocol,
    /// Leaves the `from` clause out, so that a customer's own address does not travel to the
    /// recipients. For authenticated submission only: a field without `from` is what large senders
    /// write as well, while no field at all makes filters suspicious.
    pub hidden: bool,
}

/// How the client spoke, for the `with` clause (RFC 3848, RFC 6531 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// EHLO rather than HELO.
    pub extended: bool,
    pub tls: bool,
    pub authenticated: bool,
    pub smtputf8: bool,
}

impl Protocol {
    /// The registered keyword.
    pub fn keyword(self) -> &'static str {
        match (self.smtputf8, self.tls, self.authenticated) {
            (true, false, false) => "UTF8SMTP",
            (true, true, false) => "UTF8SMTPS",
            (true, false, true) => "UTF8SMTPA",
            (true, true, true) => "UTF8SMTPSA",
            (false, true, true) => "ESMTPSA",
            (false, true, false) => "ESMTPS",
            (false, false, true) => "ESMTPA",
            (false, false, false) if self.extended => "ESMTP",
            (false, false, false) => "SMTP",
        }
    }
}

/// Our `Received:` field, folded, with its last CRLF.
///
/// Whatever the client called itself, the field is one field: octets that a host name or an address
/// literal cannot have are replaced by `?`.
pub fn received_field(from: &ReceivedFrom<'_>) -> Vec<u8> {
    let mut field = String::with_capacity(256);
    field.push_str("Received: ");
    if let Some(client) = from.client.filter(|client| !client.hidden) {
        push_host(&mut field, client.helo);
        push_address(&mut field, client.address);
    }
    field.push_str("by ");
    push_host_name(&mut field, from.by);
    field.push_str(" (Postrider)");
    if let Some(client) = from.client {
        field.push_str(" with ");
        field.push_str(client.protocol.keyword());
    }
    push(&mut field, format_args!("\r\n\tid {}", from.id));
    // A recipient that needs UTF-8 may stand only in a message that is allowed UTF-8.
    let utf8 = from.client.is_some_and(|client| client.protocol.smtputf8);
    if let Some(recipient) = from.recipient.filter(|recipient| utf8 || recipient.is_ascii()) {
        push(&mut field, format_args!("\r\n\tfor <{recipient}>"));
    }
    push(&mut field, format_args!(";\r\n\t{}\r\n", date(from.at)));
    field.into_bytes()
}

fn push(field: &mut String, text: std::fmt::Arguments<'_>) {
    field.write_fmt(text).expect("writing to a String does not fail");
}

fn push_host(field: &mut String, helo: &str) {
    field.push_str("from ");
    push_host_name(field, helo);
}

fn push_host_name(field: &mut String, name: &str) {
    if name.is_empty() {
        field.push_str("unknown");
    }
    for c in name.chars().take(base::address::DOMAIN_OCTETS_MAX) {
        let harmless = c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
        field.push(if harmless { c } else { '?' });
    }
}

fn push_address(field: &mut String, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => push(field, format_args!(" ([{v4}])\r\n\t")),
        IpAddr::V6(v6) => push(field, format_args!(" ([IPv6:{v6}])\r\n\t")),
    }
}

/// The date of RFC 5322 §3.3 in UTC: `Thu, 01 Jan 1970 00:00:00 +0000`. A time beyond the year 9999,
/// which the format cannot write, is written as the last moment that it can.
pub fn date(at: Timestamp) -> String {
    let secs = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_second(secs).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Protocol = Protocol { extended: true, tls: false, authenticated: false, smtputf8: false };

    fn field(client: Option<Client<'_>>, recipient: Option<&Address>) -> String {
        let id = MessageId::from_bytes([7; 16]);
        let at = Timestamp::from_secs(1_795_305_600);
        String::from_utf8(received_field(&ReceivedFrom { client, by: "mail.example.net", id, recipient, at })).unwrap()
    }

    #[test]
    fn a_client_is_named_with_its_address() {
        let client = Client { helo: "app.example.org", address: [192, 0, 2, 1].into(), protocol: PLAIN, hidden: false };
        let ada = Address::parse("ada@example.org").unwrap();
        assert_eq!(
            field(Some(client), Some(&ada)),
            "Received: from app.example.org ([192.0.2.1])\r\n\tby mail.example.net (Postrider) with ESMTP\r\n\
             \tid 07070707-0707-0707-0707-070707070707\r\n\tfor <ada@example.org>;\r\n\
             \tSun, 22 Nov 2026 00:00:00 +0000\r\n"
        );
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert!(field(Some(Client { address: mapped, ..client }), None).contains("([192.0.2.1])"));
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        assert!(field(Some(Client { address: v6, ..client }), None).contains("([IPv6:2001:db8::1])"));
    }

    #[test]
    fn a_hidden_client_leaves_no_trace_of_itself() {
        let protocol = Protocol { tls: true, authenticated: true, ..PLAIN };
        let client = Client { helo: "laptop.home", address: [192, 0, 2, 1].into(), protocol, hidden: true };
        let text = field(Some(client), None);
        assert!(text.starts_with("Received: by mail.example.net (Postrider) with ESMTPSA\r\n\tid "), "{text}");
        assert!(!text.contains("192.0.2.1") && !text.contains("laptop"));
        assert!(field(None, None).starts_with("Received: by mail.example.net (Postrider)\r\n\tid "));
    }

    #[test]
    fn a_hostile_greeting_stays_inside_its_field() {
        for helo in ["x\r\nBcc: y", "(((", "a b\0\u{85}\u{2028}ü", &"h".repeat(100_000), ""] {
            let client = Client { helo, address: [192, 0, 2, 1].into(), protocol: PLAIN, hidden: false };
            let text = field(Some(client), None);
            let fields: Vec<_> = crate::header::fields(text.as_bytes()).collect();
            assert_eq!(fields.len(), 1, "{text}");
            assert!(text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 998));
            assert_eq!(text.matches('(').count(), 2, "{text}");
        }
    }

    #[test]
    fn a_recipient_in_utf8_is_named_only_where_utf8_may_stand() {
        let address = Address::parse("grå@example.org").unwrap();
        let client = Client { helo: "h", address: [192, 0, 2, 1].into(), protocol: PLAIN, hidden: false };
        assert!(!field(Some(client), Some(&address)).contains("for"));
        let client = Client { protocol: Protocol { smtputf8: true, ..PLAIN }, ..client };
        assert!(field(Some(client), Some(&address)).contains("with UTF8SMTP\r\n"));
        assert!(field(Some(client), Some(&address)).contains("for <grå@example.org>"));
    }

    #[test]
    fn dates_are_those_of_the_standard() {
        assert_eq!(date(Timestamp(0)), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date(Timestamp::from_secs(951_827_696)), "Tue, 29 Feb 2000 12:34:56 +0000");
        assert!(date(Timestamp(u64::MAX)).ends_with(" 9999 22:00:00 +0000"), "{}", date(Timestamp(u64::MAX)));
    }
}
