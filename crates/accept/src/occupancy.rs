//! How many connections there are, and from where.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::network::Neighbourhood;

/// Counts connections. A place is given back when its [`Seat`] is dropped, however a session ends.
#[derive(Debug)]
pub(crate) struct Occupancy {
    seats_max: usize,
    seats_per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    seats: usize,
    /// Only addresses that have a connection now: never more entries than seats.
    by_address: HashMap<Neighbourhood, usize>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    Full,
    AddressFull,
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Seat {
    occupancy: Arc<Occupancy>,
    /// `None` for a trusted client, which is not counted by address.
    address: Option<Neighbourhood>,
}

impl Occupancy {
    pub(crate) fn new(seats_max: usize, seats_per_address_max: usize) -> Occupancy {
        Occupancy { seats_max, seats_per_address_max, taken: Mutex::default() }
    }

    pub(crate) fn sit(self: &Arc<Occupancy>, client: IpAddr, trusted: bool) -> Result<Seat, NoSeat> {
        let address = (!trusted).then(|| Neighbourhood::of(client));
        let mut taken = self.taken();
        if taken.seats >= self.seats_max {
            return Err(NoSeat::Full);
        }
        if let Some(address) = address {
            let seats = taken.by_address.entry(address).or_default();
            if *seats >= self.seats_per_address_max {
                return Err(NoSeat::AddressFull);
            }
            *seats += 1;
        }
        taken.seats += 1;
        Ok(Seat { occupancy: Arc::clone(self), address })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Numbers are whole after each step, so a panic elsewhere leaves nothing half done.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.occupancy.taken();
        taken.seats -= 1;
        let Some(address) = self.address else { return };
        if let Some(seats) = taken.by_address.get_mut(&address) {
            *seats -= 1;
            if *seats == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_and_given_back() {
        let occupancy = Arc::new(Occupancy::new(3, 2));
        let ada: IpAddr = "192.0.2.1".parse().unwrap();
        let bob: IpAddr = "2001:db8::1".parse().unwrap();
        let first = occupancy.sit(ada, false).unwrap();
        let _second = occupancy.sit(ada, false).unwrap();
        assert_eq!(occupancy.sit(ada, false).unwrap_err(), NoSeat::AddressFull);
        drop(first);
        let _third = occupancy.sit(ada, false).unwrap();
        let fourth = occupancy.sit(bob, false).unwrap();
        assert_eq!(occupancy.sit(bob, true).unwrap_err(), NoSeat::Full);
        drop(fourth);
        assert_eq!(occupancy.taken().by_address.len(), 1, "nothing is kept of who is gone");
        occupancy.sit(ada, true).expect("trusted clients are not counted by address");
    }
}
