//! The machine's oscillator: its clock as it would run if nobody steered it.

use std::sync::Mutex;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{Clock, WallClock, unsteered, uptime};
use crate::lock::lock;
use crate::span::{nanoseconds, since_epoch};
use crate::system_clock::speed::Speed;

/// How often two clocks are read to have them at one moment: of these, the quickest counts.
const TRIES: usize = 5;

/// The machine's oscillator. What others do to the clock it shares; what we do, it does not.
#[derive(Debug)]
pub struct Oscillator(Mutex<Since>);

#[derive(Debug, Clone, Copy)]
struct Since {
    at: Moment,
    /// What it showed then, in nanoseconds since the Unix epoch.
    shown: i64,
    /// The kernel's speed from then on: it makes both of a [`Moment`]'s clocks run faster, too,
    /// but not while the machine is suspended.
    speed: Speed,
}

/// A moment by the two clocks that differ by how long the machine was suspended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// See [`uptime`].
    uptime: i64,
    /// Stands still while the machine is suspended.
    awake: Instant,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            uptime: uptime(),
            awake: Instant::now(),
        }
    }

    /// Now, and what the clock shows that nobody steers.
    fn and_unsteered() -> (Self, i64) {
        let read = || {
            let began = unsteered();
            let moment = Self::now();
            let took = unsteered() - began;
            (took, moment, began + took / 2)
        };
        let first = read();
        let (_, moment, unsteered) = (1..TRIES).fold(first, |best, _| {
            let next = read();
            if next.0 < best.0 { next } else { best }
        });
        (moment, unsteered)
    }

    /// Nanoseconds since an earlier moment, and for how many of them the machine was awake.
    pub(crate) fn since(self, earlier: Self) -> (i64, i64) {
        let awake = self.awake.saturating_duration_since(earlier.awake);
        (self.uptime - earlier.uptime, awake.as_nanos() as i64)
    }
}

impl Since {
    fn read(&self, now: Moment) -> i64 {
        let (elapsed, awake) = now.since(self.at);
        let gain = self.speed.gain_ppm() * 1e-6;
        // The two were read some ten nanoseconds apart, a tenth of which may be lost here.
        let gained = awake as f64 * (gain / (1.0 + gain));
        self.shown.saturating_add(elapsed - gained.round() as i64)
    }
}

impl Oscillator {
    pub(crate) fn new(speed: Speed) -> Self {
        Self(Mutex::new(Since {
            at: Moment::now(),
            shown: since_epoch(WallClock.read()),
            speed,
        }))
    }

    /// Somebody has changed the kernel's speed, and this is it from now on.
    pub(crate) fn has_speed(&self, speed: Speed) {
        let mut since = lock(&self.0);
        let at = Moment::now();
        let shown = since.read(at);
        *since = Since { at, shown, speed };
    }

    /// Changes the kernel's speed by `set`. Whoever reads the oscillator waits: when between two
    /// readings the speed changes, by a tenth perhaps, is known only by the clock that nobody
    /// steers.
    pub(crate) fn change_speed<E>(
        &self,
        speed: Speed,
        set: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut since = lock(&self.0);
        let (before, began) = Moment::and_unsteered();
        let result = set();
        let (at, ended) = Moment::and_unsteered();
        let own = f64::from(speed.own_tick) / f64::from(Speed::TICK);
        let took = ((ended - began) as f64 * own).round() as i64;
        let shown = since.read(before).saturating_add(took);
        *since = Since { at, shown, speed };
        result
    }

    /// Somebody has set the clock.
    pub(crate) fn was_set(&self, by: TimeDelta) {
        let mut since = lock(&self.0);
        since.shown = since.shown.saturating_add(nanoseconds(by));
    }
}

impl Clock for Oscillator {
    fn read(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(lock(&self.0).read(Moment::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn speed(frequency_ppm: f64) -> Speed {
        Speed {
            frequency_ppm,
            ..Speed::NOMINAL
        }
    }

    #[test]
    fn the_oscillator_is_not_moved_by_what_steers_it() {
        // An oscillator that is right, for 1000 s at 100 ppm and then for 1000 s at -300 ppm.
        let began = Moment::now();
        let first = Since {
            at: began,
            shown: 0,
            speed: speed(100.0),
        };
        let then = later(began, Duration::from_millis(1_000_100), Duration::ZERO);
        assert_eq!(first.read(then), 1_000_000_000_000);
        let second = Since {
            at: then,
            shown: first.read(then),
            speed: speed(-300.0),
        };
        let end = later(then, Duration::from_millis(999_700), Duration::ZERO);
        assert_eq!(second.read(end), 2_000_000_000_000);
    }

    #[test]
    fn the_oscillator_is_not_moved_by_the_tick_that_slews_it() {
        // It gains 100 ppm by itself, by its own tick, and is slewed by 5 % for 1000 s of it.
        let began = Moment::now();
        let since = Since {
            at: began,
            shown: 0,
            speed: Speed {
                own_tick: 10_001,
                tick: 10_501,
                frequency_ppm: 0.0,
            },
        };
        let end = later(began, Duration::from_millis(1_050_100), Duration::ZERO);
        assert_eq!(since.read(end), 1_000_100_000_000);
    }

    #[test]
    fn the_oscillator_goes_on_while_the_machine_is_suspended() {
        let began = Moment::now();
        let since = Since {
            at: began,
            shown: 0,
            speed: speed(100.0),
        };
        // Awake for 1000 s at 100 ppm, and asleep for an hour, which the kernel counts unsteered.
        let hour = Duration::from_hours(1);
        let end = later(began, Duration::from_millis(1_000_100), hour);
        assert_eq!(since.read(end), 4_600_000_000_000);
    }

    #[test]
    fn how_long_it_takes_to_change_the_speed_is_not_taken_for_time_at_either() {
        let oscillator = Oscillator::new(Speed::NOMINAL);
        let before = unsteered();
        let shown = since_epoch(oscillator.read());
        let slewed = Speed {
            tick: 11_000,
            ..Speed::NOMINAL
        };
        // The kernel's clocks keep their speed here, so none of this time may count at the other.
        let set = || {
            std::thread::sleep(Duration::from_millis(50));
            Ok::<_, ()>(())
        };
        oscillator.change_speed(slewed, set).unwrap();
        let elapsed = unsteered() - before;
        oscillator.has_speed(Speed::NOMINAL);
        let wrong = since_epoch(oscillator.read()) - shown - elapsed;
        // A tenth of the 50 ms would be 5 ms; 500 ppm of them, by which this machine's clock may
        // be steered, are 25 µs.
        assert!(wrong.abs() < 1_000_000, "{wrong} ns");
    }

    fn later(moment: Moment, awake: Duration, asleep: Duration) -> Moment {
        Moment {
            uptime: moment.uptime + (awake + asleep).as_nanos() as i64,
            awake: moment.awake + awake,
        }
    }
}
