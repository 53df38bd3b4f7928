//! The connections that have not proven anything yet: there are few places for them.

use std::net::IpAddr;

use crate::average::round::NodeId;

/// So many connections may be about to prove themselves. A proof takes a millisecond, so ten
/// thousand machines that connect at once find a place; and a flood from many addresses has to fill
/// all of them within that time to keep anybody out.
const PLACES: usize = 512;

/// Those that have not proven anything yet, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Unproven(Vec<(NodeId, IpAddr)>);

impl Unproven {
    /// Takes a connection in. Who has to give its place up for it, if there is none left: the
    /// oldest one of the address that holds the most.
    pub(crate) fn enter(&mut self, node: NodeId, from: IpAddr) -> Option<NodeId> {
        self.0.push((node, from));
        if self.0.len() <= PLACES {
            return None;
        }
        let held = |ip: IpAddr| self.0.iter().filter(|(_, other)| *other == ip).count();
        let mut most = (self.0[0].1, 0);
        for &(_, ip) in &self.0 {
            // The count is only taken where the address differs: a flood is mostly of one.
            if most.1 == 0 || ip != most.0 {
                let count = held(ip);
                if count > most.1 {
                    most = (ip, count);
                }
            }
        }
        let oldest = self.0.iter().position(|(_, ip)| *ip == most.0)?;
        Some(self.0.remove(oldest).0)
    }

    /// A connection has proven itself, or has ended.
    pub(crate) fn leave(&mut self, node: NodeId) {
        self.0.retain(|(other, _)| *other != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_address_that_holds_the_most_gives_way() {
        let mut unproven = Unproven::default();
        let [flood, other] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        assert_eq!(unproven.enter(NodeId(0), other), None);
        for node in 1..PLACES as u64 {
            assert_eq!(unproven.enter(NodeId(node), flood), None);
        }
        assert_eq!(unproven.enter(NodeId(1000), flood), Some(NodeId(1)));
        assert_eq!(unproven.enter(NodeId(1001), other), Some(NodeId(2)));
        unproven.leave(NodeId(0));
        assert_eq!(unproven.enter(NodeId(1002), flood), None);
        assert_eq!(unproven.0.len(), PLACES);
    }
}
