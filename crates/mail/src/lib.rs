//! Message bytes in, message bytes out: everything that must understand what a message says, and
//! nothing that stores or sends it. Pure functions: no file, no socket, no clock, no random number.
//!
//! | module | what it does | standard |
//! |---|---|---|
//! | [`header`] | takes a header section apart | RFC 5322 §2.2, §3.6 |
//! | [`mime`] | finds the parts of a message, within limits | RFC 2045, 2046 |
//! | [`encoding`] | quoted-printable, base64, encoded words | RFC 2045 §6, 2047 |
//! | [`intake`] | inspects and mends a message as it streams in | RFC 6409 §8, RFC 5321 §4.4 |
//! | [`trace`] | the `Received:` field, and dates | RFC 5321 §4.4, RFC 3848 |
//! | [`dsn`] | delivery reports | RFC 3464, 6522, 3461, 6533 |
//! | [`downgrade`] | 8-bit bodies for servers that take 7-bit only | RFC 6152 §3, RFC 2045 |
//! | [`return_path`] | the keyed return path by which a bounce names its message | – |
//! | [`view`] | a message as a page shows it | RFC 2045–2047 |
//! | [`compose`] | a plain message from its parts; line ends put right | RFC 5322, 2047, 2045 §6.7 |
//!
//! Invariants:
//! - A line ends with CRLF and with nothing else. A lone CR or LF is content, here as on the wire
//!   (the SMTP server refuses such mail; [`compose::normalise`] mends files), so that we never see a
//!   line where the next server sees none.
//! - One reading of what a header section is ([`header::classify`]), used everywhere: it ends at the
//!   first empty line, or before the first line that is neither a field nor the continuation of one.
//! - A client's own header fields leave as they came, octet for octet, in their order. What we add
//!   stands before or behind them; the few fields that must not travel are taken out whole.
//! - Text from outside (what a server said, a file's name, a subject) is data: no way of putting it
//!   into a message can begin a new line there.
//! - Everything is linear in its input, and every depth, count and size that outside input decides
//!   has a limit in the code.

pub mod compose;
pub mod downgrade;
pub mod dsn;
pub mod encoding;
pub mod header;
pub mod intake;
pub mod mime;
pub mod return_path;
pub mod trace;
pub mod view;
