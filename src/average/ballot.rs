//! One clock, as it counts in an average.

use chrono::TimeDelta;

use crate::measurement::sample::Sample;
use crate::span::nanoseconds;

/// One clock, as it counts in an average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// Where it was measured to be.
    pub sample: Sample,
    /// For how many clocks it stands: itself alone, or a whole group of so many.
    pub weight: u32,
    /// The median of the distances of those from it: 0 where it stands for itself. Never negative.
    pub deviation: TimeDelta,
}

impl From<Sample> for Ballot {
    /// A clock that stands for itself.
    fn from(sample: Sample) -> Self {
        Self {
            sample,
            weight: 1,
            deviation: TimeDelta::zero(),
        }
    }
}

/// A ballot in nanoseconds, with which arithmetic is quicker than with spans.
#[derive(Debug, Clone, Copy)]
pub(in crate::average) struct Seen {
    /// How far the clock is ahead of where it is seen from.
    pub ahead: i64,
    /// To what error it was measured.
    pub error: i64,
    /// See [`Ballot::deviation`].
    pub deviation: i64,
    /// See [`Ballot::weight`].
    pub weight: u32,
}

impl Ballot {
    /// The same, measured against a clock that was ahead by `ahead`.
    #[must_use]
    pub fn against(mut self, ahead: TimeDelta) -> Self {
        self.sample.offset -= ahead;
        self
    }

    /// The same, as it is seen from somewhere.
    #[inline]
    pub(in crate::average) fn seen_from(&self, origin: TimeDelta) -> Seen {
        Seen {
            ahead: nanoseconds(self.sample.offset - origin),
            error: nanoseconds(self.sample.error),
            deviation: nanoseconds(self.deviation),
            weight: self.weight,
        }
    }
}

/// The middle between the first and the last clock. Each is seen from there to the nanosecond: no two
/// times on the wire are further apart than from the least to the largest number of an `i64`.
pub(in crate::average) fn middle(ballots: impl Iterator<Item = Ballot> + Clone) -> TimeDelta {
    let offsets = ballots.map(|it| it.sample.offset);
    let first = offsets.clone().min().unwrap_or_default();
    let last = offsets.max().unwrap_or_default();
    last - (last - first) / 2
}
