//! What a clock is told to correct: the same on its whole way, from the average to the clock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::span::at_rate;

/// What one clock has to do to agree with its group.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Correction {
    /// What the clock must add: the group's time less the clock's, when it was measured.
    pub offset: TimeDelta,
    /// `offset` may be wrong by this. Never negative.
    pub error: TimeDelta,
    /// By how many ppm every clock of the group is to run faster than it did, see
    /// [`common_rate`](crate::average::rates::common_rate).
    pub common_ppm: f64,
    /// The part of `offset` by which every clock of the group is moved, because the group above it
    /// has told so: it is no news of this clock.
    pub shift: TimeDelta,
    /// The part of `error` that is the whole group's, against the groups above it. Never negative, nor
    /// more than `error`.
    pub above: TimeDelta,
}

/// By what a group is moved that has another one above it: all of its clocks alike.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FromAbove {
    /// What each clock must add, besides what it must add to agree with the group.
    pub shift: TimeDelta,
    /// By how many ppm each clock is to run faster.
    pub rate_ppm: f64,
    /// How wrong the group's time may be then. Never negative.
    pub error: TimeDelta,
}

/// What a master has learned in a round of its own clock's rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learned {
    /// When the round was held, by the master's raw clock.
    pub at: DateTime<Utc>,
    /// By how many ppm its clock should have run faster until then.
    pub ppm: f64,
}

impl Correction {
    /// The same for a clock that was measured at some moment by the master's raw clock, now that
    /// the master knows better how its own clock ran from then to the round.
    ///
    /// Each clock is measured at a moment of its own. Without this, every clock of a group whose
    /// master still learns its rate would be told another bend of the group's time, and would learn
    /// a wrong rate from it.
    #[must_use]
    pub fn with(self, learned: Learned, measured: DateTime<Utc>) -> Self {
        Self {
            offset: self.offset - at_rate(learned.at - measured, learned.ppm),
            ..self
        }
    }

    /// The same in a group that is moved as a whole besides.
    #[must_use]
    pub fn and(self, above: &FromAbove) -> Self {
        Self {
            offset: self.offset + above.shift,
            error: self.error + above.error,
            common_ppm: self.common_ppm + above.rate_ppm,
            shift: self.shift + above.shift,
            above: self.above + above.error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_before_the_round_is_told_for_the_rate_known_after_it() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let told = Correction {
            offset: TimeDelta::microseconds(300),
            error: TimeDelta::microseconds(7),
            common_ppm: 1.0,
            ..Correction::default()
        };
        let learned = Learned {
            at: at(10),
            ppm: 100.0,
        };
        // The group's time is the master's at the round; 2 s before, it was 200 µs less ahead.
        let told = told.with(learned, at(8));
        assert_eq!(told.offset, TimeDelta::microseconds(100));
        assert_eq!(told.with(learned, at(10)), told);
    }
}
