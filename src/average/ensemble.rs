//! The master's memory: who is here, what is known of their clocks, and a round's outcome.
//!
//! A round goes in as samples ([`Ensemble::report`]) and comes out as corrections
//! ([`Ensemble::close_round`]); sending them is left to the caller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use crate::average::acquaintances::{Acquaintances, known_as};
use crate::average::beginning::Beginning;
use crate::average::dropped::Dropped;
use crate::average::member::Member;
use crate::average::names::Names;
use crate::average::rates::{Baseline, Course, told_rate};
use crate::average::reference::Guide;
use crate::average::reputation::Standing;
use crate::average::round::{Above, Closed, Heard, MASTER, NodeId, Round, Row, Vote, Wire};
pub use crate::average::settings::{MISSED_ROUNDS, Settings};
use crate::average::stands::Stands;
use crate::wire::correction::Correction;
use crate::wire::machine::Machine;

/// Everybody the master knows.
#[derive(Debug)]
pub struct Ensemble {
    pub(in crate::average) settings: Settings,
    /// Each in a place of its own: a tree of large values is half empty where they come in order.
    pub(in crate::average) members: BTreeMap<NodeId, Box<Member>>,
    pub(in crate::average) dropped: Dropped,
    pub(in crate::average) guide: Guide,
    pub(in crate::average) beginning: Beginning,
    names: Names,
    pub(in crate::average) acquaintances: Acquaintances,
    /// The first round waits for a majority of them.
    pub(in crate::average) awaits_known: bool,
    /// What the rate of the master's own clock is compared with.
    pub(in crate::average) own_rate: Baseline,
    /// What else is known of the group's rate.
    pub(in crate::average) course: Course,
    /// For how many clocks the group stands, and the mean of the rates that they tell.
    pub(in crate::average) stands: Stands,
    intervals: u64,
    pub(in crate::average) rounds: u64,
    /// For how long the next round was waited for.
    pub(in crate::average) pause: Duration,
}

impl Ensemble {
    /// An ensemble of the master alone.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::knowing(settings, Acquaintances::default())
    }

    /// The same, which remembers clocks from before: its first round waits until most of them are
    /// here and agree, see [`Ensemble::wait_no_longer`].
    #[must_use]
    pub fn knowing(settings: Settings, acquaintances: Acquaintances) -> Self {
        Self {
            pause: settings.interval,
            settings,
            members: BTreeMap::new(),
            dropped: Dropped::default(),
            guide: Guide::default(),
            beginning: Beginning::default(),
            names: Names::of_followers(),
            awaits_known: !acquaintances.is_empty(),
            acquaintances,
            own_rate: Baseline::default(),
            course: Course::default(),
            stands: Stands::default(),
            intervals: 0,
            rounds: 0,
        }
    }

    /// Takes a follower in that calls itself `name`. What it is called here: the same, or, where
    /// another member has that name, the name with a number.
    pub fn join(
        &mut self,
        node: NodeId,
        name: &str,
        address: Option<SocketAddr>,
        wire: Wire,
    ) -> Arc<str> {
        self.leave(node);
        let name = self.names.take(name);
        let known_as = known_as(&name, address);
        let before = self.acquaintances.get(&known_as);
        let standing = before.map(|known| known.standing).unwrap_or_default();
        let member = Member::new(Arc::clone(&name), known_as, address, wire, standing);
        self.members.insert(node, Box::new(member));
        name
    }

    /// A member has no key: it votes only where those that have one are no majority.
    pub fn doubt_unkeyed(&mut self, node: NodeId) {
        if let Some(member) = self.members.get_mut(&node) {
            member.unkeyed = true;
        }
    }

    /// Says on which machine a member is, unless it is the master's own: the clocks there share
    /// its votes.
    pub fn place(&mut self, node: NodeId, machine: Machine) {
        if let Some(member) = self.members.get_mut(&node) {
            member.machine = Some(machine);
        }
    }

    /// Lets a follower go. Whether it was a member until now.
    pub fn leave(&mut self, node: NodeId) -> bool {
        let member = self.members.remove(&node);
        if let Some(member) = &member {
            self.names.give_back(&member.name);
        }
        member.is_some()
    }

    /// How many followers have joined, and how many of those have given their time.
    #[must_use]
    pub fn present(&self) -> (usize, usize) {
        let reported = self.members.values().filter(|m| m.heard.is_some()).count();
        (self.members.len(), reported)
    }

    /// What is remembered of every follower's votes.
    #[must_use]
    pub fn standings(&self) -> Vec<(NodeId, Standing)> {
        let members = self.members.iter();
        members.map(|(node, it)| (*node, it.standing)).collect()
    }

    /// How many followers have to give their time before the next round is held.
    #[must_use]
    pub fn wanted(&self) -> usize {
        match self.rounds {
            0 => self.settings.min_followers.max(1),
            _ => 1,
        }
    }

    /// Whether a round can be held: so many followers that count have given their time.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        let (wanted, (_, reported)) = (self.wanted(), self.present());
        reported >= wanted && !self.awaits_known() && {
            // The first is the master. Those that were dropped are still to be corrected.
            let followers = self.electorate().into_iter().skip(1);
            let counting = followers.filter(|bar| *bar != Some(Vote::SameMachine));
            counting.count() >= wanted
        }
    }

    /// Whoever has given no time since the last round has not missed the one that is closed next.
    pub fn excuse_silence(&mut self) {
        for member in self.members.values_mut() {
            member.fresh = true;
        }
    }

    /// The correction of a clock that has just come and belongs to no group yet: it need not wait
    /// for the end of a round. `group` is how wrong the master's own target may be, `None` when it
    /// does not know the group's time. A clock that has followed a correction waits: its group
    /// may be the larger one, which only a round can tell.
    ///
    /// What was heard of it is no longer true, and a round that is closed before it is heard again
    /// does without, or it would be corrected once more. A peer that never corrects itself counts where
    /// the correction that is kept for it puts it.
    #[must_use]
    pub fn welcome(&mut self, node: NodeId, group: Option<TimeDelta>) -> Option<Correction> {
        let group = group.filter(|_| !self.settings.dry_run)?;
        let member = self.members.get_mut(&node)?;
        let heard = member.heard.filter(|heard| !heard.synchronized)?;
        let correction = Correction {
            offset: -heard.sample.offset,
            error: heard.sample.error + group,
            ..Correction::default()
        };
        match member.wire {
            Wire::Line => member.heard = None,
            Wire::Timestamp => member.keep(correction.offset),
        }
        Some(correction)
    }

    /// The next round comes so long after the last one: an interval later, if not in a new group.
    pub fn next_round_after(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// The interval that samples are being collected in, to be passed to [`Ensemble::report`].
    #[must_use]
    pub fn interval(&self) -> u64 {
        self.intervals
    }

    /// Notes a clock, measured against the master's target in the given interval.
    ///
    /// A measurement that was begun in an earlier interval is thrown away: the master's target
    /// has been corrected since.
    pub fn report(&mut self, node: NodeId, interval: u64, mut heard: Heard) {
        if interval != self.intervals {
            return;
        }
        if let Some(member) = self.members.get_mut(&node) {
            heard.sample.offset += member.kept;
            member.heard = Some(member.counted(heard, self.settings.max_weight));
            member.fresh = true;
        }
    }

    /// Ends an interval: averages the clocks that gave their time, and starts the next one.
    /// `own` is the master's clock.
    pub fn close_round(&mut self, own: Heard) -> Closed {
        self.close_round_below(own, Above::Nobody)
    }

    /// The same in a group that has another one above it, perhaps.
    pub fn close_round_below(&mut self, own: Heard, above: Above) -> Closed {
        let dropped = self.drop_silent();
        let enough = self.is_enough();
        if !enough && self.rounds == 0 {
            // The first round waits for more, and those who have answered until now count in it.
            for member in self.members.values_mut() {
                member.fresh = false;
            }
            return Closed {
                round: None,
                dropped,
            };
        }
        self.intervals += 1;
        let round = enough.then(|| self.average(own, above));
        if round.is_none() {
            self.stands = Stands::default();
        }
        for member in self.members.values_mut() {
            member.fresh = false;
            if member.wire == Wire::Line {
                member.heard = None;
            }
        }
        Closed { round, dropped }
    }

    /// Ends an interval of a master that does not lead: whoever is here is told the time that it
    /// follows itself, so agrees with the group. `own_ppm` is the group's rate against its own
    /// oscillator, if it knows the group's time.
    pub fn close_relayed(&mut self, own_ppm: Option<f64>) -> Closed {
        self.intervals += 1;
        if let Some(own_ppm) = own_ppm {
            self.own_rate.follow(own_ppm, self.settings.interval);
        }
        let dropped = self.drop_silent();
        for member in self.members.values_mut() {
            member.fresh = false;
            member.place = None;
            if let Some(heard) = member.heard {
                member.keep(-heard.sample.offset);
            }
        }
        Closed {
            round: None,
            dropped,
        }
    }

    /// Ends an interval without a round: the clock that everything was measured against has been
    /// set meanwhile.
    pub fn abandon_interval(&mut self) {
        self.intervals += 1;
        for member in self.members.values_mut() {
            member.heard = None;
            member.place = None;
        }
    }

    fn drop_silent(&mut self) -> Vec<NodeId> {
        for member in self.members.values_mut() {
            member.missed = if member.fresh { 0 } else { member.missed + 1 };
        }
        let timestamp_patience = self.settings.timestamp_patience.max(MISSED_ROUNDS);
        let is_silent = |member: &Member| {
            member.missed
                >= match member.wire {
                    Wire::Timestamp => timestamp_patience,
                    Wire::Line => MISSED_ROUNDS,
                }
        };
        let silent = self.members.iter().filter(|(_, it)| is_silent(it));
        let silent: Vec<_> = silent.map(|(node, _)| *node).collect();
        for node in &silent {
            self.leave(*node);
        }
        silent
    }

    fn average(&mut self, own: Heard, above: Above) -> Round {
        let clocks = self.clocks(own);
        let (absent, places): (_, Vec<_>) = self.absent().into_iter().unzip();
        let (outcome, votes) = self.agree(&clocks, &places);
        let moved = above.moves();
        let told_ppm = told_rate(&clocks, &votes);
        let (led, references, common_ppm) =
            self.rate_of_the_group(&clocks[0], told_ppm, &votes, &outcome, above);
        let told_ppm = told_ppm.map(|ppm| ppm + moved.rate_ppm);
        self.stands.note(&clocks, told_ppm, &votes, &outcome);
        let row = |member: Option<(NodeId, &Member)>, heard: Heard, vote: Option<Vote>| Row {
            node: member.map(|(node, _)| node),
            name: member.map_or_else(|| Arc::from(MASTER), |(_, it)| Arc::clone(&it.name)),
            address: member.and_then(|(_, member)| member.address),
            sample: heard.sample,
            weight: heard.weight,
            deviation: heard.deviation,
            vote: vote.unwrap_or(Vote::Abandoned),
            correction: outcome
                .ok()
                .map(|agreed| agreed.correct(&heard.sample, common_ppm).and(&moved)),
            rate_ppm: heard.rate_ppm,
            reference: references.get(&member.map(|(node, _)| node)).copied(),
        };
        let mut in_turn = votes.iter().copied();
        let mut rows = Vec::with_capacity(clocks.len());
        rows.push(row(None, own, in_turn.next()));
        for (&node, member) in &mut self.members {
            let Some(heard) = member.heard else {
                continue;
            };
            let Heard {
                sample, machine, ..
            } = heard;
            let vote = in_turn.next();
            if let Ok(agreed) = outcome {
                // A report counts in several rounds, and what is kept for its sender grows.
                let machine = match member.wire {
                    Wire::Timestamp => Some(-member.kept),
                    Wire::Line => machine,
                };
                let ahead = |machine| sample.offset + machine - agreed.average - moved.shift;
                member.machine_ahead = machine.map(ahead);
            }
            // In a dry run nobody is corrected, and everybody stays where it is.
            if let (Some(vote), false) = (vote, self.settings.dry_run) {
                member.note_place(&heard, vote, outcome.as_ref().ok());
            }
            rows.push(row(Some((node, member)), heard, vote));
            if let (Wire::Timestamp, Ok(agreed), false) =
                (member.wire, outcome, self.settings.dry_run)
            {
                member.keep(agreed.correction(sample.offset));
                // The master is moved too, so the two go on agreeing.
                member.kept += moved.shift;
            }
        }
        self.rounds += 1;
        self.beginning.note();
        Round {
            number: self.rounds,
            interval: self.intervals - 1,
            rows,
            absent,
            outcome,
            led,
            above,
            dry_run: self.settings.dry_run,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::sample::Sample;

    fn ensemble(followers: u64, wire: Wire) -> Ensemble {
        let mut ensemble = Ensemble::new(Settings {
            timestamp_patience: 15,
            ..Settings::default()
        });
        for node in 1..=followers {
            ensemble.join(NodeId(node), "node", None, wire);
        }
        ensemble
    }

    fn heard(ensemble: &mut Ensemble, node: u64, offset: TimeDelta) {
        let interval = ensemble.interval();
        ensemble.report(NodeId(node), interval, Sample::one_way(offset).into());
    }

    fn corrections(round: &Round) -> Vec<i64> {
        round
            .rows
            .iter()
            .map(|row| row.correction.unwrap().offset.num_minutes())
            .collect()
    }

    #[test]
    fn every_round_of_the_worked_example_says_the_same_time() {
        let mut ensemble = ensemble(2, Wire::Timestamp);
        let mut master = TimeDelta::zero();
        for round in 1..=4 {
            // The clients stand at -14 and +20 for ever; the master follows its corrections.
            heard(&mut ensemble, 1, TimeDelta::minutes(-14) - master);
            heard(&mut ensemble, 2, TimeDelta::minutes(20) - master);
            let closed = ensemble.close_round(Heard::OWN).round.unwrap();
            assert_eq!(closed.number, round);
            let expected = if round == 1 { [2, 16, -18] } else { [0, 0, 0] };
            assert_eq!(corrections(&closed), expected, "round {round}");
            master += closed.outcome.unwrap().average;
            assert_eq!(master, TimeDelta::minutes(2), "round {round}");
        }
    }

    #[test]
    fn a_report_counts_until_its_sender_is_dropped() {
        let mut ensemble = ensemble(2, Wire::Timestamp);
        heard(&mut ensemble, 1, TimeDelta::minutes(3));
        for _ in 0..15 {
            heard(&mut ensemble, 2, TimeDelta::zero());
            assert_eq!(
                ensemble.close_round(Heard::OWN).round.unwrap().rows.len(),
                3
            );
        }
        heard(&mut ensemble, 2, TimeDelta::zero());
        let closed = ensemble.close_round(Heard::OWN);
        assert_eq!(closed.dropped, [NodeId(1)]);
        assert_eq!(closed.round.unwrap().rows.len(), 2);
    }

    #[test]
    fn a_polled_clock_counts_in_its_own_round_only_and_is_dropped_after_three() {
        let mut ensemble = ensemble(2, Wire::Line);
        heard(&mut ensemble, 1, TimeDelta::zero());
        heard(&mut ensemble, 2, TimeDelta::zero());
        assert_eq!(
            ensemble.close_round(Heard::OWN).round.unwrap().rows.len(),
            3
        );
        for missed in 1..=3 {
            heard(&mut ensemble, 2, TimeDelta::zero());
            let closed = ensemble.close_round(Heard::OWN);
            assert_eq!(closed.round.unwrap().rows.len(), 2);
            assert_eq!(closed.dropped.is_empty(), missed < 3);
        }
    }

    /// Who votes in the last of some rounds in which followers 1, 2... are ahead by so many µs.
    fn voters(ensemble: &mut Ensemble, rounds: usize, ahead: &[i64]) -> Vec<bool> {
        let mut voted = Vec::new();
        for _ in 0..rounds {
            for (node, &micros) in (1..).zip(ahead) {
                heard(ensemble, node, TimeDelta::microseconds(micros));
            }
            let round = ensemble.close_round(Heard::OWN).round.unwrap();
            voted = round.rows.iter().map(|row| row.vote.counts()).collect();
        }
        voted
    }

    #[test]
    fn a_clock_that_does_not_follow_its_corrections_has_no_vote() {
        let ahead = [0, 5, 300];
        let mut polled = ensemble(3, Wire::Line);
        assert_eq!(voters(&mut polled, 1, &ahead), [true; 4], "all are new");
        let judged = voters(&mut polled, 10, &ahead);
        assert_eq!(judged, [true, true, true, false]);
        // It would do so within the window of the timestamp wire, where none can follow.
        let mut heard = ensemble(3, Wire::Timestamp);
        assert_eq!(voters(&mut heard, 10, &ahead), [true; 4]);
        let mut dry = Ensemble::new(Settings {
            dry_run: true,
            ..Settings::default()
        });
        for node in 1..=3 {
            dry.join(NodeId(node), "node", None, Wire::Line);
        }
        assert_eq!(voters(&mut dry, 10, &ahead), [true; 4]);
    }

    #[test]
    fn a_majority_votes_even_if_some_of_it_are_in_doubt() {
        let mut ensemble = ensemble(3, Wire::Line);
        let judged = voters(&mut ensemble, 20, &[5, 300, -500]);
        assert_eq!(judged, [true, true, true, false]);
    }

    /// Puts these followers on one machine.
    fn on_one_machine(ensemble: &mut Ensemble, nodes: std::ops::RangeInclusive<u64>) {
        let machine = Machine::of([10, 0, 0, 9].into());
        nodes.for_each(|node| ensemble.place(NodeId(node), machine));
    }

    #[test]
    fn the_clocks_of_one_machine_share_a_vote_and_are_corrected() {
        let hour = 3_600_000_000;
        let mut ensemble = ensemble(208, Wire::Line);
        on_one_machine(&mut ensemble, 9..=208);
        let ahead: Vec<_> = (1..=208).map(|it| if it < 9 { it } else { hour }).collect();
        for (node, &micros) in (1..).zip(&ahead) {
            heard(&mut ensemble, node, TimeDelta::microseconds(micros));
        }
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        let vote = |node: usize| round.rows[node].vote;
        assert_eq!((vote(1), vote(9)), (Vote::Yes, Vote::Outlier));
        assert!((10..=208).all(|node| vote(node) == Vote::SameMachine));
        let moved = round.outcome.unwrap().average;
        assert!(moved.abs() < TimeDelta::microseconds(9), "{moved}");
        let corrected = round.rows[208].correction.unwrap().offset;
        assert!((corrected + TimeDelta::hours(1)).abs() < TimeDelta::microseconds(9));
    }

    #[test]
    fn the_first_round_waits_for_clocks_that_count() {
        let mut ensemble = Ensemble::new(Settings {
            min_followers: 2,
            ..Settings::default()
        });
        for node in 1..=4 {
            ensemble.join(NodeId(node), "node", None, Wire::Line);
        }
        on_one_machine(&mut ensemble, 1..=3);
        (1..=3).for_each(|node| heard(&mut ensemble, node, TimeDelta::zero()));
        assert!(ensemble.close_round(Heard::OWN).round.is_none());
        heard(&mut ensemble, 4, TimeDelta::zero());
        assert!(ensemble.close_round(Heard::OWN).round.is_some());
    }

    #[test]
    fn what_one_connection_has_spent_no_other_of_its_machine_has_left() {
        let mut ensemble = ensemble(6, Wire::Line);
        on_one_machine(&mut ensemble, 4..=6);
        voters(&mut ensemble, 10, &[0, 0, 0, 0, 0, 0]);
        // Whichever of them answers: half a millisecond ahead has a vote for a round or two.
        let mut pulled = 0;
        for round in 0..300 {
            for node in 1..=3 {
                heard(&mut ensemble, node, TimeDelta::zero());
            }
            heard(&mut ensemble, 4 + round % 3, TimeDelta::microseconds(500));
            let closed = ensemble.close_round(Heard::OWN).round.unwrap();
            pulled += u64::from(closed.rows[4].vote.counts());
        }
        assert!(
            pulled <= 60,
            "{pulled} votes in 300 rounds of three connections"
        );
    }

    #[test]
    fn a_measurement_far_worse_than_the_others_has_no_vote_and_no_share_in_the_error() {
        let mut ensemble = ensemble(4, Wire::Line);
        let measured = |micros| Sample {
            error: TimeDelta::microseconds(micros),
            ..Sample::OWN
        };
        voters(&mut ensemble, 10, &[0; 4]);
        let mut measure = |clocks: [(u64, i64); 4]| {
            for (node, micros) in clocks {
                let interval = ensemble.interval();
                ensemble.report(NodeId(node), interval, measured(micros).into());
            }
            ensemble.close_round(Heard::OWN).round.unwrap()
        };
        let round = measure([(1, 20), (2, 25), (3, 30), (4, 110_000)]);
        let votes: Vec<_> = round.rows.iter().map(|row| row.vote).collect();
        assert_eq!(votes[..4], [Vote::Yes; 4]);
        assert_eq!(votes[4], Vote::Uncertain);
        let error = round.outcome.unwrap().error;
        assert_eq!(error, TimeDelta::nanoseconds(18_750));
    }

    #[test]
    fn a_newcomer_has_no_vote_until_it_has_followed() {
        let mut ensemble = ensemble(3, Wire::Line);
        voters(&mut ensemble, 10, &[1, 2, 3]);
        ensemble.join(NodeId(4), "late", None, Wire::Line);
        let new = voters(&mut ensemble, 1, &[1, 2, 3, 4]);
        assert_eq!(new, [true, true, true, true, false]);
        assert_eq!(voters(&mut ensemble, 8, &[1, 2, 3, 4]), [true; 5]);
    }

    #[test]
    fn a_group_goes_on_from_its_own_time_under_a_master_that_has_just_started() {
        let new = Heard {
            synchronized: false,
            ..Heard::OWN
        };
        let mut ensemble = ensemble(3, Wire::Line);
        let mut hear = |node, minutes, synchronized| {
            let sample = Sample::one_way(TimeDelta::minutes(minutes));
            let heard = Heard {
                synchronized,
                ..Heard::from(sample)
            };
            ensemble.report(NodeId(node), 0, heard);
        };
        // Two are here yet that followed the last master; another has just started too.
        hear(1, 20, true);
        hear(2, 0, false);
        hear(3, 20, true);
        let round = ensemble.close_round(new).round.unwrap();
        assert_eq!(corrections(&round), [20, 0, 20, 0]);
        let votes: Vec<_> = round.rows.iter().map(|row| row.vote.counts()).collect();
        assert_eq!(votes, [false, true, false, true]);
    }

    #[test]
    fn one_that_claims_to_be_of_a_group_makes_no_new_one_known() {
        let mut ensemble = ensemble(3, Wire::Line);
        let mut claim = |node: u64, synchronized: bool| {
            let heard = Heard {
                synchronized,
                ..Heard::from(Sample::OWN)
            };
            ensemble.report(NodeId(node), 0, heard);
            ensemble.knows_a_group()
        };
        assert!(!claim(1, false));
        assert!(!claim(2, true), "one of two");
        assert!(claim(3, true));
    }

    #[test]
    fn one_that_claims_to_be_of_a_group_decides_for_no_others() {
        let new = Heard {
            synchronized: false,
            ..Heard::OWN
        };
        let mut ensemble = ensemble(3, Wire::Line);
        for node in 1..=3 {
            let liar = node == 3;
            let sample = Sample::one_way(TimeDelta::hours(if liar { 10 } else { 0 }));
            let heard = Heard {
                synchronized: liar,
                ..Heard::from(sample)
            };
            ensemble.report(NodeId(node), 0, heard);
        }
        let round = ensemble.close_round(new).round.unwrap();
        assert_eq!(corrections(&round), [0, 0, 0, -600]);
    }

    #[test]
    fn who_is_told_a_time_that_is_only_relayed_agrees_with_it() {
        let mut ensemble = ensemble(1, Wire::Timestamp);
        heard(&mut ensemble, 1, TimeDelta::minutes(20));
        assert!(ensemble.close_relayed(None).round.is_none());
        heard(&mut ensemble, 1, TimeDelta::minutes(21));
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        assert_eq!(round.rows[1].sample.offset, TimeDelta::minutes(1));
        for _ in 0..14 {
            assert!(ensemble.close_relayed(None).dropped.is_empty());
        }
        assert_eq!(ensemble.close_relayed(None).dropped, [NodeId(1)]);
    }

    #[test]
    fn a_measurement_across_the_end_of_a_round_is_thrown_away() {
        let mut ensemble = ensemble(1, Wire::Line);
        heard(&mut ensemble, 1, TimeDelta::zero());
        let begun = ensemble.interval();
        assert!(ensemble.close_round(Heard::OWN).round.is_some());
        ensemble.report(NodeId(1), begun, Heard::OWN);
        assert!(ensemble.close_round(Heard::OWN).round.is_none());
    }

    #[test]
    fn who_has_answered_counts_in_the_first_round_however_long_that_waits() {
        let mut ensemble = Ensemble::new(Settings {
            min_followers: 2,
            ..Settings::default()
        });
        for node in [1, 2] {
            ensemble.join(NodeId(node), "node", None, Wire::Line);
        }
        heard(&mut ensemble, 1, TimeDelta::minutes(3));
        assert!(ensemble.close_round(Heard::OWN).round.is_none());
        assert_eq!((ensemble.present(), ensemble.wanted()), ((2, 1), 2));
        heard(&mut ensemble, 2, TimeDelta::minutes(3));
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        assert_eq!(round.rows.len(), 3);
        assert_eq!(ensemble.wanted(), 1);
    }

    #[test]
    fn a_clock_that_has_just_come_is_corrected_from_what_the_group_knows() {
        let mut ensemble = ensemble(1, Wire::Line);
        let sample = Sample::one_way(TimeDelta::minutes(20));
        let error = TimeDelta::microseconds(7);
        let synchronized = Heard {
            synchronized: true,
            ..Heard::from(sample)
        };
        ensemble.report(NodeId(1), ensemble.interval(), synchronized);
        let told = ensemble.welcome(NodeId(1), Some(error));
        assert_eq!(told, None, "its own group may be the larger one");
        heard(&mut ensemble, 1, TimeDelta::minutes(20));
        assert_eq!(ensemble.welcome(NodeId(1), None), None, "no group yet");
        let correction = ensemble.welcome(NodeId(1), Some(error)).unwrap();
        assert_eq!(correction.offset, TimeDelta::minutes(-20));
        assert_eq!(correction.error, sample.error + error);
        // A client that can't correct itself goes on telling the same time.
        ensemble.join(NodeId(2), "client", None, Wire::Timestamp);
        assert_eq!(ensemble.welcome(NodeId(2), Some(error)), None, "no time");
        heard(&mut ensemble, 2, TimeDelta::minutes(20));
        assert!(ensemble.welcome(NodeId(2), Some(error)).is_some());
        // Neither is corrected once more if it is not heard again in time.
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        let told: Vec<_> = round.rows.iter().filter_map(|row| row.node).collect();
        assert_eq!(told, [NodeId(2)]);
        assert_eq!(corrections(&round), [0, 0]);
        heard(&mut ensemble, 2, TimeDelta::minutes(20));
        heard(&mut ensemble, 1, TimeDelta::zero());
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        assert_eq!(corrections(&round), [0, 0, 0]);
    }

    #[test]
    fn the_first_round_waits_for_enough_followers() {
        let mut ensemble = Ensemble::new(Settings {
            min_followers: 2,
            ..Settings::default()
        });
        assert!(ensemble.close_round(Heard::OWN).round.is_none());
        for node in [1, 2] {
            ensemble.join(NodeId(node), "node", None, Wire::Timestamp);
        }
        heard(&mut ensemble, 1, TimeDelta::zero());
        assert!(
            ensemble.close_round(Heard::OWN).round.is_none(),
            "2 joined, 1 reported"
        );
        heard(&mut ensemble, 2, TimeDelta::zero());
        assert_eq!(ensemble.close_round(Heard::OWN).round.unwrap().number, 1);
        assert!(ensemble.leave(NodeId(2)));
        assert_eq!(ensemble.close_round(Heard::OWN).round.unwrap().number, 2);
        assert!(ensemble.leave(NodeId(1)));
        assert!(
            ensemble.close_round(Heard::OWN).round.is_none(),
            "nobody left to agree with"
        );
    }

    #[test]
    fn an_abandoned_round_moves_nobody() {
        let mut ensemble = ensemble(3, Wire::Timestamp);
        for (node, hours) in [(1, 40), (2, -40), (3, 90)] {
            heard(&mut ensemble, node, TimeDelta::hours(hours));
        }
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        assert!(round.outcome.is_err());
        assert!(
            round
                .rows
                .iter()
                .all(|row| row.correction.is_none() && !row.vote.counts())
        );
        heard(&mut ensemble, 1, TimeDelta::hours(40));
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        assert_eq!(
            round.rows[1].sample.offset,
            TimeDelta::hours(40),
            "nothing was kept"
        );
    }
}
