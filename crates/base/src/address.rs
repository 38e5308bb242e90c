//! Mail addresses as the envelope has them (RFC 5321 §4.1.2; RFC 6531 for UTF-8).
//!
//! One grammar for SMTP, the API and the command line, and it is the strict one: no route
//! (`@a,@b:c@d`), no comments, no white space, no fix-ups before validation.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// RFC 5321 §4.5.3.1.1.
pub const LOCAL_PART_OCTETS_MAX: usize = 64;
/// RFC 5321 §4.5.3.1.2.
pub const DOMAIN_OCTETS_MAX: usize = 255;

/// A valid mailbox `local@domain`. The domain is kept in lower case, the local part as it came
/// (quotes included): only its own host may interpret it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    text: Box<str>,
    /// Where the `@` stands that parts local part and domain.
    at: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("an address needs a local part, an @ and a domain")]
    Incomplete,
    #[error("the part before the @ is longer than 64 octets")]
    LocalPartTooLong,
    #[error("the part before the @ has a character that must be quoted")]
    LocalPart,
    #[error(transparent)]
    Domain(#[from] DomainError),
}

impl Address {
    /// Reads a mailbox. UTF-8 is allowed (RFC 6531); see [`Address::is_ascii`].
    ///
    /// # Errors
    /// Says which part is wrong; nothing is repaired.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let at =
            if text.starts_with('"') { quoted_end(text)? } else { text.find('@').ok_or(AddressError::Incomplete)? };
        if text.as_bytes().get(at) != Some(&b'@') {
            return Err(AddressError::Incomplete);
        }
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Incomplete);
        }
        if local.len() > LOCAL_PART_OCTETS_MAX {
            return Err(AddressError::LocalPartTooLong);
        }
        if !local.starts_with('"') && !is_dot_string(local) {
            return Err(AddressError::LocalPart);
        }
        let domain = Domain::parse(domain)?;
        let text = format!("{local}@{domain}").into_boxed_str();
        // At most 64 octets of local part stand before it.
        Ok(Address { text, at: at as u16 })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the `@`, quotes included.
    pub fn local_part(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// The part behind the `@`, in lower case, as U-labels where it came so.
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.at) + 1..]
    }

    /// The domain as A-labels: one name for both spellings (RFC 5891).
    pub fn domain_ascii(&self) -> Cow<'_, str> {
        to_ascii(self.domain())
    }

    /// Whether it can be sent to a server without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// The same mailbox however it was written: needless quotes removed, domain as A-labels. The
    /// local part keeps its case (RFC 5321 §2.4).
    pub fn canonical(&self) -> String {
        let local = self.local_part();
        let bare = local.strip_prefix('"').and_then(|l| l.strip_suffix('"')).map(unescape);
        match bare {
            Some(inner) if is_dot_string(&inner) => format!("{inner}@{}", self.domain_ascii()),
            _ => format!("{local}@{}", self.domain_ascii()),
        }
    }
}

fn unescape(quoted: &str) -> String {
    let mut out = String::with_capacity(quoted.len());
    let mut escaped = false;
    for c in quoted.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(c);
            escaped = false;
        }
    }
    out
}

/// `atext` of RFC 5322 §3.2.3, and any non-ASCII character (RFC 6531 §3.3) that is no control
/// character and no kind of white space.
fn is_atext(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_' | '`' | '{' | '|' | '}'
        | '~' => true,
        c if c.is_ascii() => false,
        c => !c.is_control() && !c.is_whitespace() && c != '\u{2028}' && c != '\u{2029}',
    }
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// Where the `@` behind a quoted local part stands. Inside: `qtextSMTP` and quoted pairs only.
fn quoted_end(text: &str) -> Result<usize, AddressError> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(at + 1),
            '\\' => match chars.next() {
                Some((_, ' '..='~')) => {}
                _ => return Err(AddressError::LocalPart),
            },
            ' '..='~' => {}
            c if !c.is_ascii() && !c.is_control() && c != '\u{2028}' && c != '\u{2029}' => {}
            _ => return Err(AddressError::LocalPart),
        }
    }
    Err(AddressError::LocalPart)
}

fn to_ascii(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return Cow::Borrowed(domain);
    }
    // A `Domain` was checked by the same function, so it always converts.
    idna::domain_to_ascii(domain).map_or(Cow::Borrowed(domain), Cow::Owned)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        Address::parse(text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Address, AddressError> {
        Address::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.text.into()
    }
}

/// A valid domain name or address literal, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Box<str>);

/// Why a text is no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    #[error("the domain is longer than 255 octets")]
    TooLong,
    #[error("the domain is no host name (letters, digits and hyphens, parted by dots)")]
    Syntax,
    #[error("the address literal is no IP address in square brackets")]
    Literal,
}

impl Domain {
    /// # Errors
    /// When it is neither a host name (RFC 5321 `Domain`, U-labels allowed) nor an address literal.
    pub fn parse(text: &str) -> Result<Domain, DomainError> {
        if text.len() > DOMAIN_OCTETS_MAX {
            return Err(DomainError::TooLong);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(DomainError::Literal)?;
            literal(inner)?;
            return Ok(Domain(text.to_ascii_lowercase().into()));
        }
        if text.is_ascii() {
            if !is_host_name(text) {
                return Err(DomainError::Syntax);
            }
            return Ok(Domain(text.to_ascii_lowercase().into()));
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| DomainError::Syntax)?;
        if ascii.len() > DOMAIN_OCTETS_MAX {
            return Err(DomainError::TooLong);
        }
        if !is_host_name(&ascii) {
            return Err(DomainError::Syntax);
        }
        Ok(Domain(text.to_lowercase().into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as A-labels.
    pub fn ascii(&self) -> Cow<'_, str> {
        to_ascii(&self.0)
    }
}

fn is_host_name(text: &str) -> bool {
    text.split('.').all(|label| {
        let bytes = label.as_bytes();
        // The underscore is no letter of a host name, yet mail to such names exists.
        !bytes.is_empty()
            && bytes.len() <= 63
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    })
}

fn literal(inner: &str) -> Result<(), DomainError> {
    let tag = inner.get(..5).filter(|t| t.eq_ignore_ascii_case("IPv6:"));
    let valid = match tag {
        Some(_) => inner[5..].parse::<Ipv6Addr>().is_ok(),
        None => inner.parse::<Ipv4Addr>().is_ok(),
    };
    if valid { Ok(()) } else { Err(DomainError::Literal) }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Domain, DomainError> {
        Domain::parse(text)
    }
}

impl TryFrom<String> for Domain {
    type Error = DomainError;

    fn try_from(text: String) -> Result<Domain, DomainError> {
        Domain::parse(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses() {
        for text in [
            "ada@example.org",
            "a.b+c@x",
            "\"a b\"@example.org",
            "\"a@b\\\"c\"@example.org",
            "!#$%&'*+-/=?^_`{|}~@example.org",
            "ada@[127.0.0.1]",
            "ada@[IPv6:2001:db8::1]",
            "grå@example.org",
            "ada@münchen.example",
        ] {
            let address = Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(Address::parse(address.as_str()), Ok(address.clone()), "{text} is stable");
        }
    }

    #[test]
    fn bad_addresses() {
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "ada",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a b@c",
            "a@b@c",
            "a@-b",
            "a@b-",
            "a@b..c",
            "a@b.",
            "a@.b",
            "\"a@b",
            "\"a\"b@c",
            "\"a\nb\"@c",
            "a@[127.0.0.1",
            "a@[127.0.0]",
            "a@[IPv6:1]",
            "a@[::1]",
            "a\0b@c",
            "a@b\r\nc",
            "<a@b>",
            "@x,@y:a@b",
            "a\u{2028}b@c",
            "a@b c",
            "a@b_\u{0}",
            "\"\\\u{7}\"@c",
            "a(x)@b",
            "a\u{85}b@c",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn sizes() {
        let local = "a".repeat(64);
        assert!(Address::parse(&format!("{local}@example.org")).is_ok());
        assert_eq!(Address::parse(&format!("{local}a@example.org")), Err(AddressError::LocalPartTooLong));
        let label = "d".repeat(63);
        let domain = format!("{label}.{label}.{label}.{}", "d".repeat(62));
        assert_eq!(domain.len(), 254);
        assert!(Address::parse(&format!("a@{domain}")).is_ok());
        assert_eq!(Address::parse(&format!("a@{domain}xx")), Err(AddressError::Domain(DomainError::TooLong)));
    }

    #[test]
    fn one_mailbox_has_one_canonical_form() {
        let canonical = |t: &str| Address::parse(t).unwrap().canonical();
        assert_eq!(canonical("\"ada\"@Example.ORG"), "ada@example.org");
        assert_eq!(canonical("\"a\\da\"@example.org"), "ada@example.org");
        assert_eq!(canonical("\"a b\"@example.org"), "\"a b\"@example.org");
        assert_eq!(canonical("ada@MÜNCHEN.example"), "ada@xn--mnchen-3ya.example");
        assert_eq!(canonical("Ada@example.org"), "Ada@example.org");
    }
}
