//! The client side of one SMTP connection (RFC 5321), without socket, clock or TLS library.
//!
//! A [`Connection`] is told what happens ([`Input`]: octets came, octets were taken by the socket,
//! time is up) and says what to do ([`Output`]: write this, do the handshake, a transaction is
//! finished). The pump around it does that and nothing else:
//!
//! 1. [`Connection::poll`] until it gives `None`, doing what it says;
//! 2. wait for octets, for the end of the stream, or for [`Connection::deadline_us`];
//! 3. [`Connection::handle`] that, and again from 1.
//!
//! The course of a connection: greeting, EHLO (HELO where EHLO is not known), STARTTLS and EHLO
//! again, AUTH, [`Output::Ready`]; then any number of [`Transaction`]s, then QUIT.
//!
//! Invariants:
//! - Replies are matched to commands strictly in order. What does not fit ends the connection: a
//!   client that lost step would take one recipient's reply for another's.
//! - Each recipient of a transaction comes back exactly once: with a result, or as not attempted.
//! - Only the server can refuse for good; whatever is unclear is temporary. The exceptions are a
//!   message that this server can by its own words not take (8BITMIME, SMTPUTF8), and content
//!   that must never leave (a lone CR or LF).
//! - `maybe_delivered` is said exactly if the socket took all of the content with its final dot
//!   and no reply came.
//! - With PIPELINING (RFC 2920), MAIL, all RCPT and DATA leave in one write, and content with its
//!   dot in another. QUIT is never sent behind a dot whose reply is open.
//! - Memory is bounded by the settings, never by the server: see [`crate::reply`] and
//!   [`STEPS_MAX`]. Content passes through a window of [`SEND_OCTETS`].

mod capabilities;
mod command;
mod dialogue;
mod dots;
mod failure;
mod opening;
mod outgoing;
mod settings;
mod transaction;
mod transfer;
mod xtext;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::{Reply, Step};
use bytes::BytesMut;

pub use capabilities::Capabilities;
pub use dialogue::STEPS_MAX;
pub use dots::{DotStuffer, LoneLineEnd};
pub use failure::{Failure, Phase};
pub use outgoing::SEND_OCTETS;
pub use settings::{AuthOver, Credentials, Next, Settings, StartTls, Timeouts};
pub use transaction::{Alphabet, Content, Disposition, Ending, RecipientReport, Transaction, TransactionReport};

use crate::reply::ReplyParser;
use dialogue::{Awaited, Command, Dialogue};
use opening::Opening;
use outgoing::Outgoing;
use transfer::Open;

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Octets came. Whole replies are taken out; the rest must be kept and given again with more.
    Received(&'a mut BytesMut),
    /// The socket took so many octets of the last [`Output::Send`].
    Written(usize),
    /// The handshake that [`Output::StartTls`] asked for is done: protocol and cipher, in words.
    TlsStarted(&'a str),
    /// It failed. Say why, in words.
    TlsFailed(&'a str),
    /// Start this now (see [`Connection::is_free`]).
    Begin(Transaction),
    /// The next piece of the content, after [`Output::NeedBody`].
    Body(&'a [u8]),
    /// That was all of the content.
    BodyEnd,
    /// The content cannot be read. The connection ends, for there is no way to take back DATA.
    BodyFailed,
    /// The server closed its side.
    Closed,
    /// Reading or writing failed. Say why, in words.
    Broken(&'a str),
    /// The time of [`Connection::deadline_us`] has come.
    TimedOut,
    /// Say goodbye. Only between transactions; otherwise the connection just ends.
    Quit,
}

/// What to do, or what became of what was asked for.
#[derive(Debug)]
pub enum Output<'a> {
    /// Write these octets, or some of them, and say so by [`Input::Written`].
    Send(&'a [u8]),
    /// Do the TLS handshake. Comes only when all was written and nothing is left unread.
    StartTls,
    /// Give the next piece of the content by [`Input::Body`], or [`Input::BodyEnd`].
    NeedBody,
    /// The connection is open for transactions.
    Ready,
    /// The connection did not get as far as `Ready`.
    Failed(Failure),
    Finished(Box<TransactionReport>),
    /// Close the socket. The last thing that is ever said.
    Close,
}

/// Whether the channel is private when the connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Plain,
    /// TLS from the first octet on (port 465, RFC 8314).
    Tls,
}

/// One connection. See the [module](self).
#[derive(Debug)]
pub struct Connection {
    settings: Arc<Settings>,
    channel: Channel,
    state: State,
    capabilities: Capabilities,
    peer_name: Box<str>,
    parser: ReplyParser,
    outgoing: Outgoing,
    /// The commands whose replies are due, in order.
    awaited: VecDeque<Awaited>,
    /// Since when the first of them has been due.
    waiting_since_us: u64,
    events: VecDeque<Event>,
    /// Steps outside of transactions.
    dialogue: Dialogue,
    now_us: u64,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a connection is open nearly all its life")]
enum State {
    Opening(Opening),
    Open(Open),
    Quitting,
    Closed,
}

/// An [`Output`] that is no write.
#[derive(Debug)]
enum Event {
    StartTls,
    Ready,
    Failed(Failure),
    Finished(Box<TransactionReport>),
    Close,
}

impl Connection {
    /// A connection that was just made: the server speaks first. All times are microseconds of
    /// any clock that only goes forward.
    pub fn new(settings: Arc<Settings>, channel: Channel, now_us: u64) -> Connection {
        let greeting = Awaited { command: Command::Greeting, sent: "[greeting]".into(), end: 0, at_us: now_us };
        Connection {
            settings,
            channel,
            state: State::Opening(Opening::Greeting),
            capabilities: Capabilities::default(),
            peer_name: Box::default(),
            parser: ReplyParser::default(),
            outgoing: Outgoing::default(),
            awaited: VecDeque::from([greeting]),
            waiting_since_us: now_us,
            events: VecDeque::new(),
            dialogue: Dialogue::default(),
            now_us,
        }
    }

    /// What the server offers, from its last EHLO. Empty before [`Output::Ready`].
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// How the server calls itself: in its reply to EHLO, or in the greeting. May be anything.
    pub fn peer_name(&self) -> &str {
        &self.peer_name
    }

    /// Whether [`Input::Begin`] may be given: no transaction is open, or, with
    /// [`Next::BehindDot`], only one.
    pub fn is_free(&self) -> bool {
        match &self.state {
            State::Open(open) => open.has_room(self.takes_next_early()),
            State::Opening(_) | State::Quitting | State::Closed => false,
        }
    }

    /// Whether it is open and nothing is going on: fit to be kept, and to be closed by QUIT.
    pub fn is_idle(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.is_empty()) && self.outgoing.is_empty()
    }

    /// The steps so far that belong to no transaction (greeting, EHLO, STARTTLS …).
    pub fn take_dialogue(&mut self) -> Vec<Step> {
        self.dialogue.take(self.now_us)
    }

    /// When [`Input::TimedOut`] is due if nothing else happens. `None`: there is nothing to wait for.
    pub fn deadline_us(&self) -> Option<u64> {
        let timeouts = &self.settings.timeouts;
        match &self.state {
            State::Closed => None,
            State::Opening(Opening::Handshake { since_us }) => Some(after(*since_us, timeouts.handshake)),
            State::Open(open) => {
                open.content_deadline_us(timeouts, &self.outgoing).or_else(|| self.reply_deadline_us(timeouts))
            }
            State::Opening(_) | State::Quitting => self.reply_deadline_us(timeouts),
        }
    }

    /// Takes in what happened at `now_us`. Then [`poll`](Connection::poll) until it gives `None`.
    pub fn handle(&mut self, now_us: u64, input: Input<'_>) {
        self.now_us = now_us;
        match input {
            Input::Received(buffer) => self.received(buffer),
            Input::Written(octets) => self.written(octets),
            Input::TlsStarted(words) => self.tls_started(words),
            Input::TlsFailed(why) => self.fail(Failure::Handshake(why.into())),
            Input::Begin(transaction) => self.begin(transaction),
            Input::Body(piece) => self.body(piece),
            Input::BodyEnd => self.body_end(),
            Input::BodyFailed => self.fail(Failure::ContentUnavailable),
            Input::Closed => self.fail(Failure::Closed),
            Input::Broken(why) => self.fail(Failure::Broken(why.into())),
            Input::TimedOut => self.fail(Failure::TimedOut(self.phase())),
            Input::Quit => self.quit(),
        }
    }

    /// What is to be done next; `None` when there is nothing to do but to wait.
    pub fn poll(&mut self) -> Option<Output<'_>> {
        if self.events.is_empty() {
            self.send_content();
        }
        if let Some(event) = self.events.pop_front() {
            return Some(match event {
                Event::StartTls => Output::StartTls,
                Event::Ready => Output::Ready,
                Event::Failed(failure) => Output::Failed(failure),
                Event::Finished(report) => Output::Finished(report),
                Event::Close => Output::Close,
            });
        }
        if self.wants_body() {
            return Some(Output::NeedBody);
        }
        if self.outgoing.is_empty() { None } else { Some(Output::Send(self.outgoing.pending())) }
    }

    fn reply_deadline_us(&self, timeouts: &Timeouts) -> Option<u64> {
        let due = self.awaited.front()?;
        Some(after(self.waiting_since_us, reply_timeout(due.command, timeouts)))
    }

    fn received(&mut self, buffer: &mut BytesMut) {
        let mut parser = std::mem::take(&mut self.parser);
        while !matches!(self.state, State::Closed) {
            match parser.next(buffer) {
                Ok(None) => break,
                Ok(Some(parsed)) => self.answered(parsed.to_reply(), parsed.lines),
                Err(error) => self.fail(error.into()),
            }
            if matches!(self.state, State::Opening(Opening::Handshake { .. })) && !buffer.is_empty() {
                self.fail(Failure::ResponseInjection);
            }
        }
        self.parser = parser;
    }

    /// One reply came. `lines` is all of it, `reply` what is kept.
    fn answered(&mut self, reply: Reply, lines: &str) {
        let Some(awaited) = self.awaited.pop_front() else {
            return self.fail(if reply.code == CLOSING { Failure::Closing(reply) } else { Failure::OutOfOrder(reply) });
        };
        self.waiting_since_us = self.now_us;
        let command = awaited.command;
        let is_asked_for = self.outgoing.has_passed(awaited.end);
        let dialogue = match &mut self.state {
            State::Open(open) => open.dialogue().unwrap_or(&mut self.dialogue),
            State::Opening(_) | State::Quitting | State::Closed => &mut self.dialogue,
        };
        dialogue.answered(awaited, &reply, self.now_us);
        if reply.code == CLOSING && command != Command::Quit {
            return self.end(Failure::Closing(reply));
        }
        if !is_asked_for {
            // An answer to what has not left yet is no answer to it.
            return self.end(Failure::OutOfOrder(reply));
        }
        match command {
            Command::Greeting | Command::Ehlo | Command::Helo | Command::StartTls | Command::Auth => {
                self.opening_answered(command, reply, lines);
            }
            Command::Quit => self.close(),
            Command::Rset | Command::Mail | Command::Rcpt | Command::Data | Command::Content => {
                self.transfer_answered(command, reply);
            }
        }
    }

    /// Sends one command line and waits for its reply. The step says `shown`, or the line itself.
    fn command(&mut self, command: Command, line: &str, shown: Option<&str>) {
        self.outgoing.buffer().extend_from_slice(line.as_bytes());
        self.outgoing.buffer().extend_from_slice(b"\r\n");
        self.wait_for(command, shown.unwrap_or(line).into());
    }

    /// What is in the outgoing buffer ends with this command.
    fn wait_for(&mut self, command: Command, sent: Box<str>) {
        if self.awaited.is_empty() {
            self.waiting_since_us = self.now_us;
        }
        // Content may be refused before it has all left.
        let end = if command == Command::Content { 0 } else { self.outgoing.end() };
        self.awaited.push_back(Awaited { command, sent, end, at_us: self.now_us });
    }

    fn written(&mut self, octets: usize) {
        self.outgoing.written(octets);
        if let State::Open(open) = &mut self.state {
            open.progress(self.now_us);
        }
    }

    fn quit(&mut self) {
        if self.is_idle() {
            self.state = State::Quitting;
            self.command(Command::Quit, "QUIT", None);
        } else {
            self.fail(Failure::Closed);
        }
    }

    /// The connection cannot be used any more. The command whose reply did not come gets a step.
    fn fail(&mut self, failure: Failure) {
        if matches!(self.state, State::Closed) {
            return;
        }
        if let Some(awaited) = self.awaited.pop_front() {
            let dialogue = match &mut self.state {
                State::Open(open) => open.dialogue().unwrap_or(&mut self.dialogue),
                State::Opening(_) | State::Quitting | State::Closed => &mut self.dialogue,
            };
            dialogue.push(awaited.sent, format!("[{failure}]").into(), awaited.at_us, self.now_us);
        }
        if let State::Opening(Opening::Handshake { since_us }) = self.state {
            self.dialogue.push("[TLS handshake]".into(), format!("[{failure}]").into(), since_us, self.now_us);
        }
        self.end(failure);
    }

    /// Everybody who waits for something learns that it will not come.
    fn end(&mut self, failure: Failure) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Opening(_) => self.events.push_back(Event::Failed(failure)),
            State::Open(open) => self.events.extend(open.cut(&failure, &self.outgoing, self.now_us)),
            State::Quitting => {}
            State::Closed => return,
        }
        self.close();
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.awaited.clear();
        self.outgoing.clear();
        self.events.push_back(Event::Close);
    }

    fn phase(&self) -> Phase {
        match &self.state {
            State::Opening(Opening::Handshake { .. }) => Phase::Handshake,
            State::Open(open) if open.is_sending(&self.outgoing) => Phase::Content,
            _ => self.awaited.front().map_or(Phase::Idle, |awaited| match awaited.command {
                Command::Greeting => Phase::Greeting,
                Command::Ehlo | Command::Helo | Command::Quit => Phase::Hello,
                Command::StartTls => Phase::StartTls,
                Command::Auth => Phase::Auth,
                Command::Rset | Command::Mail => Phase::Mail,
                Command::Rcpt => Phase::Rcpt,
                Command::Data => Phase::Data,
                Command::Content => Phase::FinalDot,
            }),
        }
    }
}

/// "Service not available, closing transmission channel": may come at any time (RFC 5321 §3.8).
const CLOSING: u16 = 421;

fn after(since_us: u64, delay: Duration) -> u64 {
    since_us.saturating_add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX))
}

fn reply_timeout(command: Command, timeouts: &Timeouts) -> Duration {
    match command {
        Command::Greeting => timeouts.greeting,
        Command::Ehlo | Command::Helo | Command::StartTls | Command::Auth | Command::Rset => timeouts.hello,
        Command::Mail => timeouts.mail,
        Command::Rcpt => timeouts.rcpt,
        Command::Data => timeouts.data,
        Command::Content => timeouts.dot,
        Command::Quit => timeouts.quit,
    }
}
