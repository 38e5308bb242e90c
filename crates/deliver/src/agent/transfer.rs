//! One message on one open connection, in as many transactions as the server wants.

use std::sync::Arc;

use base::{Address, Enhanced, Meta, Reply, ReplyClass, Step};
use bytes::Bytes;
use mail::downgrade::NotConvertible;
use smtp::client::{Alphabet, Content, Ending, Input, RecipientReport, Transaction, TransactionReport};
use spool::SpoolError;
use tokio::time::Instant;

use super::{Agent, Disposition, Settled, SiteReport, Task, asks_for_less};
use crate::body::{Body, Reader};
use crate::connection::{Event, OpenConnection};

/// An attempt under way.
pub(super) struct Job<'a> {
    pub agent: &'a Agent,
    pub meta: Arc<Meta>,
    sender: Option<Address>,
    body: Body,
    converted: Converted,
    /// Recipients without a result.
    pub left: Vec<u32>,
    pub results: Vec<RecipientReport>,
    pub dialogue: Vec<Step>,
    pub server: Box<str>,
    pub tls: Option<Box<str>>,
    pub began: Instant,
    pub until: Instant,
}

/// How it went on one connection.
pub(super) enum Transferred {
    Settled(Settled),
    /// The connection ended before the server answered anything, for this reason. Nothing has happened.
    Unheard(Reply),
}

/// The message as a 7-bit server gets it: made when the first such server is met.
enum Converted {
    NotYet,
    Done(Bytes),
    Impossible(NotConvertible),
}

/// What is sent on one connection.
struct Form {
    content: Content,
    octets: u64,
    alphabet: Alphabet,
    reader: Option<Reader>,
}

impl<'a> Job<'a> {
    pub async fn open(agent: &'a Agent, task: Task, began: Instant) -> Result<Job<'a>, SpoolError> {
        Ok(Job {
            agent,
            meta: task.meta,
            sender: task.sender,
            body: task.body.open().await?,
            converted: Converted::NotYet,
            left: task.recipients,
            results: Vec::new(),
            dialogue: Vec::new(),
            server: Box::default(),
            tls: None,
            began,
            until: began + agent.config.attempt_max,
        })
    }

    /// Hands the message over.
    ///
    /// # Errors
    /// When it cannot be read, and nobody has it.
    pub async fn transfer(&mut self, mut connection: OpenConnection) -> Result<Transferred, SpoolError> {
        self.server = connection.server().into();
        self.tls = connection.tls().map(Box::from);
        let transactions_max = self.agent.config.transactions_per_connection_max;
        let mut is_first = true;
        loop {
            let mut form = self.form(&connection).await?;
            connection.begin(Transaction {
                meta: Arc::clone(&self.meta),
                sender: self.sender.clone(),
                recipients: self.left.clone(),
                content: form.content,
                size_octets: form.octets,
                alphabet: form.alphabet,
            });
            let (report, unreadable) = self.drive(&mut connection, form.reader.as_mut()).await;
            let ending = report.ending;
            let had_results = self.results.len();
            if ending == Ending::Unheard {
                return Ok(self.unheard(report, is_first));
            }
            self.absorb(report);
            if let Some(error) = unreadable
                && self.results.iter().all(|result| matches!(result.disposition, Disposition::Temporary { .. }))
            {
                return Err(error);
            }
            if ending == Ending::Cut {
                return Ok(Transferred::Settled(Settled { site: self.site(Ending::Cut), connection: None }));
            }
            let went_on = self.results.len() > had_results;
            let has_turn = connection.has_turn(transactions_max);
            if self.left.is_empty() || !went_on || !has_turn {
                let connection = if has_turn { Some(connection) } else { part_with(connection) };
                return Ok(Transferred::Settled(Settled { site: self.site(Ending::Settled), connection }));
            }
            is_first = false;
        }
    }

    /// Pumps one transaction to its end, giving it content when it asks.
    async fn drive(
        &mut self,
        connection: &mut OpenConnection,
        mut reader: Option<&mut Reader>,
    ) -> (TransactionReport, Option<SpoolError>) {
        let mut unreadable = None;
        loop {
            match connection.next(self.until).await {
                Event::Finished(report) => return (*report, unreadable),
                Event::NeedBody => {
                    let piece = match &mut reader {
                        Some(reader) => reader.next().await,
                        None => Ok(None),
                    };
                    match piece {
                        Ok(Some(piece)) => connection.tell(Input::Body(&piece)),
                        Ok(None) => connection.tell(Input::BodyEnd),
                        Err(error) => {
                            unreadable = Some(error);
                            connection.tell(Input::BodyFailed);
                        }
                    }
                }
                // It was closed before the transaction began.
                Event::Closed => {
                    let nothing = TransactionReport {
                        results: Vec::new(),
                        not_attempted: self.left.clone(),
                        ending: Ending::Unheard,
                        dialogue: Vec::new(),
                    };
                    return (nothing, unreadable);
                }
                Event::StartTls | Event::Ready | Event::Failed(_) => {}
            }
        }
    }

    /// As if this transaction had not been tried: only the dialogue knows.
    fn unheard(&mut self, report: TransactionReport, is_first: bool) -> Transferred {
        self.dialogue.extend(report.dialogue);
        if is_first {
            let own = || Reply::new(451, Enhanced(4, 4, 2), "the server closed the connection");
            return Transferred::Unheard(report.results.into_iter().next().map_or_else(own, |result| result.reply));
        }
        Transferred::Settled(Settled { site: self.site(Ending::Settled), connection: None })
    }

    fn absorb(&mut self, report: TransactionReport) {
        self.dialogue.extend(report.dialogue);
        self.results.extend(report.results);
        self.left = report.not_attempted;
    }

    fn site(&self, ending: Ending) -> SiteReport {
        let is_slow = |result: &RecipientReport| match result.disposition {
            Disposition::Temporary { .. } => ending == Ending::Cut || asks_for_less(&result.reply),
            Disposition::Delivered { .. } | Disposition::Permanent => false,
        };
        if self.results.iter().any(is_slow) { SiteReport::Slow } else { SiteReport::Reached }
    }

    /// The message in a form that this server can take; or as it is, and then the engine refuses it with
    /// the right words.
    async fn form(&mut self, connection: &OpenConnection) -> Result<Form, SpoolError> {
        let offers = connection.capabilities();
        let (eight_bit_mime, smtputf8) = (offers.eight_bit_mime, offers.smtputf8);
        let alphabet = if !self.meta.eight_bit {
            Alphabet::SevenBit
        } else if self.meta.envelope.smtputf8 && !self.body.has_ascii_header() {
            Alphabet::Utf8Headers
        } else {
            Alphabet::EightBitBody
        };
        if alphabet != Alphabet::EightBitBody || eight_bit_mime {
            return Ok(self.as_it_is(alphabet));
        }
        if matches!(self.converted, Converted::NotYet) {
            self.converted = match self.body.to_seven_bit().await? {
                Ok(bytes) => Converted::Done(bytes),
                Err(why) => Converted::Impossible(why),
            };
        }
        Ok(match &self.converted {
            Converted::Done(bytes) => Form {
                octets: bytes.len() as u64,
                content: Content::Whole(bytes.clone()),
                alphabet: Alphabet::SevenBit,
                reader: None,
            },
            // Octets above 127 in its header fields are what it needs SMTPUTF8 for.
            Converted::Impossible(NotConvertible::HeaderEightBit) if !smtputf8 => self.as_it_is(Alphabet::Utf8Headers),
            Converted::Impossible(_) | Converted::NotYet => self.as_it_is(alphabet),
        })
    }

    fn as_it_is(&self, alphabet: Alphabet) -> Form {
        let octets = self.body.octets();
        match &self.body {
            Body::Whole(bytes) => Form { content: Content::Whole(bytes.clone()), octets, alphabet, reader: None },
            Body::Long { .. } => Form { content: Content::Pulled, octets, alphabet, reader: Some(self.body.reader()) },
        }
    }
}

/// Closes it without waiting for that.
fn part_with(connection: OpenConnection) -> Option<OpenConnection> {
    tokio::spawn(connection.goodbye());
    None
}

/// Whether the reply of a greeting or the like is for good by RFC 7504: "521 does not accept mail".
pub(super) fn takes_no_mail(reply: &Reply) -> bool {
    reply.class() == ReplyClass::Permanent && reply.code == 521
}
