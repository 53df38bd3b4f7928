//! The master's memory: who is here, what is known of their clocks, and a round's outcome.
//!
//! A round goes in as samples ([`Ensemble::report`]) and comes out as corrections
//! ([`Ensemble::close_round`]); sending them is left to the caller.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use crate::average::{Consensus, NoMajority, RATE_GAIN, Rules, consensus, mean_rate};
use crate::drift::CRYSTAL_PPM;
use crate::sample::Sample;
use crate::standing::{Standing, allowance};

/// A node that gives no clock in so many rounds in a row is dropped.
pub const MISSED_ROUNDS: u32 = 3;

/// One connection of a follower, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// How a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// It tells its time when it likes and applies nothing (see [`crate::timestamp`]): the master
    /// keeps its correction for it.
    Timestamp,
    /// It is polled and corrects itself.
    Line,
}

impl fmt::Display for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Timestamp => "timestamp wire",
            Self::Line => "line protocol",
        })
    }
}

#[derive(Debug)]
struct Member {
    name: Arc<str>,
    wire: Wire,
    sample: Option<Sample>,
    /// The network's rate against the member's oscillator, as it says.
    rate_ppm: Option<f64>,
    /// Whether `sample` came since the last round.
    fresh: bool,
    missed: u32,
    standing: Standing,
    /// What a peer that never corrects itself was told to add so far.
    kept: TimeDelta,
}

/// The outcome of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Counted from 1.
    pub number: u64,
    /// The interval whose samples it averaged, see [`Ensemble::interval`].
    pub interval: u64,
    /// The master's own clock, then every follower's that gave its time.
    pub rows: Vec<Row>,
    /// What the clocks agree on, if they do.
    pub outcome: Result<Consensus, NoMajority>,
    /// By how many ppm all clocks are to run faster than they did.
    pub common_ppm: f64,
}

/// One clock in a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The follower's connection; `None` is the master itself.
    pub node: Option<NodeId>,
    /// What people call it: `master`, or the follower's address.
    pub name: Arc<str>,
    /// The clock against the master's; what the master keeps for the peer is already in it.
    pub sample: Sample,
    /// Whether it has a vote in the average.
    pub voted: bool,
    /// What it must add to agree with the group; `None` when the round was abandoned.
    pub correction: Option<TimeDelta>,
}

/// What the end of an interval brings.
#[derive(Debug, Default)]
pub struct Closed {
    /// The round, if enough clocks were there to hold one.
    pub round: Option<Round>,
    /// Who was silent for too long and is no longer a member.
    pub dropped: Vec<NodeId>,
}

/// How an ensemble holds its rounds.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// From one round to the next.
    pub interval: Duration,
    /// Which clocks vote.
    pub rules: Rules,
    /// The first round waits for so many followers; no round is held without any.
    pub min_followers: usize,
    /// A peer on the timestamp wire reports when it likes: its last report counts until it has
    /// been silent for so many intervals, [`MISSED_ROUNDS`] at least.
    pub timestamp_patience: u32,
    /// Nobody will be told of the corrections, so none is kept for anybody.
    pub dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: crate::DEFAULT_INTERVAL,
            rules: Rules::default(),
            min_followers: 1,
            timestamp_patience: MISSED_ROUNDS,
            dry_run: false,
        }
    }
}

/// Everybody the master knows.
#[derive(Debug)]
pub struct Ensemble {
    settings: Settings,
    members: BTreeMap<NodeId, Member>,
    intervals: u64,
    rounds: u64,
}

impl Ensemble {
    /// An ensemble of the master alone.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            members: BTreeMap::new(),
            intervals: 0,
            rounds: 0,
        }
    }

    /// Takes a follower in.
    pub fn join(&mut self, node: NodeId, name: Arc<str>, wire: Wire) {
        self.members.insert(
            node,
            Member {
                name,
                wire,
                sample: None,
                rate_ppm: None,
                fresh: false,
                missed: 0,
                standing: Standing::default(),
                kept: TimeDelta::zero(),
            },
        );
    }

    /// Lets a follower go. Whether it was a member until now.
    pub fn leave(&mut self, node: NodeId) -> bool {
        self.members.remove(&node).is_some()
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
    /// `rate_ppm` is the network's rate against the follower's oscillator, if it says.
    pub fn report(&mut self, node: NodeId, interval: u64, sample: Sample, rate_ppm: Option<f64>) {
        if interval != self.intervals {
            return;
        }
        if let Some(member) = self.members.get_mut(&node) {
            member.sample = Some(Sample {
                offset: sample.offset + member.kept,
                ..sample
            });
            member.rate_ppm = rate_ppm;
            member.fresh = true;
        }
    }

    /// Ends an interval: averages the clocks that gave their time, and starts the next one.
    /// `own_rate_ppm` is the network's rate against the master's oscillator.
    pub fn close_round(&mut self, own_rate_ppm: f64) -> Closed {
        self.intervals += 1;
        let dropped = self.drop_silent();
        let reported = self.members.values().filter(|m| m.sample.is_some()).count();
        let enough = match self.rounds {
            0 => self.settings.min_followers,
            _ => 1,
        };
        let round = (reported >= enough.max(1)).then(|| self.average(own_rate_ppm));
        for member in self.members.values_mut() {
            member.fresh = false;
            if member.wire == Wire::Line {
                member.sample = None;
            }
        }
        Closed { round, dropped }
    }

    /// Ends an interval without a round: the clock that everything was measured against has been
    /// set meanwhile.
    pub fn abandon_interval(&mut self) {
        self.intervals += 1;
        for member in self.members.values_mut() {
            member.sample = None;
        }
    }

    fn drop_silent(&mut self) -> Vec<NodeId> {
        for member in self.members.values_mut() {
            member.missed = if member.fresh { 0 } else { member.missed + 1 };
        }
        let timestamp_patience = self.settings.timestamp_patience.max(MISSED_ROUNDS);
        let silent = |_: &NodeId, member: &mut Member| {
            member.missed
                >= match member.wire {
                    Wire::Timestamp => timestamp_patience,
                    Wire::Line => MISSED_ROUNDS,
                }
        };
        self.members
            .extract_if(.., silent)
            .map(|(node, _)| node)
            .collect()
    }

    /// Who follows their corrections: the master, then every follower that gave its time.
    fn judge(&mut self, agreed: &Consensus) -> Vec<bool> {
        let allowance = allowance(self.settings.interval, agreed.deviation);
        let mut trusted = vec![true];
        for member in self.members.values_mut() {
            let Some(sample) = member.sample else {
                continue;
            };
            let distance = sample.offset - agreed.median;
            let follows = member.standing.judge(distance, agreed.window, allowance);
            // Nobody is told a correction in a dry run. On the timestamp wire the master keeps it
            // for its peer, and can't tell one that drifts from one that lies.
            let cannot_follow = self.settings.dry_run || member.wire == Wire::Timestamp;
            trusted.push(follows || cannot_follow);
        }
        trusted
    }

    fn average(&mut self, own_rate_ppm: f64) -> Round {
        let clocks = self.members.values().filter_map(|member| member.sample);
        let samples: Vec<Sample> = std::iter::once(Sample::OWN).chain(clocks).collect();
        let mut outcome = consensus(&samples, &self.settings.rules);
        // Fewer than half are liars, so if most clocks are to be mistrusted, none is.
        let mut trusted = outcome.map_or_else(|_| Vec::new(), |agreed| self.judge(&agreed));
        match outcome.map(|agreed| agreed.among(&samples, &trusted)) {
            Ok(Some(agreed)) => outcome = Ok(agreed),
            _ => trusted = vec![true; samples.len()],
        }
        let mut trusted = trusted.into_iter();
        let mut row = |node, name: &Arc<str>, sample: Sample| Row {
            node,
            name: Arc::clone(name),
            sample,
            voted: trusted.next() == Some(true)
                && outcome.is_ok_and(|agreed| agreed.votes(sample.offset)),
            correction: outcome.ok().map(|agreed| agreed.correction(sample.offset)),
        };
        let mut rows = Vec::with_capacity(samples.len());
        let own = row(None, &Arc::from("master"), Sample::OWN);
        let mut rates = Vec::with_capacity(samples.len());
        rates.extend(own.voted.then_some(own_rate_ppm));
        rows.push(own);
        for (&node, member) in &mut self.members {
            let Some(sample) = &mut member.sample else {
                continue;
            };
            let row = row(Some(node), &member.name, *sample);
            rates.extend(member.rate_ppm.filter(|_| row.voted));
            rows.push(row);
            if let (Wire::Timestamp, Ok(agreed), false) =
                (member.wire, outcome, self.settings.dry_run)
            {
                member.kept += agreed.correction(sample.offset);
                // With its correction it now agrees with the group, and so does the master.
                sample.offset = TimeDelta::zero();
            }
        }
        self.rounds += 1;
        let rows_that_vote = rows.iter().filter(|row| row.voted).count();
        Round {
            number: self.rounds,
            interval: self.intervals - 1,
            rows,
            outcome,
            common_ppm: common_rate(&rates, rows_that_vote),
        }
    }
}

/// By how many ppm all clocks are to run faster, given the rates that voters tell: nothing, unless
/// most of the voters tell theirs.
fn common_rate(rates_ppm: &[f64], voters: usize) -> f64 {
    if rates_ppm.len() * 2 <= voters {
        return 0.0;
    }
    let common = -RATE_GAIN * mean_rate(rates_ppm).unwrap_or(0.0);
    common.clamp(-CRYSTAL_PPM, CRYSTAL_PPM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ensemble(followers: u64, wire: Wire) -> Ensemble {
        let mut ensemble = Ensemble::new(Settings {
            timestamp_patience: 15,
            ..Settings::default()
        });
        for node in 1..=followers {
            ensemble.join(NodeId(node), Arc::from(format!("node {node}")), wire);
        }
        ensemble
    }

    fn heard(ensemble: &mut Ensemble, node: u64, offset: TimeDelta) {
        let interval = ensemble.interval();
        ensemble.report(NodeId(node), interval, Sample::one_way(offset), None);
    }

    fn corrections(round: &Round) -> Vec<i64> {
        round
            .rows
            .iter()
            .map(|row| row.correction.unwrap().num_minutes())
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
            let closed = ensemble.close_round(0.0).round.unwrap();
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
            assert_eq!(ensemble.close_round(0.0).round.unwrap().rows.len(), 3);
        }
        heard(&mut ensemble, 2, TimeDelta::zero());
        let closed = ensemble.close_round(0.0);
        assert_eq!(closed.dropped, [NodeId(1)]);
        assert_eq!(closed.round.unwrap().rows.len(), 2);
    }

    #[test]
    fn a_polled_clock_counts_in_its_own_round_only_and_is_dropped_after_three() {
        let mut ensemble = ensemble(2, Wire::Line);
        heard(&mut ensemble, 1, TimeDelta::zero());
        heard(&mut ensemble, 2, TimeDelta::zero());
        assert_eq!(ensemble.close_round(0.0).round.unwrap().rows.len(), 3);
        for missed in 1..=3 {
            heard(&mut ensemble, 2, TimeDelta::zero());
            let closed = ensemble.close_round(0.0);
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
            let round = ensemble.close_round(0.0).round.unwrap();
            voted = round.rows.iter().map(|row| row.voted).collect();
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
            dry.join(NodeId(node), Arc::from("node"), Wire::Line);
        }
        assert_eq!(voters(&mut dry, 10, &ahead), [true; 4]);
    }

    #[test]
    fn without_a_majority_of_trusted_clocks_all_have_their_vote() {
        // Two of four are not followed by a majority.
        let mut ensemble = ensemble(3, Wire::Line);
        let judged = voters(&mut ensemble, 20, &[5, 300, -300]);
        assert_eq!(judged, [true; 4]);
    }

    #[test]
    fn a_newcomer_has_no_vote_until_it_has_followed() {
        let mut ensemble = ensemble(3, Wire::Line);
        voters(&mut ensemble, 10, &[1, 2, 3]);
        ensemble.join(NodeId(4), Arc::from("late"), Wire::Line);
        let new = voters(&mut ensemble, 1, &[1, 2, 3, 4]);
        assert_eq!(new, [true, true, true, true, false]);
        assert_eq!(voters(&mut ensemble, 8, &[1, 2, 3, 4]), [true; 5]);
    }

    #[test]
    fn a_measurement_across_the_end_of_a_round_is_thrown_away() {
        let mut ensemble = ensemble(1, Wire::Line);
        let begun = ensemble.interval();
        ensemble.close_round(0.0);
        ensemble.report(NodeId(1), begun, Sample::OWN, None);
        assert!(ensemble.close_round(0.0).round.is_none());
    }

    #[test]
    fn the_first_round_waits_for_enough_followers() {
        let mut ensemble = Ensemble::new(Settings {
            min_followers: 2,
            ..Settings::default()
        });
        assert!(ensemble.close_round(0.0).round.is_none());
        for node in [1, 2] {
            ensemble.join(NodeId(node), Arc::from("node"), Wire::Timestamp);
        }
        heard(&mut ensemble, 1, TimeDelta::zero());
        assert!(
            ensemble.close_round(0.0).round.is_none(),
            "2 joined, 1 reported"
        );
        heard(&mut ensemble, 2, TimeDelta::zero());
        assert_eq!(ensemble.close_round(0.0).round.unwrap().number, 1);
        assert!(ensemble.leave(NodeId(2)));
        assert_eq!(ensemble.close_round(0.0).round.unwrap().number, 2);
        assert!(ensemble.leave(NodeId(1)));
        assert!(
            ensemble.close_round(0.0).round.is_none(),
            "nobody left to agree with"
        );
    }

    #[test]
    fn an_abandoned_round_moves_nobody() {
        let mut ensemble = ensemble(3, Wire::Timestamp);
        for (node, hours) in [(1, 40), (2, -40), (3, 90)] {
            heard(&mut ensemble, node, TimeDelta::hours(hours));
        }
        let round = ensemble.close_round(0.0).round.unwrap();
        assert!(round.outcome.is_err());
        assert!(
            round
                .rows
                .iter()
                .all(|row| row.correction.is_none() && !row.voted)
        );
        heard(&mut ensemble, 1, TimeDelta::hours(40));
        let round = ensemble.close_round(0.0).round.unwrap();
        assert_eq!(
            round.rows[1].sample.offset,
            TimeDelta::hours(40),
            "nothing was kept"
        );
    }
}
