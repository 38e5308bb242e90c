//! Dialogues with a session, played by a small pump.

mod auth;
mod chunks;
mod data;
mod dialogue;
mod limits;
mod pieces;
mod tls;

use std::sync::Arc;

use base::{Domain, Enhanced};

use super::*;
use bytes::BytesMut;

/// What the caller around the session decides and sees.
struct Play {
    session: Session,
    input: BytesMut,
    /// All replies.
    said: String,
    /// How many times something was sent.
    sends: usize,
    stored: Vec<(Envelope, Vec<u8>)>,
    open: Option<(Envelope, Vec<u8>)>,
    aborted: usize,
    logins: Vec<Credentials>,
    tls_starts: usize,
    closed: bool,
    judge: Judge,
}

/// The answers to questions. The defaults take everything but the password.
struct Judge {
    mail: Verdict,
    begin: Verdict,
    store: Result<(), Reply>,
    unavailable: bool,
    /// Questions about the end of data stay open.
    hold: bool,
}

const ID: MessageId = MessageId::from_bytes([7; 16]);

fn refusal(code: u16) -> Reply {
    let class = if code < 500 { 4 } else { 5 };
    Reply::new(code, Enhanced(class, 7, 1), "not today")
}

fn offer() -> Offer {
    Offer { starttls: true, auth: AuthOffer::WhenTls, ..Offer::new(Domain::parse("mx.example.net").unwrap()) }
}

impl Play {
    fn new() -> Play {
        Play::with(offer(), Limits::default(), false)
    }

    /// EHLO is already said.
    fn greeted() -> Play {
        let mut play = Play::new();
        play.say("EHLO client.example\r\n");
        play
    }

    fn limited(limits: Limits) -> Play {
        let mut play = Play::with(offer(), limits, false);
        play.say("EHLO client.example\r\n");
        play
    }

    /// As with implicit TLS, EHLO said.
    fn under_tls() -> Play {
        let mut play = Play::with(offer(), Limits::default(), true);
        play.say("EHLO client.example\r\n");
        play
    }

    fn with(offer: Offer, limits: Limits, tls: bool) -> Play {
        let mut play = Play {
            session: Session::new(Arc::new(offer), limits, tls),
            input: BytesMut::new(),
            said: String::new(),
            sends: 0,
            stored: Vec::new(),
            open: None,
            aborted: 0,
            logins: Vec::new(),
            tls_starts: 0,
            closed: false,
            judge: Judge { mail: Ok(()), begin: Ok(()), store: Ok(()), unavailable: false, hold: false },
        };
        play.drain();
        play
    }

    /// Sends octets and gives back what is said to them.
    fn say(&mut self, text: impl AsRef<[u8]>) -> String {
        let before = self.said.len();
        self.input.extend_from_slice(text.as_ref());
        self.drain();
        self.said[before..].to_owned()
    }

    /// Sends octets in pieces of `size`.
    fn say_in_pieces(&mut self, text: impl AsRef<[u8]>, size: usize) -> String {
        text.as_ref().chunks(size).map(|piece| self.say(piece)).collect()
    }

    fn happens(&mut self, input: Input) -> String {
        let before = self.said.len();
        self.session.handle(input);
        self.drain();
        self.said[before..].to_owned()
    }

    /// The codes of the replies to `text`.
    fn codes(&mut self, text: impl AsRef<[u8]>) -> Vec<u16> {
        codes(&self.say(text))
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll(&mut self.input) {
            assert!(!self.closed, "nothing comes behind Close");
            let answer = match output {
                Output::Send(text) => {
                    assert!(text.len() <= REPLIES_OCTETS + 1024 && !text.is_empty());
                    self.said.push_str(std::str::from_utf8(text).unwrap());
                    self.sends += 1;
                    continue;
                }
                Output::StartTls => {
                    assert!(self.input.is_empty(), "nothing survives STARTTLS");
                    self.tls_starts += 1;
                    continue;
                }
                Output::Authenticate(credentials) => {
                    let right = credentials.user == "ada" && credentials.secret.expose_secret() == b"secret";
                    self.logins.push(credentials);
                    Input::Authenticated(match right {
                        _ if self.judge.unavailable => Login::Unavailable,
                        true => Login::Accepted,
                        false => Login::Rejected,
                    })
                }
                Output::CheckMail { envelope, .. } => {
                    assert!(envelope.recipients.is_empty());
                    Input::Mail(self.judge.mail.clone())
                }
                Output::CheckRecipient { recipient, .. } => match recipient.address.local_part() {
                    "bad" => Input::Recipient(Err(refusal(550))),
                    "bye" => Input::Recipient(Err(refusal(421))),
                    _ => Input::Recipient(Ok(())),
                },
                Output::BeginData(envelope) => {
                    assert!(self.open.is_none() && !envelope.recipients.is_empty());
                    if self.judge.begin.is_ok() {
                        self.open = Some((envelope, Vec::new()));
                    }
                    Input::Begin(self.judge.begin.clone())
                }
                Output::Body(piece) => {
                    self.open.as_mut().expect("Body comes behind BeginData").1.extend_from_slice(piece);
                    continue;
                }
                Output::EndData => {
                    self.stored.push(self.open.take().expect("EndData comes behind BeginData"));
                    if self.judge.hold {
                        continue;
                    }
                    Input::Stored(self.judge.store.clone().map(|()| ID))
                }
                Output::AbortData => {
                    self.open.take().expect("AbortData comes behind BeginData");
                    self.aborted += 1;
                    continue;
                }
                Output::Close => {
                    self.closed = true;
                    continue;
                }
            };
            self.session.handle(answer);
        }
        assert!(!self.closed || self.open.is_none(), "an open content is aborted before Close");
    }
}

/// The codes of a sequence of replies, one for each reply.
fn codes(said: &str) -> Vec<u16> {
    said.split_terminator("\r\n")
        .filter(|line| line.as_bytes().get(3) == Some(&b' '))
        .map(|line| line[..3].parse().expect("a reply starts with a code"))
        .collect()
}
