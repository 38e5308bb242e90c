//! Going through a segment record by record, over whatever damage there is.

use std::io;

use crate::format::{Header, RECORD_ALIGN, RECORD_HEADER_OCTETS, RECORD_MAGIC, is_void};
use crate::fs::read_full;
use crate::segment::Segment;

/// Read ahead: several records of the usual size, without reading large bodies that are skipped.
const WINDOW_OCTETS: usize = 128 << 10;

/// What comes next in a segment.
pub(crate) enum Step {
    Record {
        header: Header,
        void: bool,
        /// Sealed.
        meta: Vec<u8>,
    },
    /// No record from here to the next one that is intact.
    Gap { from: u32, to: u32 },
    /// No intact record from here to the limit.
    End,
}

pub(crate) struct Walk<'a> {
    segment: &'a Segment,
    at: u32,
    limit: u32,
    window: Vec<u8>,
    window_at: u32,
    /// Octets of the window that were read.
    held: usize,
}

impl<'a> Walk<'a> {
    /// From `at` up to `limit`; records that pass the limit do not count.
    pub(crate) fn new(segment: &'a Segment, at: u32, limit: u32) -> Walk<'a> {
        Walk { segment, at, limit, window: Vec::new(), window_at: 0, held: 0 }
    }

    /// Where the next record is looked for.
    pub(crate) fn at(&self) -> u32 {
        self.at
    }

    pub(crate) fn next(&mut self) -> io::Result<Step> {
        if let Some(step) = self.record_at(self.at)? {
            return Ok(step);
        }
        let from = self.at;
        let mut to = from;
        loop {
            // Most of the time this is the empty rest of a segment, tens of megabytes of zeros: only where
            // the first octets of a record stand is it worth a closer look.
            to = match self.magic_from(to.saturating_add(RECORD_ALIGN as u32))? {
                Some(next) => next,
                None => return Ok(Step::End),
            };
            if self.record_at(to)?.is_some() {
                self.at = to;
                return Ok(Step::Gap { from, to });
            }
        }
    }

    /// The next place from `at` on (a multiple of [`RECORD_ALIGN`]) where a record may begin.
    fn magic_from(&mut self, mut at: u32) -> io::Result<Option<u32>> {
        while u64::from(at) + RECORD_HEADER_OCTETS as u64 <= u64::from(self.limit) {
            // A multiple of the alignment, so that no magic lies across two windows.
            let octets = ((self.limit - at) as usize).min(WINDOW_OCTETS).next_multiple_of(RECORD_ALIGN);
            let window = self.read(at, octets)?;
            let aligned = |offset: &usize| offset.is_multiple_of(RECORD_ALIGN);
            if let Some(offset) = memchr::memmem::find_iter(window, &RECORD_MAGIC).find(aligned) {
                return Ok(Some(at + offset as u32));
            }
            if window.len() < octets {
                return Ok(None);
            }
            at = at.saturating_add(octets as u32);
        }
        Ok(None)
    }

    /// Octets `at` to `at + octets`, or as many as there are.
    fn read(&mut self, at: u32, octets: usize) -> io::Result<&[u8]> {
        let is_held = at >= self.window_at && (at - self.window_at) as usize + octets <= self.held;
        if !is_held {
            if self.window.len() < octets.max(WINDOW_OCTETS) {
                self.window = vec![0; octets.max(WINDOW_OCTETS)];
            }
            self.held = 0;
            self.held = read_full(&*self.segment.file, &mut self.window, u64::from(at))?;
            self.window_at = at;
        }
        let start = (at - self.window_at) as usize;
        let end = (start + octets).min(self.held);
        Ok(self.window.get(start..end).unwrap_or_default())
    }

    fn record_at(&mut self, at: u32) -> io::Result<Option<Step>> {
        let (limit, sequence) = (u64::from(self.limit), self.segment.sequence);
        if u64::from(at) + RECORD_HEADER_OCTETS as u64 > limit {
            return Ok(None);
        }
        let Ok(header) = Header::read(self.read(at, RECORD_HEADER_OCTETS)?) else {
            return Ok(None);
        };
        let end = u64::from(at) + header.record_octets();
        if header.segment != sequence || header.offset != at || end > limit {
            return Ok(None);
        }
        let both = self.read(at, RECORD_HEADER_OCTETS + header.meta_octets as usize)?;
        let Some((fixed, meta)) = both.split_at_checked(RECORD_HEADER_OCTETS) else {
            return Ok(None);
        };
        if meta.len() != header.meta_octets as usize || header.check(fixed, meta).is_err() {
            return Ok(None);
        }
        let (void, meta) = (is_void(fixed), meta.to_vec());
        // No record is longer than what lies before the limit, which is a u32.
        self.at = end as u32;
        Ok(Some(Step::Record { header, void, meta }))
    }
}
