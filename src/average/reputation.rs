//! Whether a clock follows its corrections, and so deserves its vote.
//!
//! A clock that follows them is as often a little ahead of the others as behind: what it was
//! ahead by, it was told to give up. One that stays on the same side drags the group there, a
//! little each round, though it may never leave the window within which clocks vote.
//!
//! So the master remembers how far each clock has moved the group with its votes: the running mean
//! of its distances from the median, over some [`MEMORY`] rounds. A vote that would bring it above
//! what drift and noise explain is in doubt. A round without a vote counts as a distance of 0,
//! whatever the clock shows in it: otherwise a liar could make up for a vote on one side with what
//! it shows on the other while it has none. More in doubt is a clock that has just come, until it
//! was within the window for [`PROBATION`] rounds: otherwise a liar would only have to come back to
//! be believed. Votes go to those that are least in doubt, but never to fewer than a strict
//! majority: fewer than half are liars.
//!
//! A minority of the clocks, each with a mean distance of no more than the allowance *a*, moves
//! the mean of all by no more than *a*/2 in a round. With an allowance of [`ALLOWED_PPM`] for the
//! interval, that is half of so many ppm, and half of the clocks' median deviation in a round.

use std::cmp::Ordering;
use std::time::Duration;

use chrono::TimeDelta;

use crate::span::{at_rate, float_nanoseconds};

/// Over so many rounds the mean reaches back.
pub const MEMORY: u32 = 8;

/// So many rounds a clock has to follow before it may vote.
pub const PROBATION: u32 = 8;

/// By so much a clock may gain on the others for rounds on end: oscillators change their rate by
/// less within a few rounds, even those that are warming up.
pub const ALLOWED_PPM: f64 = 20.0;

/// What a clock's mean distance from the median may be: what drift explains in an interval, and
/// what noise does, which the median of all distances tells.
#[must_use]
pub fn allowance(interval: Duration, deviation: TimeDelta) -> TimeDelta {
    let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::MAX);
    at_rate(interval, ALLOWED_PPM) + deviation
}

/// How much in doubt a clock's vote is, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Doubt {
    /// Not at all.
    None,
    /// Its measurement is far worse than the others', and so counts little if it is needed.
    Uncertain,
    /// With this vote it would be off by so many nanoseconds in the mean, to one side.
    Biased(f64),
    /// It is on the timestamp wire and can't follow its corrections.
    Timestamp,
    /// It has not followed for long enough.
    New,
    /// It has no key, where others do: anybody could be it.
    Unkeyed,
}

/// What is remembered of one clock.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Standing {
    /// In how many rounds the clock was within the window.
    rounds: u32,
    /// The running mean of the distances that it voted with, in nanoseconds.
    mean: f64,
}

impl Standing {
    /// What was remembered of a clock: in how many rounds it was within the window, and the mean
    /// distance that it has voted with.
    #[must_use]
    pub fn kept(rounds: u32, mean: TimeDelta) -> Self {
        Self {
            rounds,
            mean: float_nanoseconds(mean),
        }
    }

    /// Whether the clock has not followed for long enough.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.rounds < PROBATION
    }

    /// How much in doubt a vote is of a clock that is so far from the median.
    #[must_use]
    pub fn doubt(&self, distance: TimeDelta, allowance: TimeDelta) -> Doubt {
        let mean = self.mean_with(distance).abs();
        if self.is_new() {
            Doubt::New
        } else if mean <= float_nanoseconds(allowance) {
            Doubt::None
        } else {
            Doubt::Biased(mean)
        }
    }

    /// In how many rounds the clock was within the window.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// The running mean of the distances that it voted with.
    #[must_use]
    pub fn mean(&self) -> TimeDelta {
        TimeDelta::nanoseconds(self.mean as i64)
    }

    /// Notes a round, in which the clock was within the window or not, and has voted with this
    /// distance or not.
    pub fn note(&mut self, within: bool, voted: Option<TimeDelta>) {
        self.rounds = self.rounds.saturating_add(u32::from(within));
        self.mean = self.mean_with(voted.unwrap_or_default());
    }

    fn mean_with(&self, distance: TimeDelta) -> f64 {
        self.mean + (float_nanoseconds(distance) - self.mean) / f64::from(MEMORY)
    }
}

/// How much in doubt a clock may be and still vote, given how much each of the clocks within the
/// window is in doubt and for how many clocks it stands, and how many clocks there are in all: those
/// least in doubt, and a strict majority of all at least.
#[must_use]
pub fn most_doubt(doubts: impl Iterator<Item = (Doubt, u32)>, clocks: usize) -> Doubt {
    let mut doubts: Vec<(Doubt, u32)> = doubts.collect();
    doubts
        .sort_unstable_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    let mut counted = 0;
    let mut reached = doubts.into_iter().skip_while(|(_, weight)| {
        counted += *weight as usize;
        counted * 2 <= clocks
    });
    reached.next().map_or(Doubt::New, |(most, _)| most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: TimeDelta = TimeDelta::milliseconds(1);
    const ALLOWANCE: TimeDelta = TimeDelta::microseconds(100);

    /// In how many of `rounds` a clock has its vote, and the sum of its distances then.
    fn judged(
        rounds: u32,
        allowance: TimeDelta,
        distance: impl Fn(u32) -> TimeDelta,
    ) -> (u32, TimeDelta) {
        let mut standing = Standing::default();
        let mut sum = (0, TimeDelta::zero());
        for round in 0..rounds {
            let distance = distance(round);
            let within = distance.abs() <= WINDOW;
            let votes = within && standing.doubt(distance, allowance) == Doubt::None;
            standing.note(within, votes.then_some(distance));
            if votes {
                sum = (sum.0 + 1, sum.1 + distance);
            }
        }
        sum
    }

    #[test]
    fn the_allowance_grows_with_the_interval_and_the_noise() {
        let allowed = allowance(Duration::from_secs(5), TimeDelta::microseconds(7));
        assert_eq!(allowed, TimeDelta::microseconds(107));
    }

    #[test]
    fn a_clock_that_follows_votes_after_its_probation() {
        let noise =
            |round: u32| TimeDelta::microseconds(if round.is_multiple_of(2) { 90 } else { -90 });
        assert_eq!(judged(100, ALLOWANCE, noise).0, 100 - PROBATION);
    }

    #[test]
    fn a_clock_that_learns_its_rate_first_votes_soon() {
        // 100 ppm of 5 s, until three rounds have told the rate.
        let learns = |round| TimeDelta::microseconds(if round < 3 { 500 } else { 3 });
        assert_eq!(judged(100, ALLOWANCE, learns).0, 100 - PROBATION);
    }

    #[test]
    fn a_clock_that_stays_ahead_votes_seldom_or_never() {
        for (micros, most) in [(150, 700), (400, 250), (801, 0), (999, 0)] {
            let ahead = |_| TimeDelta::microseconds(micros);
            let (votes, _) = judged(1000, ALLOWANCE, ahead);
            assert!(votes <= most, "{micros} µs ahead: {votes} votes");
        }
    }

    #[test]
    fn a_majority_votes_whoever_is_in_doubt() {
        use Doubt::{Biased, New, None};
        let most =
            |doubts: &[Doubt], clocks| most_doubt(doubts.iter().map(|doubt| (*doubt, 1)), clocks);
        let doubts = [None, None, None, Biased(7.0), Biased(900.0)];
        assert_eq!(most(&doubts, 5), None);
        // The fifth is out of the window.
        let doubts = [Biased(900.0), Biased(7.0), None, None];
        assert_eq!(most(&doubts, 5), Biased(7.0));
        assert_eq!(most(&[None, New, New], 3), New);
        // One that stands for a hundred is a majority by itself.
        let doubts = [(New, 1), (Biased(7.0), 100), (None, 50), (None, 49)];
        assert_eq!(most_doubt(doubts.into_iter(), 200), Biased(7.0));
        assert_eq!(most_doubt(doubts.into_iter(), 197), None);
    }

    #[test]
    fn no_pattern_moves_the_group_by_more_than_the_allowance_a_round() {
        let mut random = fastrand::Rng::with_seed(5);
        // The window is so many times the allowance.
        for times in [2, 10, 50, 500] {
            let allowance = WINDOW / times;
            let mut most = TimeDelta::zero();
            for _ in 0..2000 {
                // Any pattern of up to 12 rounds, with extremes and what is out of the window.
                let span = WINDOW.num_nanoseconds().unwrap();
                let length = random.usize(1..=12);
                let pattern: Vec<_> = (0..length)
                    .map(|_| match random.u8(0..6) {
                        0 => TimeDelta::nanoseconds(-span),
                        1 => TimeDelta::nanoseconds(span),
                        2 => TimeDelta::hours(1),
                        3 => TimeDelta::zero(),
                        4 => allowance * random.i32(-8..=8),
                        _ => TimeDelta::nanoseconds(random.i64(-span..=span)),
                    })
                    .collect();
                let distance = |round: u32| pattern[round as usize % length];
                most = most.max(judged(400, allowance, distance).1);
            }
            assert!(most <= allowance * 408, "{times}: {most} in 400 rounds");
        }
        // Coming back under a new name does not help.
        let mut moved = TimeDelta::zero();
        let rejoins = |round| TimeDelta::microseconds(if round == 8 { 800 } else { 0 });
        for _ in 0..100 {
            moved += judged(9, ALLOWANCE, rejoins).1;
        }
        assert!(moved <= ALLOWANCE * 900, "{moved}");
    }
}
