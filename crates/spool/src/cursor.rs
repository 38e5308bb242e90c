//! A place in the journal.

use serde::{Deserialize, Serialize};

/// Behind which record a reader stands. Greater is later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    pub segment: u64,
    /// Octets from the start of the segment.
    pub offset: u32,
}

impl Cursor {
    /// In front of everything that the journal still has.
    pub const START: Cursor = Cursor { segment: 0, offset: 0 };

    /// One number, so that it can be read without a lock. Sequence numbers stay below 2³²: at 64 MiB
    /// each that is 256 PiB of mail.
    pub(crate) fn pack(self) -> u64 {
        self.segment << 32 | u64::from(self.offset)
    }

    pub(crate) fn unpack(packed: u64) -> Cursor {
        Cursor { segment: packed >> 32, offset: packed as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_sort_like_the_journal() {
        let cursor = Cursor { segment: 7, offset: 4096 };
        assert_eq!(Cursor::unpack(cursor.pack()), cursor);
        assert!(Cursor::START < cursor && cursor < Cursor { segment: 8, offset: 0 });
    }
}
