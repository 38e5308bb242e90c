//! MAIL, RCPT, DATA, BDAT, and the content.

use std::collections::BTreeSet;

use base::{Address, BodyType, Enhanced, Envelope, MessageId, Recipient, Reply};
use bytes::{Buf, BytesMut};

use super::Verdict;
use super::content::{Content, Dots, Piece, Refused};
use super::session::{Phase, Question, Session, State, Step};
use crate::command::{ForwardPath, Mail, Rcpt};

/// One envelope in the making.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    /// [`Address::canonical`] of each recipient, kept from the second one on.
    canonical: BTreeSet<String>,
    /// Recipients refused, because there were too many or by the caller.
    refused: u32,
}

impl Transaction {
    fn knows(&mut self, address: &Address) -> bool {
        let [first, ..] = self.envelope.recipients.as_slice() else { return false };
        if self.canonical.is_empty() {
            self.canonical.insert(first.address.canonical());
        }
        self.canonical.contains(&address.canonical())
    }

    fn add(&mut self, recipient: Recipient) {
        if !self.envelope.recipients.is_empty() {
            self.canonical.insert(recipient.address.canonical());
        }
        self.envelope.recipients.push(recipient);
    }
}

/// What BDAT announced, and what of it is still to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    octets: u64,
    last: bool,
}

impl Chunk {
    pub(super) fn new(octets: u64, last: bool) -> Chunk {
        Chunk { octets, last }
    }
}

/// Why a chunk is thrown away; said when it is.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A mistake of the client.
    Line(&'static str),
    /// What the caller says.
    Reply(Reply),
}

const TOO_LARGE: &str = "552 5.3.4 Message too large";
const STRAY: &str = "550 5.6.11 Message has a CR or LF on its own, or a NUL";
const NO_RECIPIENTS: &str = "554 5.5.1 No valid recipients";
const NO_TRANSACTION: &str = "503 5.5.1 Send MAIL first";

fn words(refused: Refused) -> &'static str {
    match refused {
        Refused::Stray => STRAY,
        Refused::TooLarge => TOO_LARGE,
    }
}

impl Session {
    pub(super) fn mail(&mut self, mail: Mail, phase: Phase) -> Step {
        let refusal = match &phase {
            Phase::Unnamed => Some("503 5.5.1 Send EHLO first"),
            Phase::Mail(_) | Phase::Chunks(_) => Some("503 5.5.1 A transaction is open, RSET ends it"),
            Phase::Named => self.unwanted(&mail),
        };
        self.state = State::Commands(phase);
        if let Some(refusal) = refusal {
            self.complain(refusal);
            return Step::Again;
        }
        self.tally.transactions += 1;
        if self.tally.transactions > self.limits.transactions_max {
            self.farewell("421 4.7.0 Too many transactions in one session, closing");
            return Step::Again;
        }
        let size_octets = mail.size;
        let envelope = Envelope {
            sender: mail.sender,
            recipients: Vec::new(),
            body: mail.body.unwrap_or(BodyType::SevenBit),
            smtputf8: mail.smtputf8,
            ret: mail.ret,
            envid: mail.envid,
        };
        let transaction = Transaction { envelope, canonical: BTreeSet::new(), refused: 0 };
        self.state = State::Asked(Question::Mail(transaction));
        Step::AskMail { size_octets }
    }

    fn unwanted(&self, mail: &Mail) -> Option<&'static str> {
        let asked = mail.parameters;
        if asked.any && !self.client.extended || asked.dsn && !self.offer.dsn || mail.smtputf8 && !self.offer.smtputf8 {
            return Some("555 5.5.4 Parameter not offered");
        }
        // RFC 1870 §6.1: a message that says that it is too large need not be sent.
        mail.size.is_some_and(|octets| octets > self.limits.message_octets_max).then_some(TOO_LARGE)
    }

    pub(super) fn mail_judged(&mut self, transaction: Transaction, verdict: Verdict) {
        match verdict {
            Ok(()) => {
                self.replies.line("250 2.1.0 Sender ok");
                self.state = State::Commands(Phase::Mail(transaction));
            }
            Err(reply) => {
                self.state = State::Commands(Phase::Named);
                if reply.code < 500 || self.may_err() {
                    self.refuse(&reply);
                }
            }
        }
    }

    /// Says a refusal of the caller; 421 is the end. The state must be set before.
    fn refuse(&mut self, reply: &Reply) {
        self.replies.reply(reply);
        if reply.code == 421 {
            self.close();
        }
    }

    pub(super) fn rcpt(&mut self, rcpt: Rcpt, phase: Phase) -> Step {
        let mut transaction = match phase {
            Phase::Mail(transaction) => transaction,
            phase => {
                self.state = State::Commands(phase);
                self.complain(NO_TRANSACTION);
                return Step::Again;
            }
        };
        let recipient = match self.recipient(rcpt, &transaction.envelope) {
            Ok(recipient) => recipient,
            Err(refusal) => {
                self.state = State::Commands(Phase::Mail(transaction));
                self.complain(refusal);
                return Step::Again;
            }
        };
        if transaction.knows(&recipient.address) {
            self.replies.line("250 2.1.5 Recipient is already named, once is enough");
            self.state = State::Commands(Phase::Mail(transaction));
            return Step::Again;
        }
        if transaction.envelope.recipients.len() >= self.limits.recipients_max as usize {
            return self.one_recipient_too_many(transaction);
        }
        self.state = State::Asked(Question::Recipient(transaction, recipient));
        Step::AskRecipient
    }

    fn recipient(&self, rcpt: Rcpt, envelope: &Envelope) -> Result<Recipient, &'static str> {
        let asked = rcpt.parameters;
        if asked.any && !self.client.extended || asked.dsn && !self.offer.dsn {
            return Err("555 5.5.4 Parameter not offered");
        }
        let address = match rcpt.path {
            ForwardPath::Mailbox(address) => address,
            ForwardPath::Postmaster => Address::parse(&format!("postmaster@{}", self.offer.hostname))
                .map_err(|_| "550 5.1.1 No such mailbox")?,
        };
        let ascii = address.is_ascii() && rcpt.original.as_deref().is_none_or(str::is_ascii);
        if !ascii && !envelope.smtputf8 {
            return Err("553 5.6.7 A non-ASCII address needs SMTPUTF8");
        }
        Ok(Recipient { address, notify: rcpt.notify, original: rcpt.original })
    }

    fn one_recipient_too_many(&mut self, transaction: Transaction) -> Step {
        let too_many = "Too many recipients, send to these in another transaction";
        self.refuse_recipient(transaction, &Reply::new(452, Enhanced(4, 5, 3), too_many));
        Step::Again
    }

    fn refuse_recipient(&mut self, mut transaction: Transaction, reply: &Reply) {
        transaction.refused += 1;
        let patience = transaction.refused <= self.limits.recipients_refused_max;
        self.state = State::Commands(Phase::Mail(transaction));
        if patience {
            self.refuse(reply);
        } else {
            self.farewell("421 4.5.3 Far too many refused recipients, closing");
        }
    }

    pub(super) fn recipient_judged(&mut self, mut transaction: Transaction, recipient: Recipient, verdict: Verdict) {
        match verdict {
            Ok(()) => {
                self.replies.line("250 2.1.5 Recipient ok");
                transaction.add(recipient);
                self.state = State::Commands(Phase::Mail(transaction));
            }
            Err(reply) => self.refuse_recipient(transaction, &reply),
        }
    }

    pub(super) fn data(&mut self, phase: Phase) -> Step {
        let refusal = match phase {
            Phase::Mail(transaction) if !transaction.envelope.recipients.is_empty() => {
                self.state = State::Asked(Question::Begin(None));
                return Step::BeginData(transaction.envelope);
            }
            Phase::Mail(_) => NO_RECIPIENTS,
            // RFC 3030 §2: the two do not mix.
            Phase::Chunks(_) => "503 5.5.1 BDAT was begun, DATA cannot follow",
            Phase::Unnamed | Phase::Named => NO_TRANSACTION,
        };
        self.state = State::Commands(phase);
        self.complain(refusal);
        Step::Again
    }

    pub(super) fn bdat(&mut self, chunk: Chunk, phase: Phase) -> Step {
        if chunk.octets > self.taken_max() {
            // It would not even be thrown away to its end.
            self.state = State::Commands(phase);
            if self.may_err() {
                self.farewell(TOO_LARGE);
            }
            return Step::Again;
        }
        let refusal = match phase {
            Phase::Mail(transaction) if !transaction.envelope.recipients.is_empty() && self.offer.chunking => {
                self.state = State::Asked(Question::Begin(Some(chunk)));
                return Step::BeginData(transaction.envelope);
            }
            Phase::Chunks(content) => {
                self.state = State::Chunk(content, chunk);
                return Step::Again;
            }
            Phase::Mail(_) if self.offer.chunking => NO_RECIPIENTS,
            Phase::Unnamed | Phase::Named if self.offer.chunking => NO_TRANSACTION,
            _ => "502 5.5.1 CHUNKING is not offered",
        };
        // RFC 3030 §2: its octets are taken all the same. A transaction ends by it.
        let then = if matches!(phase, Phase::Unnamed) { Phase::Unnamed } else { Phase::Named };
        self.state = State::Swallow { octets: chunk.octets, refusal: Refusal::Line(refusal), then };
        Step::Again
    }

    /// The caller has said whether the content may come. The envelope is his now.
    pub(super) fn begun(&mut self, chunk: Option<Chunk>, verdict: Verdict) {
        match (chunk, verdict) {
            (None, Ok(())) => {
                self.replies.line("354 End data with <CR><LF>.<CR><LF>");
                self.state = State::Data(Content::default(), Dots::new());
            }
            (Some(chunk), Ok(())) => {
                self.state = State::Chunk(Content::default(), chunk);
            }
            (None, Err(reply)) => {
                self.state = State::Commands(Phase::Named);
                self.refuse(&reply);
            }
            (Some(chunk), Err(reply)) => {
                let refusal = Refusal::Reply(reply);
                self.state = State::Swallow { octets: chunk.octets, refusal, then: Phase::Named };
            }
        }
    }

    pub(super) fn read_data(&mut self, mut content: Content, mut dots: Dots, input: &mut BytesMut) -> Step {
        match dots.next(input) {
            Piece::Partial => {
                self.state = State::Data(content, dots);
                Step::Rest
            }
            Piece::End(octets) => {
                input.advance(octets);
                let told = content.refused().is_some();
                let Some(refused) = content.end() else { return self.ask_to_store() };
                self.state = State::Commands(Phase::Named);
                self.complain(words(refused));
                if told { Step::Again } else { Step::AbortData }
            }
            Piece::Body { from, to } => {
                let told = content.refused().is_some();
                let refused = content.take(&input[from..to], self.limits.message_octets_max);
                let endless = content.octets() > self.taken_max();
                self.state = State::Data(content, dots);
                let Some(refused) = refused else {
                    self.consumed = to;
                    return Step::Body { from, to };
                };
                // Read to its end, so that step is kept, but given out no more.
                input.advance(to);
                if endless {
                    self.replies.line(words(refused));
                    self.state = State::Closing { abort: !told };
                    return Step::Again;
                }
                if told { Step::Again } else { Step::AbortData }
            }
        }
    }

    /// So much of one content is read, thrown-away octets included.
    fn taken_max(&self) -> u64 {
        self.limits.message_octets_max.saturating_add(self.limits.discard_octets_max)
    }

    pub(super) fn read_chunk(&mut self, mut content: Content, chunk: Chunk, input: &mut BytesMut) -> Step {
        let octets_max = self.limits.message_octets_max;
        if content.octets().saturating_add(chunk.octets) > octets_max {
            content.refuse_too_large();
            return self.refuse_chunk(chunk.octets, Refused::TooLarge);
        }
        if chunk.octets == 0 {
            return self.end_chunk(content, chunk);
        }
        let here = usize::try_from(chunk.octets).unwrap_or(usize::MAX).min(input.len());
        if here == 0 {
            self.state = State::Chunk(content, chunk);
            return Step::Rest;
        }
        if let Some(refused) = content.take(&input[..here], octets_max) {
            return self.refuse_chunk(chunk.octets, refused);
        }
        self.consumed = here;
        self.state = State::Chunk(content, Chunk { octets: chunk.octets - here as u64, ..chunk });
        Step::Body { from: 0, to: here }
    }

    /// The rest of the chunk is thrown away, then the client is told. The transaction is over.
    fn refuse_chunk(&mut self, octets: u64, refused: Refused) -> Step {
        let refusal = Refusal::Line(words(refused));
        self.state = State::Swallow { octets, refusal, then: Phase::Named };
        Step::AbortData
    }

    fn end_chunk(&mut self, mut content: Content, chunk: Chunk) -> Step {
        if !chunk.last {
            self.replies.line("250 2.0.0 Chunk ok");
            self.state = State::Commands(Phase::Chunks(content));
            return Step::Again;
        }
        match content.end() {
            Some(refused) => self.refuse_chunk(0, refused),
            None => self.ask_to_store(),
        }
    }

    pub(super) fn swallow(&mut self, octets: u64, refusal: Refusal, then: Phase, input: &mut BytesMut) -> Step {
        let here = usize::try_from(octets).unwrap_or(usize::MAX).min(input.len());
        input.advance(here);
        let octets = octets - here as u64;
        if octets > 0 {
            self.state = State::Swallow { octets, refusal, then };
            return Step::Rest;
        }
        self.state = State::Commands(then);
        match refusal {
            Refusal::Line(line) => self.complain(line),
            Refusal::Reply(reply) => self.refuse(&reply),
        }
        Step::Again
    }

    fn ask_to_store(&mut self) -> Step {
        self.state = State::Asked(Question::Stored(None));
        Step::EndData
    }

    pub(super) fn stored(&mut self, farewell: Option<Reply>, stored: Result<MessageId, Reply>) {
        self.state = State::Commands(Phase::Named);
        match stored {
            Ok(id) => {
                self.tally.errors = 0;
                self.tally.junk = 0;
                self.replies.format(format_args!("250 2.0.0 Ok, queued as {id}"));
            }
            Err(reply) => self.refuse(&reply),
        }
        if let Some(reply) = farewell.filter(|_| !matches!(self.state, State::Closing { .. })) {
            self.replies.reply(&reply);
            self.close();
        }
    }
}
