//! Transactions on an open connection.

use base::{Enhanced, Reply, ReplyClass};
use bytes::Bytes;

use super::capabilities::Capabilities;
use super::dialogue::{Command, Dialogue};
use super::dots::DotStuffer;
use super::failure::Failure;
use super::outgoing::{Outgoing, SEND_OCTETS};
use super::settings::{Next, Timeouts};
use super::transaction::{Alphabet, Content, Course, Disposition, Ending, Transaction, TransactionReport, no_smtputf8};
use super::{Connection, Event, State, after, command};

/// An open connection: nothing, one transaction, or one and the next.
#[derive(Debug, Default)]
pub(super) struct Open {
    active: Option<Running>,
    next: Option<Running>,
    /// The last transaction left something at the server that MAIL would not clear.
    reset_due: bool,
}

#[derive(Debug)]
struct Running {
    course: Course,
    stage: Stage,
    dialogue: Dialogue,
}

#[derive(Debug)]
enum Stage {
    /// Nothing was said yet.
    Queued,
    /// MAIL, RCPT, DATA: said, or being said one by one.
    Envelope,
    Sending(Sending),
    /// The final dot is on its way, or gone.
    Confirm(Clock, Dot),
}

#[derive(Debug)]
struct Sending {
    stuffer: DotStuffer,
    source: Source,
    clock: Clock,
}

#[derive(Debug)]
enum Source {
    Whole(Bytes),
    Pulled,
}

/// When content began to leave, and when the socket last took something.
#[derive(Debug, Clone, Copy)]
struct Clock {
    began_us: u64,
    progress_us: u64,
}

/// The place of the octet behind the final dot, in the stream of all octets.
#[derive(Debug, Clone, Copy)]
struct Dot(u64);

impl Open {
    pub fn is_empty(&self) -> bool {
        self.active.is_none() && self.next.is_none()
    }

    pub fn has_room(&self, takes_next_early: bool) -> bool {
        self.active.is_none() || (takes_next_early && self.next.is_none())
    }

    pub fn dialogue(&mut self) -> Option<&mut Dialogue> {
        self.active.as_mut().map(|running| &mut running.dialogue)
    }

    pub fn progress(&mut self, now_us: u64) {
        match self.active.as_mut().map(|running| &mut running.stage) {
            Some(Stage::Sending(Sending { clock, .. }) | Stage::Confirm(clock, _)) => clock.progress_us = now_us,
            Some(Stage::Queued | Stage::Envelope) | None => {}
        }
    }

    /// Whether content, or its dot, has not left yet.
    pub fn is_sending(&self, outgoing: &Outgoing) -> bool {
        match self.active.as_ref().map(|running| &running.stage) {
            Some(Stage::Sending(_)) => true,
            Some(Stage::Confirm(_, Dot(place))) => !outgoing.has_passed(*place),
            Some(Stage::Queued | Stage::Envelope) | None => false,
        }
    }

    /// How long the server may go on taking content, or thinking about it.
    pub fn content_deadline_us(&self, timeouts: &Timeouts, outgoing: &Outgoing) -> Option<u64> {
        let running = self.active.as_ref()?;
        let clock = match &running.stage {
            Stage::Sending(sending) => sending.clock,
            Stage::Confirm(clock, Dot(place)) if outgoing.has_passed(*place) => {
                return Some(after(clock.progress_us, timeouts.dot));
            }
            Stage::Confirm(clock, _) => *clock,
            Stage::Queued | Stage::Envelope => return None,
        };
        let octets = running.course.transaction.size_octets;
        let whole_us = octets.saturating_mul(1_000_000) / timeouts.content_octets_per_s_min.max(1);
        let whole = after(clock.began_us, timeouts.content_stall).saturating_add(whole_us);
        Some(after(clock.progress_us, timeouts.content_stall).min(whole))
    }

    /// The connection is gone: what that means for each transaction on it.
    pub fn cut(self, failure: &Failure, outgoing: &Outgoing, now_us: u64) -> impl Iterator<Item = Event> + use<> {
        let active = self.active.map(|running| {
            let dot_left = matches!(&running.stage, Stage::Confirm(_, Dot(place)) if outgoing.has_passed(*place));
            let disposition = match failure {
                Failure::Content(_) => Disposition::Permanent,
                // The reply to the dot, and it says no.
                Failure::Closing(_) => Disposition::Temporary { maybe_delivered: false },
                _ => Disposition::Temporary { maybe_delivered: dot_left },
            };
            running.cut(disposition, &failure.reply(), now_us)
        });
        let next = self.next.map(|running| {
            // Whatever it was, it was not about this one.
            let reply = match failure {
                Failure::Content(_) => Failure::Closed.reply(),
                failure => failure.reply(),
            };
            running.cut(Disposition::Temporary { maybe_delivered: false }, &reply, now_us)
        });
        active.into_iter().chain(next).map(|report| Event::Finished(Box::new(report)))
    }
}

impl Running {
    fn end(mut self, disposition: Disposition, reply: &Reply, ending: Ending, now_us: u64) -> TransactionReport {
        let dialogue = self.dialogue.take(now_us);
        self.course.end(disposition, reply, ending, dialogue)
    }

    fn cut(self, disposition: Disposition, reply: &Reply, now_us: u64) -> TransactionReport {
        let ending = if self.course.heard { Ending::Cut } else { Ending::Unheard };
        self.end(disposition, reply, ending, now_us)
    }
}

impl Connection {
    pub(super) fn takes_next_early(&self) -> bool {
        self.settings.next == Next::BehindDot && self.capabilities.pipelining
    }

    pub(super) fn begin(&mut self, transaction: Transaction) {
        let early = self.takes_next_early();
        let recipients_max = self.capabilities.recipients_max.unwrap_or(usize::MAX).min(self.settings.recipients_max);
        let State::Open(open) = &mut self.state else { return self.hand_back(transaction) };
        if !open.has_room(early) {
            return self.hand_back(transaction);
        }
        let capabilities = &self.capabilities;
        let refusal = refusal_here(&transaction, capabilities);
        let mut course = Course::new(transaction, recipients_max, |a| command::is_sayable(a, capabilities));
        if let Some(reply) = refusal {
            course.refuse_here(&reply);
        }
        let dialogue = Dialogue::with_capacity(course.recipients() + 3);
        let running = Running { course, stage: Stage::Queued, dialogue };
        if open.active.is_none() {
            open.active = Some(running);
            self.start();
        } else {
            open.next = Some(running);
            self.start_next_early();
        }
    }

    /// There is no place for it: as if it had never been given.
    fn hand_back(&mut self, transaction: Transaction) {
        let report = TransactionReport {
            results: Vec::new(),
            not_attempted: transaction.recipients,
            ending: Ending::Unheard,
            dialogue: Vec::new(),
        };
        self.events.push_back(Event::Finished(Box::new(report)));
    }

    /// Says the first words of the active transaction.
    fn start(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        let reset_due = std::mem::take(&mut open.reset_due);
        let Some(running) = &mut open.active else { return };
        running.stage = Stage::Envelope;
        if running.course.recipients() == 0 {
            open.reset_due = reset_due;
            return self.settle_here();
        }
        if reset_due {
            self.command(Command::Rset, "RSET", None);
        }
        if !reset_due || self.capabilities.pipelining {
            self.say_envelope(Which::Active);
        }
    }

    /// Says the envelope of the next transaction behind the final dot of the active one.
    fn start_next_early(&mut self) {
        if !self.takes_next_early() {
            return;
        }
        let State::Open(open) = &mut self.state else { return };
        let dot_said = matches!(open.active.as_ref().map(|r| &r.stage), Some(Stage::Confirm(..)));
        let Some(next) = open.next.as_mut().filter(|_| dot_said) else { return };
        if matches!(next.stage, Stage::Queued) && next.course.recipients() > 0 {
            next.stage = Stage::Envelope;
            self.say_envelope(Which::Next);
        }
    }

    /// MAIL; with PIPELINING also all RCPT and DATA.
    fn say_envelope(&mut self, which: Which) {
        let State::Open(open) = &mut self.state else { return };
        let Some(running) = open.running(which) else { return };
        let start = self.outgoing.buffer().len();
        command::mail(&running.course.transaction, &self.capabilities, self.outgoing.buffer());
        self.line_said(Command::Mail, start);
        if self.capabilities.pipelining {
            while self.say_rcpt(which) {}
            self.command(Command::Data, "DATA", None);
        }
    }

    /// Names the next recipient, if there is one.
    fn say_rcpt(&mut self, which: Which) -> bool {
        let State::Open(open) = &mut self.state else { return false };
        let Some(recipient) = open.running(which).and_then(|running| running.course.next_rcpt()) else { return false };
        let start = self.outgoing.buffer().len();
        command::rcpt(recipient, &self.capabilities, self.outgoing.buffer());
        self.line_said(Command::Rcpt, start);
        true
    }

    /// A command line was appended from `start` on, all but its end.
    fn line_said(&mut self, command: Command, start: usize) {
        let buffer = self.outgoing.buffer();
        let sent = String::from_utf8_lossy(&buffer[start..]).into();
        buffer.extend_from_slice(b"\r\n");
        self.wait_for(command, sent);
    }

    pub(super) fn transfer_answered(&mut self, command: Command, reply: Reply) {
        let pipelining = self.capabilities.pipelining;
        let State::Open(open) = &mut self.state else { return self.end(Failure::OutOfOrder(reply)) };
        let Some(running) = &mut open.active else { return self.end(Failure::OutOfOrder(reply)) };
        let course = &mut running.course;
        course.heard |= command != Command::Rset;
        match command {
            Command::Rset if reply.class() != ReplyClass::Success => self.end(Failure::OutOfOrder(reply)),
            Command::Rset if !pipelining => self.say_envelope(Which::Active),
            // With PIPELINING everything is said already.
            Command::Mail if reply.class() == ReplyClass::Success && pipelining => {}
            Command::Mail if reply.class() == ReplyClass::Success => {
                self.say_rcpt(Which::Active);
            }
            Command::Mail => {
                course.mail_refused(reply.clone());
                if !pipelining {
                    self.settle(Disposition::of_refusal(&reply), &reply);
                }
            }
            Command::Rcpt => {
                course.rcpt_answered(reply.clone());
                if !pipelining && !self.say_rcpt(Which::Active) {
                    self.recipients_named(&reply);
                }
            }
            Command::Data => self.data_answered(reply),
            Command::Content => self.content_answered(reply),
            _ => {}
        }
    }

    /// Without PIPELINING, all RCPT are answered: go on only if there is somebody to go on for.
    fn recipients_named(&mut self, last: &Reply) {
        let State::Open(open) = &mut self.state else { return };
        if open.active.as_ref().is_some_and(|running| running.course.has_accepted()) {
            self.command(Command::Data, "DATA", None);
        } else {
            open.reset_due = true;
            self.settle(Disposition::of_refusal(last), last);
        }
    }

    fn data_answered(&mut self, reply: Reply) {
        let State::Open(open) = &mut self.state else { return };
        let Some(running) = &mut open.active else { return };
        let course = &running.course;
        match (reply.class(), course.has_accepted()) {
            (ReplyClass::Intermediate, true) if course.is_mail_refused() => {
                // A server that refuses the sender, takes a recipient and wants content: whatever
                // was sent now, be it nothing, would become a message.
                self.end(Failure::OutOfOrder(reply));
            }
            (ReplyClass::Intermediate, true) => {
                let source = match &course.transaction.content {
                    Content::Whole(content) => Source::Whole(content.clone()),
                    Content::Pulled => Source::Pulled,
                };
                let clock = Clock { began_us: self.now_us, progress_us: self.now_us };
                let octets = course.transaction.size_octets;
                running.stage = Stage::Sending(Sending { stuffer: DotStuffer::new(), source, clock });
                self.wait_for(Command::Content, format!("[content, {octets} octets]").into());
            }
            (ReplyClass::Intermediate, false) => {
                // RFC 2920 §3.1: nobody is there to get it, but the server waits for an end.
                self.outgoing.buffer().extend_from_slice(b".\r\n");
                let clock = Clock { began_us: self.now_us, progress_us: self.now_us };
                running.stage = Stage::Confirm(clock, Dot(self.outgoing.end()));
                self.wait_for(Command::Content, "[no content: every recipient was refused]".into());
            }
            (ReplyClass::Temporary | ReplyClass::Permanent, _) => {
                open.reset_due = true;
                self.settle(Disposition::of_refusal(&reply), &reply);
            }
            // It takes what comes now for commands, or for content: nobody knows.
            (ReplyClass::Success, _) => self.end(Failure::OutOfOrder(reply)),
        }
    }

    fn content_answered(&mut self, reply: Reply) {
        let State::Open(open) = &mut self.state else { return };
        let early = open.is_sending(&self.outgoing);
        match (reply.class(), early) {
            (ReplyClass::Success, false) => {
                self.settle(Disposition::Delivered { relayed: !self.capabilities.dsn }, &reply);
            }
            (ReplyClass::Temporary | ReplyClass::Permanent, false) => {
                self.settle(Disposition::of_refusal(&reply), &reply);
            }
            (ReplyClass::Temporary | ReplyClass::Permanent, true) => {
                // The server has heard enough. What is left of the content must not be taken for
                // commands, so this is the end of the connection.
                if let Some(running) = open.active.take() {
                    let report = running.end(Disposition::of_refusal(&reply), &reply, Ending::Cut, self.now_us);
                    self.events.push_back(Event::Finished(Box::new(report)));
                }
                self.end(Failure::Closed);
            }
            (ReplyClass::Success, true) | (ReplyClass::Intermediate, _) => self.end(Failure::OutOfOrder(reply)),
        }
    }

    /// The active transaction is over, and the connection is in step: on to the next.
    fn settle(&mut self, disposition: Disposition, reply: &Reply) {
        let State::Open(open) = &mut self.state else { return };
        let Some(running) = open.active.take() else { return };
        let report = running.end(disposition, reply, Ending::Settled, self.now_us);
        self.events.push_back(Event::Finished(Box::new(report)));
        open.active = open.next.take();
        if matches!(open.active.as_ref().map(|running| &running.stage), Some(Stage::Queued)) {
            self.start();
        }
    }

    /// A transaction in which nobody is left to ask the server about.
    fn settle_here(&mut self) {
        let reply = Reply::new(451, Enhanced(4, 3, 0), "there is no recipient");
        self.settle(Disposition::Temporary { maybe_delivered: false }, &reply);
    }

    pub(super) fn wants_body(&self) -> bool {
        let State::Open(open) = &self.state else { return false };
        let stage = open.active.as_ref().map(|running| &running.stage);
        matches!(stage, Some(Stage::Sending(Sending { source: Source::Pulled, .. }))) && self.outgoing.has_room()
    }

    pub(super) fn body(&mut self, piece: &[u8]) {
        let State::Open(Open { active: Some(running), .. }) = &mut self.state else { return };
        let Stage::Sending(sending) = &mut running.stage else { return };
        if let Err(error) = sending.stuffer.push(piece, self.outgoing.buffer()) {
            self.fail(error.into());
        }
    }

    /// All content was appended: the dot follows, and perhaps the next transaction.
    pub(super) fn body_end(&mut self) {
        let State::Open(Open { active: Some(running), .. }) = &mut self.state else { return };
        let Stage::Sending(Sending { stuffer, clock, .. }) = &running.stage else { return };
        let clock = *clock;
        match stuffer.end(self.outgoing.buffer()) {
            Ok(()) => {
                running.stage = Stage::Confirm(clock, Dot(self.outgoing.end()));
                self.start_next_early();
            }
            Err(error) => self.fail(error.into()),
        }
    }

    /// Moves content that is at hand into the outgoing window, as far as it has room.
    pub(super) fn send_content(&mut self) {
        while self.outgoing.has_room() {
            let State::Open(Open { active: Some(running), .. }) = &mut self.state else { return };
            let Stage::Sending(Sending { source: Source::Whole(content), stuffer, .. }) = &mut running.stage else {
                return;
            };
            let piece = content.split_to(content.len().min(SEND_OCTETS));
            let copied = stuffer.push(&piece, self.outgoing.buffer());
            let is_all = content.is_empty();
            match copied {
                Ok(()) if is_all => self.body_end(),
                Ok(()) => {}
                Err(error) => self.fail(error.into()),
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Active,
    Next,
}

impl Open {
    fn running(&mut self, which: Which) -> Option<&mut Running> {
        match which {
            Which::Active => self.active.as_mut(),
            Which::Next => self.next.as_mut(),
        }
    }
}

/// Why the server, by its own EHLO, cannot take this message, whoever the recipient.
fn refusal_here(transaction: &Transaction, capabilities: &Capabilities) -> Option<Reply> {
    // SIZE 0 says that there is no fixed limit (RFC 1870 §5).
    let octets_max = capabilities.size_octets_max.filter(|octets| *octets > 0);
    if let Some(octets_max) = octets_max.filter(|octets_max| transaction.size_octets > *octets_max) {
        let text = format!(
            "the recipient's server takes messages of at most {octets_max} octets; this one has {}",
            transaction.size_octets
        );
        return Some(Reply::new(552, Enhanced(5, 3, 4), text));
    }
    match transaction.alphabet {
        Alphabet::Utf8Headers if !capabilities.smtputf8 => Some(no_smtputf8()),
        Alphabet::EightBitBody if !capabilities.eight_bit_mime => Some(Reply::new(
            554,
            Enhanced(5, 6, 3),
            "the recipient's server does not take 8-bit content, and the message could not be converted",
        )),
        Alphabet::SevenBit | Alphabet::EightBitBody | Alphabet::Utf8Headers => None,
    }
}
