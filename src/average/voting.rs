//! Who votes in a round, and what the clocks agree on.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::average::absent::majority;
use crate::average::consensus::{Ballot, Consensus, NoMajority, settled};
use crate::average::electorate::{Contender, electorate};
use crate::average::ensemble::Ensemble;
use crate::average::rates::{Telling, Turnout, common_rate};
use crate::average::reputation::{Doubt, allowance, most_doubt};
use crate::average::round::{Heard, MASTER, Vote, Wire};
use crate::measurement::sample::Sample;
use crate::wire::machine::Machine;

impl Ensemble {
    /// What the clocks agree on, the master's own first, and which of them have voted. Those that are
    /// absent are taken to be in these places: or else half of the clocks need only miss one round,
    /// and those that lie would be as many as the others.
    pub(in crate::average) fn agree(
        &mut self,
        clocks: &[Heard],
        absent: &[Ballot],
    ) -> (Result<Consensus, NoMajority>, Vec<Vote>) {
        let excluded = self.excluded(clocks);
        let ballots: Vec<Ballot> = asked(clocks, &excluded).map(Into::into).collect();
        let followers = &ballots[usize::from(excluded[0].is_none())..];
        let all = [absent, &ballots].concat();
        let agreed = match majority(&all, absent.len(), followers, &self.settings.rules) {
            Ok(agreed) => agreed,
            Err(refused) => return (Err(refused), vec![Vote::Abandoned; clocks.len()]),
        };
        let groups = all.iter().any(|ballot| ballot.weight > 1);
        let settled_for_long = groups && clocks.iter().all(|clock| clock.synchronized);
        let once = settled_for_long
            .then(|| settled(&agreed, &all, &self.settings.rules))
            .flatten();
        let agreed = self.limited(once.unwrap_or(agreed));
        let votes = self.votes(&agreed, clocks, &excluded);
        self.note(&agreed, &votes);
        let voting = clocks.iter().zip(&votes).filter(|(_, vote)| vote.counts());
        let cast: Vec<Ballot> = voting.map(|(clock, _)| clock.into()).collect();
        let agreed = if once.is_some() {
            let once = cast.iter().map(|it| it.sample.into());
            agreed.among(once).counting(&cast)
        } else {
            agreed.among(cast.iter().copied())
        };
        let agreed = if self.beginning.knows_no_reputations() {
            let samples: Vec<Sample> = ballots.iter().map(|ballot| ballot.sample).collect();
            agreed.at_median(&samples)
        } else {
            agreed
        };
        (Ok(agreed), votes)
    }

    /// Which clocks vote, in the same order: those that no rule bars, within the window, that are the
    /// least in doubt; of the others, as many as it takes for a majority.
    fn votes(&self, agreed: &Consensus, clocks: &[Heard], excluded: &[Option<Vote>]) -> Vec<Vote> {
        // Why a clock may not vote, whatever its reputation.
        let bar = |(clock, excluded): (&Heard, &Option<Vote>)| match excluded {
            Some(Vote::Dropped | Vote::SameMachine) => *excluded,
            _ if !agreed.votes(clock.sample.offset) => Some(Vote::Outlier),
            _ => *excluded,
        };
        let barred: Vec<_> = clocks.iter().zip(excluded).map(bar).collect();
        let doubts = self.doubts(agreed);
        let voting = doubts.iter().zip(clocks).zip(&barred);
        let voting = voting.filter(|(_, barred)| barred.is_none());
        let voting = voting.map(|((doubt, clock), _)| (*doubt, clock.weight));
        let most = most_doubt(voting, weight(asked(clocks, excluded)));
        let vote = |(doubt, barred): (Doubt, Option<Vote>)| match barred {
            Some(why) => why,
            None if doubt <= most => Vote::Yes,
            None => Vote::from(doubt),
        };
        doubts.into_iter().zip(barred).map(vote).collect()
    }

    /// What was agreed on, where no vote pulls further than a clock in order would: all who lie together
    /// would move the group by as much at once as reputation allows them in many rounds. A new group
    /// has no time to keep yet, and begins with the mean of its clocks.
    fn limited(&self, agreed: Consensus) -> Consensus {
        let settings = &self.settings;
        let is_new = self.rounds == 0 || settings.dry_run;
        if is_new || settings.rules.tolerance.is_some() {
            return agreed;
        }
        agreed.reaching(allowance(settings.interval, agreed.deviation))
    }

    /// Why each clock is not asked at all, the master's own first; `None` if it is.
    fn excluded(&self, clocks: &[Heard]) -> Vec<Option<Vote>> {
        let mut excluded = self.electorate();
        // A master that has just started is no part of a group that agrees already, nor is any
        // other clock that has.
        let followers = clocks[1..].iter().zip(&excluded[1..]);
        let returns = !clocks[0].synchronized && most_follow(followers);
        for (bar, clock) in excluded.iter_mut().zip(clocks) {
            let new = returns && !clock.synchronized;
            *bar = bar.or(new.then_some(Vote::New));
        }
        excluded
    }

    /// Whether most of the followers that count have followed a master before.
    #[must_use]
    pub fn knows_a_group(&self) -> bool {
        let heard = self.members.values().filter_map(|it| it.heard.as_ref());
        most_follow(heard.zip(&self.electorate()[1..]))
    }

    /// Why each clock is not of those that count, the master's own first; `None` if it is. Of the
    /// followers that gave their time, so many of each machine count; who was dropped takes nobody's
    /// place.
    pub(in crate::average) fn electorate(&self) -> Vec<Option<Vote>> {
        let heard = || self.members.iter().filter(|(_, it)| it.heard.is_some());
        let contenders: Vec<_> = heard()
            .filter(|(_, member)| !self.dropped.contains(&member.name))
            .map(|(&node, member)| Contender {
                node,
                machine: member.machine,
                wire: member.wire,
                standing: &member.standing,
            })
            .collect();
        let mut counts = electorate(&contenders, self.settings.votes_per_address).into_iter();
        let names = std::iter::once(MASTER).chain(heard().map(|(_, member)| &*member.name));
        let dropped: Vec<bool> = names.map(|name| self.dropped.contains(name)).collect();
        let bar = |(place, dropped): (usize, bool)| {
            if dropped {
                return Some(Vote::Dropped);
            }
            let counts = place == 0 || counts.next() == Some(true);
            (!counts).then_some(Vote::SameMachine)
        };
        dropped.into_iter().enumerate().map(bar).collect()
    }

    /// How much a vote of each clock would be in doubt, in the same order.
    fn doubts(&self, agreed: &Consensus) -> Vec<Doubt> {
        let allowance = allowance(self.settings.interval, agreed.deviation);
        let followers = self.members.values().filter_map(|member| {
            let sample = member.heard?.sample;
            let distance = agreed.pull(&sample);
            Some(match member.wire {
                // Nobody is told a correction.
                _ if self.settings.dry_run => Doubt::None,
                _ if member.unkeyed => Doubt::Unkeyed,
                Wire::Line => match member.standing.doubt(distance, allowance) {
                    Doubt::None if agreed.is_uncertain(&sample) => Doubt::Uncertain,
                    doubt => doubt,
                },
                // The master keeps its correction for it, and can't tell whether it drifts or
                // lies. Its vote is asked for where there is no majority without.
                Wire::Timestamp => Doubt::Timestamp,
            })
        });
        std::iter::once(Doubt::None).chain(followers).collect()
    }

    /// Notes who has voted, in the same order. What one clock of a machine has voted is noted for
    /// all of them: none of its connections is to have a reputation that another one has spent.
    fn note(&mut self, agreed: &Consensus, votes: &[Vote]) {
        let mut pulled: BTreeMap<Machine, TimeDelta> = BTreeMap::new();
        let mut votes = votes[1..].iter();
        let mut others = Vec::new();
        for (&node, member) in &mut self.members {
            let Some(Heard { sample, .. }) = member.heard else {
                continue;
            };
            let Some(vote) = votes.next() else { break };
            if *vote == Vote::SameMachine {
                others.push(node);
                continue;
            }
            let pull = vote.counts().then(|| agreed.pull(&sample));
            member.standing.note(agreed.votes(sample.offset), pull);
            if let (Some(machine), Some(pull)) = (member.machine, pull) {
                let largest = pulled.entry(machine).or_default();
                *largest = std::cmp::max_by_key(*largest, pull, TimeDelta::abs);
            }
        }
        for node in others {
            if let Some(member) = self.members.get_mut(&node) {
                let pull = member.machine.and_then(|it| pulled.get(&it)).copied();
                member.standing.note(false, pull);
            }
        }
    }

    /// By how many ppm all clocks are to run faster, given the rates that voters tell. What
    /// the group was led by towards references, `led_ppm`, is no mistake of its rate.
    pub(in crate::average) fn common_rate(
        &mut self,
        own: &Heard,
        votes: &[Vote],
        led_ppm: f64,
    ) -> f64 {
        // Where references lead a group, its rate is what they make it.
        let is_led = led_ppm.abs() > f64::EPSILON;
        let own_ppm = own.rate_ppm.filter(|_| !is_led);
        let own_ppm = own_ppm.filter(|_| self.beginning.knows_no_rates());
        let own_change = own_ppm.and_then(|ppm| self.own_rate.change(ppm));
        let heard = self.members.values_mut().filter_map(|member| {
            let heard = member.heard?;
            Some((&mut member.rate, heard))
        });
        let clocks = std::iter::once((&mut self.own_rate, *own)).chain(heard);
        let mut turnout = Turnout {
            present: 0,
            voters: 0,
        };
        let telling = clocks.zip(votes).filter_map(|((baseline, heard), vote)| {
            let weight = heard.weight;
            turnout.present += weight as usize;
            if !vote.counts() {
                return None;
            }
            turnout.voters += weight as usize;
            Some(Telling {
                baseline,
                ppm: heard.rate_ppm? - led_ppm,
                weight,
            })
        });
        let mut told: Vec<_> = telling.collect();
        common_rate(&mut told, turnout, own_change, &mut self.course)
    }
}

/// Whether, of the followers that are not barred, most say that they know their group's time: one
/// alone may claim that and lie.
fn most_follow<'a>(followers: impl Iterator<Item = (&'a Heard, &'a Option<Vote>)> + Clone) -> bool {
    let counting = followers.filter(|(_, bar)| bar.is_none());
    let counting = counting.map(|(clock, _)| clock);
    let group = counting.clone().filter(|clock| clock.synchronized);
    weight(group) * 2 > weight(counting)
}

/// The clocks that nothing excludes.
fn asked<'a>(clocks: &'a [Heard], excluded: &'a [Option<Vote>]) -> impl Iterator<Item = &'a Heard> {
    let asked = clocks.iter().zip(excluded);
    let asked = asked.filter(|(_, bar)| bar.is_none());
    asked.map(|(clock, _)| clock)
}

/// For how many clocks these stand.
fn weight<'a>(clocks: impl Iterator<Item = &'a Heard>) -> usize {
    clocks.map(|clock| clock.weight as usize).sum()
}
