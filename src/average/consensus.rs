//! The averaging math: which clocks agree, and what time they agree on.
//!
//! The clocks' offsets have a median *m*. A clock within a window of *m* votes; the average is
//! the mean over the voters, and every clock, voter or not, is corrected to it.
//!
//! A vote counts by what its measurement is worth. Measurements that are up to [`ORDINARY`] times
//! as uncertain as the median one are worth the same, so that no clock gains by being near, or by
//! pretending to be; nor are any told apart whose error is less than what the clocks themselves
//! differ by: minutes are averaged in whole minutes, however well each was measured. What is more
//! uncertain than both, because it met a queue, is worth less, by 1/error².
//!
//! A clock that stands for a group of *n* (see [`Ballot`]) counts in all of this as *n* clocks that
//! were measured to be where it is. But they are not all there: half of them are within the group's
//! own median deviation of it, so none of them is taken to be nearer to *m* than that.
//!
//! The window is fixed by `--tolerance` or else drawn from the clocks themselves: three standard
//! deviations, estimated from the median absolute deviation as 1.4826 · MAD, which is right for
//! normally distributed offsets and which no minority can stretch (Rousseeuw and Croux, 1993).
//!
//! Fewer than half the clocks, whatever they claim, cannot bring *m* outside the range of the
//! others, so the average never lies further outside that range than one window; and the
//! automatic window is never wider than max(1 ms, 4.4478 times that range).

use std::fmt;

use chrono::TimeDelta;

pub use crate::average::ballot::Ballot;
use crate::average::ballot::{Seen, middle};
use crate::average::median;
use crate::measurement::sample::Sample;
use crate::span::{self, at_rate, exact_nanoseconds, float_nanoseconds, nanoseconds};
use crate::wire::correction::Correction;

/// The automatic window is never narrower: clocks this close together all agree.
pub const LEAST_WINDOW: TimeDelta = TimeDelta::milliseconds(1);

/// How many times as uncertain as the median measurement one may be and still count in full.
pub const ORDINARY: i32 = 2;

/// A measurement that is so many times as uncertain as those of two thirds of the clocks is not asked.
/// Two thirds and not half: a clock that claims to have held a question for as long as the answer took
/// looks perfectly measured, and fewer than a third that do so must not cost the others their votes.
pub const UNCERTAIN: i32 = 16;

/// No measurement is taken for more uncertain, by far.
const LARGEST_ERROR: TimeDelta = Rules::LARGEST_OFFSET;

/// What a vote is worth that counts in full.
const FULL_WORTH: i64 = 1 << 20;

/// Three standard deviations for each MAD, in units of 1/10,000.
const WINDOW_PER_MAD: i32 = 44_478;

/// Which clocks may vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How far from the median a clock may be and still vote; `None` draws it from the clocks.
    pub tolerance: Option<TimeDelta>,
    /// How far from the median a clock may be and still vote, whatever the tolerance. At most
    /// [`Rules::LARGEST_OFFSET`]; more counts as that.
    pub max_offset: TimeDelta,
}

impl Rules {
    /// The largest `max_offset`: 100 years.
    pub const LARGEST_OFFSET: TimeDelta = TimeDelta::days(36_525);
}

impl Default for Rules {
    /// An automatic tolerance, and 24 hours.
    fn default() -> Self {
        Self {
            tolerance: None,
            max_offset: TimeDelta::hours(24),
        }
    }
}

/// What a majority of the clocks agrees on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consensus {
    /// The group's time, as an offset from the clock that the offsets were measured against.
    pub average: TimeDelta,
    /// The mean of the voters' errors: no more than this can `average` be wrong.
    pub error: TimeDelta,
    /// Votes that are measured to ± this count in full.
    pub ordinary_error: TimeDelta,
    /// Who is measured to more than ± this has no vote, as long as others are a majority.
    pub largest_error: TimeDelta,
    /// The median of all offsets.
    pub median: TimeDelta,
    /// The median of all distances from it.
    pub deviation: TimeDelta,
    /// How far from the median a clock votes.
    pub window: TimeDelta,
    /// How far from the median a vote is taken to be at most. A clock beyond that votes only because
    /// it is within [`LEAST_WINDOW`], and is not to pull the others by more than noise explains.
    pub reach: TimeDelta,
    /// How many clocks vote; one that stands for a group counts as so many.
    pub voters: usize,
    /// What their votes are worth in the mean, [`FULL_WORTH`] at most.
    mean_worth: i64,
}

impl Consensus {
    /// Whether a clock with this offset votes.
    #[must_use]
    pub fn votes(&self, offset: TimeDelta) -> bool {
        (offset - self.median).abs() <= self.window
    }

    /// Whether a clock was measured so much worse than the others that it can only cost them
    /// exactness.
    #[must_use]
    pub fn is_uncertain(&self, sample: &Sample) -> bool {
        sample.error > self.largest_error
    }

    /// The same, where only these clocks vote, as far as they lie within the window.
    #[must_use]
    pub fn among(self, voters: impl Iterator<Item = Ballot>) -> Self {
        self.of(voters.map(|it| it.seen_from(self.median)))
    }

    /// The same of voters as they are seen from the median.
    fn of(self, voters: impl Iterator<Item = Seen>) -> Self {
        let [window, reach, ordinary] =
            [self.window, self.reach, self.ordinary_error].map(nanoseconds);
        let (mut count, mut worths, mut distances, mut errors) = (0, 0, 0, 0);
        for it in voters.filter(|it| it.ahead.saturating_abs() <= window) {
            let worth = i128::from(worth(it.error, ordinary) * i64::from(it.weight));
            count += it.weight as usize;
            worths += worth;
            distances += worth * i128::from(it.ahead.clamp(-reach, reach));
            errors += worth * i128::from(it.error);
        }
        let mean = |sum: i128| TimeDelta::nanoseconds((sum / worths.max(1)) as i64);
        Self {
            average: self.median + mean(distances),
            error: mean(errors),
            voters: count,
            mean_worth: (worths / count.max(1) as i128) as i64,
            ..self
        }
    }

    /// The same, with each of these voters counted as for so many clocks as it stands.
    #[must_use]
    pub fn counting(self, voters: &[Ballot]) -> Self {
        let voters = voters.iter().map(|ballot| ballot.weight as usize).sum();
        Self { voters, ..self }
    }

    /// The same, where no vote is taken to be further from the median than this.
    #[must_use]
    pub fn reaching(self, reach: TimeDelta) -> Self {
        Self {
            reach: self.reach.min(reach),
            ..self
        }
    }

    /// The same, where the median of these clocks is all that can be believed: it is known as well as
    /// those that lie there.
    #[must_use]
    pub fn at_median(self, clocks: &[Sample]) -> Self {
        let distance = |sample: &Sample| (sample.offset - self.median).abs();
        let nearest = clocks.iter().map(distance).min().unwrap_or_default();
        let there = clocks.iter().filter(|sample| distance(sample) <= nearest);
        let error = there.map(|sample| sample.error).max().unwrap_or_default();
        Self {
            average: self.median,
            error: self.error.max(error),
            ..self
        }
    }

    /// What the vote of one clock is worth by its measurement, [`FULL_WORTH`] at most.
    fn worth(&self, sample: &Sample) -> i64 {
        worth(nanoseconds(sample.error), nanoseconds(self.ordinary_error))
    }

    /// How much the vote of one clock counts: 1 in full, less where it is measured less surely than
    /// others.
    #[must_use]
    pub fn part(&self, sample: &Sample) -> f64 {
        self.worth(sample) as f64 / FULL_WORTH as f64
    }

    /// How far the vote of one clock pulls the average, times the number of voters: its distance
    /// from the median, by what its vote is worth against those of the others. A clock that stands
    /// for several pulls as each of them would.
    #[must_use]
    pub fn pull(&self, sample: &Sample) -> TimeDelta {
        let distance = exact_nanoseconds(sample.offset - self.median);
        let worth = i128::from(self.worth(sample));
        let pull = distance.saturating_mul(worth) / i128::from(self.mean_worth.max(1));
        TimeDelta::nanoseconds(pull.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }

    /// What a clock with this offset must add to agree with the group.
    #[must_use]
    pub fn correction(&self, offset: TimeDelta) -> TimeDelta {
        self.average - offset
    }

    /// The whole correction of a clock that was measured so, in a group that is to run
    /// `common_ppm` faster. It is the average less the offset, and either may be wrong.
    #[must_use]
    pub fn correct(&self, sample: &Sample, common_ppm: f64) -> Correction {
        Correction {
            offset: self.correction(sample.offset),
            error: self.error + sample.error,
            common_ppm,
            ..Correction::default()
        }
    }
}

/// No strict majority of the clocks agrees, so there is no average that deserves the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMajority {
    /// How many clocks there are.
    pub clocks: usize,
    /// How many of them lie within the window.
    pub voters: usize,
    /// The window.
    pub window: TimeDelta,
    /// Whether `max_offset` made the window, not the tolerance.
    pub limited_by_max_offset: bool,
    /// How many of the clocks were not heard in this round, and counted as being where they were.
    pub absent: usize,
}

impl fmt::Display for NoMajority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.absent > 0 {
            return write!(
                out,
                "{} of {} clocks gave no time, and those that did are no majority that agrees \
                 within {}: nobody is corrected; see whether they can be reached",
                self.absent,
                self.clocks,
                span::span(self.window)
            );
        }
        write!(
            out,
            "only {} of {} clocks lie within {} of their median, and more than half must: \
             nobody is corrected; set the clocks that are wrong, or raise {}",
            self.voters,
            self.clocks,
            span::span(self.window),
            if self.limited_by_max_offset {
                "--max-offset"
            } else {
                "--tolerance"
            }
        )
    }
}

impl std::error::Error for NoMajority {}

/// Averages the clocks that agree. `samples` holds every clock's, the measuring clock's own
/// ([`Sample::OWN`]) included; their order does not matter.
///
/// Takes time in proportion to the number of clocks.
///
/// # Errors
/// [`NoMajority`] when no more than half of the clocks lie within the window.
///
/// ```
/// use berkeley::{Rules, Sample, consensus};
/// use chrono::TimeDelta;
///
/// // 14:00, 13:46 and 14:20, measured by the first:
/// let clocks = [0, -14, 20].map(|minutes| Sample::one_way(TimeDelta::minutes(minutes)));
/// let agreed = consensus(&clocks, &Rules::default()).unwrap();
/// assert_eq!(agreed.average, TimeDelta::minutes(2)); // 14:02
/// let corrections = clocks.map(|clock| agreed.correction(clock.offset).num_minutes());
/// assert_eq!(corrections, [2, 16, -18]);
/// ```
pub fn consensus(samples: &[Sample], rules: &Rules) -> Result<Consensus, NoMajority> {
    agreed_by(samples.iter().map(|sample| Ballot::from(*sample)), rules)
}

/// The same of clocks that may stand for groups.
///
/// # Errors
/// [`NoMajority`], as for [`consensus`].
pub fn consensus_of(ballots: &[Ballot], rules: &Rules) -> Result<Consensus, NoMajority> {
    agreed_by(ballots.iter().copied(), rules)
}

fn agreed_by(
    ballots: impl Iterator<Item = Ballot> + Clone,
    rules: &Rules,
) -> Result<Consensus, NoMajority> {
    let max_offset = rules.max_offset.min(Rules::LARGEST_OFFSET);
    let origin = middle(ballots.clone());
    let mut all: Vec<Seen> = ballots.map(|it| it.seen_from(origin)).collect();
    let clocks = all.iter().map(|it| it.weight as usize).sum();
    let mut spans = Vec::new();
    let ahead = median::median(each(&mut spans, &all, |it| it.ahead));
    let median = origin + TimeDelta::nanoseconds(ahead);
    for it in &mut all {
        it.ahead = it.ahead.saturating_sub(ahead);
    }
    let distances = each(&mut spans, &all, |it| {
        it.ahead.saturating_abs().max(it.deviation)
    });
    let deviation = TimeDelta::nanoseconds(median::median(distances)).min(max_offset);
    let largest = nanoseconds(LARGEST_ERROR);
    let errors = each(&mut spans, &all, |it| it.error.min(largest));
    let ordinary = TimeDelta::nanoseconds(median::median(errors));
    let of_two_thirds = TimeDelta::nanoseconds(median::of_two_thirds(errors));
    let drawn = deviation * WINDOW_PER_MAD / 10_000;
    let tolerance = rules.tolerance.unwrap_or(drawn.max(LEAST_WINDOW));
    let agreed = Consensus {
        average: median,
        error: TimeDelta::zero(),
        ordinary_error: (ordinary * ORDINARY).max(deviation),
        largest_error: (of_two_thirds * UNCERTAIN).max(deviation * (UNCERTAIN / ORDINARY)),
        median,
        deviation,
        window: tolerance.min(max_offset),
        reach: rules.tolerance.unwrap_or(drawn).min(max_offset),
        voters: 0,
        mean_worth: FULL_WORTH,
    };
    let agreed = agreed.of(all.into_iter());
    if agreed.voters * 2 <= clocks {
        return Err(NoMajority {
            clocks,
            voters: agreed.voters,
            window: agreed.window,
            limited_by_max_offset: tolerance >= max_offset,
            absent: 0,
        });
    }
    Ok(agreed)
}

/// A span of each, with its weight; in `spans`, which serves one median after the other.
fn each<'a>(
    spans: &'a mut Vec<(i64, u32)>,
    all: &[Seen],
    span: impl Fn(&Seen) -> i64,
) -> &'a mut [(i64, u32)] {
    spans.clear();
    spans.extend(all.iter().map(|it| (span(it), it.weight)));
    spans
}

/// What a vote is worth by the error of its measurement, [`FULL_WORTH`] at most; both in nanoseconds.
fn worth(error: i64, ordinary_error: i64) -> i64 {
    if error <= ordinary_error {
        return FULL_WORTH;
    }
    let part = ordinary_error as f64 / error as f64;
    (FULL_WORTH as f64 * part * part) as i64 + 1
}

/// What those agree on that have agreed for some time, if all that are within the window of `agreed`
/// are within [`LEAST_WINDOW`] too: what they differ by is the noise of their measurements. The clock of
/// a group is measured no better than any other, so each counts once here. Otherwise the master
/// of a group would follow the noise of one link, that to the largest group below it.
#[must_use]
pub fn settled(agreed: &Consensus, ballots: &[Ballot], rules: &Rules) -> Option<Consensus> {
    let voting = ballots.iter().filter(|it| agreed.votes(it.sample.offset));
    let near = |it: &Ballot| (it.sample.offset - agreed.median).abs() <= LEAST_WINDOW;
    if !voting.clone().all(near) {
        return None;
    }
    agreed_by(voting.map(|it| it.sample.into()), rules).ok()
}

/// The mean of some rates in ppm, each told by a clock of some weight: they are averaged as offsets
/// are, each counting as what it gains in 1000 s, so that no minority moves it beyond what the others
/// differ by. The rates of the clocks of one group differ by `spread_ppm`. `None` without a majority.
#[must_use]
pub fn mean_rate(rates: &[(f64, u32)], spread_ppm: f64) -> Option<f64> {
    let base = TimeDelta::seconds(1000);
    let deviation = |weight| match weight {
        0 | 1 => TimeDelta::zero(),
        _ => at_rate(base, spread_ppm),
    };
    let clocks: Vec<_> = rates
        .iter()
        .map(|&(ppm, weight)| Ballot {
            sample: Sample::one_way(at_rate(base, ppm)),
            weight,
            deviation: deviation(weight),
        })
        .collect();
    let agreed = consensus_of(&clocks, &Rules::default()).ok()?;
    Some(float_nanoseconds(agreed.average) / float_nanoseconds(base) * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clocks_that_are_minutes_apart_count_alike_however_well_they_were_measured() {
        let measured = |minutes, nanoseconds| Sample {
            offset: TimeDelta::minutes(minutes),
            delay: None,
            error: TimeDelta::nanoseconds(nanoseconds),
        };
        let two = [Sample::OWN, measured(-20, 9149)];
        let agreed = consensus(&two, &Rules::default()).unwrap();
        assert_eq!(agreed.average, TimeDelta::minutes(-10));
        let three = [Sample::OWN, measured(-14, 9_000), measured(20, 4_000_000)];
        let agreed = consensus(&three, &Rules::default()).unwrap();
        assert_eq!(agreed.average, TimeDelta::minutes(2));
    }

    const HOUR: i64 = 3_600_000_000_000;

    fn clocks(offsets: &[TimeDelta]) -> Vec<Sample> {
        offsets.iter().copied().map(Sample::one_way).collect()
    }

    fn seconds(offsets: &[i64]) -> Vec<Sample> {
        clocks(
            &offsets
                .iter()
                .copied()
                .map(TimeDelta::seconds)
                .collect::<Vec<_>>(),
        )
    }

    fn within(tolerance: TimeDelta) -> Rules {
        Rules {
            tolerance: Some(tolerance),
            ..Rules::default()
        }
    }

    #[test]
    fn the_worked_example() {
        let clocks = clocks(&[0, -14, 20].map(TimeDelta::minutes));
        let agreed = consensus(&clocks, &Rules::default()).unwrap();
        assert_eq!(agreed.average, TimeDelta::minutes(2));
        assert_eq!(agreed.voters, 3);
        let corrections: Vec<_> = clocks
            .iter()
            .map(|clock| agreed.correction(clock.offset).num_minutes())
            .collect();
        assert_eq!(corrections, [2, 16, -18]);
    }

    #[test]
    fn one_clock_agrees_with_itself() {
        let agreed = consensus(&[Sample::OWN], &Rules::default()).unwrap();
        assert_eq!((agreed.average, agreed.voters), (TimeDelta::zero(), 1));
        assert_eq!(agreed.error, TimeDelta::zero());
    }

    #[test]
    fn two_clocks_meet_in_the_middle() {
        let agreed = consensus(&seconds(&[0, 10]), &Rules::default()).unwrap();
        assert_eq!(agreed.average, TimeDelta::seconds(5));
    }

    #[test]
    fn no_clock_at_all_agrees_on_nothing() {
        assert!(consensus(&[], &Rules::default()).is_err());
    }

    #[test]
    fn a_clock_from_1970_has_no_vote_and_is_corrected() {
        let lost = TimeDelta::days(-20_000);
        let clocks = clocks(&[
            TimeDelta::zero(),
            TimeDelta::microseconds(300),
            TimeDelta::microseconds(-300),
            lost,
        ]);
        let agreed = consensus(&clocks, &Rules::default()).unwrap();
        assert_eq!((agreed.average, agreed.voters), (TimeDelta::zero(), 3));
        assert!(!agreed.votes(lost));
        assert_eq!(agreed.correction(lost), TimeDelta::days(20_000));
    }

    #[test]
    fn half_the_clocks_are_no_majority() {
        let halves = seconds(&[0, 0, 3600, 3600]);
        let refused = consensus(&halves, &within(TimeDelta::seconds(1))).unwrap_err();
        assert_eq!((refused.voters, refused.clocks), (0, 4));
        assert!(
            refused.to_string().contains("raise --tolerance"),
            "{refused}"
        );
        // One more on either side decides it.
        let decided = seconds(&[0, 0, 0, 3600, 3600]);
        let agreed = consensus(&decided, &within(TimeDelta::seconds(1))).unwrap();
        assert_eq!((agreed.average, agreed.voters), (TimeDelta::zero(), 3));
        // Exactly half within the window is not enough either.
        let scattered = seconds(&[0, 0, 100, -200]);
        let refused = consensus(&scattered, &within(TimeDelta::seconds(1))).unwrap_err();
        assert_eq!((refused.voters, refused.clocks), (2, 4));
    }

    #[test]
    fn clocks_all_days_apart_agree_on_nothing_and_are_told_what_to_do() {
        let scattered = clocks(&[0, 40, -40, 90].map(TimeDelta::hours));
        let refused = consensus(&scattered, &Rules::default()).unwrap_err();
        assert!(refused.limited_by_max_offset);
        let message = refused.to_string();
        assert!(message.contains("raise --max-offset"), "{message}");
        assert!(message.contains("nobody is corrected"), "{message}");
    }

    #[test]
    fn the_window_ends_where_it_says() {
        let edge = seconds(&[0, 0, 0, 1]);
        assert_eq!(
            consensus(&edge, &within(TimeDelta::seconds(1)))
                .unwrap()
                .voters,
            4
        );
        let narrower = within(TimeDelta::nanoseconds(999_999_999));
        assert_eq!(consensus(&edge, &narrower).unwrap().voters, 3);
    }

    #[test]
    fn ten_thousand_clocks() {
        let offsets: Vec<_> = (0..10_000).map(TimeDelta::microseconds).collect();
        let agreed = consensus(&clocks(&offsets), &Rules::default()).unwrap();
        assert_eq!(agreed.voters, 10_000);
        assert_eq!(agreed.average, TimeDelta::nanoseconds(4_999_500));
    }

    #[test]
    fn the_error_of_the_average_is_the_mean_of_the_voters_errors() {
        let asked = |offset, error| Sample {
            offset: TimeDelta::microseconds(offset),
            delay: None,
            error: TimeDelta::microseconds(error),
        };
        let clocks = [
            asked(0, 10),
            asked(1, 20),
            asked(2, 60),
            asked(9_000_000, 999_999),
        ];
        let agreed = consensus(&clocks, &Rules::default()).unwrap();
        assert_eq!(agreed.error, TimeDelta::microseconds(30));
    }

    #[test]
    fn a_vote_counts_by_what_its_measurement_is_worth() {
        let measured = |offset, error| Sample {
            offset: TimeDelta::microseconds(offset),
            delay: None,
            error: TimeDelta::microseconds(error),
        };
        let average = |clocks: &[Sample]| consensus(clocks, &Rules::default()).unwrap().average;
        // It met a queue: 900 µs off, give or take 4 ms, among clocks that are known to 50 µs.
        let clocks = [
            Sample::OWN,
            measured(3, 50),
            measured(6, 50),
            measured(900, 4000),
        ];
        let moved = average(&clocks);
        assert!(moved < TimeDelta::microseconds(4), "{moved}");
        // Nobody counts for more by being near, or by pretending to be.
        let clocks =
            [(0, 50), (0, 60), (40, 80), (80, 0)].map(|(offset, error)| measured(offset, error));
        assert_eq!(average(&clocks), TimeDelta::microseconds(30));
        // What all have is worth the same, however little.
        let clocks = [Sample::OWN, measured(30, 4000), measured(60, 5000)];
        assert_eq!(average(&clocks), TimeDelta::microseconds(30));
    }

    #[test]
    fn who_votes_beyond_what_noise_explains_pulls_no_further() {
        let offsets = [0, 4, 8, 12, 900].map(TimeDelta::microseconds);
        let agreed = consensus(&clocks(&offsets), &Rules::default()).unwrap();
        assert_eq!(agreed.voters, 5, "it is within the least window");
        assert!(
            agreed.average < TimeDelta::microseconds(10),
            "{}",
            agreed.average
        );
        // Unless such a tolerance was asked for.
        let agreed = consensus(&clocks(&offsets), &within(TimeDelta::seconds(1))).unwrap();
        assert_eq!(agreed.average, TimeDelta::nanoseconds(184_800));
    }

    #[test]
    fn what_a_vote_pulls_is_its_part_of_the_average() {
        let measured = |offset, error| Sample {
            offset: TimeDelta::microseconds(offset),
            delay: None,
            error: TimeDelta::microseconds(error),
        };
        let clocks = [
            measured(0, 50),
            measured(-300, 70),
            measured(500, 50),
            measured(900, 300),
            measured(-700, 4000),
        ];
        let agreed = consensus(&clocks, &Rules::default()).unwrap();
        let pulls: TimeDelta = clocks.iter().map(|clock| agreed.pull(clock)).sum();
        let off = pulls / 5 - (agreed.average - agreed.median);
        assert!(off.abs() < TimeDelta::microseconds(1), "{off}");
    }

    #[test]
    fn a_third_that_claims_to_be_measured_perfectly_takes_nobodys_vote() {
        let micros = |errors: &[i64]| {
            let measured = errors.iter().map(|micros| Sample {
                error: TimeDelta::microseconds(*micros),
                ..Sample::OWN
            });
            measured.collect::<Vec<_>>()
        };
        let refused = |clocks: &[Sample]| {
            let agreed = consensus(clocks, &Rules::default()).unwrap();
            clocks.iter().filter(|it| agreed.is_uncertain(it)).count()
        };
        // The master, six clocks over several paths, and three that lie; one is far away indeed.
        let honest = [0, 10, 10, 20, 100, 200, 300];
        let lying = [&honest[..], &[0; 3]].concat();
        assert_eq!(
            (refused(&micros(&honest)), refused(&micros(&lying))),
            (0, 0)
        );
        let far = [&lying[..9], &[110_000]].concat();
        assert_eq!(refused(&micros(&far)), 1);
    }

    #[test]
    fn half_of_the_weight_is_no_majority() {
        let ballot = |seconds, weight| Ballot {
            weight,
            ..Ballot::from(Sample::one_way(TimeDelta::seconds(seconds)))
        };
        let rules = within(TimeDelta::seconds(1));
        let heavy = [ballot(3600, 100), ballot(0, 60), ballot(0, 41)];
        let agreed = consensus_of(&heavy, &rules).unwrap();
        assert_eq!((agreed.average, agreed.voters), (TimeDelta::zero(), 101));
        let halves = [ballot(3600, 100), ballot(0, 60), ballot(0, 40)];
        let refused = consensus_of(&halves, &rules).unwrap_err();
        assert_eq!((refused.voters, refused.clocks), (0, 200));
    }

    #[test]
    fn groups_are_averaged_with_all_their_clocks() {
        // One of 2 that are 4 s and 10 s ahead, and one of 10, from 20 s behind to 7 s ahead.
        let clocks = |first: i64, step: i64, count: i64| {
            (0..count).map(move |it| first + step * it).collect()
        };
        let ballot = |seconds: &[i64]| {
            let alone = self::seconds(seconds);
            let agreed = consensus(&alone, &Rules::default()).unwrap();
            assert_eq!(agreed.voters, seconds.len());
            Ballot {
                sample: Sample::one_way(agreed.average),
                weight: seconds.len() as u32,
                deviation: agreed.deviation,
            }
        };
        let (two, ten): (Vec<i64>, Vec<i64>) = (clocks(4, 6, 2), clocks(-20, 3, 10));
        let all: i64 = two.iter().chain(&ten).sum();
        let groups = [ballot(&two), ballot(&ten), Sample::OWN.into()];
        let agreed = consensus_of(&groups, &Rules::default()).unwrap();
        let off = agreed.average - TimeDelta::seconds(all) / 13;
        assert!(off.abs() <= TimeDelta::nanoseconds(1), "{off}");
        // A minority that says that its clocks are far apart does not widen the window.
        let mut liar = [(0, 100), (3600, 90)].map(|(seconds, weight)| Ballot {
            weight,
            ..Ballot::from(Sample::one_way(TimeDelta::seconds(seconds)))
        });
        liar[1].deviation = TimeDelta::hours(1);
        let agreed = consensus_of(&liar, &Rules::default()).unwrap();
        assert_eq!((agreed.average, agreed.voters), (TimeDelta::zero(), 100));
    }

    #[test]
    fn clocks_that_are_centuries_away_agree_to_the_nanosecond() {
        // A master shows the first time that the wire knows, and three others the last ones.
        let master = TimeDelta::nanoseconds(i64::MIN);
        let offset = |time| TimeDelta::nanoseconds(time) - master;
        let last = i64::MAX;
        let others = [last - 7, last - 2, last];
        let all: Vec<_> = [i64::MIN]
            .iter()
            .chain(&others)
            .map(|it| offset(*it))
            .collect();
        let agreed = consensus(&clocks(&all), &within(TimeDelta::seconds(1))).unwrap();
        assert_eq!((agreed.median, agreed.voters), (offset(last - 5), 3));
        assert_eq!(agreed.average, offset(last - 3));
    }

    #[test]
    fn the_widest_offsets_do_not_overflow() {
        let wild = [
            TimeDelta::days(365 * 9998),
            TimeDelta::days(-365 * 9998),
            TimeDelta::zero(),
        ];
        let rules = Rules {
            tolerance: None,
            max_offset: TimeDelta::MAX,
        };
        let _ = consensus(&clocks(&wild), &rules);
    }

    fn any_offset() -> impl Strategy<Value = i64> {
        prop_oneof![
            -2_000_000..2_000_000_i64,
            -HOUR..HOUR,
            Just(0),
            any::<i64>()
        ]
    }

    fn any_rules() -> impl Strategy<Value = Rules> {
        prop::option::of(0..10 * HOUR).prop_map(|tolerance| Rules {
            tolerance: tolerance.map(TimeDelta::nanoseconds),
            ..Rules::default()
        })
    }

    fn measured(offsets: &[i64]) -> Vec<Sample> {
        clocks(
            &offsets
                .iter()
                .copied()
                .map(TimeDelta::nanoseconds)
                .collect::<Vec<_>>(),
        )
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            (offsets, shuffled) in prop::collection::vec(any_offset(), 1..40)
                .prop_flat_map(|offsets| (Just(offsets.clone()), Just(offsets).prop_shuffle())),
            rules in any_rules(),
        ) {
            prop_assert_eq!(
                consensus(&measured(&offsets), &rules),
                consensus(&measured(&shuffled), &rules)
            );
        }

        #[test]
        fn a_clock_of_some_weight_counts_as_so_many_clocks(
            weighted in prop::collection::vec((any_offset(), 0..2_000_000_i64, 1..9_u32), 1..20),
            rules in any_rules(),
        ) {
            let ballots = weighted.iter().map(|&(offset, error, weight)| Ballot {
                sample: Sample {
                    offset: TimeDelta::nanoseconds(offset),
                    delay: None,
                    error: TimeDelta::nanoseconds(error),
                },
                weight,
                deviation: TimeDelta::zero(),
            });
            let ballots: Vec<Ballot> = ballots.collect();
            let alone = ballots.iter().flat_map(|it| vec![it.sample; it.weight as usize]);
            let alone: Vec<Sample> = alone.collect();
            prop_assert_eq!(consensus_of(&ballots, &rules), consensus(&alone, &rules));
        }

        #[test]
        fn the_average_lies_within_the_voters(
            offsets in prop::collection::vec(any_offset(), 1..40),
            rules in any_rules(),
        ) {
            let clocks = measured(&offsets);
            if let Ok(agreed) = consensus(&clocks, &rules) {
                let voters = || clocks.iter().map(|c| c.offset).filter(|o| agreed.votes(*o));
                prop_assert_eq!(voters().count(), agreed.voters);
                prop_assert!(agreed.voters * 2 > clocks.len());
                prop_assert!(voters().min().unwrap() <= agreed.average);
                prop_assert!(agreed.average <= voters().max().unwrap());
            }
        }

        #[test]
        fn no_third_of_liars_takes_the_vote_of_who_is_measured_as_well_as_most(
            honest in prop::collection::vec(0..10_000_000_i64, 1..30),
            liars in prop::collection::vec(prop_oneof![Just(0), 0..HOUR], 0..14),
        ) {
            let mut honest = [&honest[..], &[0]].concat();
            honest.sort_unstable();
            // Fewer than a third of all.
            let liars = &liars[..liars.len().min((honest.len() - 1) / 2)];
            let measured = |error: &i64| Sample {
                error: TimeDelta::nanoseconds(*error),
                ..Sample::OWN
            };
            let all: Vec<_> = honest.iter().chain(liars).map(measured).collect();
            let agreed = consensus(&all, &Rules::default()).unwrap();
            let most = honest[(honest.len() - 1) / 2] * i64::from(UNCERTAIN);
            for error in honest.iter().filter(|error| **error <= most) {
                prop_assert!(!agreed.is_uncertain(&measured(error)), "{error} ns of {honest:?}");
            }
        }

        #[test]
        fn no_minority_moves_it_beyond_the_window(
            honest in prop::collection::vec(-HOUR..HOUR, 1..30),
            liars in prop::collection::vec(any_offset(), 0..29),
            rules in any_rules(),
        ) {
            let liars = &liars[..liars.len().min(honest.len() - 1)];
            let (low, high) = (*honest.iter().min().unwrap(), *honest.iter().max().unwrap());
            let all = [&honest[..], liars].concat();
            if let Ok(agreed) = consensus(&measured(&all), &rules) {
                let average = agreed.average.num_nanoseconds().unwrap();
                let window = agreed.window.num_nanoseconds().unwrap();
                prop_assert!(low - window <= average && average <= high + window);
                if rules.tolerance.is_none() {
                    let widest = (4.4478 * (high - low) as f64).max(1e6);
                    prop_assert!(window as f64 <= widest + 1.0);
                }
            }
        }
    }
}
