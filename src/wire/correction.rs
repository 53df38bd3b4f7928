//! What a clock is told to correct: the same on its whole way, from the average to the clock.

use chrono::TimeDelta;

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
