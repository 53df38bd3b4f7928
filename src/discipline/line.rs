//! A rate, and a straight line through what was seen of the network from the raw clock.

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::CRYSTAL_PPM;
use crate::span::{nanoseconds, since_epoch};

/// How far a rate that was learned may have wandered since (temperature, age), in ppm. Added to
/// the error of every rate that is used for predicting.
pub const WANDER_PPM: f64 = 1.0;

/// The network seen from the raw clock. Every clock keeps dozens of them and goes through all of them
/// in each round, so they are nanoseconds, as everything inside a
/// [`Discipline`](crate::discipline::correction::Discipline) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// What the raw clock showed, since the Unix epoch.
    pub(in crate::discipline) raw: i64,
    /// How far the network was ahead of the raw clock.
    pub(in crate::discipline) ahead: i64,
    /// `ahead` is known to ± this.
    pub(in crate::discipline) error: i64,
}

impl Point {
    /// When the raw clock showed `raw`, the network was so far `ahead` of it, known to ± `error`.
    #[must_use]
    pub fn new(raw: DateTime<Utc>, ahead: TimeDelta, error: TimeDelta) -> Self {
        Self {
            raw: since_epoch(raw),
            ahead: nanoseconds(ahead),
            error: nanoseconds(error),
        }
    }

    /// The same of a network that was so much further ahead.
    #[must_use]
    pub(in crate::discipline) fn stepped(self, by: i64) -> Self {
        Self {
            ahead: self.ahead.saturating_add(by),
            ..self
        }
    }
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

/// The line through the points, in nanoseconds like these.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    pub(in crate::discipline) raw: i64,
    pub(in crate::discipline) ahead: i64,
    pub(in crate::discipline) error: i64,
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
        DateTime::from_timestamp_nanos(self.raw)
    }

    /// How far the network is ahead of the raw clock when that shows `raw`.
    #[must_use]
    pub fn ahead(&self, raw: DateTime<Utc>) -> TimeDelta {
        TimeDelta::nanoseconds(self.ahead_at(since_epoch(raw)))
    }

    /// The same in nanoseconds.
    pub(in crate::discipline) fn ahead_at(&self, raw: i64) -> i64 {
        let gained = at_rate(raw.saturating_sub(self.raw), self.rate.ppm);
        self.ahead.saturating_add(gained)
    }

    /// How far a point lies above the line.
    pub(in crate::discipline) fn miss(&self, point: &Point) -> i64 {
        point.ahead.saturating_sub(self.ahead_at(point.raw))
    }

    /// How wrong [`Line::ahead`] may be: the best bound that any of the points gives, growing
    /// with time by three standard deviations of the rate and its wander.
    #[must_use]
    pub fn error(&self, raw: DateTime<Utc>) -> TimeDelta {
        let elapsed = since_epoch(raw).saturating_sub(self.raw).saturating_abs();
        let grown = at_rate(elapsed, self.error_growth_ppm());
        TimeDelta::nanoseconds(self.error.saturating_add(grown))
    }

    /// One standard deviation of [`Line::ahead`], in nanoseconds.
    pub(in crate::discipline) fn spread(&self, raw: i64) -> f64 {
        let seconds = raw.saturating_sub(self.raw) as f64 * 1e-9;
        // A ppm of a second is 1000 ns.
        let turned = (seconds + self.centre) * self.rate.error_ppm * 1e3;
        self.centre_spread
            .hypot(turned)
            .hypot(seconds * WANDER_PPM * 1e3)
    }

    /// The network is `by_ppm` faster from the raw time `from` on.
    #[must_use]
    pub(in crate::discipline) fn turned(self, from: i64, by_ppm: f64) -> Self {
        let gained = at_rate(self.raw.saturating_sub(from), by_ppm);
        Self {
            ahead: self.ahead.saturating_add(gained),
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
            ahead: self.ahead.saturating_add(nanoseconds(by)),
            ..self
        }
    }

    /// The same over a raw clock that was moved.
    #[must_use]
    pub(in crate::discipline) fn raw_moved(self, by: TimeDelta) -> Self {
        Self {
            raw: self.raw.saturating_add(nanoseconds(by)),
            ..self
        }
    }

    /// How fast the error grows, in ppm.
    #[must_use]
    pub fn error_growth_ppm(&self) -> f64 {
        3.0 * self.rate.error_ppm + WANDER_PPM + self.surprise_ppm
    }
}

/// What a clock that gains `rate_ppm` has gained after so many nanoseconds, to the nearest one.
pub(in crate::discipline) fn at_rate(elapsed: i64, rate_ppm: f64) -> i64 {
    let gained = elapsed as f64 * (rate_ppm * 1e-6);
    // Where a processor has no instruction for it, `round` costs more than all the rest.
    (gained + 0.5_f64.copysign(gained)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_clock_gains_is_rounded_to_the_nearest_nanosecond_either_way() {
        for (elapsed, ppm, gained) in [
            (1_000_000, 100.0, 100),
            (1_000_000, 0.4, 0),
            (1_000_000, 0.6, 1),
            (-1_000_000, 0.6, -1),
            (1_000_000, -100.4, -100),
            (i64::MAX, -2e6, i64::MIN),
        ] {
            assert_eq!(at_rate(elapsed, ppm), gained, "{elapsed} ns at {ppm} ppm");
        }
    }
}
