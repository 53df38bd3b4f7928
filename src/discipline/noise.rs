//! What makes points wrong.
//!
//! Half the delay is a bound that a sample seldom reaches: on a network where nothing waits, the
//! two ways are alike. What a delay has above the least one seen is waiting, and that is what makes
//! a sample wrong. Then there is what every point has: how low the least delay can be, few points
//! can't tell; and the average has an error of its own, which is a part of what the waiting makes
//! of all clocks' samples.

use std::collections::VecDeque;

use crate::discipline::line::{Line, Point};

/// No point is taken for more exact than so many nanoseconds: a reading and a message have a grain.
const FINEST: i64 = 1000;

/// The part of the median waiting that is in every point: found by simulation to be the best for
/// groups of 20 over links that differ widely, and flat around it.
const COMMON_PART: i64 = 4;

/// The noise of some points.
#[derive(Default)]
pub(in crate::discipline) struct Noise {
    /// The smallest error that was seen, in nanoseconds.
    smallest: i64,
    /// What every point has, in nanoseconds.
    pub(in crate::discipline) doubt: i64,
}

impl Noise {
    /// What these points have.
    pub(in crate::discipline) fn of(points: &VecDeque<Point>) -> Self {
        let mut errors: Vec<_> = points.iter().map(|point| point.error).collect();
        let Some(&smallest) = errors.iter().min() else {
            return Self::default();
        };
        let (count, middle) = (errors.len() as i64, errors.len() / 2);
        let (_, &mut median, _) = errors.select_nth_unstable(middle);
        let waiting = median.saturating_sub(smallest);
        Self {
            smallest,
            doubt: (smallest / count + waiting / COMMON_PART).saturating_add(FINEST),
        }
    }

    /// How much of a point's error is waiting.
    pub(in crate::discipline) fn waiting(&self, point: &Point) -> i64 {
        point.error.saturating_sub(self.smallest).max(0)
    }

    /// On which side of the line a point lies: true above it. What lies on the line is on neither
    /// side, and ends a run.
    pub(in crate::discipline) fn side(&self, line: &Line, point: &Point) -> Option<bool> {
        let off = point.ahead.saturating_sub(line.ahead_at(point.raw));
        (off.saturating_abs() > self.doubt / 4).then_some(off > 0)
    }

    /// One standard deviation of a point, in nanoseconds.
    pub(in crate::discipline) fn spread(&self, point: &Point) -> f64 {
        (self.waiting(point) as f64).hypot(self.doubt as f64)
    }
}
