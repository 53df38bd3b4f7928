//! What a clock is told to correct: the same on its whole way, from the average to the clock.

use chrono::TimeDelta;

use crate::clock::at_rate;

/// What one clock has to do to agree with its group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// What the clock must add: the group's time less the clock's, when it was measured.
    pub offset: TimeDelta,
    /// `offset` may be wrong by this. Never negative.
    pub error: TimeDelta,
    /// By how many ppm every clock of the group is to run faster than it did, see
    /// [`mean_rate`](crate::average::consensus::mean_rate).
    pub common_ppm: f64,
}

impl Correction {
    /// The same for a clock that was measured `age` before the round, now that the master knows
    /// that its own clock, which the offset was measured against, should have run `ppm` faster.
    ///
    /// Each clock is measured at a moment of its own. Without this, every clock of a group whose
    /// master still learns its rate would be told another bend of the group's time, and would learn
    /// a wrong rate from it.
    #[must_use]
    pub fn measured_before(self, age: TimeDelta, ppm: f64) -> Self {
        Self {
            offset: self.offset - at_rate(age, ppm),
            ..self
        }
    }
}
