//! Who may connect: so many in all, and so many from one address or IPv6 network of 64 bits.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::wire::machine::Machine;

/// New connections from one address are counted in periods of this length.
const PERIOD: Duration = Duration::from_secs(1);

/// How many connections there may be.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) in_all: usize,
    /// So many at a time, and so many new ones in a second.
    pub(crate) per_address: usize,
    /// Where other candidates are: there is room for them whoever else is here.
    pub(crate) candidates: Vec<IpAddr>,
}

/// Why a connection is turned away: what the peer and the log are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NoRoom(usize),
    HoldsTooMany(usize),
    OpensTooMany(usize),
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom(most) => write!(out, "the master has no room (--max-followers {most})"),
            Self::HoldsTooMany(most) => write!(
                out,
                "too many connections from one address (--max-per-address {most})"
            ),
            Self::OpensTooMany(most) => write!(
                out,
                "too many new connections a second from one address (--max-per-address {most})"
            ),
        }
    }
}

/// The connections that there are. It remembers an address only while a connection from there is
/// open, or was opened in this second.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    in_all: usize,
    held: HashMap<Machine, usize>,
    period: Instant,
    opened: HashMap<Machine, usize>,
}

impl Admission {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            in_all: 0,
            held: HashMap::new(),
            period: now,
            opened: HashMap::new(),
        }
    }

    /// Counts a connection in, unless it is one too many.
    pub(crate) fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), Refused> {
        let machine = Machine::of(address);
        let most = self.limits.per_address;
        if now.duration_since(self.period) >= PERIOD {
            self.period = now;
            self.opened.clear();
        }
        let opened = self.opened.entry(machine).or_default();
        if *opened >= most {
            return Err(Refused::OpensTooMany(most));
        }
        *opened += 1;
        let expected = self.limits.candidates.contains(&address.to_canonical());
        if self.in_all >= self.limits.in_all && !expected {
            return Err(Refused::NoRoom(self.limits.in_all));
        }
        let held = self.held.entry(machine).or_default();
        if *held >= most {
            return Err(Refused::HoldsTooMany(most));
        }
        *held += 1;
        self.in_all += 1;
        Ok(())
    }

    /// Counts a connection out that was admitted.
    pub(crate) fn release(&mut self, address: IpAddr) {
        let machine = Machine::of(address);
        self.in_all -= 1;
        if let Some(held) = self.held.get_mut(&machine) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&machine);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn admission(in_all: usize, per_address: usize) -> (Admission, Instant) {
        let now = Instant::now();
        let limits = Limits {
            in_all,
            per_address,
            candidates: Vec::new(),
        };
        (Admission::new(limits, now), now)
    }

    #[test]
    fn one_address_holds_so_many_and_others_are_not_concerned() {
        let (mut admission, now) = admission(100, 2);
        for second in 0..2 {
            let later = now + PERIOD * second;
            assert_eq!(admission.admit(ROUTER, later), Ok(()));
        }
        let later = now + PERIOD * 2;
        assert_eq!(
            admission.admit(ROUTER, later),
            Err(Refused::HoldsTooMany(2))
        );
        assert_eq!(admission.admit(OTHER, later), Ok(()));
        admission.release(ROUTER);
        assert_eq!(admission.admit(ROUTER, later), Ok(()));
    }

    #[test]
    fn one_address_opens_so_many_in_a_second_and_others_are_not_concerned() {
        let (mut admission, now) = admission(100, 3);
        for _ in 0..3 {
            assert_eq!(admission.admit(ROUTER, now), Ok(()));
            admission.release(ROUTER);
        }
        assert_eq!(admission.admit(ROUTER, now), Err(Refused::OpensTooMany(3)));
        assert_eq!(admission.admit(OTHER, now), Ok(()));
        assert_eq!(admission.admit(ROUTER, now + PERIOD), Ok(()));
    }

    #[test]
    fn an_address_is_the_same_in_both_families() {
        let (mut admission, now) = admission(100, 1);
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(admission.admit(ROUTER, now), Ok(()));
        assert!(admission.admit(mapped, now + PERIOD).is_err());
        admission.release(mapped);
        assert_eq!(admission.admit(mapped, now + PERIOD * 2), Ok(()));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_has_the_places_of_one_address() {
        let (mut admission, now) = admission(400, 5);
        let from = |last: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, last]);
        let admitted = (1..450).filter(|last| admission.admit(from(*last), now).is_ok());
        assert_eq!(admitted.count(), 5);
        assert_eq!(admission.admit(OTHER, now), Ok(()));
        for last in 1..=5 {
            admission.release(from(last));
        }
        assert_eq!(admission.held.len(), 1);
    }

    #[test]
    fn it_forgets_who_is_gone() {
        let (mut admission, now) = admission(100, 5);
        for last in 0..100 {
            let address = IpAddr::from([10, 0, 1, last]);
            admission.admit(address, now).unwrap();
            admission.release(address);
        }
        admission.admit(OTHER, now + PERIOD).unwrap();
        assert_eq!((admission.held.len(), admission.opened.len()), (1, 1));
        assert_eq!(admission.in_all, 1);
    }

    #[test]
    fn there_is_room_for_other_candidates() {
        let (mut admission, now) = admission(1, 5);
        admission.limits.candidates = vec![OTHER];
        assert_eq!(admission.admit(ROUTER, now), Ok(()));
        assert_eq!(admission.admit(OTHER, now), Ok(()));
        assert_eq!(admission.admit(ROUTER, now), Err(Refused::NoRoom(1)));
    }

    #[test]
    fn there_is_an_end_to_the_room() {
        let (mut admission, now) = admission(1, 5);
        assert_eq!(admission.admit(ROUTER, now), Ok(()));
        assert_eq!(admission.admit(OTHER, now), Err(Refused::NoRoom(1)));
    }
}
