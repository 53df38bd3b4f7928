//! How far corrections have moved a clock in a day.

use chrono::TimeDelta;

use crate::span::nanoseconds;

/// The period of the panic threshold.
const DAY: TimeDelta = TimeDelta::hours(24);

/// How far corrections have moved a clock in a day, which begins with the first of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    /// When the day began, by the raw clock.
    since: i64,
    /// The sum of the corrections, either way.
    pub(crate) by: TimeDelta,
}

impl Moved {
    /// Not at all, since then by the raw clock.
    pub(crate) fn since(now: i64) -> Self {
        Self {
            since: now,
            by: TimeDelta::zero(),
        }
    }

    /// By how much one correction more moves it in the day.
    pub(crate) fn with(self, offset: TimeDelta, now: i64) -> Self {
        let over = now.saturating_sub(self.since) >= nanoseconds(DAY);
        let (since, before) = if over {
            (now, TimeDelta::zero())
        } else {
            (self.since, self.by)
        };
        let by = before.checked_add(&offset).unwrap_or(TimeDelta::MAX);
        Self { since, by }
    }
}
