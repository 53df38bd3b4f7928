//! What a master remembers of its group: whose reputations, and for whom a first round waits.

use chrono::NaiveDate;

use crate::average::acquaintances::{Acquaintance, Acquaintances};
use crate::average::ensemble::Ensemble;
use crate::average::round::{Round, Vote, Wire};

impl Ensemble {
    /// Whether the first round waits for more of the clocks that are remembered from before.
    #[must_use]
    pub fn awaits_known(&self) -> bool {
        if !self.awaits_known || self.rounds > 0 {
            return false;
        }
        let heard = self.members.values().filter_map(|member| {
            let heard = member.heard?;
            Some((&*member.known_as, heard.sample))
        });
        // Whoever is quick could call itself by the names of many. The first is the master's own clock.
        let electorate = self.electorate();
        let voting = heard.zip(&electorate[1..]);
        let voting = voting.filter(|(_, bar)| **bar != Some(Vote::SameMachine));
        let here = voting.map(|(clock, _)| clock);
        !self.acquaintances.most_agree(here, &self.settings.rules)
    }

    /// The first round waits no longer for clocks that are remembered: they have had their time, or
    /// the group's time is known.
    pub fn wait_no_longer(&mut self) {
        self.awaits_known = false;
    }

    /// Who is remembered.
    #[must_use]
    pub fn acquaintances(&self) -> &Acquaintances {
        &self.acquaintances
    }

    /// Remembers the clocks that were within the window in a round of today, and forgets who was not
    /// seen for long.
    pub fn remember(&mut self, round: &Round, today: NaiveDate) {
        if self.settings.dry_run || round.outcome.is_err() {
            return;
        }
        let votes = self.settings.votes_per_address;
        for row in &round.rows {
            let member = row.node.and_then(|node| self.members.get(&node));
            let Some(member) = member.filter(|member| member.wire == Wire::Line) else {
                continue;
            };
            let seen = Acquaintance {
                seen: today,
                standing: member.standing,
                machine: member.machine,
            };
            match row.vote {
                Vote::Outlier | Vote::SameMachine | Vote::Unkeyed | Vote::Abandoned => {}
                _ => (self.acquaintances).note(&member.known_as, seen, votes),
            }
        }
        self.acquaintances.forget(today);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::ensemble::Settings;
    use crate::average::reputation::{PROBATION, Standing};
    use crate::average::round::{Heard, NodeId};
    use crate::measurement::sample::Sample;
    use crate::wire::machine::Machine;
    use chrono::TimeDelta;
    use std::sync::Arc;

    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 24).unwrap()
    }

    fn machine(number: u64) -> Machine {
        Machine::of([10, 0, 0, number as u8].into())
    }

    /// Ten clocks that were there in the last run, each on a machine of its own.
    fn ten() -> Acquaintances {
        let mut known = Acquaintances::default();
        for number in 1..=10 {
            let seen = Acquaintance {
                seen: today(),
                standing: Standing::kept(100, TimeDelta::zero()),
                machine: Some(machine(number)),
            };
            known.note(&Arc::from(format!("clock{number}")), seen, 1);
        }
        known
    }

    fn heard(ensemble: &mut Ensemble, node: u64, offset: TimeDelta) {
        let interval = ensemble.interval();
        ensemble.report(NodeId(node), interval, Sample::one_way(offset).into());
    }

    /// A clock of that name comes, from its own machine.
    fn join(ensemble: &mut Ensemble, number: u64, offset: TimeDelta) {
        join_from(ensemble, number, number, offset);
    }

    fn join_from(ensemble: &mut Ensemble, number: u64, from: u64, offset: TimeDelta) {
        let name = format!("clock{number}");
        ensemble.join(NodeId(number), &name, None, Wire::Line);
        ensemble.place(NodeId(number), machine(from));
        heard(ensemble, number, offset);
    }

    #[test]
    fn one_machine_is_not_most_of_a_group_whatever_names_it_tells() {
        let mut ensemble = Ensemble::knowing(Settings::default(), ten());
        for number in 1..=10 {
            join_from(&mut ensemble, number, 99, TimeDelta::hours(10));
        }
        assert!(ensemble.awaits_known() && !ensemble.is_enough());
        // Nor is it after a run in which it has shown many, one after the other, and has not lied.
        let mut ensemble = Ensemble::new(Settings::default());
        for number in 1..=6 {
            join(&mut ensemble, number, TimeDelta::zero());
        }
        for shown in 100..150 {
            join_from(&mut ensemble, shown, 99, TimeDelta::zero());
            for _ in 0..=PROBATION {
                for node in (1..=6).chain([shown]) {
                    heard(&mut ensemble, node, TimeDelta::zero());
                }
                let round = ensemble.close_round(Heard::OWN).round.unwrap();
                ensemble.remember(&round, today());
            }
            ensemble.leave(NodeId(shown));
        }
        assert_eq!(ensemble.acquaintances.len(), 7);
    }

    #[test]
    fn no_minority_that_is_quick_agrees_with_those_who_are_here_by_being_far_apart() {
        let hour = TimeDelta::hours(1);
        // All alike, and each somewhere else.
        for lies in [[10; 4], [1, 2, 3, 4]] {
            let mut ensemble = Ensemble::knowing(Settings::default(), ten());
            for (number, lie) in (1..).zip(lies) {
                join(&mut ensemble, number, hour * lie);
            }
            for number in 5..=9 {
                join(
                    &mut ensemble,
                    number,
                    TimeDelta::microseconds(number as i64),
                );
                assert!(
                    ensemble.awaits_known(),
                    "{lies:?} and {} others",
                    number - 4
                );
            }
            join(&mut ensemble, 10, TimeDelta::zero());
            assert!(!ensemble.awaits_known());
        }
    }

    #[test]
    fn a_first_round_waits_for_most_of_those_that_were_known_and_not_for_ever() {
        let mut ensemble = Ensemble::knowing(Settings::default(), ten());
        for liar in 1..=4 {
            join(&mut ensemble, liar, TimeDelta::hours(10));
        }
        assert!(ensemble.awaits_known() && !ensemble.is_enough());
        assert!(ensemble.close_round(Heard::OWN).round.is_none());
        for honest in 5..=9 {
            join(&mut ensemble, honest, TimeDelta::zero());
        }
        assert!(ensemble.awaits_known(), "five are not most of ten");
        join(&mut ensemble, 10, TimeDelta::zero());
        assert!(!ensemble.awaits_known());
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        assert_eq!(round.outcome.unwrap().average, TimeDelta::zero());
        // Nobody comes: it begins with whom there is.
        let mut ensemble = Ensemble::knowing(Settings::default(), ensemble.acquaintances);
        join(&mut ensemble, 1, TimeDelta::zero());
        assert!(ensemble.awaits_known());
        ensemble.wait_no_longer();
        assert!(ensemble.close_round(Heard::OWN).round.is_some());
    }

    #[test]
    fn who_comes_back_has_its_reputation() {
        let mut ensemble = Ensemble::new(Settings::default());
        let join = |ensemble: &mut Ensemble| {
            for node in 1..=3 {
                ensemble.join(NodeId(node), &format!("clock{node}"), None, Wire::Line);
            }
        };
        join(&mut ensemble);
        let votes = (0..48).map(|number| {
            let follows = number < PROBATION;
            for node in 1..=3 {
                let ahead = TimeDelta::microseconds(if node == 3 && !follows { 500 } else { 0 });
                heard(&mut ensemble, node, ahead);
            }
            let round = ensemble.close_round(Heard::OWN).round.unwrap();
            ensemble.remember(&round, today());
            if !follows {
                // All come back; nobody would be less new than the liar.
                join(&mut ensemble);
            }
            round.rows.iter().map(|row| row.vote).collect::<Vec<_>>()
        });
        let votes: Vec<_> = votes.skip(PROBATION as usize).collect();
        let of = |clock: usize| votes.iter().filter(|votes| votes[clock].counts()).count();
        assert_eq!([of(1), of(2)], [40, 40]);
        assert!(of(3) <= 12, "the one that lies has {} votes of 40", of(3));
    }
}
