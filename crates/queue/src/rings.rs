//! Fairness across lanes: every lane that could start an attempt stands in one of four rings, and the
//! caps on what runs at once decide which ring may be served.

use base::Stream;

use crate::config::Config;
use crate::lane::Lane;
use crate::list::List;
use crate::slab::Slab;

/// Which ring: by the best stream that is ready in the lane, and by whether its site has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) stream: Stream,
    pub(crate) proven: bool,
}

impl Class {
    fn index(self) -> usize {
        usize::from(self.stream == Stream::Bulk) * 2 + usize::from(self.proven)
    }
}

/// Attempts that run now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) total: u32,
    pub(crate) bulk: u32,
    pub(crate) unproven: u32,
}

impl Running {
    pub(crate) fn has_room(&self, config: &Config) -> bool {
        self.total < config.in_flight_max
    }

    pub(crate) fn has_room_for_bulk(&self, config: &Config) -> bool {
        self.has_room(config) && self.bulk < config.in_flight_bulk_max
    }

    fn has_room_for(&self, config: &Config, class: Class) -> bool {
        self.has_room(config)
            && (class.proven || self.unproven < config.in_flight_unproven_max)
            && (class.stream == Stream::Transactional || self.has_room_for_bulk(config))
    }

    pub(crate) fn started(&mut self, stream: Stream, unproven: bool) {
        self.total += 1;
        self.bulk += u32::from(stream == Stream::Bulk);
        self.unproven += u32::from(unproven);
    }

    pub(crate) fn ended(&mut self, stream: Stream, unproven: bool) {
        self.total -= 1;
        self.bulk -= u32::from(stream == Stream::Bulk);
        self.unproven -= u32::from(unproven);
    }
}

#[derive(Debug)]
pub(crate) struct Rings {
    rings: [List; 4],
    /// Starts since the last one of bulk mail.
    since_bulk: u32,
    /// Proven and unproven sites alternate where both wait.
    unproven_next: bool,
}

impl Rings {
    pub(crate) fn new() -> Rings {
        Rings { rings: [List::EMPTY; 4], since_bulk: 0, unproven_next: false }
    }

    /// Puts the lane at the end of the ring `class`, or keeps its place if it already stands there.
    pub(crate) fn link(&mut self, lanes: &mut Slab<Lane>, index: u32, class: Option<Class>) {
        if lanes[index].class == class {
            return;
        }
        self.unlink(lanes, index);
        if let Some(class) = class {
            self.rings[class.index()].push_back(lanes, index);
            lanes[index].class = Some(class);
        }
    }

    pub(crate) fn unlink(&mut self, lanes: &mut Slab<Lane>, index: u32) {
        if let Some(class) = lanes[index].class.take() {
            self.rings[class.index()].remove(lanes, index);
        }
    }

    /// The lane that is served next, if the caps leave room for any.
    pub(crate) fn next(&self, running: &Running, config: &Config) -> Option<u32> {
        let bulk_overdue = self.since_bulk.saturating_add(1) >= config.bulk_turn_every;
        let (first, second) = match bulk_overdue {
            true => (Stream::Bulk, Stream::Transactional),
            false => (Stream::Transactional, Stream::Bulk),
        };
        let class = self.class_of(first, running, config).or_else(|| self.class_of(second, running, config))?;
        self.rings[class.index()].front()
    }

    fn class_of(&self, stream: Stream, running: &Running, config: &Config) -> Option<Class> {
        let order = [Class { stream, proven: !self.unproven_next }, Class { stream, proven: self.unproven_next }];
        order.into_iter().find(|class| !self.rings[class.index()].is_empty() && running.has_room_for(config, *class))
    }

    pub(crate) fn started(&mut self, stream: Stream, unproven: bool) {
        self.unproven_next = !unproven;
        self.since_bulk = match stream {
            Stream::Transactional => self.since_bulk.saturating_add(1),
            Stream::Bulk => 0,
        };
    }
}
