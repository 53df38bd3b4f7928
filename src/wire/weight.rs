//! For how many clocks one stands: that of a group, for all that have voted there.

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;

use crate::span::nanoseconds;

/// The largest number of clocks for which one may stand.
pub const LARGEST_WEIGHT: u32 = 1_000_000_000;

/// No deviation is told or believed to be larger: an hour.
pub const LARGEST_DEVIATION: TimeDelta = TimeDelta::hours(1);

/// For how many clocks one stands, and where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// How many have voted: 1 to [`LARGEST_WEIGHT`].
    pub clocks: u32,
    /// The median of their distances from it: [`LARGEST_DEVIATION`] at most.
    pub deviation: TimeDelta,
}

impl fmt::Display for Weight {
    /// As in a line: `clocks,nanoseconds`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deviation = self.deviation.min(LARGEST_DEVIATION);
        write!(out, "{},{}", self.clocks, nanoseconds(deviation))
    }
}

/// What is no [`Weight`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not CLOCKS,NANOSECONDS")]
pub struct NotAWeight;

impl FromStr for Weight {
    type Err = NotAWeight;

    fn from_str(text: &str) -> Result<Self, NotAWeight> {
        let (clocks, deviation) = text.split_once(',').ok_or(NotAWeight)?;
        let deviation = deviation.parse().map_err(|_| NotAWeight)?;
        let weight = Self {
            clocks: clocks.parse().map_err(|_| NotAWeight)?,
            deviation: TimeDelta::nanoseconds(deviation),
        };
        let possible = (1..=LARGEST_WEIGHT).contains(&weight.clocks)
            && (TimeDelta::zero()..=LARGEST_DEVIATION).contains(&weight.deviation);
        possible.then_some(weight).ok_or(NotAWeight)
    }
}
