//! Guessing passwords takes time.
//!
//! Two counts: wrong guesses from an address, and wrong guesses for a user name from anywhere. The
//! larger of them delays the next login, but only of an address that has itself guessed wrong: the
//! right password from a clean address goes through at once, so that an attack on a name locks
//! nobody out. Who has logged in from an address is not delayed there either, until a guess for
//! his name fails there: an office with one misconfigured printer goes on sending.
//!
//! Memory is bounded: two generations of at most [`ENTRIES_MAX`] entries each. When the young one is
//! full or old, it becomes the old one and the old one is forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Limits;
use crate::network::Neighbourhood;

/// Entries of one generation of one table. An entry is a user name (at most 1 KiB) and an address.
const ENTRIES_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct Throttle {
    delay: Duration,
    delay_max: Duration,
    memory: Duration,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    failures_by_address: Generations<Neighbourhood, u32>,
    failures_by_user: Generations<Box<str>, u32>,
    known: Generations<(Neighbourhood, Box<str>), ()>,
}

impl Throttle {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Throttle {
        let tables = Tables {
            failures_by_address: Generations::new(now),
            failures_by_user: Generations::new(now),
            known: Generations::new(now),
        };
        Throttle {
            delay: limits.auth_delay,
            delay_max: limits.auth_delay_max,
            memory: limits.auth_memory,
            tables: Mutex::new(tables),
        }
    }

    /// How long a login has to wait before it is looked at.
    pub(crate) fn delay(&self, client: IpAddr, user: &str, now: Instant) -> Duration {
        let address = Neighbourhood::of(client);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let by_address = tables.failures_by_address.value(&address, now, self.memory).unwrap_or(0);
        if by_address == 0 {
            return Duration::ZERO;
        }
        let user: Box<str> = user.into();
        let by_user = tables.failures_by_user.value(&user, now, self.memory).unwrap_or(0);
        if tables.known.value(&(address, user), now, self.memory).is_some() {
            return Duration::ZERO;
        }
        let doublings = by_address.max(by_user).saturating_sub(1).min(16);
        self.delay.saturating_mul(1 << doublings).min(self.delay_max)
    }

    pub(crate) fn failed(&self, client: IpAddr, user: &str, now: Instant) {
        let address = Neighbourhood::of(client);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = tables.failures_by_address.value(&address, now, self.memory).unwrap_or(0);
        tables.failures_by_address.set(address, failures.saturating_add(1), now, self.memory);
        let user: Box<str> = user.into();
        let failures = tables.failures_by_user.value(&user, now, self.memory).unwrap_or(0);
        tables.failures_by_user.set(user.clone(), failures.saturating_add(1), now, self.memory);
        tables.known.remove(&(address, user));
    }

    pub(crate) fn succeeded(&self, client: IpAddr, user: &str, now: Instant) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.known.set((Neighbourhood::of(client), user.into()), (), now, self.memory);
    }
}

/// A map that forgets.
#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    young_since: Instant,
}

impl<K: Hash + Eq, V: Copy> Generations<K, V> {
    fn new(now: Instant) -> Generations<K, V> {
        Generations { young: HashMap::new(), old: HashMap::new(), young_since: now }
    }

    fn turn(&mut self, now: Instant, memory: Duration) {
        if self.young.len() < ENTRIES_MAX && now.duration_since(self.young_since) < memory {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if now.duration_since(self.young_since) >= memory.saturating_mul(2) {
            self.old = HashMap::new();
        }
        self.young_since = now;
    }

    fn value(&mut self, key: &K, now: Instant, memory: Duration) -> Option<V> {
        self.turn(now, memory);
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn set(&mut self, key: K, value: V, now: Instant, memory: Duration) {
        self.turn(now, memory);
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: [u8; 4] = [192, 0, 2, 1];
    const GOOD: [u8; 4] = [192, 0, 2, 2];

    fn throttle(now: Instant) -> Throttle {
        Throttle::new(&Limits::default(), now)
    }

    #[test]
    fn each_wrong_guess_doubles_the_delay_up_to_a_limit() {
        let now = Instant::now();
        let throttle = throttle(now);
        let mut delays = Vec::new();
        for _ in 0..40 {
            delays.push(throttle.delay(EVIL.into(), "ada", now).as_millis());
            throttle.failed(EVIL.into(), "ada", now);
        }
        assert_eq!(delays[..8], [0, 250, 500, 1000, 2000, 4000, 8000, 10_000]);
        assert_eq!(delays[39], 10_000);
    }

    #[test]
    fn a_clean_address_is_not_delayed_while_its_name_is_attacked() {
        let now = Instant::now();
        let throttle = throttle(now);
        for n in 0..100 {
            throttle.failed([198, 51, 100, n].into(), "ada", now);
        }
        assert_eq!(throttle.delay(GOOD.into(), "ada", now), Duration::ZERO);
        // But who has guessed wrong once feels what all the others did.
        assert_eq!(throttle.delay([198, 51, 100, 7].into(), "ada", now), Duration::from_secs(10));
        assert_eq!(throttle.delay([198, 51, 100, 7].into(), "bob", now), Duration::from_millis(250));
    }

    #[test]
    fn who_has_logged_in_here_goes_on_until_his_own_name_is_guessed_wrong() {
        let now = Instant::now();
        let throttle = throttle(now);
        throttle.succeeded(EVIL.into(), "ada", now);
        throttle.failed(EVIL.into(), "printer", now);
        assert_eq!(throttle.delay(EVIL.into(), "ada", now), Duration::ZERO);
        throttle.failed(EVIL.into(), "ada", now);
        assert_eq!(throttle.delay(EVIL.into(), "ada", now), Duration::from_millis(500));
    }

    #[test]
    fn all_is_forgotten_in_time_and_memory_is_bounded() {
        let now = Instant::now();
        let throttle = throttle(now);
        throttle.failed(EVIL.into(), "ada", now);
        let memory = Limits::default().auth_memory;
        assert!(throttle.delay(EVIL.into(), "ada", now + memory) > Duration::ZERO, "in the old generation");
        assert_eq!(throttle.delay(EVIL.into(), "ada", now + memory * 2), Duration::ZERO);
        for n in 0..50_000_u32 {
            throttle.failed(std::net::Ipv4Addr::from_bits(n).into(), &n.to_string(), now);
        }
        let tables = throttle.tables.lock().unwrap();
        assert!(tables.failures_by_address.young.len() + tables.failures_by_address.old.len() <= 2 * ENTRIES_MAX);
        assert!(tables.failures_by_user.young.len() + tables.failures_by_user.old.len() <= 2 * ENTRIES_MAX);
    }
}
