//! What a client says: one command line, read (RFC 5321 §4.1).
//!
//! The grammar is the strict one, with exactly two courtesies, both of them harmless and both of
//! them needed by clients that exist: white space at the end of a line is dropped (RFC 5321 §4.1.1
//! asks for it), and one space may stand behind the colon of `MAIL FROM:` and `RCPT TO:`. Source
//! routes, missing angle brackets, comments and doubled spaces are refused.

mod parameters;
pub mod xtext;

use base::{Address, AddressError, BodyType, DsnReturn, Enhanced, Notify};

use parameters::{Parameters, mail_parameters, rcpt_parameters};

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// The name is the client's own claim; it has only characters that a host name or an address
    /// literal may have.
    Ehlo(&'a str),
    Helo(&'a str),
    StartTls,
    /// `initial`: the initial response as it came, in base64 (RFC 4954 §4).
    Auth {
        mechanism: &'a str,
        initial: Option<&'a [u8]>,
    },
    Mail(Mail),
    Rcpt(Rcpt),
    Data,
    /// RFC 3030 §2.
    Bdat {
        octets: u64,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
}

/// The arguments of MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// `None` is `<>`.
    pub sender: Option<Address>,
    /// SIZE (RFC 1870), in octets; a number that no integer holds is the largest one.
    pub size: Option<u64>,
    /// BODY (RFC 6152).
    pub body: Option<BodyType>,
    pub smtputf8: bool,
    pub ret: Option<DsnReturn>,
    /// ENVID, decoded.
    pub envid: Option<Box<str>>,
    pub parameters: Parameters,
}

/// The arguments of RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    pub path: ForwardPath,
    pub notify: Option<Notify>,
    /// ORCPT, decoded.
    pub original: Option<Box<str>>,
    pub parameters: Parameters,
}

/// Where RCPT points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    Mailbox(Address),
    /// `<Postmaster>` without a domain: ours (RFC 5321 §4.5.1).
    Postmaster,
}

/// Why a line is no command. All are the client's fault; nothing changes by such a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("Command not recognized")]
    Unknown,
    #[error("Syntax: {0}")]
    Syntax(&'static str),
    #[error("Bad sender address: {0}")]
    Sender(AddressError),
    #[error("Bad recipient address: {0}")]
    Recipient(AddressError),
    /// Also for octets that are no UTF-8.
    #[error("A non-ASCII address needs SMTPUTF8 and valid UTF-8")]
    NotAscii,
    #[error("Bad value or repetition of parameter {0}")]
    Parameter(&'static str),
    #[error("Bad parameter syntax")]
    ParameterSyntax,
    #[error("Parameter not known or not offered")]
    ParameterUnknown,
    /// Nobody can say how many octets follow, so the connection cannot be kept in step.
    #[error("Syntax: BDAT octets [LAST]")]
    ChunkSize,
}

impl CommandError {
    /// Reply code and enhanced code (RFC 5248).
    pub fn codes(self) -> (u16, Enhanced) {
        match self {
            CommandError::Unknown => (500, Enhanced(5, 5, 1)),
            CommandError::Syntax(_) | CommandError::Parameter(_) => (501, Enhanced(5, 5, 4)),
            CommandError::ParameterSyntax | CommandError::ChunkSize => (501, Enhanced(5, 5, 4)),
            CommandError::Sender(_) => (501, Enhanced(5, 1, 7)),
            CommandError::Recipient(_) => (501, Enhanced(5, 1, 3)),
            CommandError::NotAscii => (553, Enhanced(5, 6, 7)),
            CommandError::ParameterUnknown => (555, Enhanced(5, 5, 4)),
        }
    }
}

const MAIL_SYNTAX: CommandError = CommandError::Syntax("MAIL FROM:<address> [parameters]");
const RCPT_SYNTAX: CommandError = CommandError::Syntax("RCPT TO:<address> [parameters]");

/// Reads one line, without its CRLF. Pure; never panics, whatever the octets.
///
/// # Errors
/// Says what is wrong, in words that may be shown to the client: nothing of the line is in them.
pub fn parse_command(line: &[u8]) -> Result<Command<'_>, CommandError> {
    let line = line.trim_ascii_end();
    let (verb, rest) = match memchr::memchr(b' ', line) {
        Some(space) => (&line[..space], Some(&line[space + 1..])),
        None => (line, None),
    };
    // The longest verb is STARTTLS.
    let mut upper = [0_u8; 8];
    let Some(upper) = upper.get_mut(..verb.len()) else { return Err(CommandError::Unknown) };
    upper.copy_from_slice(verb);
    upper.make_ascii_uppercase();
    match &*upper {
        b"MAIL" => mail(rest.unwrap_or_default()).map(Command::Mail),
        b"RCPT" => rcpt(rest.unwrap_or_default()).map(Command::Rcpt),
        b"BDAT" => chunk(rest.unwrap_or_default()),
        b"DATA" => bare(rest, Command::Data, "DATA"),
        b"EHLO" => client_name(rest).map(Command::Ehlo).ok_or(CommandError::Syntax("EHLO hostname")),
        b"HELO" => client_name(rest).map(Command::Helo).ok_or(CommandError::Syntax("HELO hostname")),
        b"RSET" => bare(rest, Command::Rset, "RSET"),
        b"QUIT" => bare(rest, Command::Quit, "QUIT"),
        b"STARTTLS" => bare(rest, Command::StartTls, "STARTTLS"),
        b"AUTH" => auth(rest.unwrap_or_default()),
        // Whatever stands behind these says nothing to us (RFC 5321 §4.1.1.9).
        b"NOOP" => Ok(Command::Noop),
        b"HELP" => Ok(Command::Help),
        b"VRFY" => rest.map(|_| Command::Vrfy).ok_or(CommandError::Syntax("VRFY address")),
        b"EXPN" => rest.map(|_| Command::Expn).ok_or(CommandError::Syntax("EXPN list")),
        _ => Err(CommandError::Unknown),
    }
}

fn bare<'a>(rest: Option<&[u8]>, command: Command<'a>, syntax: &'static str) -> Result<Command<'a>, CommandError> {
    if rest.is_some() { Err(CommandError::Syntax(syntax)) } else { Ok(command) }
}

/// What a client may call itself. Names that are no host names are taken, as RFC 5321 §4.1.4 wants
/// it; characters that could confuse a reader of the `Received` field are not.
fn client_name(rest: Option<&[u8]>) -> Option<&str> {
    let name = rest?;
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']' | b'+');
    if name.is_empty() || name.len() > base::address::DOMAIN_OCTETS_MAX || !name.iter().all(harmless) {
        return None;
    }
    std::str::from_utf8(name).ok()
}

fn auth(rest: &[u8]) -> Result<Command<'_>, CommandError> {
    let syntax = CommandError::Syntax("AUTH mechanism [initial-response]");
    let mut words = rest.split(|b| *b == b' ');
    let mechanism = words.next().unwrap_or_default();
    let initial = words.next();
    let known = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    // RFC 4422 §3.1: at most 20 characters.
    if mechanism.is_empty() || mechanism.len() > 20 || !mechanism.iter().all(known) || words.next().is_some() {
        return Err(syntax);
    }
    let mechanism = std::str::from_utf8(mechanism).map_err(|_| syntax)?;
    Ok(Command::Auth { mechanism, initial })
}

/// `1*20DIGIT` without needless zeros. The number must leave room for sums.
fn chunk<'a>(rest: &[u8]) -> Result<Command<'a>, CommandError> {
    let (digits, last) = match memchr::memchr(b' ', rest) {
        Some(space) if rest[space + 1..].eq_ignore_ascii_case(b"LAST") => (&rest[..space], true),
        Some(_) => return Err(CommandError::ChunkSize),
        None => (rest, false),
    };
    if digits.len() > 1 && digits.first() == Some(&b'0') {
        return Err(CommandError::ChunkSize);
    }
    let octets = number(digits).filter(|n| *n <= u64::MAX / 4).ok_or(CommandError::ChunkSize)?;
    Ok(Command::Bdat { octets, last })
}

/// Digits only; `None` also for more than `u64` holds.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn mail(rest: &[u8]) -> Result<Mail, CommandError> {
    let (path, parameters) = path_and_rest(rest, b"FROM:", MAIL_SYNTAX)?;
    let mut mail = mail_parameters(parameters)?;
    if path.is_empty() {
        return Ok(mail);
    }
    if !mail.smtputf8 && !path.is_ascii() {
        return Err(CommandError::NotAscii);
    }
    let path = std::str::from_utf8(path).map_err(|_| CommandError::NotAscii)?;
    mail.sender = Some(Address::parse(path).map_err(CommandError::Sender)?);
    Ok(mail)
}

fn rcpt(rest: &[u8]) -> Result<Rcpt, CommandError> {
    let (path, parameters) = path_and_rest(rest, b"TO:", RCPT_SYNTAX)?;
    let path = if path.eq_ignore_ascii_case(b"postmaster") {
        ForwardPath::Postmaster
    } else {
        let path = std::str::from_utf8(path).map_err(|_| CommandError::NotAscii)?;
        ForwardPath::Mailbox(Address::parse(path).map_err(CommandError::Recipient)?)
    };
    rcpt_parameters(path, parameters)
}

/// What stands between the angle brackets, and the parameters behind them (without the space).
fn path_and_rest<'a>(
    rest: &'a [u8],
    keyword: &[u8],
    syntax: CommandError,
) -> Result<(&'a [u8], Option<&'a [u8]>), CommandError> {
    let head = rest.get(..keyword.len()).filter(|head| head.eq_ignore_ascii_case(keyword));
    let rest = head.map(|_| &rest[keyword.len()..]).ok_or(syntax)?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let inner = rest.strip_prefix(b"<").ok_or(syntax)?;
    let end = path_end(inner).ok_or(syntax)?;
    match &inner[end + 1..] {
        [] => Ok((&inner[..end], None)),
        [b' ', parameters @ ..] => Ok((&inner[..end], Some(parameters))),
        _ => Err(syntax),
    }
}

/// Where the `>` stands that closes the path: not inside a quoted local part.
fn path_end(inner: &[u8]) -> Option<usize> {
    if inner.first() != Some(&b'"') {
        return memchr::memchr(b'>', inner);
    }
    let mut escaped = false;
    let mut quoted = true;
    for (at, octet) in inner.iter().enumerate().skip(1) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
