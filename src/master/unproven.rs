//! The connections that have not proven anything yet: there are few places for them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::average::round::NodeId;

/// So many connections may be about to prove themselves.
const PLACES: usize = 512;

/// For so long a connection keeps its place, though others wait for one: a proof over a network
/// takes its time, and ten thousand machines may connect at once.
const RESPITE: Duration = Duration::from_millis(100);

/// Those that have not proven anything yet, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Unproven(Vec<Waiting>);

#[derive(Debug, Clone, Copy)]
struct Waiting {
    node: NodeId,
    from: IpAddr,
    since: Instant,
}

impl Unproven {
    /// How long the next connection has to wait for a place.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        match self.0.first() {
            Some(oldest) if self.0.len() >= PLACES => {
                (oldest.since + RESPITE).saturating_duration_since(now)
            }
            _ => Duration::ZERO,
        }
    }

    /// Takes a connection in. Who has to give its place up for it, if there is none left: the
    /// oldest one of the address that holds the most.
    pub(crate) fn enter(&mut self, node: NodeId, from: IpAddr, now: Instant) -> Option<NodeId> {
        let since = now;
        self.0.push(Waiting { node, from, since });
        if self.0.len() <= PLACES {
            return None;
        }
        let mut held = HashMap::<IpAddr, usize>::new();
        for waiting in &self.0 {
            *held.entry(waiting.from).or_default() += 1;
        }
        let most = held.values().max()?;
        let oldest = self
            .0
            .iter()
            .position(|waiting| held[&waiting.from] == *most)?;
        Some(self.0.remove(oldest).node)
    }

    /// A connection has proven itself, or has ended.
    pub(crate) fn leave(&mut self, node: NodeId) {
        self.0.retain(|waiting| waiting.node != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_address_that_holds_the_most_gives_way_after_a_respite() {
        let (mut unproven, now) = (Unproven::default(), Instant::now());
        let [flood, other] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        assert_eq!(unproven.enter(NodeId(0), other, now), None);
        for node in 1..PLACES as u64 {
            assert_eq!(unproven.wait(now), Duration::ZERO);
            assert_eq!(unproven.enter(NodeId(node), flood, now), None);
        }
        assert_eq!(unproven.wait(now), RESPITE);
        let later = now + RESPITE;
        assert_eq!(unproven.wait(later), Duration::ZERO);
        assert_eq!(unproven.enter(NodeId(1000), flood, later), Some(NodeId(1)));
        assert_eq!(unproven.enter(NodeId(1001), other, later), Some(NodeId(2)));
        unproven.leave(NodeId(0));
        assert_eq!(unproven.enter(NodeId(1002), flood, later), None);
        assert_eq!(unproven.0.len(), PLACES);
    }
}
