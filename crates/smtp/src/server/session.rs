//! The session: states, polling, and the commands outside of a transaction.

use std::sync::Arc;

use bytes::{Buf, BytesMut};

use base::{Envelope, Reply};

use super::content::{Content, Dots};
use super::line::{Fault, Line, Lines};
use super::replies::Replies;
use super::sasl::Exchange;
use super::transaction::{Chunk, Refusal, Transaction};
use super::{Client, Credentials, Input, Limits, Login, Offer, Output};
use crate::command::{Command, CommandError, parse_command};

/// One client's session. See the page of this module for how it is driven.
#[derive(Debug)]
pub struct Session {
    pub(super) offer: Arc<Offer>,
    pub(super) limits: Limits,
    pub(super) client: Client,
    pub(super) state: State,
    pub(super) replies: Replies,
    pub(super) tally: Tally,
    lines: Lines,
    /// So much of the buffer is used up by what the last poll gave out.
    pub(super) consumed: usize,
    /// What to say as soon as no content is under way, and then end.
    leaving: Option<Reply>,
}

/// What the limits of a session count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) errors: u32,
    pub(super) junk: u32,
    pub(super) auth_failures: u32,
    pub(super) transactions: u32,
}

#[derive(Debug)]
pub(super) enum State {
    /// Nothing was said yet.
    New,
    /// Lines are commands.
    Commands(Phase),
    /// Lines are answers to our challenges.
    Sasl(Exchange),
    /// The caller is asked; input waits.
    Asked(Question),
    /// DATA: everything up to the final dot is content.
    Data(Content, Dots),
    /// BDAT: a counted number of octets is content.
    Chunk(Content, Chunk),
    /// A counted number of octets is thrown away before the reply is said.
    Swallow {
        octets: u64,
        refusal: Refusal,
        then: Phase,
    },
    /// STARTTLS was answered with 220.
    Handshake {
        started: bool,
    },
    /// The last words are being sent. `abort`: the caller has a content to forget.
    Closing {
        abort: bool,
    },
    Closed,
}

/// How far a client that sends commands is.
#[derive(Debug)]
pub(super) enum Phase {
    /// No EHLO yet, or TLS made us forget it.
    Unnamed,
    Named,
    /// MAIL was accepted.
    Mail(Transaction),
    /// Some chunks have come, the last one has not.
    Chunks(Content),
}

#[derive(Debug)]
pub(super) enum Question {
    Login,
    Mail(Transaction),
    Recipient(Transaction, base::Recipient),
    /// `None`: by DATA.
    Begin(Option<Chunk>),
    /// `Some`: what to say and then end, once the answer is here.
    Stored(Option<Reply>),
}

/// What one step of the machine came to.
#[derive(Debug)]
pub(super) enum Step {
    Again,
    /// Nothing can be done until something happens.
    Rest,
    StartTls,
    Authenticate(Credentials),
    AskMail {
        size_octets: Option<u64>,
    },
    AskRecipient,
    BeginData(Envelope),
    Body {
        from: usize,
        to: usize,
    },
    EndData,
    AbortData,
    Close,
}

impl Session {
    /// A session that will greet its client. `tls`: the handshake is done (RFC 8314, port 465).
    pub fn new(offer: Arc<Offer>, limits: Limits, tls: bool) -> Session {
        Session {
            offer,
            limits,
            client: Client { tls, ..Client::default() },
            state: State::New,
            replies: Replies::default(),
            tally: Tally::default(),
            lines: Lines::default(),
            consumed: 0,
            leaving: None,
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether what comes from the client now is content of a message.
    pub fn in_content(&self) -> bool {
        matches!(self.state, State::Data(..) | State::Chunk(..) | State::Swallow { .. })
    }

    /// Whether a message is under way, its content begun: one that a shutdown lets finish.
    pub fn in_message(&self) -> bool {
        self.in_content() || matches!(self.state, State::Commands(Phase::Chunks(_)) | State::Asked(_))
    }

    /// Does as much as can be done, and says what comes of it. `input` must be the same buffer each
    /// time, and the caller only appends to it.
    pub fn poll<'a>(&'a mut self, input: &'a mut BytesMut) -> Option<Output<'a>> {
        input.advance(std::mem::take(&mut self.consumed).min(input.len()));
        self.replies.clear_given();
        loop {
            if self.replies.is_full() {
                return Some(Output::Send(self.replies.give()));
            }
            match self.step(input) {
                Step::Again => {}
                Step::Rest if self.replies.is_empty() => return None,
                Step::Rest => return Some(Output::Send(self.replies.give())),
                Step::StartTls => return Some(Output::StartTls),
                Step::Authenticate(credentials) => return Some(Output::Authenticate(credentials)),
                Step::AskMail { size_octets } => return self.ask_mail(size_octets),
                Step::AskRecipient => return self.ask_recipient(),
                Step::BeginData(envelope) => return Some(Output::BeginData(envelope)),
                Step::Body { from, to } => return Some(Output::Body(&input[from..to])),
                Step::EndData => return Some(Output::EndData),
                Step::AbortData => return Some(Output::AbortData),
                Step::Close => return Some(Output::Close),
            }
        }
    }

    fn ask_mail(&self, size_octets: Option<u64>) -> Option<Output<'_>> {
        let State::Asked(Question::Mail(transaction)) = &self.state else { return None };
        Some(Output::CheckMail { envelope: &transaction.envelope, size_octets })
    }

    fn ask_recipient(&self) -> Option<Output<'_>> {
        let State::Asked(Question::Recipient(transaction, recipient)) = &self.state else { return None };
        Some(Output::CheckRecipient { envelope: &transaction.envelope, recipient })
    }

    fn step(&mut self, input: &mut BytesMut) -> Step {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::New => {
                self.replies.format(format_args!("220 {} ESMTP Postrider", self.offer.hostname));
                self.state = State::Commands(Phase::Unnamed);
                Step::Again
            }
            State::Commands(phase) if self.leaving.is_some() && !matches!(phase, Phase::Chunks(_)) => self.leave(),
            State::Sasl(_) if self.leaving.is_some() => self.leave(),
            State::Commands(phase) => self.read_command(phase, input),
            State::Sasl(exchange) => self.read_response(exchange, input),
            State::Asked(question) => {
                self.state = State::Asked(question);
                Step::Rest
            }
            State::Data(content, dots) => self.read_data(content, dots, input),
            State::Chunk(content, chunk) => self.read_chunk(content, chunk, input),
            State::Swallow { octets, refusal, then } => self.swallow(octets, refusal, then, input),
            State::Handshake { started } if started || !self.replies.is_empty() => {
                self.state = State::Handshake { started };
                Step::Rest
            }
            State::Handshake { .. } => {
                // RFC 3207 §4.2: what was said in the clear ends here.
                input.clear();
                self.state = State::Handshake { started: true };
                Step::StartTls
            }
            State::Closing { abort: true } => {
                self.state = State::Closing { abort: false };
                Step::AbortData
            }
            State::Closing { abort } if !self.replies.is_empty() => {
                self.state = State::Closing { abort };
                Step::Rest
            }
            State::Closing { .. } => Step::Close,
            State::Closed => Step::Rest,
        }
    }

    /// Takes what happened. Poll again afterwards.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Idle => return self.cut(None),
            Input::Cut(reply) => return self.cut(Some(reply)),
            Input::Leave(reply) => {
                self.leaving.get_or_insert(reply);
                return;
            }
            _ => {}
        }
        match (std::mem::replace(&mut self.state, State::Closed), input) {
            (State::Handshake { started: true }, Input::TlsStarted) => {
                // RFC 3207 §4.2: what was said in the clear was said by anybody.
                self.client = Client { tls: true, ..Client::default() };
                self.lines = Lines::default();
                self.state = State::Commands(Phase::Unnamed);
            }
            (State::Asked(Question::Login), Input::Authenticated(login)) => self.logged_in(login),
            (State::Asked(Question::Mail(transaction)), Input::Mail(verdict)) => self.mail_judged(transaction, verdict),
            (State::Asked(Question::Recipient(transaction, recipient)), Input::Recipient(verdict)) => {
                self.recipient_judged(transaction, recipient, verdict);
            }
            (State::Asked(Question::Begin(chunk)), Input::Begin(verdict)) => self.begun(chunk, verdict),
            (State::Asked(Question::Stored(farewell)), Input::Stored(stored)) => self.stored(farewell, stored),
            (state, _) => self.state = state,
        }
    }

    fn logged_in(&mut self, login: Login) {
        self.state = State::Commands(Phase::Named);
        match login {
            Login::Accepted => {
                self.client.authenticated = true;
                self.replies.line("235 2.7.0 Authentication succeeded");
            }
            Login::Rejected => self.login_failed(),
            Login::Unavailable => self.replies.line("454 4.7.0 Authentication is not possible now, try again later"),
        }
    }

    /// The same words whatever was wrong.
    pub(super) fn login_failed(&mut self) {
        self.tally.auth_failures += 1;
        if self.tally.auth_failures > self.limits.auth_failures_max {
            return self.farewell("421 4.7.0 Too many failed logins, closing");
        }
        self.complain("535 5.7.8 Authentication credentials invalid");
    }

    /// Ends the session now; `None` is the idle timeout.
    fn cut(&mut self, reply: Option<Reply>) {
        let idle = || Reply::new(421, base::Enhanced(4, 4, 2), "Nothing came for too long, closing");
        match &mut self.state {
            State::Asked(Question::Stored(farewell)) => *farewell = Some(reply.unwrap_or_else(idle)),
            State::Closing { .. } | State::Closed => {}
            _ => {
                self.replies.reply(&reply.unwrap_or_else(idle));
                self.close();
            }
        }
    }

    fn leave(&mut self) -> Step {
        if let Some(reply) = self.leaving.take() {
            self.replies.reply(&reply);
        }
        self.close();
        Step::Again
    }

    /// Says the last words. The state must be set before: it tells whether a content is open.
    pub(super) fn farewell(&mut self, line: &str) {
        self.replies.line(line);
        self.close();
    }

    pub(super) fn close(&mut self) {
        let abort = match &self.state {
            State::Commands(Phase::Chunks(_)) | State::Chunk(..) => true,
            State::Data(content, _) => content.refused().is_none(),
            _ => false,
        };
        self.state = State::Closing { abort };
    }

    /// Says what the client did wrong; too often is the end. The state must be set before.
    pub(super) fn complain(&mut self, line: &str) {
        if self.may_err() {
            self.replies.line(line);
        }
    }

    fn complain_of(&mut self, error: CommandError) {
        if self.may_err() {
            let (code, enhanced) = error.codes();
            self.replies.format(format_args!("{code} {enhanced} {error}"));
        }
    }

    pub(super) fn may_err(&mut self) -> bool {
        self.tally.errors += 1;
        if self.tally.errors <= self.limits.errors_max {
            return true;
        }
        self.farewell("421 4.7.0 Too many errors, closing");
        false
    }

    /// Counts a command that brings no mail. Too many are the end.
    pub(super) fn is_junk_left(&mut self) -> bool {
        self.tally.junk += 1;
        if self.tally.junk > self.limits.junk_commands_max {
            self.farewell("421 4.7.0 Too many commands without mail, closing");
            return false;
        }
        true
    }

    fn read_command(&mut self, phase: Phase, input: &mut BytesMut) -> Step {
        let octets_max = match input.get(..5) {
            Some(verb) if verb.eq_ignore_ascii_case(b"AUTH ") => self.limits.auth_line_octets_max,
            _ => self.limits.line_octets_max,
        };
        match self.next_line(input, octets_max) {
            Line::Partial => {
                self.state = State::Commands(phase);
                Step::Rest
            }
            Line::Broken(fault) => {
                self.state = State::Commands(phase);
                self.broken_line(fault);
                Step::Again
            }
            Line::Whole(octets) => {
                let whole = octets + 2;
                let step = match parse_command(&input[..octets]) {
                    Ok(command) if must_end_group(&command) && input.len() > whole => {
                        self.state = State::Commands(phase);
                        self.out_of_step();
                        Step::Again
                    }
                    Ok(command) => self.run(command, phase),
                    Err(error) => {
                        self.state = State::Commands(phase);
                        self.refuse_command(error);
                        Step::Again
                    }
                };
                if octets_max != self.limits.line_octets_max {
                    // A password may be in it.
                    input[..octets].fill(0);
                }
                input.advance(whole);
                step
            }
        }
    }

    pub(super) fn next_line(&mut self, input: &mut BytesMut, octets_max: usize) -> Line {
        self.lines.next(input, octets_max, self.limits.line_discard_octets_max)
    }

    pub(super) fn broken_line(&mut self, fault: Fault) {
        match fault {
            Fault::Stray => self.complain("500 5.5.2 A line ends with CR LF and has no other CR, LF or NUL"),
            Fault::TooLong => self.complain("500 5.5.6 Line too long"),
            Fault::Endless => self.farewell("421 4.7.0 Line without an end, closing"),
        }
    }

    /// The client did not wait for the reply to a command that must end its group (RFC 2920 §3.1). What
    /// it sent behind may be anything, a message's content or a forged one's commands.
    pub(super) fn out_of_step(&mut self) {
        self.farewell("554 5.5.0 Octets behind a command that must end its group, closing");
    }

    fn refuse_command(&mut self, error: CommandError) {
        self.complain_of(error);
        if error == CommandError::ChunkSize {
            // Nobody can say how many octets follow, and they must not be run as commands.
            self.close();
        }
    }

    fn run(&mut self, command: Command<'_>, phase: Phase) -> Step {
        match command {
            Command::Mail(mail) => return self.mail(mail, phase),
            Command::Rcpt(rcpt) => return self.rcpt(rcpt, phase),
            Command::Data => return self.data(phase),
            Command::Bdat { octets, last } => return self.bdat(Chunk::new(octets, last), phase),
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial, phase),
            Command::StartTls => return self.start_tls(phase),
            Command::Ehlo(name) => return self.hello(name, true, phase),
            Command::Helo(name) => return self.hello(name, false, phase),
            Command::Rset => return self.reset(phase),
            Command::Quit => {
                self.state = State::Commands(phase);
                self.farewell("221 2.0.0 Bye");
                return Step::Again;
            }
            Command::Noop | Command::Vrfy | Command::Expn | Command::Help => {}
        }
        self.state = State::Commands(phase);
        if !self.is_junk_left() {
            return Step::Again;
        }
        match command {
            Command::Noop => self.replies.line("250 2.0.0 Ok"),
            Command::Vrfy => self.replies.line("252 2.5.0 Send it, and see"),
            Command::Help => self.replies.line("214 2.0.0 See RFC 5321"),
            _ => self.replies.line("502 5.5.1 Not implemented"),
        }
        Step::Again
    }
}

/// Commands whose reply the client must see before it goes on. (VRFY, EXPN and NOOP should end a
/// group as well, but nothing can go wrong behind them; behind QUIT nothing is read.)
fn must_end_group(command: &Command<'_>) -> bool {
    matches!(command, Command::Ehlo(_) | Command::Helo(_) | Command::StartTls | Command::Auth { .. } | Command::Data)
}
