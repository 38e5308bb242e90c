//! How long we wait for a client: pure arithmetic on instants.

use tokio::time::Instant;

use crate::limits::Limits;

/// Where a session stands in time.
#[derive(Debug)]
pub(crate) struct Pace {
    opened: Instant,
    /// Our last reply: the next complete command is due from here.
    replied: Instant,
    content: Option<Content>,
    /// The session was told to end as soon as no content is under way.
    leaving: bool,
    /// When the server began to stop.
    stopping: Option<Instant>,
}

#[derive(Debug)]
struct Content {
    since: Instant,
    last_read: Instant,
    octets: u64,
}

/// What a deadline means when it has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// No command, or nothing more of a content.
    Idle,
    /// The content comes too slowly.
    Slow,
    /// The session has lasted long enough; a message under way may finish.
    Aged,
    /// It has lasted too long even for that.
    Overaged,
    /// The server stops, and has waited long enough.
    Drained,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Pace {
        Pace { opened: now, replied: now, content: None, leaving: false, stopping: None }
    }

    pub(crate) fn replied(&mut self, now: Instant) {
        self.replied = now;
    }

    /// `octets` came; `in_message`: a content is under way.
    pub(crate) fn read(&mut self, octets: usize, in_message: bool, now: Instant) {
        if !in_message {
            self.content = None;
            return;
        }
        let content = self.content.get_or_insert(Content { since: now, last_read: now, octets: 0 });
        content.last_read = now;
        content.octets += octets as u64;
    }

    /// Before the client is waited for.
    pub(crate) fn waiting(&mut self, in_message: bool, now: Instant) {
        if !in_message {
            self.content = None;
        } else if self.content.is_none() {
            self.content = Some(Content { since: now, last_read: now, octets: 0 });
        }
    }

    pub(crate) fn leave(&mut self) {
        self.leaving = true;
    }

    pub(crate) fn stop(&mut self, now: Instant) {
        self.stopping.get_or_insert(now);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// The next moment at which the client's patience with us, or ours with him, ends.
    pub(crate) fn deadline(&self, limits: &Limits) -> (Instant, Late) {
        let mut next = match &self.content {
            None => (self.replied + limits.idle_time_max, Late::Idle),
            Some(content) => {
                let silent = (content.last_read + limits.idle_time_max, Late::Idle);
                let earned_secs = content.octets / limits.content_octets_per_second_min.max(1);
                let slow = content.since + limits.content_grace + std::time::Duration::from_secs(earned_secs);
                earlier(silent, (slow, Late::Slow))
            }
        };
        let aged = if self.leaving {
            (self.opened + limits.session_time_max.saturating_mul(2), Late::Overaged)
        } else {
            (self.opened + limits.session_time_max, Late::Aged)
        };
        next = earlier(next, aged);
        if let Some(since) = self.stopping {
            next = earlier(next, (since + limits.drain_time_max, Late::Drained));
        }
        next
    }
}

fn earlier(one: (Instant, Late), other: (Instant, Late)) -> (Instant, Late) {
    if other.0 < one.0 { other } else { one }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn trickling_octets_do_not_buy_time_for_a_command() {
        let (start, limits) = (Instant::now(), Limits::default());
        let mut pace = Pace::new(start);
        for n in 0..299 {
            pace.read(1, false, start + SECOND * n);
            pace.waiting(false, start + SECOND * n);
        }
        assert_eq!(pace.deadline(&limits), (start + limits.idle_time_max, Late::Idle));
        pace.replied(start + SECOND * 299);
        assert_eq!(pace.deadline(&limits).0, start + SECOND * 599);
    }

    #[test]
    fn a_content_must_keep_its_rate() {
        let (start, limits) = (Instant::now(), Limits::default());
        let mut pace = Pace::new(start);
        pace.waiting(true, start);
        assert_eq!(pace.deadline(&limits), (start + SECOND * 60, Late::Slow));
        // One octet a second earns next to nothing.
        for n in 1..59 {
            pace.read(1, true, start + SECOND * n);
        }
        assert_eq!(pace.deadline(&limits), (start + SECOND * 60, Late::Slow));
        pace.read(500 * 1000, true, start + SECOND * 59);
        assert_eq!(pace.deadline(&limits), (start + SECOND * (59 + 300), Late::Idle));
        pace.waiting(false, start + SECOND * 59);
        pace.replied(start + SECOND * 59);
        assert_eq!(pace.deadline(&limits).1, Late::Idle);
    }

    #[test]
    fn a_session_ends_when_it_is_old_and_sooner_when_the_server_stops() {
        let (start, limits) = (Instant::now(), Limits::default());
        let mut pace = Pace::new(start);
        let late = start + SECOND * 3500;
        pace.replied(late);
        assert_eq!(pace.deadline(&limits), (start + SECOND * 3600, Late::Aged));
        pace.leave();
        assert_eq!(pace.deadline(&limits).1, Late::Idle);
        pace.replied(start + SECOND * 7100);
        assert_eq!(pace.deadline(&limits), (start + SECOND * 7200, Late::Overaged));
        pace.stop(start + SECOND * 7110);
        assert_eq!(pace.deadline(&limits), (start + SECOND * 7140, Late::Drained));
        assert!(pace.is_stopping());
    }
}
