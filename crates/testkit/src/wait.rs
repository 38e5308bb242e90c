//! Waiting for what gives no sign when it happens: a file of another process, a port of another program.

use std::time::{Duration, Instant};

/// How long a story waits for anything that should come at once. Generous: it is only ever spent by a failure.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often is looked. Short beside anything waited for, long beside the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks until there is something, and gives it back; `None` when `deadline` has passed.
pub fn try_until<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if started.elapsed() >= deadline {
            return None;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Looks until there is something, and gives it back.
///
/// # Panics
/// With `what`, when `deadline` has passed.
#[track_caller]
pub fn until_within<T>(deadline: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    match try_until(deadline, look) {
        Some(found) => found,
        None => panic!("after {deadline:?} still waiting for {what}"),
    }
}

/// [`until_within`] the usual [`DEADLINE`].
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, look)
}
