//! Clocks that are read and never set: the machine's own, and one that pretends to be wrong.
//!
//! This is the only room that asks the operating system for the time of day.

#[cfg(not(target_os = "linux"))]
use std::{sync::LazyLock, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::span::{at_rate, since_epoch};

/// The largest rate that is believed, either way, in ppm.
pub const LARGEST_RATE_PPM: f64 = 20_000.0;

/// How far off quartz oscillators commonly are, in ppm: one standard deviation of the rate of a
/// clock of which nothing is known.
pub const CRYSTAL_PPM: f64 = 100.0;

/// Something that shows a time. Reading it has no effect on it.
pub trait Clock: Send + Sync {
    /// What the clock shows now.
    fn read(&self) -> DateTime<Utc>;

    /// What the clock showed when the machine's wall clock showed `arrived`, which is shortly ago:
    /// by the kernel, a message came then.
    fn read_at(&self, arrived: DateTime<Utc>) -> DateTime<Utc> {
        // In this order: a thread that is interrupted in between takes the message for later than
        // it came, as one does that knows nothing of its arrival, and never for earlier.
        let late = since(arrived);
        self.read() - late
    }
}

/// Nothing is said to have come longer ago, so that a wall clock that was just set does no harm.
const LATEST: TimeDelta = TimeDelta::seconds(1);

/// How long ago the machine's wall clock showed `arrived`; nothing, if that can't be.
pub(crate) fn since(arrived: DateTime<Utc>) -> TimeDelta {
    let late = WallClock.read() - arrived;
    let possible = TimeDelta::zero()..LATEST;
    if possible.contains(&late) {
        late
    } else {
        TimeDelta::zero()
    }
}

impl<C: Clock + ?Sized> Clock for Box<C> {
    fn read(&self) -> DateTime<Utc> {
        (**self).read()
    }

    fn read_at(&self, arrived: DateTime<Utc>) -> DateTime<Utc> {
        (**self).read_at(arrived)
    }
}

/// The machine's wall clock. It may jump: somebody may set it at any moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock;

impl Clock for WallClock {
    #[allow(clippy::disallowed_methods, reason = "this room owns the wall clock")]
    fn read(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// The machine's clock as an oscillator: it starts at what the wall clock shows and then only
/// counts the time that passes, so that it neither jumps nor stands still when somebody sets the
/// wall clock. It goes on while the machine is suspended, where the operating system can tell for
/// how long it was. Network time is kept over this one.
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    /// What it is ahead of [`uptime`], in nanoseconds: reading has to be cheap.
    ahead: i64,
}

/// Nanoseconds since some moment, those that the machine was suspended for included: `Instant`
/// stands still then, and a machine that slept for a minute would wake a minute behind the group.
#[cfg(target_os = "linux")]
pub(crate) fn uptime() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Nanoseconds since some moment, by a clock that nobody can steer. It stands still while the
/// machine is suspended.
#[cfg(target_os = "linux")]
pub(crate) fn unsteered() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicRaw);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// For how many nanoseconds the machine has been suspended since it was booted, less what passes
/// between two readings.
#[cfg(target_os = "linux")]
pub(crate) fn asleep() -> i64 {
    let uptime = uptime();
    let awake = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    uptime - (awake.tv_sec * 1_000_000_000 + awake.tv_nsec)
}

/// Other kernels have no clock that nobody steers; there, no clock is steered by us either.
#[cfg(not(target_os = "linux"))]
pub(crate) fn unsteered() -> i64 {
    uptime()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn asleep() -> i64 {
    0
}

/// Nanoseconds since the first call, as `Instant` counts them.
#[cfg(not(target_os = "linux"))]
pub(crate) fn uptime() -> i64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed().as_nanos() as i64
}

/// A reading of the clock by which ClockBound's clients know how old the word is that they find:
/// `CLOCK_MONOTONIC_COARSE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coarse {
    /// What it showed, in nanoseconds.
    pub shown: i64,
    /// It moves by this, in nanoseconds, and shows a time that is older by up to this.
    pub grain: i64,
}

/// Reads that clock.
#[cfg(target_os = "linux")]
pub(crate) fn coarse() -> Coarse {
    use rustix::time::{ClockId, clock_getres, clock_gettime};
    let (now, grain) = (
        clock_gettime(ClockId::MonotonicCoarse),
        clock_getres(ClockId::MonotonicCoarse),
    );
    Coarse {
        shown: now.tv_sec * 1_000_000_000 + now.tv_nsec,
        grain: grain.tv_sec * 1_000_000_000 + grain.tv_nsec,
    }
}

/// Other kernels have none; there, no clock is steered by us either.
#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse() -> Coarse {
    Coarse {
        shown: uptime(),
        grain: 0,
    }
}

impl SteadyClock {
    /// A steady clock that shows the wall clock's time now, to some ten nanoseconds.
    #[must_use]
    pub fn start() -> Self {
        // The two clocks can't be read at one moment: of some tries, the quickest is the closest.
        let read = || {
            let before = uptime();
            let wall = WallClock.read();
            (uptime() - before, before, wall)
        };
        let (took, before, wall) = (0..10).fold(read(), |best, _| best.min(read()));
        Self {
            ahead: since_epoch(wall).saturating_sub(before + took / 2),
        }
    }
}

impl Clock for SteadyClock {
    fn read(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.ahead.saturating_add(uptime()))
    }
}

/// How wrong a [`SimulatedClock`] is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulation {
    /// How far it is ahead of the clock beneath it, from the start.
    pub offset: TimeDelta,
    /// How much it gains on the clock beneath it, in ppm: at 100 it gains 100 µs a second.
    pub drift_ppm: f64,
}

impl Simulation {
    /// The largest offset either way: 200 years, which leaves every time a name.
    pub const LARGEST_OFFSET: TimeDelta = TimeDelta::days(73_050);

    /// The largest drift either way, in ppm. Real crystals stay within 200.
    pub const LARGEST_DRIFT_PPM: f64 = 10_000.0;

    /// Not wrong at all.
    pub const NONE: Self = Self {
        offset: TimeDelta::zero(),
        drift_ppm: 0.0,
    };

    /// Lays a clock that is this wrong over `clock`.
    #[must_use]
    pub fn over<C: Clock>(self, clock: C) -> SimulatedClock<C> {
        SimulatedClock {
            start: clock.read(),
            clock,
            simulation: self,
        }
    }
}

/// A clock that is wrong by a given offset and gains at a given rate: the way to see the
/// algorithm work on one machine.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedClock<C> {
    clock: C,
    start: DateTime<Utc>,
    simulation: Simulation,
}

impl<C: Clock> Clock for SimulatedClock<C> {
    fn read(&self) -> DateTime<Utc> {
        let now = self.clock.read();
        now + self.simulation.offset + at_rate(now - self.start, self.simulation.drift_ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Hand(Mutex<DateTime<Utc>>);

    impl Clock for &Hand {
        fn read(&self) -> DateTime<Utc> {
            *self.0.lock().unwrap()
        }
    }

    /// Shows the steady clock's time, and is interrupted after each look at it.
    struct Interrupted(SteadyClock);

    impl Clock for Interrupted {
        fn read(&self) -> DateTime<Utc> {
            let shown = self.0.read();
            std::thread::sleep(std::time::Duration::from_millis(20));
            shown
        }
    }

    #[test]
    fn nothing_is_taken_for_having_come_before_it_came() {
        let clock = Interrupted(SteadyClock::start());
        let before = clock.read();
        assert!(clock.read_at(WallClock.read()) > before);
    }

    #[test]
    fn a_simulated_clock_is_off_and_gains() {
        let hand = Hand(Mutex::new(DateTime::from_timestamp_nanos(0)));
        let clock = Simulation {
            offset: TimeDelta::minutes(-14),
            drift_ppm: 100.0,
        }
        .over(&hand);
        assert_eq!(
            clock.read(),
            DateTime::from_timestamp_nanos(0) - TimeDelta::minutes(14)
        );
        *hand.0.lock().unwrap() += TimeDelta::seconds(1000);
        let expected = TimeDelta::seconds(1000 - 14 * 60) + TimeDelta::milliseconds(100);
        assert_eq!(clock.read() - DateTime::from_timestamp_nanos(0), expected);
    }

    #[test]
    fn the_steady_clock_starts_at_the_wall_clock_and_never_goes_back() {
        let steady = SteadyClock::start();
        let mut last = steady.read();
        assert!((last - WallClock.read()).abs() < TimeDelta::seconds(10));
        for _ in 0..1000 {
            let next = steady.read();
            assert!(next >= last);
            last = next;
        }
    }
}
