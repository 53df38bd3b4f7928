//! Clocks that are read and never set: the machine's own, and one that pretends to be wrong.
//!
//! This is the only room that asks the operating system for the time of day.

use std::sync::atomic::{AtomicI64, Ordering};
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

    /// For how long it has been suspended with its machine, as it noticed when it was last read. The
    /// operating system may be wrong about that by a second, or two.
    fn slept(&self) -> TimeDelta {
        TimeDelta::zero()
    }

    /// By how much the clock was set, in all, whose target it is; `None`, if it is a machine's.
    fn set_by(&self) -> Option<TimeDelta> {
        None
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

    fn slept(&self) -> TimeDelta {
        (**self).slept()
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

/// How often clocks are read that are to show the same moment: a thread may be interrupted between
/// two of them, so the quickest reading counts.
const TRIES: usize = 9;

/// What was read together with the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WithWallClock<T> {
    /// What was read.
    pub(crate) read: T,
    /// What the wall clock showed meanwhile.
    pub(crate) wall: DateTime<Utc>,
    /// How far `wall` may be from what the wall clock showed at the very moment.
    pub(crate) apart: TimeDelta,
}

/// Reads something and the wall clock, as nearly at one moment as can be had.
pub(crate) fn with_wall_clock<T>(mut read: impl FnMut() -> T) -> WithWallClock<T> {
    let mut read = || {
        let before = WallClock.read();
        let read = read();
        let half = (WallClock.read() - before).abs() / 2;
        WithWallClock {
            read,
            wall: before + half,
            apart: half,
        }
    };
    let first = read();
    (1..TRIES).fold(first, |best, _| {
        let next = read();
        if next.apart < best.apart { next } else { best }
    })
}

/// The machine's clock as an oscillator: it starts at what the wall clock shows and then only
/// counts the time that passes. It neither jumps nor stands still when somebody sets the wall clock
/// and, on Linux, runs no faster or slower when somebody steers that. It goes on while the machine is
/// suspended, where the operating system can tell for how long it was. Network time is kept over
/// this one.
#[derive(Debug)]
pub struct SteadyClock {
    /// What it is ahead of [`unsteered`], in nanoseconds, less what the machine has slept.
    ahead: i64,
    asleep: Asleep,
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

/// By how many nanoseconds the wall clock is ahead of the one that stands still while the machine is
/// suspended. Both clocks move on, and this stays what it is until the machine is suspended or
/// somebody sets the wall clock (or a tick comes between the two readings): then it jumps by the
/// whole of that. Both are read as the last tick has left them, which is quick.
#[cfg(target_os = "linux")]
fn wall_ahead() -> i64 {
    use rustix::time::{ClockId, clock_gettime};
    let wall = clock_gettime(ClockId::RealtimeCoarse);
    let awake = clock_gettime(ClockId::MonotonicCoarse);
    (wall.tv_sec - awake.tv_sec) * 1_000_000_000 + wall.tv_nsec - awake.tv_nsec
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

#[cfg(not(target_os = "linux"))]
fn wall_ahead() -> i64 {
    0
}

/// No suspend is shorter than this, in nanoseconds. What is less is the time between two readings.
const SHORTEST_SLEEP: i64 = 1_000_000;

/// For how long the machine has been suspended, as somebody notices who looks again and again: what
/// passes between two readings is not taken for sleep, however long that is.
#[derive(Debug)]
pub(crate) struct Asleep {
    /// See [`asleep`].
    began: i64,
    /// Since then, in nanoseconds.
    slept: AtomicI64,
    /// See [`wall_ahead`]: what it was before `slept` was found. As long as it is that, the machine
    /// was not suspended since.
    wall_ahead: AtomicI64,
}

impl Asleep {
    pub(crate) fn begin() -> Self {
        let wall_ahead = AtomicI64::new(wall_ahead());
        Self {
            began: longest_asleep(),
            slept: AtomicI64::new(0),
            wall_ahead,
        }
    }

    /// For how many nanoseconds since the beginning.
    pub(crate) fn look(&self) -> i64 {
        self.look_again(wall_ahead(), || longest_asleep() - self.began)
    }

    /// The same, where the wall clock is ahead by this. Only if that has changed since the last look
    /// is the kernel asked for how long the machine has been suspended, which takes longer.
    fn look_again(&self, wall_ahead: i64, slept: impl FnOnce() -> i64) -> i64 {
        if self.wall_ahead.load(Ordering::Acquire) == wall_ahead {
            return self.slept.load(Ordering::Relaxed);
        }
        let slept = self.is_told(slept());
        // In this sequence: whoever finds this finds the new `slept` too.
        self.wall_ahead.store(wall_ahead, Ordering::Release);
        slept
    }

    /// The same when it was looked last.
    pub(crate) fn noticed(&self) -> TimeDelta {
        TimeDelta::nanoseconds(self.slept.load(Ordering::Relaxed))
    }

    fn is_told(&self, slept: i64) -> i64 {
        let known = self.slept.load(Ordering::Relaxed);
        if slept - known <= SHORTEST_SLEEP {
            return known;
        }
        self.slept.fetch_max(slept, Ordering::Relaxed).max(slept)
    }
}

/// See [`asleep`]: whoever is interrupted while it reads is told too little.
fn longest_asleep() -> i64 {
    (0..10).map(|_| asleep()).max().unwrap_or_default()
}

/// Nanoseconds since the first call, as `Instant` counts them.
#[cfg(not(target_os = "linux"))]
pub(crate) fn uptime() -> i64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed().as_nanos() as i64
}

/// A reading of the clock by which ClockBound's clients know how old the bound is that they find:
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
        let clock = Self {
            ahead: 0,
            asleep: Asleep::begin(),
        };
        let WithWallClock { read, wall, .. } = with_wall_clock(|| clock.shown());
        Self {
            ahead: since_epoch(wall).saturating_sub(read),
            ..clock
        }
    }

    fn shown(&self) -> i64 {
        let slept = self.asleep.look();
        self.awake().saturating_add(slept)
    }

    /// The same, less what the machine has slept.
    fn awake(&self) -> i64 {
        self.ahead.saturating_add(unsteered())
    }
}

impl Clock for SteadyClock {
    fn read(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.shown())
    }

    fn read_at(&self, arrived: DateTime<Utc>) -> DateTime<Utc> {
        let slept = self.asleep.look();
        // As little as can be between the two.
        let late = since(arrived);
        DateTime::from_timestamp_nanos(self.awake().saturating_add(slept)) - late
    }

    fn slept(&self) -> TimeDelta {
        self.asleep.noticed()
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

    fn slept(&self) -> TimeDelta {
        self.clock.slept()
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
    fn a_reading_that_was_interrupted_does_not_count() {
        let mut tries = 0;
        let together = with_wall_clock(|| {
            tries += 1;
            if tries < TRIES {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            tries
        });
        assert_eq!(together.read, TRIES, "{together:?}");
    }

    #[test]
    fn nothing_is_taken_for_having_come_before_it_came() {
        let clock = Interrupted(SteadyClock::start());
        let before = clock.read();
        assert!(clock.read_at(WallClock.read()) > before);
    }

    #[test]
    fn sleep_is_counted_and_what_passes_between_two_readings_is_not() {
        let minute = 60_000_000_000;
        let asleep = Asleep::begin();
        assert_eq!(asleep.look(), 0, "or this machine was suspended just now");
        // It is told again and again, more or less exactly.
        for told in [minute, minute - 1_000_000_000, minute + 20] {
            assert_eq!(asleep.is_told(told), minute);
        }
        assert_eq!(asleep.noticed(), TimeDelta::minutes(1));
    }

    #[test]
    fn a_suspend_is_noticed_at_the_first_reading_after_it_and_a_set_wall_clock_is_none() {
        let (minute, asleep) = (60_000_000_000, Asleep::begin());
        let began = asleep.wall_ahead.load(Ordering::Relaxed);
        let nobody_looks = || unreachable!("nothing has happened to the wall clock");
        assert_eq!(asleep.look_again(began, nobody_looks), 0);
        // One that has slept finds its wall clock ahead by as much, and one that was set does too.
        assert_eq!(asleep.look_again(began + minute, || minute), minute);
        assert_eq!(asleep.look_again(began + minute, nobody_looks), minute);
        for set in [-minute, 0, 7 * minute] {
            let tries = [minute - 20, minute, minute + 20];
            for slept in tries {
                assert_eq!(asleep.look_again(began + set + slept, || slept), minute);
            }
        }
        // Set back by just so much before it slept again.
        let (set, slept) = (began - minute, 2 * minute);
        assert_eq!(asleep.look_again(set, || minute), minute);
        assert_eq!(asleep.look_again(set + minute, || slept), slept);
    }

    #[test]
    fn as_long_as_nothing_happens_to_the_wall_clock_nobody_looks_for_sleep() {
        let asleep = Asleep::begin();
        let looked = std::cell::Cell::new(0);
        for _ in 0..10_000 {
            asleep.look_again(wall_ahead(), || {
                looked.set(looked.get() + 1);
                0
            });
        }
        // A tick that comes between two readings is looked at twice; and somebody may set the clock.
        assert!(looked.get() < 100, "{} of 10000 times", looked.get());
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
