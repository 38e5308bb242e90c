//! One destination over one route: what waits for it, and how much of it may run.

use std::sync::Arc;

use base::{Stream, Timestamp};

use crate::config::LaneLimits;
use crate::feedback::{Feedback, Gate};
use crate::job::NEVER;
use crate::list::{Linked, Links, List};
use crate::rings::Class;

/// Which of the configured ways out a message takes. The planner only tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u16);

/// A lane, as the caller knows it: a key for its pool of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) site: Arc<str>,
    pub(crate) route: RouteId,
    /// The next lane to the same site, by another route.
    pub(crate) next_of_site: u32,
    pub(crate) limits: LaneLimits,
    pub(crate) feedback: Feedback,
    /// The accounts that have ready jobs here, whose turn it is first: transactional, bulk.
    pub(crate) turns: [List; 2],
    /// Starts since the last one of bulk mail.
    pub(crate) since_bulk: u32,
    pub(crate) ready: u32,
    pub(crate) deferred: u32,
    pub(crate) held: u32,
    pub(crate) in_flight: u32,
    /// When the rate limit allows the next start.
    pub(crate) start_not_before: Timestamp,
    /// Its key among the timers; [`NEVER`] if it is not among them.
    pub(crate) timer: Timestamp,
    /// The ring it stands in, if an attempt could start now.
    pub(crate) class: Option<Class>,
    links: Links,
}

impl Lane {
    pub(crate) fn new(site: Arc<str>, route: RouteId, limits: LaneLimits, initial: u16, next_of_site: u32) -> Lane {
        Lane {
            site,
            route,
            next_of_site,
            limits,
            feedback: Feedback::new(initial, limits.connections_max),
            turns: [List::EMPTY; 2],
            since_bulk: 0,
            ready: 0,
            deferred: 0,
            held: 0,
            in_flight: 0,
            start_not_before: Timestamp(0),
            timer: NEVER,
            class: None,
            links: Links::UNLINKED,
        }
    }

    pub(crate) fn turns_mut(&mut self, stream: Stream) -> &mut List {
        match stream {
            Stream::Transactional => &mut self.turns[0],
            Stream::Bulk => &mut self.turns[1],
        }
    }

    pub(crate) fn has_ready(&self, stream: Stream) -> bool {
        match stream {
            Stream::Transactional => !self.turns[0].is_empty(),
            Stream::Bulk => !self.turns[1].is_empty(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready == 0 && self.deferred == 0 && self.held == 0 && self.in_flight == 0
    }

    /// Site and rate limit together.
    pub(crate) fn gate(&self, now: Timestamp) -> Gate {
        match self.feedback.gate(now, self.in_flight) {
            Gate::Open if now < self.start_not_before => Gate::Closed(self.start_not_before),
            gate => gate,
        }
    }

    pub(crate) fn ready_class(&self) -> Option<Class> {
        let stream = match (self.has_ready(Stream::Transactional), self.has_ready(Stream::Bulk)) {
            (true, _) => Stream::Transactional,
            (false, true) => Stream::Bulk,
            (false, false) => return None,
        };
        Some(Class { stream, proven: self.feedback.is_proven() })
    }

    /// Which stream the next start is taken from. One in `bulk_turn_every` is bulk where both wait.
    pub(crate) fn next_stream(&self, bulk_allowed: bool, bulk_turn_every: u32) -> Stream {
        let bulk = bulk_allowed && self.has_ready(Stream::Bulk);
        let overdue = self.since_bulk.saturating_add(1) >= bulk_turn_every;
        if bulk && (overdue || !self.has_ready(Stream::Transactional)) { Stream::Bulk } else { Stream::Transactional }
    }

    /// Counts a start against the rate and the turns.
    pub(crate) fn started(&mut self, now: Timestamp, stream: Stream) {
        self.in_flight += 1;
        self.since_bulk = match stream {
            Stream::Transactional => self.since_bulk.saturating_add(1),
            Stream::Bulk => 0,
        };
        if let Some(interval) = self.limits.start_interval() {
            self.start_not_before = now.after(interval);
        }
    }
}

impl Linked for Lane {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}
