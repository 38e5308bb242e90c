//! The server side of one SMTP session (RFC 5321), strict, without socket, clock or TLS library.
//!
//! The pump around a [`Session`] owns a read buffer and does this:
//!
//! 1. [`Session::poll`] with the buffer until it gives `None`, doing what each [`Output`] says, and
//!    answering what is a question with [`Session::handle`];
//! 2. read more octets into the buffer (appending), or notice a timeout or a shutdown and
//!    [`Session::handle`] that, and again from 1.
//!
//! All replies that one round of polling gives are one [`Output::Send`], so that a pipelined group
//! of commands (RFC 2920) is answered with one write. A question leaves what was pipelined behind
//! it in the buffer. Content is given out as slices of the buffer itself, without a copy.
//!
//! Invariants:
//! - **Step is kept.** What is content is never run as a command and the other way round: refused
//!   content is read to its end, refused chunks (RFC 3030) are swallowed. Where that is impossible
//!   (a BDAT whose size cannot be read, octets behind a command that must end its group) the
//!   connection is closed.
//! - **Only CRLF is a line end.** A line with a lone CR, a lone LF or a NUL is no command, and a
//!   message that contains one is refused as a whole, at its end (SMTP smuggling, CVE-2023-51764).
//!   Only CRLF.CRLF ends DATA.
//! - **A transaction goes as one.** Sender and recipients live in one value; whatever ends the
//!   transaction drops both.
//! - **Nothing survives STARTTLS** (RFC 3207 §4.2): neither octets that came before the
//!   handshake, nor the client's name, nor a transaction.
//! - **Memory is bounded** by [`Limits`]: the session holds one envelope and at most
//!   [`REPLIES_OCTETS`] and one line of replies; of content it holds nothing.

mod content;
mod hello;
mod line;
mod replies;
mod sasl;
mod session;
mod transaction;

use base::{Domain, Envelope, MessageId, Recipient, Reply, Secret};

pub use replies::REPLIES_OCTETS;
pub use session::Session;

/// What one client may take of us. A limit that is reached is always said to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A command line with its CRLF. RFC 5321 §4.5.3.1.4 asks for 512, the parameters of our
    /// extensions for about 1,200 more. Beyond: 500, and the line is thrown away.
    pub line_octets_max: usize,
    /// A line of an AUTH exchange with its CRLF (RFC 4954 §4). Beyond: 500 5.5.6.
    pub auth_line_octets_max: usize,
    /// So much of a line that is too long or broken is thrown away in the hope for its CRLF. Beyond:
    /// 421 and the end.
    pub line_discard_octets_max: usize,
    /// Recipients of one message (RFC 5321 §4.5.3.1.8 asks for 100). Beyond: 452 4.5.3 for each; the
    /// earlier ones stay. Told to the client as RCPTMAX (RFC 9422).
    pub recipients_max: u32,
    /// So many recipients of one message may be refused (too many, or not wanted) while the session
    /// goes on. Beyond: 421 and the end.
    pub recipients_refused_max: u32,
    /// Octets of one message as RFC 1870 §3 counts them: with line ends, without dot-stuffing.
    /// Beyond: 552 5.3.4, at MAIL where SIZE says so, else at the end of the content.
    pub message_octets_max: u64,
    /// So much more of a refused content is read and thrown away. Beyond: the same reply, and the end.
    pub discard_octets_max: u64,
    /// Errors of the client since the last accepted message. Beyond: 421 and the end.
    pub errors_max: u32,
    /// Commands that do nothing (RSET, NOOP, VRFY, EXPN, HELP, a repeated EHLO) since the last
    /// accepted message. Beyond: 421 and the end.
    pub junk_commands_max: u32,
    /// Failed logins in one session. Beyond: 421 and the end.
    pub auth_failures_max: u32,
    /// Transactions in one session. Beyond: 421 and the end. Told as MAILMAX (RFC 9422).
    pub transactions_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line_octets_max: 2048,
            auth_line_octets_max: 12_288,
            line_discard_octets_max: 64 * 1024,
            recipients_max: 1000,
            recipients_refused_max: 1000,
            message_octets_max: 50 * 1024 * 1024,
            discard_octets_max: 16 * 1024 * 1024,
            errors_max: 20,
            junk_commands_max: 100,
            auth_failures_max: 3,
            transactions_max: 10_000,
        }
    }
}

/// When AUTH is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthOffer {
    Never,
    /// Under TLS; before it, AUTH is answered 538.
    WhenTls,
    /// Also in the clear: for the loopback interface, where nobody listens in.
    Always,
}

/// What EHLO shows. Besides, always: PIPELINING, 8BITMIME, ENHANCEDSTATUSCODES, SIZE, LIMITS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Our own name: in the greeting, and the domain of `<Postmaster>`.
    pub hostname: Domain,
    /// Whether TLS can be started; not shown once it is.
    pub starttls: bool,
    pub auth: AuthOffer,
    /// BDAT (RFC 3030), without BINARYMIME.
    pub chunking: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 6531.
    pub smtputf8: bool,
}

impl Offer {
    /// All extensions but STARTTLS and AUTH, which need a certificate and accounts.
    pub fn new(hostname: Domain) -> Offer {
        Offer { hostname, starttls: false, auth: AuthOffer::Never, chunking: true, dsn: true, smtputf8: true }
    }
}

/// What we know of the client, all by its own word but `tls` and `authenticated`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// Its name in EHLO or HELO; empty before. Characters of host names and address literals only.
    pub helo: Box<str>,
    /// It said EHLO.
    pub extended: bool,
    pub tls: bool,
    pub authenticated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    Login,
}

/// A login, to be checked.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub mechanism: Mechanism,
    /// At most [`CREDENTIAL_OCTETS_MAX`], without NUL.
    pub user: String,
    /// At most [`CREDENTIAL_OCTETS_MAX`].
    pub secret: Secret,
}

/// Longer user names and passwords are wrong without a look (RFC 4616 asks for 255).
pub const CREDENTIAL_OCTETS_MAX: usize = 1024;

/// What the caller says to a login. The client is told the same for an unknown user as for a wrong
/// password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    Accepted,
    Rejected,
    /// It cannot be checked now: 454 4.7.0, which does not count as a failure.
    Unavailable,
}

/// What the caller says to a question. A refusal with code 421 ends the session.
pub type Verdict = Result<(), Reply>;

/// What happened. An answer to what was not asked is ignored.
#[derive(Debug)]
pub enum Input {
    /// The handshake that [`Output::StartTls`] asked for is done. (If it fails, there is nobody to
    /// talk to any more.)
    TlsStarted,
    /// Answers [`Output::Authenticate`].
    Authenticated(Login),
    /// Answers [`Output::CheckMail`].
    Mail(Verdict),
    /// Answers [`Output::CheckRecipient`].
    Recipient(Verdict),
    /// Answers [`Output::BeginData`]. A refusal ends the transaction.
    Begin(Verdict),
    /// Answers [`Output::EndData`]: with `Ok`, the message is on stable storage.
    Stored(Result<MessageId, Reply>),
    /// Nothing came for too long: 421 4.4.2.
    Idle,
    /// Say this and end the session as soon as no content is under way.
    Leave(Reply),
    /// Say this and end the session now, whatever is under way. Only a message whose fate is being
    /// decided ([`Output::EndData`]) is still answered.
    Cut(Reply),
}

/// What to do.
#[derive(Debug)]
pub enum Output<'a> {
    /// Write this to the client.
    Send(&'a [u8]),
    /// Do the TLS handshake, then say [`Input::TlsStarted`].
    StartTls,
    /// Check this and answer with [`Input::Authenticated`].
    Authenticate(Credentials),
    /// May this client begin a message like this? The envelope has no recipients yet. `size_octets`
    /// is what SIZE claims. Answer with [`Input::Mail`].
    CheckMail { envelope: &'a Envelope, size_octets: Option<u64> },
    /// May this recipient be added? Answer with [`Input::Recipient`].
    CheckRecipient { envelope: &'a Envelope, recipient: &'a Recipient },
    /// Content is about to come. Answer with [`Input::Begin`].
    BeginData(Envelope),
    /// A piece of the content, dot-stuffing removed. Only CRLF line ends are in it.
    Body(&'a [u8]),
    /// That was all of it. Store it and answer with [`Input::Stored`].
    EndData,
    /// Forget the content that was begun; there is nothing to answer.
    AbortData,
    /// Close the connection. Nothing comes after this.
    Close,
}

#[cfg(test)]
mod tests;
