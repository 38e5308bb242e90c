//! Following the facts in order, up to what is on stable storage.

use std::sync::Arc;

use base::Recorded;

use crate::compact::open_fact;
use crate::core::Core;
use crate::cursor::Cursor;
use crate::error::SpoolError;
use crate::format::Kind;
use crate::segment::RECORDS_START;
use crate::walk::{Step, Walk};

/// A reader of the journal. Reads block: use it where that is allowed.
pub struct Journal {
    core: Arc<Core>,
    cursor: Cursor,
}

impl Journal {
    pub(crate) fn new(core: Arc<Core>, cursor: Cursor) -> Journal {
        Journal { core, cursor }
    }

    /// Behind what was read last.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next facts, at most `max`, each with the cursor behind it; none when there is nothing new
    /// on stable storage. What is damaged was reported when the spool was opened and is left out.
    ///
    /// # Errors
    /// Those of reading from the disk; the same call can be made again.
    pub fn next_batch(&mut self, max: usize) -> Result<Vec<(Cursor, Recorded)>, SpoolError> {
        let mut batch = Vec::new();
        let synced = self.core.synced();
        while batch.len() < max && self.cursor < synced {
            let Some(segment) = self.core.segment_from(self.cursor.segment) else { break };
            if segment.sequence > synced.segment {
                break;
            }
            let from = if segment.sequence == self.cursor.segment { self.cursor.offset } else { 0 };
            let from = from.max(RECORDS_START);
            let limit = if segment.sequence == synced.segment { synced.offset } else { segment.end() };
            let mut walk = Walk::new(&segment, from, limit);
            while batch.len() < max {
                match walk.next()? {
                    Step::Record { header, void, mut meta } => {
                        self.cursor = Cursor { segment: segment.sequence, offset: walk.at() };
                        let counts = !void && header.kind != Kind::Mark;
                        if let Some(fact) = counts.then(|| open_fact(&segment, &header, &mut meta)).flatten() {
                            let recorded = Recorded { message: header.message, fact, carried: header.carried };
                            batch.push((self.cursor, recorded));
                        }
                    }
                    Step::Gap { .. } => {}
                    Step::End if segment.sequence == synced.segment => return Ok(batch),
                    Step::End => {
                        self.cursor = Cursor { segment: segment.sequence + 1, offset: 0 };
                        break;
                    }
                }
            }
        }
        Ok(batch)
    }
}
