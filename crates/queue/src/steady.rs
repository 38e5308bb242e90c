//! A time that never goes back, made from one that may.

use base::Timestamp;

/// Turns the caller's wall clock into the planner's own time. When the wall clock is set back, the
/// planner's time stands still for that step and goes on from there, so that a timer never lies further
/// ahead than it was set. A step forward is passed through; see the crate's page for why it is harmless.
#[derive(Debug, Default)]
pub(crate) struct Steady {
    now: Timestamp,
    /// How far the wall clock has been set back since the start, in all.
    behind_us: u64,
}

impl Steady {
    pub(crate) fn advance(&mut self, wall: Timestamp) -> Timestamp {
        let now = self.inward(wall);
        if now < self.now {
            self.behind_us = self.behind_us.saturating_add(self.now.0 - now.0);
        } else {
            self.now = now;
        }
        self.now
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// A wall-clock time as planner's time.
    pub(crate) fn inward(&self, wall: Timestamp) -> Timestamp {
        Timestamp(wall.0.saturating_add(self.behind_us))
    }

    /// A planner's time as the present wall clock will show it.
    pub(crate) fn outward(&self, time: Timestamp) -> Timestamp {
        if time == Timestamp(u64::MAX) { time } else { Timestamp(time.0.saturating_sub(self.behind_us)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_when_the_clock_is_set_back() {
        let mut steady = Steady::default();
        assert_eq!(steady.advance(Timestamp(1000)), Timestamp(1000));
        assert_eq!(steady.advance(Timestamp(400)), Timestamp(1000));
        assert_eq!(steady.advance(Timestamp(450)), Timestamp(1050));
        assert_eq!(steady.outward(Timestamp(1150)), Timestamp(550));
        assert_eq!(steady.inward(Timestamp(550)), Timestamp(1150));
    }
}
