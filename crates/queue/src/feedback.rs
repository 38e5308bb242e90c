//! What a site's answers do to the number of connections it gets. Pure: the crate's page has the
//! mathematics.

use std::time::Duration;

use base::Timestamp;

/// What an attempt showed about the site as a whole, whatever became of the recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SiteFeedback {
    /// It did its work: it took the message, or spoke about this message or these recipients
    /// (greylisting and a full mailbox are such answers).
    Reached,
    /// It answered, and asked to be left alone: 421, a policy or rate reply (4.7.x, 4.3.2) that would
    /// meet any message.
    Slow,
    /// No server of the site could be talked to, or its name could not be resolved for now.
    Unreachable,
}

/// Why a lane is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Slow,
    Unreachable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) until: Timestamp,
    pub(crate) cause: Cause,
}

/// Whether an attempt may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// All connections are in use; the next finish changes that.
    Full,
    Closed(Timestamp),
}

#[derive(Debug, Clone)]
pub(crate) struct Feedback {
    /// Attempts allowed at one time; only its whole part counts.
    window: f32,
    /// Up to here the window grows by one with each success, above it slowly: the place of the last trouble.
    threshold: f32,
    /// Failures since the last success, each weighed by the window it met.
    failed_cohorts: f32,
    /// Closings in a row without a success between them.
    closings: u32,
    closed: Option<Closed>,
    failed_at: Timestamp,
    proven: bool,
}

/// Successes, per unit of window, for one more connection above the threshold.
const SLOW_GROWTH: f32 = 10.0;

impl Feedback {
    pub(crate) fn new(initial: u16, connections_max: u16) -> Feedback {
        let ceiling = f32::from(connections_max.max(1));
        Feedback {
            window: f32::from(initial.max(1)).min(ceiling),
            threshold: ceiling,
            failed_cohorts: 0.0,
            closings: 0,
            closed: None,
            failed_at: Timestamp(0),
            proven: false,
        }
    }

    pub(crate) fn gate(&self, now: Timestamp, in_flight: u32) -> Gate {
        match self.closed {
            Some(closed) if now < closed.until => Gate::Closed(closed.until),
            // Time for one probe; an attempt that still runs from before is as good as one.
            Some(_) if in_flight == 0 => Gate::Open,
            None if in_flight < u32::from(self.concurrency()) => Gate::Open,
            Some(_) | None => Gate::Full,
        }
    }

    pub(crate) fn concurrency(&self) -> u16 {
        // The window lies between 1 and a u16.
        self.window as u16
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// Whether the site has answered since its last trouble.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether nothing has been learnt that would be lost with the lane.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.proven && self.closed.is_none() && self.failed_cohorts == 0.0
    }

    /// Whether the site is in trouble now and failed an attempt within the last `recent`.
    pub(crate) fn failed_within(&self, now: Timestamp, recent: Duration) -> bool {
        self.closed.is_some() && now.since(self.failed_at) <= recent
    }

    pub(crate) fn reached(&mut self, initial: u16, connections_max: u16) {
        let ceiling = f32::from(connections_max.max(1));
        if self.closed.take().is_some() {
            self.window = f32::from(initial.max(1)).min(self.threshold).max(1.0);
        } else if self.window < self.threshold {
            self.window = (self.window + 1.0).min(self.threshold);
        } else {
            self.window += 1.0 / (SLOW_GROWTH * self.window);
        }
        self.window = self.window.min(ceiling);
        self.failed_cohorts = 0.0;
        self.closings = 0;
        self.proven = true;
    }

    /// `in_flight` counts the attempt that failed. `delay` gives the wait for the n-th closing in a row.
    pub(crate) fn failed(&mut self, cause: Cause, now: Timestamp, in_flight: u32, delay: impl FnOnce(u32) -> Duration) {
        self.failed_at = now;
        self.proven = false;
        // An attempt that began before the closing says nothing that is not known.
        if self.closed.is_some_and(|closed| now < closed.until) {
            return;
        }
        self.failed_cohorts += 1.0 / self.window;
        self.window = match cause {
            Cause::Unreachable => (self.window - 1.0).max(1.0),
            Cause::Slow => {
                self.threshold = (in_flight as f32 - 1.0).min(self.window).max(1.0);
                self.threshold
            }
        };
        let probe = self.closed.is_some();
        let alone = in_flight <= 1;
        if probe || alone || self.failed_cohorts >= 1.0 {
            self.closings = self.closings.saturating_add(1);
            self.failed_cohorts = 0.0;
            self.closed = Some(Closed { until: now.after(delay(self.closings)), cause });
        }
    }

    /// Somebody asks for a try at once.
    pub(crate) fn probe_at(&mut self, now: Timestamp) {
        if let Some(closed) = &mut self.closed {
            closed.until = closed.until.min(now);
        }
    }

    pub(crate) fn limit(&mut self, connections_max: u16) {
        let ceiling = f32::from(connections_max.max(1));
        self.window = self.window.min(ceiling);
        // New limits are new knowledge: what was learnt under the old ones may be tried again.
        self.threshold = ceiling;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u16 = 20;

    fn minutes(failures: u32) -> Duration {
        Duration::from_secs(60) * failures
    }

    #[test]
    fn a_good_site_soon_gets_all_its_connections() {
        let mut feedback = Feedback::new(5, MAX);
        assert_eq!(feedback.concurrency(), 5);
        for _ in 0..15 {
            feedback.reached(5, MAX);
        }
        assert_eq!(feedback.concurrency(), MAX);
        feedback.reached(5, MAX);
        assert_eq!(feedback.concurrency(), MAX);
    }

    #[test]
    fn one_failure_among_many_costs_one_connection() {
        let mut feedback = Feedback::new(5, MAX);
        for _ in 0..20 {
            feedback.reached(5, MAX);
        }
        feedback.failed(Cause::Unreachable, Timestamp(1), 20, minutes);
        assert_eq!(feedback.concurrency(), MAX - 1);
        assert_eq!(feedback.gate(Timestamp(1), 3), Gate::Open);
    }

    #[test]
    fn a_cohort_of_failures_closes_and_each_failed_probe_doubles() {
        let mut feedback = Feedback::new(5, MAX);
        let now = Timestamp::from_secs(1000);
        let mut in_flight = 5;
        while feedback.closed().is_none() {
            feedback.failed(Cause::Unreachable, now, in_flight, minutes);
            in_flight -= 1;
        }
        assert!(in_flight > 0, "it closes before each of the five was tried");
        let until = Timestamp::from_secs(1060);
        assert_eq!(feedback.gate(now, 0), Gate::Closed(until));
        // The others of the cohort fail too: nothing new.
        feedback.failed(Cause::Unreachable, now, in_flight, minutes);
        assert_eq!(feedback.gate(now, 0), Gate::Closed(until));
        assert_eq!(feedback.gate(until, 0), Gate::Open);
        assert_eq!(feedback.gate(until, 1), Gate::Full, "one probe only");
        feedback.failed(Cause::Unreachable, until, 1, minutes);
        assert_eq!(feedback.gate(until, 0), Gate::Closed(until.after(minutes(2))));
        feedback.reached(5, MAX);
        assert_eq!(feedback.gate(until, 4), Gate::Open);
        assert_eq!(feedback.gate(until, 5), Gate::Full);
    }

    #[test]
    fn a_site_that_bears_two_connections_is_soon_known_and_seldom_overrun() {
        let mut feedback = Feedback::new(5, MAX);
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..1000 {
            let started = u32::from(feedback.concurrency());
            for nth in 0..started {
                if nth < 2 {
                    taken += 1;
                    feedback.reached(5, MAX);
                } else {
                    refused += 1;
                    feedback.failed(Cause::Slow, Timestamp(1), started - nth + 2, minutes);
                }
            }
        }
        assert!(refused * 10 < taken, "{refused} refused, {taken} taken");
    }

    #[test]
    fn a_storm_of_refusals_closes_the_lane_and_it_comes_back_gently() {
        let mut feedback = Feedback::new(5, MAX);
        for in_flight in (1..=5).rev() {
            feedback.failed(Cause::Slow, Timestamp(1), in_flight, minutes);
        }
        let closed = feedback.closed().expect("closed");
        assert_eq!(closed.cause, Cause::Slow);
        feedback.reached(5, MAX);
        assert!(feedback.concurrency() < 5);
    }
}
