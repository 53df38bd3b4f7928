//! What a follower is told at its start.

use std::time::Duration;

use chrono::TimeDelta;

use crate::clock::Simulation;
use crate::discipline::drift_file::DriftFile;
use crate::discipline::steering::Steering;
use crate::keys::credentials::Credentials;
use crate::report::record::Record;
use crate::system_clock::keeper::SystemClock;
use crate::wire::name::NodeName;

/// Which wire a follower speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum WireChoice {
    /// The best that both sides know.
    #[default]
    Auto,
    /// The Python programs' timestamps, whatever the master knows.
    Timestamp,
}

/// What a follower needs to know besides where its masters are.
///
/// There will be more fields: write `..FollowerOptions::default()` after those that you set.
// Not `#[non_exhaustive]`, which would forbid just that outside of this crate.
#[derive(Debug)]
pub struct FollowerOptions {
    /// From one report to the next, on the timestamp wire: 10 ms to a day, see
    /// [`INTERVALS`](crate::wire::message::INTERVALS).
    pub interval: Duration,
    /// Which wire to speak.
    pub wire: WireChoice,
    /// What to call this machine in the master's tables and records; `None` for its host name.
    pub name: Option<NodeName>,
    /// What to prove itself with: `None` for a group without keys.
    pub credentials: Option<Credentials>,
    /// How to follow corrections.
    pub steering: Steering,
    /// Stop after so many corrections.
    pub rounds: Option<u64>,
    /// How wrong this machine's clock pretends to be.
    pub simulation: Simulation,
    /// To what error this machine's own clock is right, if it is a reference: the group is led
    /// towards it.
    pub reference: Option<TimeDelta>,
    /// The operating system's clock, if it is to follow the network.
    pub system_clock: Option<SystemClock>,
    /// Where corrections are recorded.
    pub record: Option<Record>,
    /// Where the clock's rate is kept for the next run.
    pub drift_file: Option<DriftFile>,
}

impl Default for FollowerOptions {
    /// What the command line has without any flag.
    fn default() -> Self {
        Self {
            interval: crate::wire::message::DEFAULT_INTERVAL,
            wire: WireChoice::default(),
            name: None,
            credentials: None,
            steering: Steering::default(),
            rounds: None,
            simulation: Simulation::NONE,
            reference: None,
            system_clock: None,
            record: None,
            drift_file: None,
        }
    }
}
