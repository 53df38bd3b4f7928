//! Who misses a round counts in it where it was: or else half of the clocks need only miss one round,
//! and those that lie would be as many as the others.

use std::collections::BTreeMap;

use crate::average::ballot::Ballot;
use crate::average::consensus::{Consensus, NoMajority, Rules, consensus_of};
use crate::average::ensemble::Ensemble;
use crate::average::member::Member;
use crate::average::round::{Heard, NodeId, Vote};
use crate::wire::machine::Machine;

impl Member {
    /// Notes where its clock counts if it misses the next rounds. It was heard so in a round in which
    /// `agreed`, if anything, was agreed on, and had this vote.
    pub fn note_place(&mut self, heard: &Heard, vote: Vote, agreed: Option<&Consensus>) {
        let before = self.place.take();
        let Some(agreed) = agreed.filter(|agreed| agreed.votes(heard.sample.offset)) else {
            return;
        };
        let corrected = Ballot::from(heard).against(heard.sample.offset);
        self.place = match vote {
            Vote::Dropped | Vote::SameMachine => None,
            // Where it was when it came it is no more: it is corrected now.
            Vote::Yes if before.is_some() => Some(Ballot::from(heard).against(agreed.average)),
            // What was measured badly says nothing of where it is.
            _ => before.or(Some(corrected)),
        };
    }
}

impl Ensemble {
    /// The followers that have missed this round, and where they count in it. Of one machine, so many
    /// count as share its votes: they are not to add up by missing rounds in turn.
    pub(in crate::average) fn absent(&self) -> Vec<(NodeId, Ballot)> {
        let members = || self.members.iter();
        let absent = members().filter_map(|(&node, member)| {
            let place = member.place.filter(|_| member.heard.is_none())?;
            let counts = !self.dropped.contains(&member.name);
            counts.then_some((node, place, member.machine))
        });
        let mut absent: Vec<_> = absent.collect();
        if !absent.is_empty() {
            let mut counting: BTreeMap<Machine, usize> = BTreeMap::new();
            let heard = members().filter(|(_, member)| member.heard.is_some());
            for machine in heard.filter_map(|(_, member)| member.machine) {
                *counting.entry(machine).or_default() += 1;
            }
            absent.retain(|(.., machine)| {
                let Some(machine) = machine else { return true };
                let counting = counting.entry(*machine).or_default();
                *counting += 1;
                *counting <= self.settings.votes_per_address
            });
        }
        let absent = absent.into_iter().map(|(node, place, _)| (node, place));
        absent.collect()
    }
}

/// What these clocks agree on, of which the first were not heard. Where those are taken to be is as
/// wrong as the master's clock: it does not agree with them alone, without one of the `followers` that
/// were heard.
pub(in crate::average) fn majority(
    clocks: &[Ballot],
    absent: usize,
    followers: &[Ballot],
    rules: &Rules,
) -> Result<Consensus, NoMajority> {
    let with_absent = |refused| NoMajority { absent, ..refused };
    let agreed = consensus_of(clocks, rules).map_err(with_absent)?;
    if absent == 0 || followers.iter().any(|it| agreed.votes(it.sample.offset)) {
        return Ok(agreed);
    }
    Err(NoMajority {
        clocks: clocks.iter().map(|it| it.weight as usize).sum(),
        voters: 1,
        window: agreed.window,
        limited_by_max_offset: false,
        absent,
    })
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use chrono::TimeDelta;

    use super::*;
    use crate::average::round::Wire;
    use crate::average::settings::Settings;
    use crate::measurement::sample::Sample;

    fn ensemble(followers: u64) -> Ensemble {
        let mut ensemble = Ensemble::new(Settings::default());
        for node in 1..=followers {
            ensemble.join(NodeId(node), "node", None, Wire::Line);
        }
        ensemble
    }

    fn heard(ensemble: &mut Ensemble, node: u64, offset: TimeDelta) {
        let interval = ensemble.interval();
        ensemble.report(NodeId(node), interval, Sample::one_way(offset).into());
    }

    /// Followers who agree are heard in so many rounds.
    fn agree(ensemble: &mut Ensemble, nodes: RangeInclusive<u64>, rounds: usize) {
        for _ in 0..rounds {
            for node in nodes.clone() {
                heard(ensemble, node, TimeDelta::zero());
            }
            ensemble.close_round(Heard::OWN);
        }
    }

    /// Who is missed in a round in which these agree.
    fn missed(ensemble: &mut Ensemble, nodes: &[u64]) -> Vec<NodeId> {
        for node in nodes {
            heard(ensemble, *node, TimeDelta::zero());
        }
        ensemble.close_round(Heard::OWN).round.unwrap().absent
    }

    /// A group of nine followers that has agreed twice. From then on so many are not heard, and four
    /// others say that they are ten hours ahead; by how many seconds the group is moved in each
    /// round, and `None` where it can't agree.
    fn moved_where_some_miss(absent: u64, rounds: usize) -> Vec<Option<i64>> {
        let mut ensemble = ensemble(9);
        let hear = |ensemble: &mut Ensemble, nodes: RangeInclusive<u64>, hours| {
            for node in nodes {
                heard(ensemble, node, TimeDelta::hours(hours));
            }
        };
        agree(&mut ensemble, 1..=9, 2);
        let average = |_| {
            hear(&mut ensemble, 1..=4, 10);
            hear(&mut ensemble, 5 + absent..=9, 0);
            let outcome = ensemble.close_round(Heard::OWN).round.unwrap().outcome;
            outcome.ok().map(|agreed| agreed.average.num_seconds())
        };
        (0..rounds).map(average).collect()
    }

    #[test]
    fn who_misses_a_round_does_not_leave_the_group_to_those_who_lie() {
        for absent in 0..=4 {
            let moved = moved_where_some_miss(absent, 2);
            assert_eq!(moved, [Some(0); 2], "without {absent}");
        }
        // The master alone does not hold a round with those who are not there.
        assert_eq!(moved_where_some_miss(5, 2), [None; 2]);
    }

    #[test]
    fn who_is_given_up_for_its_silence_stands_for_nothing() {
        let moved = moved_where_some_miss(2, 4);
        // The master and three others are as many as those who lie, then: they meet in the middle.
        let middle = Some(TimeDelta::hours(5).num_seconds());
        assert_eq!(moved, [Some(0), Some(0), middle, middle]);
    }

    #[test]
    fn a_master_that_goes_wrong_does_not_take_those_along_who_miss_the_round() {
        let mut ensemble = ensemble(4);
        agree(&mut ensemble, 1..=4, 2);
        // It has stood still for two seconds, in which two others were not asked.
        for round in 3..=4 {
            for node in 3..=4 {
                heard(&mut ensemble, node, TimeDelta::seconds(2));
            }
            let outcome = ensemble.close_round(Heard::OWN).round.unwrap().outcome;
            let refused = outcome.unwrap_err();
            assert_eq!((refused.clocks, refused.absent), (5, 2), "round {round}");
        }
        for node in 1..=4 {
            heard(&mut ensemble, node, TimeDelta::seconds(2));
        }
        let agreed = ensemble.close_round(Heard::OWN).round.unwrap().outcome;
        assert_eq!(agreed.unwrap().median, TimeDelta::seconds(2));
    }

    #[test]
    fn who_was_heard_in_a_round_without_a_majority_is_nowhere_in_the_next() {
        let mut ensemble = ensemble(5);
        ensemble.settings.rules.tolerance = Some(TimeDelta::microseconds(100));
        let mut round = |millis: &[(u64, i64)]| {
            for (node, millis) in millis {
                heard(&mut ensemble, *node, TimeDelta::milliseconds(*millis));
            }
            ensemble.close_round(Heard::OWN).round.unwrap().outcome
        };
        for _ in 0..2 {
            assert!(round(&[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]).is_ok());
        }
        assert!(round(&[(1, 3), (2, 6), (3, 9), (4, 12), (5, 15)]).is_err());
        let refused = round(&[(3, 0), (4, 3), (5, 6)]).unwrap_err();
        assert_eq!((refused.clocks, refused.absent), (4, 0));
    }

    #[test]
    fn of_one_machine_as_many_are_missed_as_share_its_votes() {
        let mut ensemble = ensemble(6);
        ensemble.settings.votes_per_address = 2;
        for node in 3..=6 {
            ensemble.place(NodeId(node), Machine::of("10.0.0.1".parse().unwrap()));
        }
        assert_eq!(missed(&mut ensemble, &[1, 2, 3, 4]).len(), 0);
        assert_eq!(missed(&mut ensemble, &[1, 2, 5, 6]).len(), 0);
        assert_eq!(missed(&mut ensemble, &[1]).len(), 3);
        assert_eq!(missed(&mut ensemble, &[1, 3]).len(), 2);
    }

    #[test]
    fn those_who_are_not_there_move_nobody() {
        let mut ensemble = ensemble(5);
        for _ in 0..3 {
            for node in 1..=3 {
                heard(&mut ensemble, node, TimeDelta::microseconds(900));
            }
            for node in 4..=5 {
                heard(&mut ensemble, node, TimeDelta::zero());
            }
            ensemble.close_round(Heard::OWN);
        }
        heard(&mut ensemble, 5, TimeDelta::zero());
        let agreed = ensemble.close_round(Heard::OWN).round.unwrap().outcome;
        assert_eq!(agreed.unwrap().voters, 2);
        let average = agreed.unwrap().average;
        assert!(average < TimeDelta::microseconds(10), "{average}");
    }

    #[test]
    fn who_has_no_vote_by_an_operators_word_is_not_missed() {
        let mut ensemble = ensemble(5);
        agree(&mut ensemble, 1..=5, 2);
        ensemble.drop_vote("node#5").unwrap();
        assert_eq!(missed(&mut ensemble, &[1, 2, 3]), [NodeId(4)]);
    }

    #[test]
    fn nobody_is_missed_who_was_not_corrected() {
        let mut ensemble = ensemble(3);
        ensemble.settings.dry_run = true;
        agree(&mut ensemble, 1..=3, 2);
        assert_eq!(missed(&mut ensemble, &[1]), []);
    }

    #[test]
    fn a_new_leader_misses_nobody_whom_another_one_led() {
        let mut ensemble = ensemble(3);
        agree(&mut ensemble, 1..=3, 2);
        for node in 1..=3 {
            heard(&mut ensemble, node, TimeDelta::zero());
        }
        ensemble.close_relayed(Some(0.0));
        assert_eq!(missed(&mut ensemble, &[1]), []);
        agree(&mut ensemble, 1..=3, 1);
        assert_eq!(missed(&mut ensemble, &[1]), [NodeId(2), NodeId(3)]);
    }

    #[test]
    fn a_group_that_misses_a_round_counts_for_as_many_as_it_has() {
        let mut ensemble = ensemble(4);
        ensemble.settings.max_weight = 3;
        let group = Heard {
            weight: 3,
            ..Sample::one_way(TimeDelta::zero()).into()
        };
        for _ in 0..2 {
            let interval = ensemble.interval();
            ensemble.report(NodeId(4), interval, group);
            agree(&mut ensemble, 1..=3, 1);
        }
        // Two that are wrong are a majority of those that are heard, and none of all seven.
        for node in 1..=2 {
            heard(&mut ensemble, node, TimeDelta::hours(10));
        }
        let outcome = ensemble.close_round(Heard::OWN).round.unwrap().outcome;
        assert!(outcome.is_err_and(|refused| (refused.clocks, refused.absent) == (7, 2)));
    }
}
