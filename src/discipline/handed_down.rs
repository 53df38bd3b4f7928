//! What a clock that is laid over a group's, see [`above`](crate::discipline::above), has handed
//! down to it until now.

use chrono::{DateTime, TimeDelta, Utc};

use crate::span::{float_nanoseconds, since_epoch};
use crate::wire::correction::FromAbove;

/// The sum of all that was given: at a raw time, an offset from what was given before it, and a rate.
/// What was measured before something was given and is told after it holds for less by that.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HandedDown {
    /// In nanoseconds, at the raw time `from`.
    offset: f64,
    rate_ppm: f64,
    from: i64,
}

impl HandedDown {
    /// With one thing more, which was given at this raw time.
    #[must_use]
    pub fn and(self, given: &FromAbove, raw: DateTime<Utc>) -> Self {
        let raw = since_epoch(raw);
        Self {
            offset: self.at(raw) + float_nanoseconds(given.shift),
            rate_ppm: self.rate_ppm + given.rate_ppm,
            from: raw,
        }
    }

    /// The same over a raw clock that was moved by so much.
    #[must_use]
    pub fn moved(self, by: TimeDelta) -> Self {
        let by = by.num_nanoseconds().unwrap_or_default();
        Self {
            from: self.from.saturating_add(by),
            ..self
        }
    }

    /// What was given since `mark`, at its raw time.
    #[must_use]
    pub fn since(&self, mark: DateTime<Utc>, before: &Self) -> TimeDelta {
        let raw = since_epoch(mark);
        TimeDelta::nanoseconds((self.at(raw) - before.at(raw)).round() as i64)
    }

    /// The sum at this raw time, in nanoseconds.
    fn at(&self, raw: i64) -> f64 {
        self.offset + raw.saturating_sub(self.from) as f64 * self.rate_ppm * 1e-6
    }
}
