//! The machine's oscillator: its clock as it would run if nobody steered it.
//!
//! The kernel keeps a clock that nobody can steer. The oscillator is that one, with the tick that
//! the machine's clock has of its own, and with the time for which the machine was suspended. No
//! speed that we give the system's clock has any part in it, so none can make it wrong.

use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{self, Asleep, Clock, WithWallClock, unsteered, with_wall_clock};
use crate::lock::lock;
use crate::span::{float_nanoseconds, nanoseconds, since_epoch};
use crate::system_clock::speed::Speed;

/// The machine's oscillator. What others do to the clock's time and tick it shares; what we do, it
/// does not.
#[derive(Debug)]
pub struct Oscillator {
    since: Mutex<Since>,
    asleep: Asleep,
}

#[derive(Debug, Clone, Copy)]
struct Since {
    /// See [`unsteered`].
    unsteered: i64,
    /// What the oscillator showed then, in nanoseconds since the Unix epoch, less what the machine
    /// has slept.
    shown: i64,
    /// The clock's own tick from then on, in µs.
    own_tick: i32,
    /// By how many ppm the system's clock gains on the oscillator.
    gain_ppm: f64,
}

impl Since {
    fn read(&self, unsteered: i64) -> i64 {
        let elapsed = i128::from(unsteered - self.unsteered);
        let own = elapsed * i128::from(self.own_tick) / i128::from(Speed::TICK);
        self.shown.saturating_add(own as i64)
    }
}

impl Oscillator {
    pub(crate) fn new(speed: Speed) -> Self {
        // Whatever passes between the two readings, the system's clock would be moved by.
        let WithWallClock { read, wall, .. } = with_wall_clock(unsteered);
        Self {
            since: Mutex::new(Since {
                unsteered: read,
                shown: since_epoch(wall),
                own_tick: speed.own_tick,
                gain_ppm: speed.gain_ppm(),
            }),
            asleep: Asleep::begin(),
        }
    }

    /// The system's clock has this speed from now on. Only its own tick is the oscillator's.
    pub(crate) fn has_speed(&self, speed: Speed) {
        let mut since = lock(&self.since);
        since.gain_ppm = speed.gain_ppm();
        if since.own_tick != speed.own_tick {
            let now = unsteered();
            since.shown = since.read(now);
            since.unsteered = now;
            since.own_tick = speed.own_tick;
        }
    }

    /// Somebody has set the clock.
    pub(crate) fn was_set(&self, by: TimeDelta) {
        let mut since = lock(&self.since);
        since.shown = since.shown.saturating_add(nanoseconds(by));
    }
}

impl Clock for Oscillator {
    fn read(&self) -> DateTime<Utc> {
        let slept = self.asleep.look();
        let awake = lock(&self.since).read(unsteered());
        DateTime::from_timestamp_nanos(awake.saturating_add(slept))
    }

    /// The wall clock, which is slewed, may have shown more or less time since than has passed.
    fn read_at(&self, arrived: DateTime<Utc>) -> DateTime<Utc> {
        let slept = self.asleep.look();
        let since = lock(&self.since);
        // As little as can be between the two, and in this order: see the trait.
        let late = float_nanoseconds(clock::since(arrived));
        let awake = since.read(unsteered());
        let late = late / (1.0 + since.gain_ppm * 1e-6);
        DateTime::from_timestamp_nanos(awake.saturating_add(slept - late as i64))
    }

    fn slept(&self) -> TimeDelta {
        self.asleep.noticed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallClock;

    const SECOND: i64 = 1_000_000_000;

    fn since(own_tick: i32) -> Since {
        Since {
            unsteered: 7 * SECOND,
            shown: 0,
            own_tick,
            gain_ppm: 0.0,
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
    fn another_tick_counts_from_now_on() {
        let oscillator = Oscillator::new(Speed::NOMINAL);
        let (began, shown) = (unsteered(), since_epoch(oscillator.read()));
        oscillator.has_speed(Speed::of_its_own(11_000, 0.0));
        oscillator.has_speed(Speed::NOMINAL);
        let wrong = since_epoch(oscillator.read()) - shown - (unsteered() - began);
        assert!(wrong.abs() < 10_000_000, "{wrong} ns");
    }

    #[test]
    fn a_slewed_wall_clock_does_not_tell_wrong_how_late_a_reader_is() {
        let oscillator = Oscillator::new(Speed::NOMINAL);
        oscillator.has_speed(Speed::NOMINAL.slewed_by(100_000.0));
        let late = TimeDelta::milliseconds(550);
        let before = oscillator.read();
        let came = oscillator.read_at(WallClock.read() - late);
        let wrong = (before - came) - TimeDelta::milliseconds(500);
        assert!(wrong.abs() < TimeDelta::milliseconds(20), "{wrong}");
    }
}
