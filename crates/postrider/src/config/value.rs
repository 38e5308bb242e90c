//! How a setting's value is read from what was written, and written again for `config show`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use accept::Network;
use base::Domain;
use serde_json::{Value as Json, json};

use super::problem::{Fault, suggestion};

/// A value as it was written, with the line where it begins (from 1; none outside files).
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub line: Option<usize>,
    pub raw: Raw,
}

/// The kinds of values that TOML has. A date is kept as its text: no setting takes one.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    pub fn text(text: impl Into<String>) -> Node {
        Node { line: None, raw: Raw::Text(text.into()) }
    }

    pub fn fault(&self, text: impl Into<String>) -> Vec<Fault> {
        vec![Fault::new(self.line, text)]
    }

    fn mismatch<T: Value>(&self) -> Vec<Fault> {
        let found = match &self.raw {
            Raw::Text(text) => format!("{text:?}"),
            Raw::Integer(number) => number.to_string(),
            Raw::Float(number) => number.to_string(),
            Raw::Boolean(truth) => truth.to_string(),
            Raw::List(_) => "a list".to_owned(),
            Raw::Table(_) => "a table".to_owned(),
        };
        self.fault(format!("expected {}, found {found}", T::KIND))
    }
}

/// How a value is spelled where only text is possible (environment variables, our table of defaults).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As it is, without quotes.
    Plain,
    /// As in TOML: numbers, `["a", "b"]`, `{ key = "value" }`.
    Toml,
}

/// A type of setting.
pub trait Value: Sized {
    /// What is expected, as a phrase: "a size such as 50MiB".
    const KIND: &'static str;
    const SPELLING: Spelling;

    /// # Errors
    /// Every fault in the value, not only the first.
    fn read(node: &Node) -> Result<Self, Vec<Fault>>;

    /// For `config show`; [`Json::Null`] where it is not set.
    fn json(&self) -> Json;
}

/// Reads what stands in text: the common half of most kinds.
fn from_text<T: Value>(node: &Node, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Vec<Fault>> {
    match &node.raw {
        Raw::Text(text) => parse(text).ok_or_else(|| node.mismatch::<T>()),
        _ => Err(node.mismatch::<T>()),
    }
}

impl Value for String {
    const KIND: &'static str = "text";
    const SPELLING: Spelling = Spelling::Plain;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        from_text(node, |text| Some(text.to_owned()))
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "a path";
    const SPELLING: Spelling = Spelling::Plain;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        from_text(node, |text| (!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn json(&self) -> Json {
        json!(self.display().to_string())
    }
}

fn positive<T: Value + TryFrom<i64>>(node: &Node) -> Result<T, Vec<Fault>> {
    match node.raw {
        Raw::Integer(number) if number > 0 => T::try_from(number).map_err(|_| node.mismatch::<T>()),
        _ => Err(node.mismatch::<T>()),
    }
}

impl Value for u32 {
    const KIND: &'static str = "a whole number from 1";
    const SPELLING: Spelling = Spelling::Toml;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        positive(node)
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

impl Value for u16 {
    const KIND: &'static str = "a whole number from 1 to 65535";
    const SPELLING: Spelling = Spelling::Toml;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        positive(node)
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

/// A rate; may be below one.
impl Value for f64 {
    const KIND: &'static str = "a number above 0";
    const SPELLING: Spelling = Spelling::Toml;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        let number = match node.raw {
            // A setting that needs more than 53 bits of number does not exist.
            Raw::Integer(number) => number as f64,
            Raw::Float(number) => number,
            _ => return Err(node.mismatch::<f64>()),
        };
        if number > 0.0 && number.is_finite() { Ok(number) } else { Err(node.mismatch::<f64>()) }
    }

    fn json(&self) -> Json {
        json!(self)
    }
}

/// A number of octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    const UNITS: [(&'static str, u64); 7] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1_000),
        ("B", 1),
    ];

    fn parse(text: &str) -> Option<Size> {
        let (number, unit) = split_number(text.trim())?;
        let octets = Size::UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?.1;
        number.checked_mul(octets).filter(|size| *size > 0).map(Size)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Size::UNITS.iter().find(|(_, octets)| self.0.is_multiple_of(*octets)) {
            Some((unit, octets)) => write!(f, "{}{unit}", self.0 / octets),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Value for Size {
    const KIND: &'static str = "a size such as \"50MiB\" or \"50MB\" (MiB = 1,048,576 octets, MB = 1,000,000)";
    const SPELLING: Spelling = Spelling::Plain;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        from_text(node, Size::parse)
    }

    fn json(&self) -> Json {
        json!(self.to_string())
    }
}

const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Value for Duration {
    const KIND: &'static str = "a time such as \"30s\", \"5m\", \"1h30m\" or \"5d\"";
    const SPELLING: Spelling = Spelling::Plain;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        from_text(node, |text| {
            let mut rest = text.trim();
            let mut total_ms = 0_u64;
            while !rest.is_empty() {
                let (number, tail) = split_number(rest)?;
                let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
                let (unit, tail) = tail.split_at(unit_end);
                let unit_ms = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?.1;
                total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
                rest = tail.trim_start();
            }
            (total_ms > 0).then(|| Duration::from_millis(total_ms))
        })
    }

    fn json(&self) -> Json {
        let mut rest = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, unit_ms) in DURATION_UNITS {
            if rest >= unit_ms {
                text.push_str(&format!("{}{unit}", rest / unit_ms));
                rest %= unit_ms;
            }
        }
        json!(text)
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

impl Value for SocketAddr {
    const KIND: &'static str = "an IP address and a port such as \"127.0.0.1:2525\" or \"[::]:25\"";
    const SPELLING: Spelling = Spelling::Plain;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        from_text(node, |text| text.parse().ok())
    }

    fn json(&self) -> Json {
        json!(self.to_string())
    }
}

impl Value for Domain {
    const KIND: &'static str = "a host name such as \"mail.example.org\"";
    const SPELLING: Spelling = Spelling::Plain;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        from_text(node, |text| Domain::parse(text).ok().filter(|domain| !domain.as_str().starts_with('[')))
    }

    fn json(&self) -> Json {
        json!(self.as_str())
    }
}

/// A server by name or address, with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A host name or an IP address, without brackets.
    pub host: String,
    pub port: u16,
}

impl HostPort {
    pub fn parse(text: &str) -> Option<HostPort> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(HostPort { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':')?;
        let host = Domain::parse(host).ok().filter(|host| !host.as_str().starts_with('['))?;
        Some(HostPort { host: host.as_str().to_owned(), port: port.parse().ok().filter(|port| *port > 0)? })
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Value for HostPort {
    const KIND: &'static str = "a host and a port such as \"127.0.0.1:2526\" or \"mx.example.org:25\"";
    const SPELLING: Spelling = Spelling::Plain;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        from_text(node, HostPort::parse)
    }

    fn json(&self) -> Json {
        json!(self.to_string())
    }
}

impl Value for Network {
    const KIND: &'static str = "a network such as \"127.0.0.0/8\" or \"2001:db8::/32\"";
    const SPELLING: Spelling = Spelling::Plain;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        from_text(node, |text| text.parse().ok())
    }

    fn json(&self) -> Json {
        json!(self.to_string())
    }
}

/// A setting that may stay unset. In text, empty means unset.
impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    const SPELLING: Spelling = T::SPELLING;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        match &node.raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            _ => T::read(node).map(Some),
        }
    }

    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Value::json)
    }
}

impl<T: Value> Value for Vec<T> {
    const KIND: &'static str = "a list";
    const SPELLING: Spelling = Spelling::Toml;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        let Raw::List(items) = &node.raw else { return Err(node.mismatch::<Self>()) };
        let (mut values, mut faults) = (Vec::with_capacity(items.len()), Vec::new());
        for (index, item) in items.iter().enumerate() {
            match T::read(item) {
                Ok(value) => values.push(value),
                Err(inner) => faults.extend(inner.into_iter().map(|fault| fault.within(&format!("[{index}]")))),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }

    fn json(&self) -> Json {
        Json::Array(self.iter().map(Value::json).collect())
    }
}

/// What a table of a setting is keyed by.
pub trait TableKey: Ord + Sized {
    /// # Errors
    /// Why the text is none, as a sentence.
    fn parse_key(text: &str) -> Result<Self, String>;
    fn key(&self) -> &str;
}

impl TableKey for Domain {
    fn parse_key(text: &str) -> Result<Domain, String> {
        Domain::parse(text).map_err(|error| error.to_string())
    }

    fn key(&self) -> &str {
        self.as_str()
    }
}

/// A domain, all sub-domains of one (`*.example.test`), or every domain (`*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SitePattern(String);

impl SitePattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TableKey for SitePattern {
    fn parse_key(text: &str) -> Result<SitePattern, String> {
        let domain = text.strip_prefix("*.").unwrap_or(text);
        if text != "*" {
            Domain::parse_key(domain)?;
        }
        Ok(SitePattern(text.to_lowercase()))
    }

    fn key(&self) -> &str {
        &self.0
    }
}

/// A table whose keys are domains, such as `[delivery.limits."example.org"]`.
impl<K: TableKey, T: Value> Value for BTreeMap<K, T> {
    const KIND: &'static str = "a table of domains";
    const SPELLING: Spelling = Spelling::Toml;

    fn read(node: &Node) -> Result<Self, Vec<Fault>> {
        let Raw::Table(entries) = &node.raw else { return Err(node.mismatch::<Self>()) };
        let (mut values, mut faults) = (BTreeMap::new(), Vec::new());
        for (name, entry) in entries {
            let path = format!(".{name:?}");
            match (K::parse_key(name), T::read(entry)) {
                (Ok(domain), Ok(value)) => drop(values.insert(domain, value)),
                (Ok(_), Err(inner)) => faults.extend(inner.into_iter().map(|fault| fault.within(&path))),
                (Err(error), _) => faults.push(Fault::new(entry.line, error).within(&path)),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }

    fn json(&self) -> Json {
        Json::Object(self.iter().map(|(key, value)| (key.key().to_owned(), value.json())).collect())
    }
}

/// Reads one of a few words. `words` are in the order of documentation.
pub fn read_choice<T: Copy>(node: &Node, words: &[(&str, T)]) -> Result<T, Vec<Fault>> {
    let Raw::Text(text) = &node.raw else {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        return Err(node.fault(format!("expected one of {}", all.join(", "))));
    };
    words.iter().find(|(word, _)| word == text).map(|(_, value)| *value).ok_or_else(|| {
        let names = words.iter().map(|(word, _)| *word);
        node.fault(format!("{text:?} is not one of the choices; {}", suggestion(text, names)))
    })
}
