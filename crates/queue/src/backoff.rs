//! How long to wait before the next try: two pure functions.

use std::time::Duration;

/// `first`, twice that, four times that, … and never more than `max`. `failures` counts from 1.
pub fn doubling(first: Duration, max: Duration, failures: u32) -> Duration {
    // 2^31 of anything is beyond every sensible `max`; the multiplication saturates.
    let factor = 1_u32 << failures.saturating_sub(1).min(31);
    first.saturating_mul(factor).min(max)
}

/// `delay` made longer by up to `fraction` of itself, so that those who failed together do not come
/// back together. Never shorter: a greylisting server that asks for 300 seconds gets them.
/// `random` is uniform in 0..1.
pub fn with_jitter(delay: Duration, fraction: f64, random: f64) -> Duration {
    let factor = 1.0 + fraction.clamp(0.0, 1.0) * random.clamp(0.0, 1.0);
    // A delay so long that it cannot be multiplied needs no jitter.
    Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(delay).max(delay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_retries_of_a_message() {
        let minutes: Vec<u64> = (1..=8).map(|n| doubling(5 * MINUTE, 240 * MINUTE, n).as_secs() / 60).collect();
        assert_eq!(minutes, [5, 10, 20, 40, 80, 160, 240, 240]);
    }

    #[test]
    fn the_first_retry_waits_its_whole_time() {
        assert_eq!(with_jitter(5 * MINUTE, 0.2, 0.0), 5 * MINUTE);
        assert_eq!(with_jitter(5 * MINUTE, 0.2, 1.0), 6 * MINUTE);
    }

    proptest! {
        #[test]
        fn backoff_grows_and_stays_within_its_bounds(
            first_ms in 1_u64..10_000_000, max_ms in 1_u64..100_000_000, failures: u32, fraction in 0.0..1.0, random in 0.0..1.0,
        ) {
            let (first, max) = (Duration::from_millis(first_ms), Duration::from_millis(max_ms));
            let delay = doubling(first, max, failures);
            prop_assert!(delay >= first.min(max) && delay <= max);
            prop_assert!(doubling(first, max, failures.saturating_add(1)) >= delay);
            let jittered = with_jitter(delay, fraction, random);
            prop_assert!(jittered >= delay && jittered <= delay.mul_f64(2.0) + Duration::from_nanos(1000));
        }

        #[test]
        fn no_delay_is_too_long(failures: u32, random in 0.0..1.0) {
            let delay = doubling(Duration::MAX, Duration::MAX, failures);
            prop_assert_eq!(with_jitter(delay, 1.0, random), Duration::MAX);
        }
    }
}
