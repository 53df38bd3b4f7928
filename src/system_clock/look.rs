//! The system's clock, the oscillator and the network's time, as nearly at one moment as can be had.

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{WithWallClock, with_wall_clock};
use crate::discipline::correction::Aim;
use crate::discipline::network_clock::NetworkClock;

/// What the clocks show at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// The oscillator's time: the clock as it would run if nobody steered it.
    pub raw: DateTime<Utc>,
    /// The system's clock.
    pub wall: DateTime<Utc>,
    /// How far `wall` may be from what the system's clock showed when the other was read.
    pub apart: TimeDelta,
    /// Where the system's clock is to be; `None` before the first correction.
    pub aim: Option<Aim>,
}

impl Look {
    /// Reads all of them.
    #[must_use]
    pub fn at(network: &NetworkClock) -> Self {
        let WithWallClock { read, wall, apart } = with_wall_clock(|| network.aim());
        let (raw, aim) = read;
        Self {
            raw,
            wall,
            apart,
            aim,
        }
    }
}
