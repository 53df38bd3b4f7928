//! The system's clock, the oscillator and the network's time, as nearly at one moment as can be had.

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{Clock, WallClock};
use crate::discipline::correction::Aim;
use crate::discipline::network_clock::NetworkClock;

/// How often the clocks are read to have them at one moment: of these, the quickest counts.
const TRIES: usize = 9;

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
        let read = |_| {
            let before = WallClock.read();
            let (raw, aim) = network.aim();
            let half = (WallClock.read() - before).abs() / 2;
            Self {
                raw,
                wall: before + half,
                apart: half,
                aim,
            }
        };
        let all: [_; TRIES] = std::array::from_fn(read);
        let quicker = |best: Self, next: Self| {
            if next.apart < best.apart { next } else { best }
        };
        all.into_iter().fold(all[0], quicker)
    }
}
