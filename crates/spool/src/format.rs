//! The bytes of records and segment headers: pure functions, safe on any input.
//!
//! The layout stands in the crate's page. Nothing here opens a file or holds a key.

use base::{Fact, MessageId};

/// Where a record begins: "PRr1".
pub const RECORD_MAGIC: [u8; 4] = *b"PRr1";
/// The fixed part in front of each record's meta.
pub const RECORD_HEADER_OCTETS: usize = 88;
/// Records begin at multiples of this.
pub const RECORD_ALIGN: usize = 8;
/// A key slot: version, nonce, wrapped key, tag.
pub const SLOT_OCTETS: usize = 64;
/// "This record has no key slot."
pub const NO_SLOT: u32 = u32::MAX;
/// Where a segment begins, and its last block, which repeats the first.
pub const SEGMENT_MAGIC: [u8; 8] = *b"PRspool1";
/// The block that holds a segment header; records begin behind the first one.
pub const SEGMENT_HEADER_OCTETS: usize = 4096;
/// The part of the header block that is used.
const SEGMENT_HEADER_USED: usize = 136;
const SEGMENT_CRC_AT: usize = 132;
/// The two wrapped keys of a segment: 64 octets and their tag.
pub const WRAPPED_KEYS_OCTETS: usize = 80;

const VERSION: u8 = 1;
const CARRIED: u8 = 1;
const LARGE: u8 = 2;
const REPORT: u8 = 4;
const SEAL: u8 = 8;
const KNOWN_FLAGS: u8 = CARRIED | LARGE | REPORT | SEAL;
/// In the last four octets of the header, outside the checksum: the record counts for nothing.
pub const VOID_MARK: [u8; 4] = *b"VOID";
/// Where the mark stands in the header.
pub const VOID_MARK_AT: usize = 84;
const CRC_AT: usize = 80;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Accepted,
    Attempted,
    Held,
    Released,
    Closed,
    Quarantined,
    /// No fact: it only carries [`Header::synced`].
    Mark,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Kind::Accepted => 1,
            Kind::Attempted => 2,
            Kind::Held => 3,
            Kind::Released => 4,
            Kind::Closed => 5,
            Kind::Quarantined => 6,
            Kind::Mark => 7,
        }
    }

    const fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Accepted,
            2 => Kind::Attempted,
            3 => Kind::Held,
            4 => Kind::Released,
            5 => Kind::Closed,
            6 => Kind::Quarantined,
            7 => Kind::Mark,
            _ => return None,
        })
    }

    pub const fn of(fact: &Fact) -> Kind {
        match fact {
            Fact::Accepted(_) => Kind::Accepted,
            Fact::Attempted(_) => Kind::Attempted,
            Fact::Held { .. } => Kind::Held,
            Fact::Released { .. } => Kind::Released,
            Fact::Closed { .. } => Kind::Closed,
            Fact::Quarantined { .. } => Kind::Quarantined,
        }
    }
}

/// The fixed part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Copied here out of an older segment.
    pub carried: bool,
    /// The body is in `large/`, not in this record.
    pub large: bool,
    /// The message is a report (RFC 3464) about another one.
    pub report: bool,
    /// A [`Kind::Mark`] behind which the segment has no record.
    pub seal: bool,
    /// The sequence number of the segment it was written to.
    pub segment: u64,
    pub message: MessageId,
    /// Its own place in the segment.
    pub offset: u32,
    /// All octets of this segment below this were on stable storage when the record was written.
    pub synced: u32,
    /// Sealed, with the tag.
    pub meta_octets: u32,
    /// Sealed, with the tag; 0 where the record has no body.
    pub body_octets: u32,
    /// The body's length before sealing, wherever it is.
    pub plain_octets: u64,
    /// The counter that the meta's nonce is made of.
    pub nonce: u64,
    /// Segment (upper half) and offset of the first record that said this: the order of facts.
    pub origin: u64,
    /// Number of the key slot, or [`NO_SLOT`].
    pub slot: u32,
    /// CRC-32 of the sealed body.
    pub body_crc: u32,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("there is no record here")]
    Magic,
    #[error("the record is of a version that this program does not know")]
    Version,
    #[error("the record ends before its length")]
    Short,
    #[error("the record's checksum does not match")]
    Checksum,
    #[error("a field of the record has no meaning")]
    Field,
}

/// A whole record, checked but for its body's checksum and seals.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub header: Header,
    /// The record counts for nothing: it was never acknowledged.
    pub void: bool,
    pub meta: &'a [u8],
    pub body: &'a [u8],
}

impl Record<'_> {
    pub fn body_is_intact(&self) -> bool {
        crc32fast::hash(self.body) == self.header.body_crc
    }
}

/// Reads the record at the start of `bytes`, which must hold all of it.
///
/// # Errors
/// Says what is wrong; never panics, whatever the bytes are.
pub fn parse_record(bytes: &[u8]) -> Result<Record<'_>, FormatError> {
    let header = Header::read(bytes)?;
    let meta_end = RECORD_HEADER_OCTETS + header.meta_octets as usize;
    let body_end = meta_end.checked_add(header.body_octets as usize).ok_or(FormatError::Field)?;
    let meta = bytes.get(RECORD_HEADER_OCTETS..meta_end).ok_or(FormatError::Short)?;
    let body = bytes.get(meta_end..body_end).ok_or(FormatError::Short)?;
    header.check(bytes, meta)?;
    Ok(Record { header, void: is_void(bytes), meta, body })
}

/// Whether the record whose header begins `bytes` was marked as void.
pub fn is_void(bytes: &[u8]) -> bool {
    bytes.get(VOID_MARK_AT..RECORD_HEADER_OCTETS) == Some(&VOID_MARK[..])
}

impl Header {
    /// Reads the fields without believing them: [`Header::check`] does that once the meta is there.
    ///
    /// # Errors
    /// When the bytes cannot be a record's beginning.
    pub fn read(bytes: &[u8]) -> Result<Header, FormatError> {
        let bytes: &[u8; RECORD_HEADER_OCTETS] = bytes.first_chunk().ok_or(FormatError::Short)?;
        let mut fields = Fields(bytes);
        if fields.take::<4>() != RECORD_MAGIC {
            return Err(FormatError::Magic);
        }
        let [version, kind, flags, reserved] = fields.take::<4>();
        if version != VERSION {
            return Err(FormatError::Version);
        }
        let kind = Kind::from_code(kind).ok_or(FormatError::Field)?;
        if flags & !KNOWN_FLAGS != 0 || reserved != 0 {
            return Err(FormatError::Field);
        }
        Ok(Header {
            kind,
            carried: flags & CARRIED != 0,
            large: flags & LARGE != 0,
            report: flags & REPORT != 0,
            seal: flags & SEAL != 0,
            segment: u64::from_le_bytes(fields.take()),
            message: MessageId::from_bytes(fields.take()),
            offset: u32::from_le_bytes(fields.take()),
            synced: u32::from_le_bytes(fields.take()),
            meta_octets: u32::from_le_bytes(fields.take()),
            body_octets: u32::from_le_bytes(fields.take()),
            plain_octets: u64::from_le_bytes(fields.take()),
            nonce: u64::from_le_bytes(fields.take()),
            origin: u64::from_le_bytes(fields.take()),
            slot: u32::from_le_bytes(fields.take()),
            body_crc: u32::from_le_bytes(fields.take()),
        })
    }

    /// Whether the checksum in `bytes`, where this header was read, covers it and `meta`.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] when it does not.
    pub fn check(&self, bytes: &[u8], meta: &[u8]) -> Result<(), FormatError> {
        let fixed = bytes.get(..CRC_AT).ok_or(FormatError::Short)?;
        let stored = bytes.get(CRC_AT..CRC_AT + 4).ok_or(FormatError::Short)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(meta);
        crc.update(fixed);
        if crc.finalize().to_le_bytes() == stored { Ok(()) } else { Err(FormatError::Checksum) }
    }

    /// The header's bytes. `meta_crc` has run over the sealed meta and nothing else, so that what
    /// is done while the writer is locked is short.
    pub fn write(&self, meta_crc: &crc32fast::Hasher) -> [u8; RECORD_HEADER_OCTETS] {
        let mut out = [0; RECORD_HEADER_OCTETS];
        let flags = [(self.carried, CARRIED), (self.large, LARGE), (self.report, REPORT), (self.seal, SEAL)];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |sum, (_, bit)| sum | bit);
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&RECORD_MAGIC);
        put(&[VERSION, self.kind.code(), flags, 0]);
        put(&self.segment.to_le_bytes());
        put(self.message.as_bytes());
        put(&self.offset.to_le_bytes());
        put(&self.synced.to_le_bytes());
        put(&self.meta_octets.to_le_bytes());
        put(&self.body_octets.to_le_bytes());
        put(&self.plain_octets.to_le_bytes());
        put(&self.nonce.to_le_bytes());
        put(&self.origin.to_le_bytes());
        put(&self.slot.to_le_bytes());
        put(&self.body_crc.to_le_bytes());
        let mut crc = meta_crc.clone();
        crc.update(&out[..CRC_AT]);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.finalize().to_le_bytes());
        out
    }

    /// A mark at `offset` of a segment, which covers `octets` up to the next record.
    pub fn mark(segment: u64, offset: u32, octets: u32, synced: u32) -> Header {
        Header {
            kind: Kind::Mark,
            carried: false,
            large: false,
            report: false,
            seal: false,
            segment,
            message: MessageId::from_bytes([0; 16]),
            offset,
            synced,
            meta_octets: 0,
            body_octets: octets.saturating_sub(RECORD_HEADER_OCTETS as u32),
            plain_octets: 0,
            nonce: 0,
            origin: 0,
            slot: NO_SLOT,
            body_crc: 0,
        }
    }

    /// The whole record's length, padding included.
    pub fn record_octets(&self) -> u64 {
        record_octets(self.meta_octets as usize, self.body_octets as usize)
    }

    /// What the meta's seal is bound to.
    pub fn meta_aad(&self) -> [u8; 26] {
        meta_aad(self.kind, self.carried, self.segment, self.message)
    }
}

/// The length of a record with these parts, padding included.
pub fn record_octets(meta_octets: usize, body_octets: usize) -> u64 {
    (RECORD_HEADER_OCTETS + meta_octets + body_octets).next_multiple_of(RECORD_ALIGN) as u64
}

/// What a meta's seal is bound to: kind, carried or not, segment and message.
pub fn meta_aad(kind: Kind, carried: bool, segment: u64, message: MessageId) -> [u8; 26] {
    let mut aad = [0; 26];
    aad[0] = kind.code();
    aad[1] = u8::from(carried);
    aad[2..10].copy_from_slice(&segment.to_le_bytes());
    aad[10..26].copy_from_slice(message.as_bytes());
    aad
}

/// Takes fields off the front of a header, whose length covers all of them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the fields of a header add up to its length");
        self.0 = rest;
        *field
    }
}

/// Whether a segment is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    InUse,
    /// Nothing in it counts any more, its keys are gone: it waits to be used again.
    Spare,
}

/// The header block of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    pub state: SegmentState,
    pub sequence: u64,
    /// The file's whole length.
    pub octets: u64,
    /// All segments below this number were wholly on stable storage when this was written.
    pub synced_below: u64,
    pub nonce: [u8; 12],
    /// The segment's two keys under the instance's key; zeros in a spare.
    pub wrapped_keys: [u8; WRAPPED_KEYS_OCTETS],
}

impl SegmentHeader {
    /// The header block.
    pub fn write(&self) -> [u8; SEGMENT_HEADER_OCTETS] {
        let mut out = [0; SEGMENT_HEADER_OCTETS];
        out[..40].copy_from_slice(&self.aad());
        out[40..52].copy_from_slice(&self.nonce);
        out[52..SEGMENT_CRC_AT].copy_from_slice(&self.wrapped_keys);
        let crc = crc32fast::hash(&out[..SEGMENT_CRC_AT]);
        out[SEGMENT_CRC_AT..SEGMENT_HEADER_USED].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// What the wrapped keys are bound to: the first 40 octets.
    pub fn aad(&self) -> [u8; 40] {
        let mut out = [0; 40];
        out[..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8] = VERSION;
        out[12] = match self.state {
            SegmentState::InUse => 1,
            SegmentState::Spare => 2,
        };
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.octets.to_le_bytes());
        out[32..40].copy_from_slice(&self.synced_below.to_le_bytes());
        out
    }
}

/// Reads one copy of a segment's header.
///
/// # Errors
/// When the bytes are no header, or a damaged one.
pub fn parse_segment_header(bytes: &[u8]) -> Result<SegmentHeader, FormatError> {
    let bytes: &[u8; SEGMENT_HEADER_USED] = bytes.first_chunk().ok_or(FormatError::Short)?;
    let mut fields = Fields(bytes);
    if fields.take::<8>() != SEGMENT_MAGIC {
        return Err(FormatError::Magic);
    }
    if crc32fast::hash(&bytes[..SEGMENT_CRC_AT]).to_le_bytes() != bytes[SEGMENT_CRC_AT..] {
        return Err(FormatError::Checksum);
    }
    if u32::from_le_bytes(fields.take()) != u32::from(VERSION) {
        return Err(FormatError::Version);
    }
    let state = match u32::from_le_bytes(fields.take()) {
        1 => SegmentState::InUse,
        2 => SegmentState::Spare,
        _ => return Err(FormatError::Field),
    };
    Ok(SegmentHeader {
        state,
        sequence: u64::from_le_bytes(fields.take()),
        octets: u64::from_le_bytes(fields.take()),
        synced_below: u64::from_le_bytes(fields.take()),
        nonce: fields.take(),
        wrapped_keys: fields.take(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            kind: Kind::Accepted,
            carried: true,
            large: false,
            report: true,
            seal: false,
            segment: 7,
            message: MessageId::from_bytes([3; 16]),
            offset: 4096,
            synced: 4000,
            meta_octets: 5,
            body_octets: 3,
            plain_octets: 1,
            nonce: 99,
            origin: 5 << 32 | 80,
            slot: 12,
            body_crc: crc32fast::hash(b"abc"),
        }
    }

    fn record() -> Vec<u8> {
        let mut crc = crc32fast::Hasher::new();
        crc.update(b"metaX");
        [&header().write(&crc)[..], b"metaX", b"abc"].concat()
    }

    #[test]
    fn a_record_reads_back_and_any_flipped_bit_of_header_and_meta_is_seen() {
        let bytes = record();
        let parsed = parse_record(&bytes).unwrap();
        assert_eq!(
            (parsed.header, parsed.meta, parsed.body, parsed.void),
            (header(), &b"metaX"[..], &b"abc"[..], false)
        );
        assert!(parsed.body_is_intact());
        for bit in 0..VOID_MARK_AT * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse_record(&damaged).is_err(), "bit {bit}");
        }
        for octet in RECORD_HEADER_OCTETS..RECORD_HEADER_OCTETS + 5 {
            let mut damaged = bytes.clone();
            damaged[octet] ^= 1;
            assert_eq!(parse_record(&damaged), Err(FormatError::Checksum));
        }
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(!parse_record(&damaged).unwrap().body_is_intact());
    }

    #[test]
    fn a_void_mark_leaves_the_record_readable() {
        let mut bytes = record();
        bytes[VOID_MARK_AT..RECORD_HEADER_OCTETS].copy_from_slice(&VOID_MARK);
        assert!(parse_record(&bytes).unwrap().void);
    }

    #[test]
    fn a_segment_header_reads_back() {
        let header = SegmentHeader {
            state: SegmentState::InUse,
            sequence: 9,
            octets: 1 << 26,
            synced_below: 8,
            nonce: [4; 12],
            wrapped_keys: [5; WRAPPED_KEYS_OCTETS],
        };
        let bytes = header.write();
        assert_eq!(parse_segment_header(&bytes), Ok(header));
        for octet in 0..SEGMENT_HEADER_USED {
            let mut damaged = bytes;
            damaged[octet] ^= 0x10;
            assert!(parse_segment_header(&damaged).is_err(), "octet {octet}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), keep_start in any::<bool>()) {
            let mut bytes = bytes;
            if keep_start {
                let good = record();
                let n = bytes.len().min(40);
                bytes[..n].copy_from_slice(&good[..n]);
            }
            let _ = parse_segment_header(&bytes);
            prop_assert!(parse_record(&bytes).is_err());
        }
    }
}
