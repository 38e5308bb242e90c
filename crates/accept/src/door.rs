//! The one way into the spool for a new message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{Clock, Domain, Enhanced, Envelope, MessageId, Meta, Origin, Reply, Timestamp};
use mail::intake::{Fixups, Inspected, Intake, IntakeError, IntakeLimits, IntakeOptions};
use mail::trace::{self, Protocol, ReceivedFrom};
use spool::{Draft, Spool, SpoolError, Stored};

use crate::admission::Principal;
use crate::counters::Counters;

/// Who takes what was accepted, to deliver it.
pub trait Handover: Send + Sync {
    /// The message is on stable storage. Must not block: the client waits for its 250.
    fn accepted(&self, stored: Stored);
}

/// How a door is set up.
#[derive(Debug, Clone)]
pub struct DoorConfig {
    /// Our own name, in the `Received` field and in a `Message-ID` that we give.
    pub hostname: Domain,
    pub intake: IntakeLimits,
    /// Leaves the client's name and address out of the `Received` field, so that a customer's own
    /// address does not travel to his recipients.
    pub hide_clients: bool,
}

impl DoorConfig {
    /// With clients hidden.
    pub fn new(hostname: Domain) -> DoorConfig {
        DoorConfig { hostname, intake: IntakeLimits::default(), hide_clients: true }
    }
}

/// The way a message comes.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub origin: Origin,
    /// The client said EHLO. Of no meaning where no SMTP client is.
    pub extended: bool,
    pub authenticated: bool,
}

impl Arrival {
    /// From a program of ours on this machine.
    pub fn local() -> Arrival {
        Arrival { origin: Origin::Local, extended: false, authenticated: false }
    }
}

/// Takes messages in. Cloning gives another handle to the same door.
#[derive(Clone)]
pub struct Door {
    room: Arc<Room>,
}

struct Room {
    config: DoorConfig,
    spool: Spool,
    handover: Arc<dyn Handover>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    closed: AtomicBool,
}

impl Door {
    pub fn new(config: DoorConfig, spool: Spool, handover: Arc<dyn Handover>, clock: Arc<dyn Clock>) -> Door {
        let counters = Arc::new(Counters::default());
        Door { room: Arc::new(Room { config, spool, handover, clock, counters, closed: AtomicBool::new(false) }) }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.room.counters
    }

    pub fn hostname(&self) -> &Domain {
        &self.room.config.hostname
    }

    /// Lets no new message in; those that have begun may finish.
    pub fn close(&self) {
        self.room.closed.store(true, Ordering::Release);
    }

    /// Begins a message. Dropping the [`Submission`] takes it back.
    ///
    /// # Errors
    /// 421 when the door is closed.
    pub fn begin(&self, principal: &Principal, arrival: Arrival, envelope: Envelope) -> Result<Submission, Reply> {
        let room = &self.room;
        if room.closed.load(Ordering::Acquire) {
            return Err(stopping());
        }
        let draft = room.spool.draft(principal.account);
        let received_at = room.clock.now();
        let options = IntakeOptions {
            limits: room.config.intake,
            trace: room.received_field(draft.id(), &arrival, &envelope, received_at),
            fixups: Some(Fixups { id: draft.id(), host: room.config.hostname.clone(), now: received_at }),
        };
        let meta = Meta {
            id: draft.id(),
            account: principal.account,
            credential: principal.credential,
            stream: principal.stream,
            received_at,
            origin: arrival.origin,
            envelope,
            size_octets: 0,
            eight_bit: false,
            subject: None,
            message_id_header: None,
        };
        let state = State::Open(Box::new(Writing { draft, intake: Intake::new(options) }));
        Ok(Submission { room: Arc::clone(room), meta, state })
    }

    /// Takes in a whole message.
    ///
    /// # Errors
    /// As [`Door::begin`] and [`Submission::finish`].
    pub async fn submit(
        &self,
        principal: &Principal,
        arrival: Arrival,
        envelope: Envelope,
        content: &[u8],
    ) -> Result<MessageId, Reply> {
        // What SMTP refuses at the end of the content is no better from here.
        if !is_clean(content) {
            return Err(Reply::new(
                550,
                Enhanced(5, 6, 11),
                "the message has a NUL, or a CR or LF that is not part of CR LF",
            ));
        }
        let mut submission = self.begin(principal, arrival, envelope)?;
        submission.write(content);
        submission.finish().await
    }
}

/// No NUL, and no CR or LF but in pairs.
fn is_clean(content: &[u8]) -> bool {
    memchr::memchr3_iter(0, b'\r', b'\n', content).all(|at| match content[at] {
        b'\r' => content.get(at + 1) == Some(&b'\n'),
        b'\n' => at > 0 && content[at - 1] == b'\r',
        _ => false,
    })
}

impl Room {
    /// RFC 5321 §4.4. The recipient is named only where it is the only one.
    fn received_field(&self, id: MessageId, arrival: &Arrival, envelope: &Envelope, at: Timestamp) -> Vec<u8> {
        let client = match &arrival.origin {
            Origin::Smtp { client, helo, tls } => {
                let protocol = Protocol {
                    extended: arrival.extended,
                    tls: *tls,
                    authenticated: arrival.authenticated,
                    smtputf8: envelope.smtputf8,
                };
                Some(trace::Client { helo, address: *client, protocol, hidden: self.config.hide_clients })
            }
            Origin::Local | Origin::Report { .. } => None,
        };
        let recipient = match envelope.recipients.as_slice() {
            [only] => Some(&only.address),
            _ => None,
        };
        trace::received_field(&ReceivedFrom { client, by: self.config.hostname.as_str(), id, recipient, at })
    }
}

/// A message on its way in.
pub struct Submission {
    room: Arc<Room>,
    meta: Meta,
    state: State,
}

enum State {
    Open(Box<Writing>),
    /// It will not be taken; the draft is gone already.
    Refused(Refusal),
}

struct Writing {
    draft: Draft,
    intake: Intake,
}

struct Refusal {
    reply: Reply,
    /// It is the spool's fault, not the message's.
    storage: bool,
}

impl Submission {
    pub fn id(&self) -> MessageId {
        self.meta.id
    }

    /// Adds to the content. What goes wrong is said by [`Submission::finish`]; what follows is
    /// then taken and thrown away. Blocks no longer than a write into the page cache.
    pub fn write(&mut self, piece: &[u8]) {
        let State::Open(writing) = &mut self.state else { return };
        let Writing { draft, intake } = &mut **writing;
        let written = match intake.feed(piece) {
            Ok(portion) => write_both(draft, portion.header, portion.body).map_err(Refusal::from),
            Err(error) => Err(Refusal::from(error)),
        };
        if let Err(refusal) = written {
            self.state = State::Refused(refusal);
        }
    }

    /// Whether the message is already known not to be taken.
    pub fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused(_))
    }

    /// Puts the message on stable storage and hands it over. When this gives `Ok`, 250 may be said.
    ///
    /// # Errors
    /// The reply to say: 4xx where it is our trouble, 5xx where it is the message's. Nothing is
    /// stored then.
    pub async fn finish(self) -> Result<MessageId, Reply> {
        let Submission { room, meta, state } = self;
        let committed = match state {
            State::Open(writing) => commit(*writing, meta).await,
            State::Refused(refusal) => Err(refusal),
        };
        match committed {
            Ok(stored) => {
                let id = stored.meta.id;
                room.counters.accepted(stored.meta.size_octets);
                tracing::debug!(%id, octets = stored.meta.size_octets, "accepted");
                room.handover.accepted(stored);
                Ok(id)
            }
            Err(Refusal { reply, storage }) => {
                if storage {
                    tracing::warn!(%reply, "a message could not be stored");
                    room.counters.refused(|c| &c.refused_storage);
                } else {
                    room.counters.refused(|c| &c.refused_header);
                }
                Err(reply)
            }
        }
    }
}

fn write_both(draft: &mut Draft, header: &[u8], body: &[u8]) -> Result<(), SpoolError> {
    if !header.is_empty() {
        draft.write(header)?;
    }
    if !body.is_empty() {
        draft.write(body)?;
    }
    Ok(())
}

async fn commit(writing: Writing, mut meta: Meta) -> Result<Stored, Refusal> {
    let Writing { mut draft, intake } = writing;
    let finished = intake.finish()?;
    write_both(&mut draft, &finished.tail, &[])?;
    let inspected = finished.inspected;
    screen(&inspected).map_err(|reply| Refusal { reply, storage: false })?;
    meta.size_octets = inspected.octets;
    meta.eight_bit = inspected.eight_bit;
    meta.subject = inspected.subject;
    meta.message_id_header = inspected.message_id;
    Ok(draft.commit(meta).await?)
}

/// What the header section of a submitted message may not be: anything that two readers could read in
/// two ways (who is it from, what is it about).
fn screen(inspected: &Inspected) -> Result<(), Reply> {
    let refuse = |text: String| Err(Reply::new(550, Enhanced(5, 6, 0), text));
    if inspected.from_fields > 1 {
        return refuse("The message has more than one From field".to_owned());
    }
    if let Some(name) = inspected.repeated {
        return refuse(format!("The message has the field {name} more than once"));
    }
    if inspected.spaced_name {
        return refuse("A header field has white space in front of its colon".to_owned());
    }
    Ok(())
}

impl From<IntakeError> for Refusal {
    fn from(error: IntakeError) -> Refusal {
        let (code, enhanced) = match error {
            IntakeError::HeaderTooLarge { .. } => (552, Enhanced(5, 3, 4)),
            IntakeError::TooManyHops { .. } => (554, Enhanced(5, 4, 6)),
        };
        Refusal { reply: Reply::new(code, enhanced, capital(&error.to_string())), storage: false }
    }
}

impl From<SpoolError> for Refusal {
    fn from(error: SpoolError) -> Refusal {
        let (code, enhanced, text) = match error {
            SpoolError::TooLarge => (552, Enhanced(5, 3, 4), "Message too large"),
            SpoolError::Full => (452, Enhanced(4, 3, 1), "No room for mail now, try again later"),
            // Whatever else it is: the client must keep its message.
            SpoolError::ReadOnly(_) | SpoolError::Failed(_) | SpoolError::Damaged { .. } | SpoolError::Gone => {
                tracing::error!(%error, "the spool does not take mail");
                (451, Enhanced(4, 3, 0), "Mail cannot be stored now, try again later")
            }
        };
        Refusal { reply: Reply::new(code, enhanced, text), storage: code < 500 }
    }
}

/// Errors begin in lower case, replies with a capital.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// What is said while the server stops.
pub(crate) fn stopping() -> Reply {
    Reply::new(421, Enhanced(4, 3, 2), "The server is stopping, try again later")
}
