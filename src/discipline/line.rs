//! A rate, and a straight line through what was seen of the network from the raw clock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::CRYSTAL_PPM;
use crate::span::{at_rate, float_nanoseconds};

/// How far a rate that was learned may have wandered since (temperature, age), in ppm. Added to
/// the error of every rate that is used for predicting.
pub const WANDER_PPM: f64 = 1.0;

/// The network seen from the raw clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// What the raw clock showed.
    pub raw: DateTime<Utc>,
    /// How far the network was ahead of the raw clock.
    pub ahead: TimeDelta,
    /// `ahead` is known to ± this.
    pub error: TimeDelta,
}

/// A rate and how surely it is known, both in ppm. Positive: the network gains on the raw clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The rate, in ppm.
    pub ppm: f64,
    /// One standard deviation of it, in ppm.
    pub error_ppm: f64,
}

impl Rate {
    /// Nothing known but that it is a quartz oscillator.
    pub const UNKNOWN: Self = Self {
        ppm: 0.0,
        error_ppm: CRYSTAL_PPM,
    };

    /// The nearest rate that is no larger than this, either way.
    #[must_use]
    pub fn within(self, largest_ppm: f64) -> Self {
        Self {
            ppm: self.ppm.clamp(-largest_ppm, largest_ppm),
            ..self
        }
    }
}

/// The line through the points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub(in crate::discipline) raw: DateTime<Utc>,
    pub(in crate::discipline) ahead: TimeDelta,
    pub(in crate::discipline) error: TimeDelta,
    /// Its slope.
    pub rate: Rate,
    /// Where it is known best, in seconds before `raw`, and one standard deviation there, in
    /// nanoseconds.
    pub(in crate::discipline) centre: f64,
    pub(in crate::discipline) centre_spread: f64,
    /// After a surprise: by so many ppm the rate may have changed.
    pub(in crate::discipline) surprise_ppm: f64,
}

impl Line {
    /// The raw time of the last point.
    #[must_use]
    pub fn raw(&self) -> DateTime<Utc> {
        self.raw
    }

    /// How far the network is ahead of the raw clock when that shows `raw`.
    #[must_use]
    pub fn ahead(&self, raw: DateTime<Utc>) -> TimeDelta {
        self.ahead + at_rate(raw - self.raw, self.rate.ppm)
    }

    /// How wrong [`Line::ahead`] may be: the best bound that any of the points gives, growing
    /// with time by three standard deviations of the rate and its wander.
    #[must_use]
    pub fn error(&self, raw: DateTime<Utc>) -> TimeDelta {
        self.error + at_rate((raw - self.raw).abs(), self.error_growth_ppm())
    }

    /// One standard deviation of [`Line::ahead`], in nanoseconds.
    pub(in crate::discipline) fn spread(&self, raw: DateTime<Utc>) -> f64 {
        let seconds = float_nanoseconds(raw - self.raw) * 1e-9;
        // A ppm of a second is 1000 ns.
        let turned = (seconds + self.centre) * self.rate.error_ppm * 1e3;
        self.centre_spread
            .hypot(turned)
            .hypot(seconds * WANDER_PPM * 1e3)
    }

    /// The network is `by_ppm` faster from the raw time `from` on.
    #[must_use]
    pub(in crate::discipline) fn turned(self, from: DateTime<Utc>, by_ppm: f64) -> Self {
        Self {
            ahead: self.ahead + at_rate(self.raw - from, by_ppm),
            rate: Rate {
                ppm: self.rate.ppm + by_ppm,
                ..self.rate
            },
            ..self
        }
    }

    /// The same of a network that was stepped.
    #[must_use]
    pub fn stepped(self, by: TimeDelta) -> Self {
        Self {
            ahead: self.ahead + by,
            ..self
        }
    }

    /// The same over a raw clock that was moved.
    #[must_use]
    pub(in crate::discipline) fn raw_moved(self, by: TimeDelta) -> Self {
        Self {
            raw: self.raw + by,
            ..self
        }
    }

    /// How fast the error grows, in ppm.
    #[must_use]
    pub fn error_growth_ppm(&self) -> f64 {
        3.0 * self.rate.error_ppm + WANDER_PPM + self.surprise_ppm
    }
}
