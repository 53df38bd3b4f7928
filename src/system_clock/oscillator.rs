//! The machine's oscillator: its clock as it would run if nobody steered it.
//!
//! The kernel keeps a clock that nobody can steer. The oscillator is that one, with the tick that
//! the machine's clock has of its own, and with the time for which the machine was suspended. No
//! speed that we give the system's clock has any part in it, so none can make it wrong.

use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{Clock, WallClock, asleep, unsteered};
use crate::lock::lock;
use crate::span::{nanoseconds, since_epoch};
use crate::system_clock::speed::Speed;

/// No suspend is shorter than this, in nanoseconds. What is less is the time between two readings.
const SHORTEST_SLEEP: i64 = 1_000_000;

/// The machine's oscillator. What others do to the clock's time and tick it shares; what we do, it
/// does not.
#[derive(Debug)]
pub struct Oscillator(Mutex<Since>);

#[derive(Debug, Clone, Copy)]
struct Since {
    /// See [`unsteered`].
    unsteered: i64,
    /// What the oscillator showed then, in nanoseconds since the Unix epoch.
    shown: i64,
    /// The clock's own tick from then on, in µs.
    own_tick: i32,
    /// For how long the machine has been suspended since it was booted, in nanoseconds.
    asleep: i64,
}

impl Since {
    fn read(&self, unsteered: i64) -> i64 {
        let elapsed = i128::from(unsteered - self.unsteered);
        let own = elapsed * i128::from(self.own_tick) / i128::from(Speed::TICK);
        self.shown.saturating_add(own as i64)
    }

    /// Counts what the machine has slept, of which it has just been told.
    fn wake(&mut self, asleep: i64) {
        let slept = asleep - self.asleep;
        if slept > SHORTEST_SLEEP {
            self.shown = self.shown.saturating_add(slept);
            self.asleep = asleep;
        }
    }
}

impl Oscillator {
    pub(crate) fn new(own_tick: i32) -> Self {
        Self(Mutex::new(Since {
            unsteered: unsteered(),
            shown: since_epoch(WallClock.read()),
            own_tick,
            asleep: asleep(),
        }))
    }

    /// Somebody has given the clock another tick of its own.
    pub(crate) fn has_own_tick(&self, own_tick: i32) {
        let mut since = lock(&self.0);
        let now = unsteered();
        *since = Since {
            unsteered: now,
            shown: since.read(now),
            own_tick,
            ..*since
        };
    }

    /// Somebody has set the clock.
    pub(crate) fn was_set(&self, by: TimeDelta) {
        let mut since = lock(&self.0);
        since.shown = since.shown.saturating_add(nanoseconds(by));
    }
}

impl Clock for Oscillator {
    fn read(&self) -> DateTime<Utc> {
        let mut since = lock(&self.0);
        since.wake(asleep());
        DateTime::from_timestamp_nanos(since.read(unsteered()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn since(own_tick: i32) -> Since {
        Since {
            unsteered: 7 * SECOND,
            shown: 0,
            own_tick,
            asleep: 3 * SECOND,
        }
    }

    #[test]
    fn it_runs_by_its_own_tick() {
        assert_eq!(since(Speed::TICK).read(1007 * SECOND), 1000 * SECOND);
        // 100 ppm fast.
        let fast = since(Speed::TICK + 1).read(1007 * SECOND);
        assert_eq!(fast, 1000 * SECOND + SECOND / 10);
        // In 30 years, too.
        let years = 30 * 365 * 86_400 * SECOND;
        assert_eq!(
            since(9_999).read(years + 7 * SECOND),
            years / 10_000 * 9_999
        );
    }

    #[test]
    fn it_goes_on_while_the_machine_is_suspended() {
        let mut since = since(Speed::TICK);
        since.wake(3603 * SECOND);
        assert_eq!(since.read(1007 * SECOND), 4600 * SECOND);
        // It is told again and again, more or less exactly.
        for told in [3603 * SECOND, 3602 * SECOND, 3603 * SECOND + 20] {
            since.wake(told);
            assert_eq!(since.read(1007 * SECOND), 4600 * SECOND);
        }
    }

    #[test]
    fn another_tick_counts_from_now_on() {
        let oscillator = Oscillator::new(Speed::TICK);
        let (began, shown) = (unsteered(), since_epoch(oscillator.read()));
        oscillator.has_own_tick(11_000);
        oscillator.has_own_tick(Speed::TICK);
        let wrong = since_epoch(oscillator.read()) - shown - (unsteered() - began);
        assert!(wrong.abs() < 10_000_000, "{wrong} ns");
    }
}
