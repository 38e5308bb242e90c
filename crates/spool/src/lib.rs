//! Bodies and journal: the only writer of mail files.
//!
//! A message comes in through a [`Draft`] and is safe when [`Draft::commit`] returns. What happens to
//! it is recorded as facts; when it is closed its key is destroyed. [`Spool::open`] gives back what
//! waits; [`Journal`] tells all facts in order.
//!
//! # Invariants
//!
//! - An acknowledged message is on stable storage: contents and names synced, before the answer.
//! - No octet of a body, an envelope or a reply is on disk in plaintext.
//! - A closed message's key is overwritten on stable storage within 10 seconds, and never before the
//!   fact that closes it is there.
//! - After a failed sync nothing that it covered is acknowledged, ever; the spool accepts no more.
//! - Nothing is appended to a segment of an earlier process. No nonce is used twice under one key.
//! - Where a crash or a second of disk trouble can leave two copies of a message, one counts: the later.
//! - Damage is reported, its bytes kept in `quarantine/`, and never sent.
//!
//! # Directory
//!
//! ```text
//! lock                          held (flock) by the one process that owns the spool
//! segments/<16 hex digits>.seg  a segment, by its sequence number
//! segments/spare-<16 hex>.seg   an empty one, written with zeros once, waiting to be used (again)
//! large/<message id>.body       the body of a large message
//! quarantine/                   copies of damaged bytes, as sealed as they were
//! ```
//!
//! Directories have mode 0700, files 0600. Numbers are little-endian.
//!
//! # Segment
//!
//! A file of fixed length (64 MiB), so that a sync writes no metadata and a full disk can only be met
//! when a segment is made:
//!
//! ```text
//! 0            header block, 4096 octets
//! 4096         records, growing upwards, each at a multiple of 8
//!   …
//!              key slots, 64 octets each, growing downwards: slot n ends 4096 + 64·n before the end
//! length-4096  the header block again
//! ```
//!
//! The slots stand together so that destroying the keys of messages that came one after the other
//! rewrites one block, not one block each.
//!
//! Header block (one good copy is enough):
//!
//! ```text
//! 0    8   "PRspool1"
//! 8    4   version, 1
//! 12   4   state: 1 in use, 2 spare
//! 16   8   sequence number
//! 24   8   length of the file
//! 32   8   all segments below this number were wholly synced when this was written
//! 40   12  nonce
//! 52   80  the segment's meta key and slot key (32 each) and tag (16): AES-256-GCM under the key that
//!          the master key gives for "postrider spool segment v1", bound to octets 0 to 39
//! 132  4   CRC-32 of octets 0 to 131
//! ```
//!
//! Both keys are drawn anew each time the file is taken into use: then the old ones are overwritten,
//! and with them goes what was left of envelopes and slots.
//!
//! # Record
//!
//! ```text
//! 0    4   "PRr1"
//! 4    1   version, 1
//! 5    1   kind: 1 Accepted, 2 Attempted, 3 Held, 4 Released, 5 Closed, 6 Quarantined, 7 Mark
//! 6    1   flags: 1 carried, 2 large, 4 report, 8 seal
//! 7    1   0
//! 8    8   the segment's sequence number (a file that is used again holds old records behind the end)
//! 16   16  message id
//! 32   4   this record's offset
//! 36   4   all of this segment below this was synced when the record was written; 0: not known
//! 40   4   meta length
//! 44   4   body length here
//! 48   8   body length in plaintext
//! 56   8   counter of the meta's nonce
//! 64   8   origin: segment (upper 32 bits) and offset where this was said first; the order of facts
//! 72   4   key slot, or 0xffffffff
//! 76   4   CRC-32 of the sealed body
//! 80   4   CRC-32 of the meta and octets 0 to 79
//! 84   4   "VOID": the record counts for nothing; outside the checksum, so that it can be set later
//! 88   …   meta: [`base::Fact`] in postcard, sealed under the segment's meta key, with its tag;
//!          bound to kind, carried, segment and message id
//!      …   body, sealed in one piece, with its tag
//!      …   zeros to the next multiple of 8
//! ```
//!
//! A key slot is "key1", a nonce (12), the body's own key (32) under the segment's slot key, and a tag
//! (16), bound to "slot" and the message id; or zeros, when there is no key (any more).
//!
//! A body is sealed in chunks: a small one is chunk 0, the last; `large/` holds chunks of 64 KiB, each
//! with its tag. Chunk n has the nonce n (8 octets), last or not (1), zeros (3), and is bound to account
//! id, message id, n, and last or not: none can be moved, swapped or cut off.
//!
//! # States
//!
//! Of a message: *draft* (memory, or an unsynced file in `large/`) → *appended* (record written, slot
//! waiting for the group's sync) → *accepted* (synced, acknowledged) → *closed* (fact written) →
//! *destroyed* (fact synced, then slot zeroed, then that synced; the large file removed).
//!
//! Of a segment: *spare* → *ready* (header with new keys and name synced) → *active* (appended to) →
//! *sealed* (a last mark says that no record follows) → *emptied* (everybody has read it; what lives
//! in it is carried to the active one and synced, the old slots zeroed and synced) → *spare*.
//!
//! # What recovery does
//!
//! Segments are read from the newest to the oldest, headers and metas only. A record is *certain* when
//! something proves that it was synced: a later record of the segment ("synced"), or a later segment.
//!
//! - Slot with a key, not closed: the message waits. In an uncertain record the body's checksum and
//!   the slot are checked too; one that is not whole is torn: counted, marked as void.
//! - Slot empty, uncertain, nothing else known of it: never acknowledged; marked as void.
//! - Slot empty otherwise: finished. Closed with a key left: the slot is zeroed now.
//! - Two copies: it was being carried; the older one's slot is zeroed.
//! - Bytes that are no record, before one that is: certain, they are damage and go to quarantine;
//!   uncertain, they are torn, and a mark is written over them. The end is sealed likewise.
//! - Facts are folded so that neither order nor repetition matters.
//! - A file in `large/` that no waiting message has: removed. A segment without records: a spare again.
//! - A header of which no copy is good: the file goes to quarantine, and is reported.
//!
//! Before anything is believed the newest segments are synced, and what memory holds of them is
//! dropped where the system allows, so that a sync that failed in the last process is not forgotten.
//!
//! # Limits
//!
//! - The window between the last group's sync and the next record (a mark is written after a second
//!   of rest) is uncertain: damage done in it, to those records, is taken for a torn write.
//! - On file systems that do not overwrite in place (btrfs, ZFS, or a snapshot) old slots live on
//!   outside the file until their blocks are used again.

mod body;
mod committer;
mod compact;
mod core;
mod cursor;
mod damage;
mod destroy;
mod draft;
mod error;
mod failure;
mod fold;
pub mod format;
pub mod fs;
mod hands;
mod index;
mod journal;
mod keeper;
mod large;
mod recover;
mod scan;
mod seal;
mod segment;
mod spool;
mod walk;
mod writer;

pub use crate::body::Body;
pub use crate::core::{Health, Options, Stats};
pub use crate::cursor::Cursor;
pub use crate::damage::{Damage, DamageKind};
pub use crate::draft::{Draft, Stored};
pub use crate::error::{OpenError, SpoolError};
pub use crate::fold::{AcceptedReport, Progress, RecoveredMessage};
pub use crate::hands::Hands;
pub use crate::journal::Journal;
pub use crate::recover::Recovered;
pub use crate::spool::Spool;
