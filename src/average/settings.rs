//! How an ensemble holds its rounds.

use std::time::Duration;

use crate::average::consensus::Rules;
use crate::average::reference::SLEW_PPM;

/// A node that gives no clock in so many rounds in a row is dropped.
pub const MISSED_ROUNDS: u32 = 3;

/// How an ensemble holds its rounds.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// From one round to the next.
    pub interval: Duration,
    /// Which clocks vote.
    pub rules: Rules,
    /// The first round waits for so many followers; no round is held without any.
    pub min_followers: usize,
    /// A peer on the timestamp wire reports when it likes: its last report counts until it has
    /// been silent for so many intervals, [`MISSED_ROUNDS`] at least.
    pub timestamp_patience: u32,
    /// The fastest that the group is led towards references, in ppm; 0 leads it nowhere.
    pub reference_slew_ppm: f64,
    /// How many votes the connections from one machine have together.
    pub votes_per_address: usize,
    /// For how many clocks a member may stand that is trusted with no more, see
    /// [`Ensemble::trust_weight`](crate::average::ensemble::Ensemble::trust_weight).
    pub max_weight: u32,
    /// Nobody will be told of the corrections, so none is kept for anybody.
    pub dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: crate::wire::message::DEFAULT_INTERVAL,
            rules: Rules::default(),
            min_followers: 1,
            timestamp_patience: MISSED_ROUNDS,
            reference_slew_ppm: SLEW_PPM,
            votes_per_address: 1,
            max_weight: 1,
            dry_run: false,
        }
    }
}
