//! Inspection and mending of a message while it streams in (RFC 6409 §8, RFC 5321 §4.4).
//!
//! The header section is gathered, up to a limit, then mended and handed on in one piece; the body
//! passes through as it came, without a copy. What leaves is:
//!
//! 1. our trace fields, given ready;
//! 2. the client's fields, octet for octet and in their order, without those that must not travel:
//!    `Bcc` and `Resent-Bcc` (they would tell the other recipients), `Return-Path` (written by the
//!    last server only, RFC 5321 §4.4);
//! 3. `Date` and `Message-ID` where the client gave none. They stand behind the client's fields, so
//!    that the trace fields at the top stay together;
//! 4. an empty line, always: a message that came with none gets one, in front of the first line
//!    that is no field;
//! 5. the body.
//!
//! Steps 2 (the removal) and 3 are for submitted mail; without [`Fixups`] all fields stay.
//!
//! The caller writes what each [`Intake::feed`] gives back, header before body, and at the end the tail that
//! [`Intake::finish`] gives. After an error it drops what it wrote.

mod scan;

use base::{Domain, MessageId, Timestamp};

use crate::trace;
use scan::{End, Scan};

/// Limits that a header section must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeLimits {
    /// The client's fields together, in octets.
    pub header_octets_max: usize,
    /// `Received` fields; a message that has as many goes in circles (RFC 5321 §6.3).
    pub received_max: u32,
}

impl Default for IntakeLimits {
    fn default() -> IntakeLimits {
        IntakeLimits { header_octets_max: 256 * 1024, received_max: 50 }
    }
}

/// How one message is to be taken in.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    pub limits: IntakeLimits,
    /// What is put in front: our `Received` field ([`trace::received_field`]). Whole fields, each
    /// with its CRLF.
    pub trace: Vec<u8>,
    /// `None`: nothing is mended (mail that other servers send us).
    pub fixups: Option<Fixups>,
}

/// What submitted mail is given where it lacks it.
#[derive(Debug, Clone)]
pub struct Fixups {
    /// The left side of a missing `Message-ID`.
    pub id: MessageId,
    /// Its right side.
    pub host: Domain,
    /// For a missing `Date`.
    pub now: Timestamp,
}

/// What the message turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspected {
    /// What left us, in octets: our fields, the client's, the body.
    pub octets: u64,
    /// Any octet above 127 in the header section that left us: such a message needs SMTPUTF8 or is not
    /// within the standard.
    pub eight_bit_header: bool,
    /// Any octet above 127 anywhere.
    pub eight_bit: bool,
    /// `Received` fields of the client.
    pub received: u32,
    /// `From` fields: a submission has exactly one; what to do otherwise is the door's decision.
    pub from_fields: u32,
    /// The first `From` field's value, raw, unfolded, cut to [`VALUE_OCTETS_MAX`].
    pub from: Option<Box<str>>,
    /// The first `Subject`, raw (encoded words and all), unfolded, cut to [`VALUE_OCTETS_MAX`].
    pub subject: Option<Box<str>>,
    /// The `Message-ID` that the message leaves with, cut to [`VALUE_OCTETS_MAX`].
    pub message_id: Option<Box<str>>,
    /// The first field that must stand at most once (RFC 5322 §3.6, RFC 2045) and stands more often.
    /// Readers disagree which of them counts.
    pub repeated: Option<&'static str>,
    /// A field has white space before its colon (obsolete, RFC 5322 §4.5): readers disagree whether
    /// that is a field.
    pub spaced_name: bool,
}

/// Values are kept for the history up to this size.
pub const VALUE_OCTETS_MAX: usize = 512;

/// Why a message is not taken. All are the client's fault and final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    #[error("the header section is larger than {octets_max} octets")]
    HeaderTooLarge { octets_max: usize },
    #[error("the message has passed {received} servers, it goes in circles")]
    TooManyHops { received: u32 },
}

/// What to write after one [`Intake::feed`]: the header, then the body. Either may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion<'a> {
    pub header: &'a [u8],
    pub body: &'a [u8],
}

/// What is left at the end of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Still to be written: the header of a message that has no body. Mostly empty.
    pub tail: Vec<u8>,
    pub inspected: Inspected,
}

/// One message on its way in. Feed it the content after dot-unstuffing, in pieces of any size.
#[derive(Debug)]
pub struct Intake {
    options: IntakeOptions,
    inspected: Inspected,
    state: State,
}

#[derive(Debug)]
enum State {
    /// `held` is what came so far; never longer than the limit and an empty line.
    Header {
        held: Vec<u8>,
        scan: Scan,
    },
    /// `header` is the mended section until it is handed out.
    Body {
        header: Vec<u8>,
    },
    Failed(IntakeError),
}

impl Intake {
    pub fn new(options: IntakeOptions) -> Intake {
        let state = State::Header { held: Vec::new(), scan: Scan::default() };
        Intake { options, inspected: Inspected::default(), state }
    }

    /// Takes the next piece and gives back what is to be written now.
    ///
    /// # Errors
    /// The message is not to be taken; every later call says so again.
    pub fn feed<'a>(&'a mut self, chunk: &'a [u8]) -> Result<Portion<'a>, IntakeError> {
        let body = match &mut self.state {
            State::Failed(error) => return Err(*error),
            State::Body { header } => {
                // Handed out by the call before this one.
                *header = Vec::new();
                chunk
            }
            State::Header { .. } => match self.gather(chunk) {
                Ok(body_from) => &chunk[body_from..],
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            },
        };
        self.inspected.octets += body.len() as u64;
        self.inspected.eight_bit = self.inspected.eight_bit || !body.is_ascii();
        let State::Body { header } = &self.state else { return Ok(Portion { header: &[], body: &[] }) };
        Ok(Portion { header, body })
    }

    /// The message is complete.
    ///
    /// # Errors
    /// As [`Intake::feed`].
    pub fn finish(mut self) -> Result<Finished, IntakeError> {
        let tail = match self.state {
            State::Failed(error) => return Err(error),
            State::Body { .. } => Vec::new(),
            State::Header { held, mut scan } => {
                let end = scan.finish(&held);
                let mut header = mend(&self.options, &mut self.inspected, scan, &held, end)?;
                header.extend_from_slice(&held[end.body_from()..]);
                self.inspected.octets += (held.len() - end.body_from()) as u64;
                self.inspected.eight_bit |= !held[end.body_from()..].is_ascii();
                header
            }
        };
        Ok(Finished { tail, inspected: self.inspected })
    }

    /// Looks for the end of the header section. Gives back from where on `chunk` is body.
    fn gather(&mut self, chunk: &[u8]) -> Result<usize, IntakeError> {
        let State::Header { held, scan } = &mut self.state else { return Ok(0) };
        // The longest section allowed, and the empty line behind it.
        let visible_max = self.options.limits.header_octets_max.saturating_add(2);
        let before = held.len();
        let taken = chunk.len().min(visible_max - before);
        // A section that comes in one piece, as nearly all do, is never copied into `held`.
        let visible = if before == 0 {
            &chunk[..taken]
        } else {
            held.extend_from_slice(&chunk[..taken]);
            held.as_slice()
        };
        let end = match scan.advance(visible) {
            Some(end) => end,
            None if visible.len() < visible_max => {
                if before == 0 {
                    held.extend_from_slice(&chunk[..taken]);
                }
                return Ok(chunk.len());
            }
            None => scan.overflow(visible),
        };
        let mut header = mend(&self.options, &mut self.inspected, std::mem::take(scan), visible, end)?;
        // The line that is no field may have begun in an earlier chunk.
        let early = visible.get(end.body_from()..before).unwrap_or_default();
        self.inspected.octets += early.len() as u64;
        self.inspected.eight_bit |= !early.is_ascii();
        header.extend_from_slice(early);
        self.state = State::Body { header };
        Ok(end.body_from().saturating_sub(before))
    }
}

/// Writes the header section that leaves us, up to and with its empty line.
fn mend(
    options: &IntakeOptions,
    inspected: &mut Inspected,
    scan: Scan,
    section: &[u8],
    end: End,
) -> Result<Vec<u8>, IntakeError> {
    let limits = options.limits;
    if end.at > limits.header_octets_max {
        return Err(IntakeError::HeaderTooLarge { octets_max: limits.header_octets_max });
    }
    let found = scan.found;
    if found.received >= limits.received_max {
        return Err(IntakeError::TooManyHops { received: found.received });
    }
    let mut header = Vec::with_capacity(options.trace.len() + end.at + 160);
    header.extend_from_slice(&options.trace);
    let mut kept_from = 0;
    for removed in scan.removable.iter().filter(|_| options.fixups.is_some()) {
        header.extend_from_slice(&section[kept_from..removed.start]);
        kept_from = removed.end;
    }
    header.extend_from_slice(&section[kept_from..end.at]);
    if end.cut_line && kept_from < end.at {
        header.extend_from_slice(b"\r\n");
    }
    let mut message_id = found.message_id;
    if let Some(fixups) = &options.fixups {
        if !found.has_date {
            header.extend_from_slice(format!("Date: {}\r\n", trace::date(fixups.now)).as_bytes());
        }
        if !found.has_message_id {
            let fresh = message_id_for(fixups.id, &fixups.host);
            header.extend_from_slice(format!("Message-ID: {fresh}\r\n").as_bytes());
            message_id = Some(fresh.into());
        }
    }
    header.extend_from_slice(b"\r\n");
    let eight_bit_header = !header.is_ascii();
    *inspected = Inspected {
        octets: header.len() as u64,
        eight_bit_header,
        eight_bit: eight_bit_header,
        received: found.received,
        from_fields: found.from_fields,
        from: found.from,
        subject: found.subject,
        message_id,
        repeated: found.repeated,
        spaced_name: found.spaced_name,
    };
    Ok(header)
}

/// A `Message-ID` value of ours (RFC 5322 §3.6.4): `<id@host>`, the host as A-labels or as the address
/// literal that it is.
pub fn message_id_for(id: MessageId, host: &Domain) -> String {
    format!("<{id}@{}>", host.ascii())
}

#[cfg(test)]
mod tests;
