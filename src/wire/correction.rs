//! What a clock is told to correct: the same on its whole way, from the average to the clock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::span::at_rate;

/// What one clock has to do to agree with its group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// What the clock must add: the group's time less the clock's, when it was measured.
    pub offset: TimeDelta,
    /// `offset` may be wrong by this. Never negative.
    pub error: TimeDelta,
    /// By how many ppm every clock of the group is to run faster than it did, see
    /// [`mean_rate`](crate::average::rates).
    pub common_ppm: f64,
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
