//! Whose clocks count: so many of each machine's.
//!
//! Whoever can open one connection can open two hundred. So the connections of one machine share
//! its votes; all of them are corrected.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::average::reputation::Standing;
use crate::average::round::{NodeId, Wire};
use crate::wire::machine::Machine;

/// A clock that gave its time in a round.
#[derive(Debug, Clone, Copy)]
pub struct Contender<'a> {
    /// Its connection.
    pub node: NodeId,
    /// Where it is; `None` is the master's own machine, where demonstrations run: there each
    /// clock counts.
    pub machine: Option<Machine>,
    /// How it speaks.
    pub wire: Wire,
    /// What is remembered of it.
    pub standing: &'a Standing,
}

/// Which of the clocks count, in the order in which they are given: of each machine `votes`. Those
/// that follow corrections come first, then those that have done so for longest, then those that
/// came first.
#[must_use]
pub fn electorate(contenders: &[Contender], votes: usize) -> Vec<bool> {
    let mut counts: Vec<bool> = contenders.iter().map(|it| it.machine.is_none()).collect();
    let mut limited: Vec<usize> = (0..contenders.len()).filter(|it| !counts[*it]).collect();
    limited.sort_by_key(|it| {
        let Contender {
            node,
            wire,
            standing,
            ..
        } = contenders[*it];
        (wire == Wire::Timestamp, Reverse(standing.rounds()), node)
    });
    let mut taken: HashMap<Machine, usize> = HashMap::new();
    for place in limited {
        if let Some(machine) = contenders[place].machine {
            let taken = taken.entry(machine).or_default();
            counts[place] = *taken < votes;
            *taken += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn machine(last: u8) -> Machine {
        Machine::of([10, 0, 0, last].into())
    }

    fn followed(rounds: u32) -> Standing {
        let mut standing = Standing::default();
        (0..rounds).for_each(|_| standing.note(true, Some(TimeDelta::zero())));
        standing
    }

    /// Who counts of these, each a machine, a wire and for how many rounds it has followed.
    fn counted(votes: usize, clocks: &[(Option<Machine>, Wire, u32)]) -> Vec<bool> {
        let standings: Vec<_> = clocks.iter().map(|(_, _, it)| followed(*it)).collect();
        let contenders = (1..).zip(clocks).zip(&standings);
        let contenders: Vec<_> = contenders
            .map(|((node, (machine, wire, _)), standing)| Contender {
                node: NodeId(node),
                machine: *machine,
                wire: *wire,
                standing,
            })
            .collect();
        electorate(&contenders, votes)
    }

    #[test]
    fn each_machine_has_so_many_votes_and_the_masters_own_has_all() {
        use Wire::{Line, Timestamp};
        let clocks = [
            (Some(machine(1)), Line, 0),
            (Some(machine(2)), Timestamp, 0),
            (None, Line, 0),
            (Some(machine(1)), Line, 3),
            (None, Line, 0),
            (Some(machine(2)), Line, 0),
            (Some(machine(1)), Line, 3),
        ];
        let counts = counted(1, &clocks);
        assert_eq!(counts, [false, false, true, true, true, true, false]);
        let counts = counted(2, &clocks);
        assert_eq!(counts, [false, true, true, true, true, true, true]);
    }
}
