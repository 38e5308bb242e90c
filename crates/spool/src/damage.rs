//! What is found not to be what was written: reported, kept aside, never sent.

use std::io::{self, IoSlice};

use base::MessageId;

use crate::format::{RECORD_HEADER_OCTETS, RECORD_MAGIC};
use crate::fs::{Fs, read_full, write_full};
use crate::index::Place;
use crate::segment::Segment;

/// One place where the disk does not hold what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub segment: u64,
    pub offset: u64,
    pub octets: u64,
    /// Whose record it was, when its id can still be read; it may be wrong, as the record is.
    pub message: Option<MessageId>,
    pub what: DamageKind,
    /// Where the bytes were put, relative to the spool's directory; they are as sealed as they were.
    pub kept_in: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// Neither copy of the segment's header can be read: all that was in it is lost to us.
    Segment,
    /// A record's header or fact does not match its checksum.
    Record,
    /// A fact does not open, or says something else than its record.
    Fact,
    /// A large body's file is missing; the message is recovered without it.
    BodyMissing,
    /// The segment's file is shorter than it was made.
    CutOff,
    /// The message's key stood in what was cut off: it cannot be opened any more, unless it was
    /// finished anyway.
    KeyMissing,
}

impl Damage {
    pub(crate) fn whole_segment(fs: &dyn Fs, path: &str, sequence: u64) -> Damage {
        let octets = fs.open(path).and_then(|file| file.octets()).unwrap_or(0);
        let kept = format!("quarantine/{sequence:016x}.seg");
        let moved =
            fs.rename(path, &kept).and_then(|()| fs.sync_dir("quarantine")).and_then(|()| fs.sync_dir("segments"));
        let kept_in = match moved {
            Ok(()) => Some(kept),
            Err(error) => {
                tracing::error!(file = path, %error, "cannot move a damaged segment to quarantine");
                None
            }
        };
        Damage { segment: sequence, offset: 0, octets, message: None, what: DamageKind::Segment, kept_in }
    }

    /// The bytes `from` to `to` of a segment, copied to quarantine.
    pub(crate) fn region(fs: &dyn Fs, segment: &Segment, from: u32, to: u32, what: DamageKind) -> Damage {
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        let read = read_full(&*segment.file, &mut bytes, u64::from(from));
        let name = format!("quarantine/{:016x}-{from:08x}.raw", segment.sequence);
        let kept = read.and_then(|there| keep(fs, &name, bytes.get(..there).unwrap_or_default()));
        if let Err(error) = &kept {
            tracing::error!(file = name, %error, "cannot copy damaged bytes to quarantine");
        }
        Damage {
            segment: segment.sequence,
            offset: u64::from(from),
            octets: bytes.len() as u64,
            message: readable_id(&bytes, segment.sequence),
            what,
            kept_in: kept.is_ok().then_some(name),
        }
    }

    pub(crate) fn cut_off(segment: &Segment, length: u64) -> Damage {
        Damage {
            segment: segment.sequence,
            offset: length,
            octets: u64::from(segment.octets).saturating_sub(length),
            message: None,
            what: DamageKind::CutOff,
            kept_in: None,
        }
    }

    pub(crate) fn missing(what: DamageKind, message: MessageId, place: Place) -> Damage {
        Damage {
            segment: place.segment(),
            offset: u64::from(place.offset()),
            octets: place.octets(),
            message: Some(message),
            what,
            kept_in: None,
        }
    }
}

/// The id in what once was a record's header.
fn readable_id(bytes: &[u8], sequence: u64) -> Option<MessageId> {
    let header: &[u8; RECORD_HEADER_OCTETS] = bytes.first_chunk()?;
    let plausible = header[..4] == RECORD_MAGIC || header[8..16] == sequence.to_le_bytes();
    let id: [u8; 16] = header[16..32].try_into().ok()?;
    (plausible && id != [0; 16]).then(|| MessageId::from_bytes(id))
}

fn keep(fs: &dyn Fs, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = match fs.create(name) {
        Ok(file) => file,
        // Found at an earlier start already.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    };
    write_full(&*file, &mut [IoSlice::new(bytes)], 0)?;
    file.sync()?;
    fs.sync_dir("quarantine")
}
