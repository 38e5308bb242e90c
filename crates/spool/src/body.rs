//! Reading back: a body for another attempt, a meta for who keeps none.

use std::io;
use std::sync::Arc;

use base::{Fact, MessageId, Meta};
use bytes::Bytes;
use privacy::TAG_OCTETS;

use crate::compact::open_fact;
use crate::core::Core;
use crate::draft::CHUNK_OCTETS;
use crate::error::SpoolError;
use crate::format::{Header, RECORD_HEADER_OCTETS, SLOT_OCTETS, parse_record};
use crate::fs::{File, read_full};
use crate::index::Place;
use crate::large::large_name;
use crate::seal::{BodyCipher, EMPTY_SLOT};
use crate::segment::Segment;

/// One body, opened chunk by chunk. Reads block: use it where that is allowed.
pub struct Body {
    octets: u64,
    source: Source,
}

enum Source {
    Small(Option<Bytes>),
    Large { file: Arc<dyn File>, cipher: BodyCipher, message: MessageId, number: u64, left: u64 },
}

impl Body {
    /// The whole body's length in plaintext.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The next piece; a small body comes in one. `None` at the end.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`] when a chunk does not open: what was read before is no whole message.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, SpoolError> {
        let (file, cipher, message, number, left) = match &mut self.source {
            Source::Small(body) => return Ok(body.take()),
            Source::Large { left: 0, .. } => return Ok(None),
            Source::Large { file, cipher, message, number, left } => (file, cipher, message, number, left),
        };
        let plain = (*left).min(CHUNK_OCTETS as u64);
        let mut chunk = vec![0; plain as usize + TAG_OCTETS];
        let at = *number * (CHUNK_OCTETS + TAG_OCTETS) as u64;
        let there = read_full(&**file, &mut chunk, at)?;
        chunk.truncate(there);
        let last = *left == plain;
        if there < TAG_OCTETS || cipher.open(*number, last, &mut chunk).is_none() {
            return Err(SpoolError::Damaged { message: *message, what: "a chunk of the body does not open" });
        }
        *number += 1;
        *left -= plain;
        Ok(Some(chunk.into()))
    }
}

/// An Accepted record as it is on disk, checked but for its seals.
struct Kept {
    place: Place,
    segment: Arc<Segment>,
    header: Header,
    record: Vec<u8>,
}

impl Kept {
    fn meta(&mut self, message: MessageId) -> Result<Meta, SpoolError> {
        let end = RECORD_HEADER_OCTETS + self.header.meta_octets as usize;
        match self
            .record
            .get_mut(RECORD_HEADER_OCTETS..end)
            .and_then(|meta| open_fact(&self.segment, &self.header, meta))
        {
            Some(Fact::Accepted(meta)) => Ok(meta),
            _ => Err(SpoolError::Damaged { message, what: "its envelope does not open" }),
        }
    }
}

impl Core {
    pub(crate) fn meta(&self, message: MessageId) -> Result<Option<Meta>, SpoolError> {
        match self.kept(message) {
            Ok(mut kept) => kept.meta(message).map(Some),
            Err(SpoolError::Gone) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn body(&self, message: MessageId) -> Result<Body, SpoolError> {
        let damaged = |what| SpoolError::Damaged { message, what };
        let (mut kept, slot) = self.kept_with_slot(message)?;
        let account = kept.meta(message)?.account;
        let key = kept.segment.keys.open_slot(message, &slot).ok_or_else(|| damaged("its key does not open"))?;
        let cipher = key.cipher(account, message);
        let octets = kept.header.plain_octets;
        if kept.header.large {
            let file = match self.fs.open(&large_name(message)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(damaged("the file of its body is missing"));
                }
                Err(error) => return Err(error.into()),
            };
            return Ok(Body { octets, source: Source::Large { file, cipher, message, number: 0, left: octets } });
        }
        let start = RECORD_HEADER_OCTETS + kept.header.meta_octets as usize;
        let mut body = kept.record.split_off(start.min(kept.record.len()));
        body.truncate(kept.header.body_octets as usize);
        if body.len() < TAG_OCTETS || cipher.open(0, true, &mut body).is_none() {
            return Err(damaged("its body does not open"));
        }
        Ok(Body { octets, source: Source::Small(Some(body.into())) })
    }

    fn kept_with_slot(&self, message: MessageId) -> Result<(Kept, [u8; SLOT_OCTETS]), SpoolError> {
        loop {
            let kept = self.kept(message)?;
            let slot = kept.segment.read_slot(kept.header.slot)?;
            if slot != EMPTY_SLOT {
                return Ok((kept, slot));
            }
            match self.index.place(message) {
                None => return Err(SpoolError::Gone),
                Some(place) if place == kept.place => {
                    return Err(SpoolError::Damaged { message, what: "its key is not there" });
                }
                // Carried elsewhere meanwhile.
                Some(_) => {}
            }
        }
    }

    fn kept(&self, message: MessageId) -> Result<Kept, SpoolError> {
        loop {
            let place = self.index.place(message).ok_or(SpoolError::Gone)?;
            let Some(segment) = self.segment(place.segment()) else {
                // It was carried elsewhere between the two looks, or closed.
                if self.index.place(message) == Some(place) {
                    return Err(SpoolError::Damaged { message, what: "its segment is missing" });
                }
                continue;
            };
            return read_record(segment, place, message);
        }
    }
}

fn read_record(segment: Arc<Segment>, place: Place, message: MessageId) -> Result<Kept, SpoolError> {
    let mut record = vec![0; place.octets() as usize];
    let there = read_full(&*segment.file, &mut record, u64::from(place.offset()))?;
    record.truncate(there);
    let header = match parse_record(&record) {
        Ok(parsed) => parsed.header,
        Err(_) => return Err(SpoolError::Damaged { message, what: "its record does not read" }),
    };
    if header.message != message || header.segment != segment.sequence || header.offset != place.offset() {
        return Err(SpoolError::Damaged { message, what: "another record is in its place" });
    }
    Ok(Kept { place, segment, header, record })
}
