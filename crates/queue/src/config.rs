//! What can be set: the retry schedule, the limits per destination, the caps on what runs at once.

use std::collections::HashMap;
use std::time::Duration;

use crate::backoff;

/// Everything the planner is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    pub schedule: Schedule,
    /// The limits of a destination that has none of its own.
    pub limits: LaneLimits,
    /// Limits of single destinations, by recipient domain (A-labels, lower case).
    pub limits_by_site: HashMap<Box<str>, LaneLimits>,
    /// Attempts that may run at one time, over all destinations.
    pub in_flight_max: u32,
    /// How many of those may be bulk mail; the rest is kept free for transactional mail.
    pub in_flight_bulk_max: u32,
    /// How many of those may go to sites that have not answered yet (or not since their last trouble),
    /// so that a hundred dead sites, each waiting for its time-out, leave room for those that live.
    pub in_flight_unproven_max: u32,
    /// Attempts at one time to a site of which nothing is known yet.
    pub concurrency_initial: u16,
    /// Where both wait, one start in so many is bulk mail.
    pub bulk_turn_every: u32,
    /// How long what was learnt about a site is kept when no mail waits for it.
    pub idle_lane_kept: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            schedule: Schedule::default(),
            limits: LaneLimits::default(),
            limits_by_site: HashMap::new(),
            in_flight_max: 500,
            in_flight_bulk_max: 450,
            in_flight_unproven_max: 400,
            concurrency_initial: 5,
            bulk_turn_every: 10,
            idle_lane_kept: Duration::from_secs(600),
        }
    }
}

impl Config {
    pub(crate) fn limits_for(&self, site: &str) -> LaneLimits {
        self.limits_by_site.get(site).copied().unwrap_or(self.limits)
    }
}

/// When a message is tried again, when its sender hears of the delay, when we give up.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The wait after the first temporary refusal; each further one doubles it. Greylisting servers
    /// commonly ask for 300 seconds.
    pub retry_first: Duration,
    pub retry_max: Duration,
    /// Each wait is made longer by a random part of itself, up to this fraction (0 to 1).
    pub jitter_fraction: f64,
    /// The wait after a whole site was out of reach; doubles with each failed probe.
    pub site_retry_first: Duration,
    pub site_retry_max: Duration,
    /// How long after its acceptance a message is given up (RFC 5321 §4.5.4.1: at least 4 to 5 days).
    pub lifetime: Duration,
    /// How long after its acceptance a delay notice is due, once. `None`: never.
    pub delay_notice_after: Option<Duration>,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            retry_first: Duration::from_secs(5 * 60),
            retry_max: Duration::from_secs(4 * 3600),
            jitter_fraction: 0.2,
            site_retry_first: Duration::from_secs(60),
            site_retry_max: Duration::from_secs(3600),
            lifetime: Duration::from_secs(5 * 86_400),
            delay_notice_after: Some(Duration::from_secs(4 * 3600)),
        }
    }
}

impl Schedule {
    /// The wait after the `refusals`-th temporary refusal (from 1); `random` is uniform in 0..1.
    pub fn retry_delay(&self, refusals: u32, random: f64) -> Duration {
        backoff::with_jitter(
            backoff::doubling(self.retry_first, self.retry_max, refusals),
            self.jitter_fraction,
            random,
        )
    }

    /// The wait after a site's `failures`-th failure in a row (from 1); `random` is uniform in 0..1.
    pub fn site_delay(&self, failures: u32, random: f64) -> Duration {
        let delay = backoff::doubling(self.site_retry_first, self.site_retry_max, failures);
        backoff::with_jitter(delay, self.jitter_fraction, random)
    }
}

/// What one destination is spared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneLimits {
    /// Attempts (so connections) at one time.
    pub connections_max: u16,
    /// Messages started per second, evenly spaced. `None`: as fast as the site answers.
    pub messages_per_second_max: Option<f64>,
    /// Recipients in one transaction; a message with more is several jobs. RFC 5321 §4.5.3.1.10 promises 100.
    pub recipients_per_message_max: u16,
    /// Messages after which a connection is closed. For the connection pool: the planner only hands it on.
    pub messages_per_connection_max: u16,
}

impl Default for LaneLimits {
    fn default() -> LaneLimits {
        LaneLimits {
            connections_max: 20,
            messages_per_second_max: None,
            recipients_per_message_max: 100,
            messages_per_connection_max: 100,
        }
    }
}

impl LaneLimits {
    /// The time between two starts. A rate that is no positive number limits nothing.
    pub(crate) fn start_interval(&self) -> Option<Duration> {
        let rate = self.messages_per_second_max.filter(|rate| rate.is_finite() && *rate > 0.0)?;
        Duration::try_from_secs_f64(1.0 / rate).ok()
    }
}
