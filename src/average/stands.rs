//! For how many clocks a group stands, as the group above it sees it.

use chrono::TimeDelta;

use crate::average::consensus::{Consensus, NoMajority};
use crate::average::round::{Heard, Vote};
use crate::wire::weight::LARGEST_WEIGHT;

/// For how many clocks a group stands, and how fast they run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stands {
    /// For how many clocks: all that have voted in the last round in which a majority agreed.
    pub weight: u32,
    /// The median of their distances from the group's time.
    pub deviation: TimeDelta,
    /// By how many ppm the group's time gains on their oscillators in the mean, if they say.
    pub rate_ppm: Option<f64>,
}

impl Default for Stands {
    /// The master alone.
    fn default() -> Self {
        Self {
            weight: 1,
            deviation: TimeDelta::zero(),
            rate_ppm: None,
        }
    }
}

impl Stands {
    /// Notes a round, in which the rates that the voters tell were `told_ppm` in the mean, with what
    /// the group was moved by from above.
    pub(in crate::average) fn note(
        &mut self,
        clocks: &[Heard],
        told_ppm: Option<f64>,
        votes: &[Vote],
        outcome: &Result<Consensus, NoMajority>,
    ) {
        if let Ok(agreed) = outcome {
            self.deviation = agreed.deviation;
            let voting = clocks.iter().zip(votes).filter(|(_, vote)| vote.counts());
            let weight: u64 = voting.map(|(clock, _)| u64::from(clock.weight)).sum();
            self.weight = within_limit(weight);
            self.rate_ppm = told_ppm;
        }
    }
}

/// A weight as it may be told.
pub(in crate::average) fn within_limit(weight: u64) -> u32 {
    u32::try_from(weight).map_or(LARGEST_WEIGHT, |weight| weight.min(LARGEST_WEIGHT))
}
