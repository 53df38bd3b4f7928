//! How wrong a point may be by chance, as far as the points beside it tell.

use std::collections::VecDeque;

use crate::discipline::line::{Line, Point};

/// No point is taken for more exact than so many nanoseconds: a reading and a message have a grain.
const FINEST: i64 = 1000;

/// The part of the median waiting that is in every point: found by simulation to be the best for
/// groups of 20 over links that differ widely, and flat around it.
const COMMON_PART: i64 = 4;

/// The smallest error is above the least that there can be by up to this part of the median waiting,
/// as far as simulations tell of links that jitter: without this, they are taken for steps.
const LEAST_MISSED: i64 = 10;

/// Waiting counts in full as soon as it makes points wrong by a twelfth of itself: links on which the
/// ways wait one without the other are found beyond that, in simulation, and kernels on which both
/// wait alike below.
const TELLING: f64 = 12.0;

/// However alike both ways have waited, a point's waiting counts by this part.
const LEAST_PART: f64 = 0.2;

/// What has waited for longer than so many times the median, or what the halves differ by, is no
/// ordinary point, of which the others could tell.
const ORDINARY_WAITING: i64 = 2;

/// What makes points wrong, in nanoseconds.
///
/// Half the delay is a bound that a sample seldom reaches: on a network where nothing waits, the
/// two ways are alike. What a delay has above the least one seen is waiting, and that is what makes
/// a sample wrong, or what the samples of its burst differ by, which is in its error too. Besides,
/// there is an error that every point has: a few points can't tell how low the least delay can be;
/// and the average is wrong itself, by a part of what the waiting makes wrong in all clocks' samples.
///
/// How much of the waiting is wrong differs: a machine that is slow for a moment is slow both ways.
/// The points themselves tell it, as those that waited long miss the line by more than the others,
/// or do not.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::discipline) struct Noise {
    /// The smallest error that was seen.
    smallest: i64,
    /// The error that half of the points exceed.
    usual: i64,
    /// How much the medians of the two halves differ by.
    halves_apart: i64,
    /// How far below the smallest the least may be that there can be.
    pub(in crate::discipline) base: i64,
    /// What every point has.
    pub(in crate::discipline) doubt: i64,
    /// By which part an ordinary point's waiting counts.
    wrong_part: f64,
}

impl Noise {
    /// What these points have of noise.
    pub(in crate::discipline) fn of(points: &VecDeque<Point>) -> Self {
        let mut errors: Vec<_> = points.iter().map(|point| point.error).collect();
        errors.sort_unstable();
        let count = errors.len();
        let Some(&smallest) = errors.first() else {
            return Self::default();
        };
        let usual = errors[count / 2];
        let base = (smallest / count as i64).saturating_add(FINEST);
        let common = usual.saturating_sub(smallest) / COMMON_PART;
        Self {
            smallest,
            usual,
            halves_apart: errors[count * 3 / 4].saturating_sub(errors[count / 4]),
            base,
            doubt: base.saturating_add(common),
            wrong_part: 1.0,
        }
    }

    /// The same, after the points have told by how much they miss the line.
    pub(in crate::discipline) fn told(self, points: &VecDeque<Point>, line: &Line) -> Self {
        let usual_miss = |long: bool| {
            let half = points
                .iter()
                .filter(|point| (point.error > self.usual) == long);
            middle(half.map(|point| line.miss(point).saturating_abs())) as f64
        };
        if self.halves_apart == 0 {
            return self;
        }
        let more = usual_miss(true) - usual_miss(false);
        let wrong_part = TELLING * more / self.halves_apart as f64;
        Self {
            wrong_part: wrong_part.clamp(LEAST_PART, 1.0),
            ..self
        }
    }

    /// The same as [`Noise::base`], where links jitter so much that the least is hardly ever seen.
    pub(in crate::discipline) fn widest_base(&self) -> i64 {
        self.base
            .saturating_add(self.usual_waiting() / LEAST_MISSED)
    }

    /// How much of a point's error is more than half of the points have.
    pub(in crate::discipline) fn excess(&self, point: &Point) -> i64 {
        point.error.saturating_sub(self.usual).max(0)
    }

    /// How long half of the points have waited at most.
    fn usual_waiting(&self) -> i64 {
        self.usual.saturating_sub(self.smallest)
    }

    /// How much of a point's error is waiting.
    pub(in crate::discipline) fn waiting(&self, point: &Point) -> i64 {
        point.error.saturating_sub(self.smallest).max(0)
    }

    /// On which side of the line a point lies: true above it. What lies on the line is on neither
    /// side, and ends a run.
    pub(in crate::discipline) fn side(&self, line: &Line, point: &Point) -> Option<bool> {
        let miss = line.miss(point);
        (miss.saturating_abs() > self.doubt / 4).then_some(miss > 0)
    }

    /// The variance that a point has at most, in square nanoseconds.
    pub(in crate::discipline) fn variance(&self, point: &Point) -> f64 {
        let (waiting, doubt) = (self.waiting(point) as f64, self.doubt as f64);
        waiting * waiting + doubt * doubt
    }

    /// How much a point counts that misses the line by so much: the inverse of its variance, and less
    /// if it is further off than a standard deviation (Huber, *Robust Estimation of a Location
    /// Parameter*, 1964).
    pub(in crate::discipline) fn weight(&self, point: &Point, miss: i64) -> f64 {
        let ordinary = self.usual_waiting().min(self.halves_apart);
        let ordinary = ordinary.saturating_mul(ORDINARY_WAITING) as f64;
        let (waiting, doubt) = (self.waiting(point) as f64, self.doubt as f64);
        let rest = (waiting - ordinary).max(0.0);
        let wrong = self.wrong_part * waiting.min(ordinary) + rest;
        let weight = (wrong * wrong + doubt * doubt).recip();
        let miss = miss as f64;
        let far = miss * miss * weight;
        if far > 1.0 {
            weight / far.sqrt()
        } else {
            weight
        }
    }
}

/// What half of these don't exceed; 0 without any.
pub(in crate::discipline) fn middle(values: impl Iterator<Item = i64>) -> i64 {
    let mut values: Vec<_> = values.collect();
    if values.is_empty() {
        return 0;
    }
    let place = values.len() / 2;
    *values.select_nth_unstable(place).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discipline::line::Rate;
    use chrono::{DateTime, TimeDelta};

    /// A line that is level, and points that miss it by so many µs, with such errors.
    fn level(points: impl Iterator<Item = (i64, i64)>) -> (Line, VecDeque<Point>) {
        let raw = |second| DateTime::from_timestamp(second, 0).unwrap();
        let points = points.zip(0..).map(|((miss, error), second)| {
            let micros = TimeDelta::microseconds;
            Point::new(raw(second), micros(miss), micros(error))
        });
        let line = Line {
            raw: 0,
            ahead: 0,
            error: 0,
            rate: Rate::UNKNOWN,
            centre: 0.0,
            centre_spread: 0.0,
            surprise_ppm: 0.0,
        };
        (line, points.collect())
    }

    /// How much the point that waited longest counts, of what the one counts that waited least.
    fn longest_to_least(miss: impl Fn(i64) -> i64) -> f64 {
        let (line, points) = level((0..40).map(|n| (miss(n), 100 + n)));
        let noise = Noise::of(&points).told(&points, &line);
        noise.weight(&points[39], 0) / noise.weight(&points[0], 0)
    }

    #[test]
    fn where_those_that_waited_are_no_worse_they_count_nearly_as_much() {
        let alike = longest_to_least(|n| 5 * (n % 2 * 2 - 1));
        let worse = longest_to_least(|n| n / 3 * (n % 2 * 2 - 1));
        assert!(alike > 0.3, "{alike}");
        assert!(worse < 0.05, "{worse}");
    }

    #[test]
    fn what_waited_for_longer_than_any_ordinary_point_counts_little_whatever_these_tell() {
        let queued = |n: i64| if n == 39 { (0, 1100) } else { (5, 100 + n) };
        let (line, points) = level((0..40).map(queued));
        let noise = Noise::of(&points).told(&points, &line);
        let part = noise.weight(&points[39], 0) / noise.weight(&points[0], 0);
        assert!(part < 0.0002, "{part}");
    }

    #[test]
    fn a_point_that_was_far_off_counts_by_as_much_less() {
        let (_, points) = level((0..40).map(|n| (0, 100 + n)));
        let noise = Noise::of(&points);
        let pull = |miss: i64| miss as f64 * noise.weight(&points[0], miss);
        assert!(pull(2000) > pull(1000));
        let most = pull(noise.doubt);
        for far in [30_000, 300_000, i64::MAX] {
            assert!((pull(far) / most - 1.0).abs() < 0.001, "{far}");
        }
    }
}
