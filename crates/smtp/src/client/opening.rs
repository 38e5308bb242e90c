//! From the greeting to the first transaction.

use base::{Reply, ReplyClass};
use data_encoding::BASE64;

use super::capabilities::Capabilities;
use super::dialogue::Command;
use super::failure::{Failure, Phase};
use super::settings::{AuthOver, Credentials, StartTls};
use super::transfer::Open;
use super::{Channel, Connection, Event, State};

#[derive(Debug)]
pub(super) enum Opening {
    Greeting,
    /// EHLO or HELO was sent.
    Hello,
    StartTls,
    /// The pump does it.
    Handshake {
        since_us: u64,
    },
    Auth(AuthStep),
}

/// What the next 334 asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum AuthStep {
    /// Some servers ask although the response came with the command.
    PlainResponse,
    LoginUser,
    LoginPassword,
    /// Nothing: all was said.
    Verdict,
}

/// A longer AUTH line is split in two, so that no server needs to take more than RFC 5321 §4.5.3.1.4
/// demands where we can avoid it.
const INITIAL_RESPONSE_OCTETS_MAX: usize = 480;

impl Connection {
    pub(super) fn opening_answered(&mut self, command: Command, reply: Reply, lines: &str) {
        let State::Opening(opening) = &self.state else { return self.end(Failure::OutOfOrder(reply)) };
        match (opening, reply.class()) {
            (Opening::Auth(step), class) => self.auth_answered(*step, class, reply),
            (Opening::Greeting, ReplyClass::Success) => {
                self.peer_name = first_word(lines);
                self.hello(Command::Ehlo);
            }
            (Opening::Hello, ReplyClass::Success) => {
                self.greeted(command, lines);
            }
            // RFC 5321 §3.2: a server may know HELO only.
            (Opening::Hello, ReplyClass::Permanent) if command == Command::Ehlo => self.hello(Command::Helo),
            (Opening::StartTls, ReplyClass::Success) => {
                self.state = State::Opening(Opening::Handshake { since_us: self.now_us });
                self.events.push_back(Event::StartTls);
            }
            (Opening::StartTls, ReplyClass::Temporary | ReplyClass::Permanent)
                if self.settings.starttls == StartTls::WhenOffered =>
            {
                self.authenticate();
            }
            (Opening::Greeting, ReplyClass::Temporary | ReplyClass::Permanent) => self.refused(Phase::Greeting, reply),
            (Opening::Hello, ReplyClass::Temporary | ReplyClass::Permanent) => self.refused(Phase::Hello, reply),
            (Opening::StartTls, ReplyClass::Temporary | ReplyClass::Permanent) => self.refused(Phase::StartTls, reply),
            (_, ReplyClass::Intermediate) | (Opening::Handshake { .. }, _) => self.end(Failure::OutOfOrder(reply)),
        }
    }

    fn hello(&mut self, command: Command) {
        let verb = if command == Command::Helo { "HELO" } else { "EHLO" };
        let line = format!("{verb} {}", self.settings.hello);
        self.state = State::Opening(Opening::Hello);
        self.command(command, &line, None);
    }

    fn greeted(&mut self, command: Command, lines: &str) {
        let name = first_word(lines);
        if !name.is_empty() {
            self.peer_name = name;
        }
        self.capabilities = match command {
            Command::Ehlo => Capabilities::parse(lines),
            _ => Capabilities::default(),
        };
        match (self.settings.starttls, self.channel) {
            (StartTls::Never, _) | (_, Channel::Tls) => self.authenticate(),
            (StartTls::WhenOffered | StartTls::Demanded, Channel::Plain) if self.capabilities.starttls => {
                self.state = State::Opening(Opening::StartTls);
                self.command(Command::StartTls, "STARTTLS", None);
            }
            (StartTls::WhenOffered, Channel::Plain) => self.authenticate(),
            (StartTls::Demanded, Channel::Plain) => self.end(Failure::TlsMissing),
        }
    }

    pub(super) fn tls_started(&mut self, words: &str) {
        let State::Opening(Opening::Handshake { since_us }) = &self.state else { return };
        self.dialogue.push("[TLS handshake]".into(), words.into(), *since_us, self.now_us);
        self.channel = Channel::Tls;
        // What was said in plaintext, somebody else may have said (RFC 3207 §4.2).
        self.capabilities = Capabilities::default();
        self.hello(Command::Ehlo);
    }

    fn authenticate(&mut self) {
        let Some(credentials) = &self.settings.credentials else { return self.ready() };
        let private = self.channel == Channel::Tls || credentials.over == AuthOver::Anything;
        if private && self.capabilities.auth_plain {
            let response = plain_response(credentials);
            self.state = State::Opening(Opening::Auth(AuthStep::PlainResponse));
            if response.len() <= INITIAL_RESPONSE_OCTETS_MAX {
                self.command(Command::Auth, &format!("AUTH PLAIN {response}"), Some("AUTH PLAIN ***"));
            } else {
                self.command(Command::Auth, "AUTH PLAIN", None);
            }
        } else if private && self.capabilities.auth_login {
            self.state = State::Opening(Opening::Auth(AuthStep::LoginUser));
            self.command(Command::Auth, "AUTH LOGIN", None);
        } else {
            self.end(Failure::AuthMissing);
        }
    }

    fn auth_answered(&mut self, step: AuthStep, class: ReplyClass, reply: Reply) {
        let Some(credentials) = &self.settings.credentials else { return self.end(Failure::OutOfOrder(reply)) };
        let (response, next) = match (class, step) {
            (ReplyClass::Success, _) => return self.ready(),
            (ReplyClass::Intermediate, AuthStep::PlainResponse) => (plain_response(credentials), AuthStep::Verdict),
            (ReplyClass::Intermediate, AuthStep::LoginUser) => {
                (BASE64.encode(credentials.user.as_bytes()), AuthStep::LoginPassword)
            }
            (ReplyClass::Intermediate, AuthStep::LoginPassword) => {
                (BASE64.encode(credentials.secret.expose_secret()), AuthStep::Verdict)
            }
            (ReplyClass::Intermediate, AuthStep::Verdict) => return self.end(Failure::OutOfOrder(reply)),
            (ReplyClass::Temporary | ReplyClass::Permanent, _) => return self.refused(Phase::Auth, reply),
        };
        self.state = State::Opening(Opening::Auth(next));
        self.command(Command::Auth, &response, Some("***"));
    }

    fn ready(&mut self) {
        self.state = State::Open(Open::default());
        self.events.push_back(Event::Ready);
    }

    fn refused(&mut self, at: Phase, reply: Reply) {
        self.end(Failure::Refused { at, reply });
    }
}

/// RFC 4616: no authorisation identity, user, password.
fn plain_response(credentials: &Credentials) -> String {
    let mut message = vec![0];
    message.extend_from_slice(credentials.user.as_bytes());
    message.push(0);
    message.extend_from_slice(credentials.secret.expose_secret());
    BASE64.encode(&message)
}

fn first_word(lines: &str) -> Box<str> {
    lines.split([' ', '\n']).next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(255).collect()
}
