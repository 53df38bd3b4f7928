//! The connections that have not proven anything yet: there are few places for them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::average::round::NodeId;
use crate::wire::machine::Machine;

/// So many connections may be about to prove themselves.
const PLACES: usize = 512;

/// For so long a connection keeps its place though others wait for one: a proof over a network
/// takes its time, and ten thousand machines may connect at once.
const RESPITE: Duration = Duration::from_secs(1);

/// The same if its machine has more than [`FEW`] places: others are not to wait for that one.
const RESPITE_OF_MANY: Duration = Duration::from_millis(100);

/// A machine that means well connects once; several may share an address.
const FEW: usize = 8;

/// Those that have not proven anything yet, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Unproven(Vec<Waiting>);

#[derive(Debug, Clone, Copy)]
struct Waiting {
    node: NodeId,
    from: Machine,
    since: Instant,
}

impl Unproven {
    /// How long the next connection has to wait until somebody gives way, if no place becomes free
    /// before.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        if self.0.len() < PLACES {
            return Duration::ZERO;
        }
        let next = self.next_to_give_way();
        next.map_or(Duration::ZERO, |(place, respite)| {
            (self.0[place].since + respite).saturating_duration_since(now)
        })
    }

    /// Takes a connection in. Who has to give its place up for it, if there is none left.
    pub(crate) fn enter(&mut self, node: NodeId, from: IpAddr, now: Instant) -> Option<NodeId> {
        let full = self.0.len() >= PLACES;
        let gives_way = self.next_to_give_way().filter(|_| full);
        let gone = gives_way.map(|(place, _)| self.0.remove(place).node);
        let (from, since) = (Machine::of(from), now);
        self.0.push(Waiting { node, from, since });
        gone
    }

    /// The oldest connection of the machine that has the most, and for how long it may stay.
    fn next_to_give_way(&self) -> Option<(usize, Duration)> {
        let mut held = HashMap::<Machine, usize>::new();
        for waiting in &self.0 {
            *held.entry(waiting.from).or_default() += 1;
        }
        let most = held.values().copied().max()?;
        let oldest = self.0.iter().position(|it| held[&it.from] == most)?;
        let respite = if most > FEW { RESPITE_OF_MANY } else { RESPITE };
        Some((oldest, respite))
    }

    /// A connection has proven itself, or has ended.
    pub(crate) fn leave(&mut self, node: NodeId) {
        self.0.retain(|waiting| waiting.node != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn the_oldest_of_the_address_that_holds_the_most_gives_way_soon() {
        let (mut unproven, now) = (Unproven::default(), Instant::now());
        assert_eq!(unproven.enter(NodeId(0), OTHER, now), None);
        for node in 1..PLACES as u64 {
            assert_eq!(unproven.wait(now), Duration::ZERO);
            assert_eq!(unproven.enter(NodeId(node), FLOOD, now), None);
        }
        assert_eq!(unproven.wait(now), RESPITE_OF_MANY);
        let later = now + RESPITE_OF_MANY;
        assert_eq!(unproven.wait(later), Duration::ZERO);
        assert_eq!(unproven.enter(NodeId(1000), FLOOD, later), Some(NodeId(1)));
        assert_eq!(unproven.enter(NodeId(1001), OTHER, later), Some(NodeId(2)));
        unproven.leave(NodeId(0));
        assert_eq!(unproven.enter(NodeId(1002), FLOOD, later), None);
        assert_eq!(unproven.0.len(), PLACES);
    }

    #[test]
    fn a_herd_of_machines_is_given_more_time() {
        let (mut unproven, now) = (Unproven::default(), Instant::now());
        let machine = |node: u64| IpAddr::from([10, 1, (node / 256) as u8, node as u8]);
        for node in 0..PLACES as u64 {
            assert_eq!(unproven.enter(NodeId(node), machine(node), now), None);
        }
        assert_eq!(unproven.wait(now), RESPITE);
        // Nobody has to give way if one of them proves itself.
        unproven.leave(NodeId(7));
        assert_eq!(unproven.wait(now), Duration::ZERO);
        assert_eq!(unproven.enter(NodeId(1000), OTHER, now), None);
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address() {
        let (mut unproven, now) = (Unproven::default(), Instant::now());
        let flood = |last: u64| IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, last as u16]);
        assert_eq!(unproven.enter(NodeId(0), OTHER, now), None);
        for node in 1..PLACES as u64 {
            assert_eq!(unproven.enter(NodeId(node), flood(node), now), None);
        }
        assert_eq!(unproven.wait(now), RESPITE_OF_MANY);
        assert_eq!(unproven.enter(NodeId(1000), flood(0), now), Some(NodeId(1)));
    }
}
