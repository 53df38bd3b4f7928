//! How wrong a point may be by chance, as far as the points beside it tell.

use std::collections::VecDeque;

use crate::discipline::line::{Line, Point};

/// No point is taken for more exact than so many nanoseconds: a reading and a message have a grain.
const FINEST: i64 = 1000;

/// The part of the median waiting that is in every point: found by simulation to be the best for
/// groups of 20 over links that differ widely, and flat around it.
const COMMON_PART: i64 = 4;

/// What makes points wrong, in nanoseconds.
///
/// Half the delay is a bound that a sample seldom reaches: on a network where nothing waits, the
/// two ways are alike. What a delay has above the least one seen is waiting, and that is what makes
/// a sample wrong, or what the samples of its burst differ by, which is in its error too. Besides,
/// there is an error that every point has: a few points can't tell how low the least delay can be;
/// and the average is wrong itself, by a part of what the waiting makes wrong in all clocks' samples.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::discipline) struct Noise {
    /// The smallest error that was seen.
    smallest: i64,
    /// The error that half of the points exceed.
    usual: i64,
    /// How far below the smallest the least may be that there can be.
    pub(in crate::discipline) base: i64,
    /// What every point has.
    pub(in crate::discipline) doubt: i64,
}

impl Noise {
    /// What these points have of noise.
    pub(in crate::discipline) fn of(points: &VecDeque<Point>) -> Self {
        let errors = points.iter().map(|point| point.error);
        let Some(smallest) = errors.clone().min() else {
            return Self::default();
        };
        let usual = middle(errors);
        let base = (smallest / points.len() as i64).saturating_add(FINEST);
        let common = usual.saturating_sub(smallest) / COMMON_PART;
        Self {
            smallest,
            usual,
            base,
            doubt: base.saturating_add(common),
        }
    }

    /// How much of a point's error is more than half of the points have.
    pub(in crate::discipline) fn excess(&self, point: &Point) -> i64 {
        point.error.saturating_sub(self.usual).max(0)
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

    /// The variance of a point, in square nanoseconds.
    pub(in crate::discipline) fn variance(&self, point: &Point) -> f64 {
        let (waiting, doubt) = (self.waiting(point) as f64, self.doubt as f64);
        waiting * waiting + doubt * doubt
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
