//! How wrong a point may be by chance, as far as the points beside it tell.

use chrono::TimeDelta;

use crate::discipline::line::{Line, Point};
use crate::span::float_nanoseconds;

/// No point is taken for more exact than this: a reading and a message have a grain.
const FINEST: TimeDelta = TimeDelta::microseconds(1);

/// The part of the median waiting that is in every point: found by simulation to be the best for
/// groups of 20 over links that differ widely, and flat around it.
const COMMON_PART: i32 = 4;

/// What makes points wrong.
///
/// Half the delay is a bound that a sample seldom reaches: on a network where nothing waits, the
/// two ways are alike. What a delay has above the least one seen is waiting, and that is what makes
/// a sample wrong. Then there is what every point has: how low the least delay can be, few points
/// can't tell; and the average has an error of its own, which is a part of what the waiting makes
/// of all clocks' samples.
#[derive(Default)]
pub(in crate::discipline) struct Noise {
    /// The smallest error that was seen.
    smallest: TimeDelta,
    /// How far below that the least may be that there can be.
    pub(in crate::discipline) base: TimeDelta,
    /// What every point has.
    pub(in crate::discipline) doubt: TimeDelta,
}

impl Noise {
    /// What points with these errors have of noise.
    pub(in crate::discipline) fn of(mut errors: Vec<TimeDelta>) -> Self {
        if errors.is_empty() {
            return Self::default();
        }
        let smallest = errors.iter().copied().min().unwrap_or_default();
        let middle = errors.len() / 2;
        let (_, &mut median, _) = errors.select_nth_unstable(middle);
        let count = i32::try_from(errors.len()).unwrap_or(i32::MAX);
        let base = smallest / count + FINEST;
        Self {
            smallest,
            base,
            doubt: base + (median - smallest) / COMMON_PART,
        }
    }

    /// How much of a point's error is waiting.
    pub(in crate::discipline) fn waiting(&self, point: &Point) -> TimeDelta {
        (point.error - self.smallest).max(TimeDelta::zero())
    }

    /// On which side of the line a point lies: true above it. What lies on the line is on neither
    /// side, and ends a run.
    pub(in crate::discipline) fn side(&self, line: &Line, point: &Point) -> Option<bool> {
        let off = point.ahead - line.ahead(point.raw);
        (off.abs() > self.doubt / 4).then_some(off > TimeDelta::zero())
    }

    /// One standard deviation of a point, in nanoseconds.
    pub(in crate::discipline) fn spread(&self, point: &Point) -> f64 {
        float_nanoseconds(self.waiting(point)).hypot(float_nanoseconds(self.doubt))
    }
}
