//! Where each live message is: 32 octets a message, in shards so that no growth step takes long.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::MessageId;

const SHARDS: usize = 16;
const LARGE_BIT: u32 = 1 << 31;

/// Where a message's Accepted record and key slot are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    segment: u32,
    /// In units of 8 octets.
    offset: u32,
    /// The record's length in units of 8 octets; the top bit says that the body is in `large/`.
    length: u32,
    pub(crate) slot: u32,
}

impl Place {
    pub(crate) fn new(segment: u64, offset: u32, octets: u64, slot: u32, large: bool) -> Place {
        // Records are shorter than a segment, which is shorter than 4 GiB, and aligned to 8.
        let length = (octets / 8) as u32 | if large { LARGE_BIT } else { 0 };
        Place { segment: segment as u32, offset: offset / 8, length, slot }
    }

    pub(crate) fn segment(self) -> u64 {
        u64::from(self.segment)
    }

    pub(crate) fn offset(self) -> u32 {
        self.offset * 8
    }

    pub(crate) fn octets(self) -> u64 {
        u64::from(self.length & !LARGE_BIT) * 8
    }

    pub(crate) fn is_large(self) -> bool {
        self.length & LARGE_BIT != 0
    }
}

#[derive(Default)]
pub(crate) struct Index {
    shards: [Mutex<HashMap<MessageId, Place>>; SHARDS],
}

impl Index {
    fn shard(&self, id: MessageId) -> MutexGuard<'_, HashMap<MessageId, Place>> {
        // The last octet of an id is random.
        let shard = usize::from(id.as_bytes()[15]) % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, id: MessageId, place: Place) {
        self.shard(id).insert(id, place);
    }

    pub(crate) fn place(&self, id: MessageId) -> Option<Place> {
        self.shard(id).get(&id).copied()
    }

    pub(crate) fn remove(&self, id: MessageId) -> Option<Place> {
        self.shard(id).remove(&id)
    }

    /// Removes the message if it is at this place.
    pub(crate) fn remove_at(&self, id: MessageId, place: Place) -> bool {
        let mut shard = self.shard(id);
        shard.get(&id) == Some(&place) && shard.remove(&id).is_some()
    }

    /// Moves a message from `old` to `new`, unless it was closed or moved meanwhile.
    pub(crate) fn replace(&self, id: MessageId, old: Place, new: Place) -> bool {
        match self.shard(id).get_mut(&id) {
            Some(place) if *place == old => {
                *place = new;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_16_octets_and_reads_back() {
        assert_eq!(size_of::<(MessageId, Place)>(), 32);
        let place = Place::new(3, 4096, 4728, 5, true);
        assert_eq!((place.segment(), place.offset(), place.octets(), place.slot), (3, 4096, 4728, 5));
        assert!(place.is_large());
    }

    #[test]
    fn a_closed_message_is_not_moved() {
        let index = Index::default();
        let id = MessageId::from_bytes([1; 16]);
        let (old, new) = (Place::new(1, 8, 16, 0, false), Place::new(2, 8, 16, 0, false));
        index.insert(id, old);
        assert!(index.replace(id, old, new));
        assert!(!index.remove_at(id, old));
        assert_eq!(index.remove(id), Some(new));
        assert!(!index.replace(id, new, old));
        assert_eq!(index.len(), 0);
    }
}
