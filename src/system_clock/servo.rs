//! How the operating system's clock is steered to the network's time: by its frequency, by its
//! tick where that would take too long and, when the discipline says so, by a step.
//!
//! Pure: what was seen goes in, what is to be done comes out. The hands are in
//! [`crate::system_clock::hands`].

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::discipline::correction::Aim;
use crate::span::{at_rate, float_nanoseconds};
use crate::system_clock::look::Look;
use crate::system_clock::speed::{LARGEST_FREQUENCY_PPM, Speed};

/// How often the clock is looked at.
pub const PERIOD: Duration = Duration::from_millis(250);

/// From this error on, a slew is made by the tick. A smaller one is made by the frequency: if the
/// program is killed meanwhile, what it leaves can't be told from a frequency that was learned, unless
/// a drift file tells that.
const BY_TICK: TimeDelta = TimeDelta::milliseconds(1);

/// A slew takes about this time, if the error is small enough for that: three quarters of it at
/// least, as slews by the tick have steps. It must be longer than [`PERIOD`], or else a thread that
/// wakes late would slew too far. With [`BY_TICK`] it makes the
/// least slew by the tick: 2000 ppm, of which all are a multiple ([`Speed::slewed_by`]) and which no
/// oscillator is off by, so that whoever finds one that was left behind can undo it
/// ([`Speed::mended`]).
const SLEW_SECONDS: f64 = 0.5;

/// The largest slew, in ppm: like that of the clock inside the program, with what the kernel
/// needs for oscillators that are off by 9 ticks.
const LARGEST_SLEW_PPM: f64 = 98_000.0;

/// A clock that is this far from where it can be, as it was left, was set by somebody else. What is
/// less is steered away.
const SET_BY_HAND: TimeDelta = TimeDelta::milliseconds(10);

/// A clock that may be this wrong is not synchronized: the kernel knows no larger error
/// (`NTP_PHASE_LIMIT`).
const HOPELESS: TimeDelta = TimeDelta::seconds(16);

/// A frequency that differs by this from what it was set to, in ppm, was set by somebody else.
const FOREIGN_PPM: f64 = 0.01;

/// The system's clock, and where it is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// What it shows.
    pub look: Look,
    /// The kernel's tick, in µs.
    pub tick: i32,
    /// The kernel's frequency, in ppm.
    pub frequency_ppm: f64,
}

/// Something to be done to the system's clock, or to be known of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Somebody else has set the clock, by this much.
    WasSet(TimeDelta),
    /// Somebody else has set the tick or the frequency: the clock's own speed is this now.
    ForeignSpeed(Speed),
    /// Set the clock, by this much.
    Step(TimeDelta),
    /// Set the tick and the frequency.
    SetSpeed(Speed),
    /// The oscillator is off by so many ppm, which is more than the frequency can make up for.
    TooFarOff(f64),
    /// Tell the kernel that nobody knows how wrong its clock is.
    Unsynchronized,
    /// Tell the kernel how wrong its clock may be.
    State {
        /// How far it is from its target.
        estimated: TimeDelta,
        /// How far it may be from the network's time.
        maximum: TimeDelta,
    },
}

impl Action {
    /// The speed that the clock is given by it.
    #[must_use]
    pub fn speed(&self) -> Option<Speed> {
        match self {
            Self::SetSpeed(speed) => Some(*speed),
            _ => None,
        }
    }
}

/// What was left behind the last time.
#[derive(Debug, Clone, Copy)]
pub struct Steer {
    raw: DateTime<Utc>,
    wall: DateTime<Utc>,
    speed: Speed,
    /// By how many ppm that is faster than the speed before.
    faster_ppm: f64,
    /// How far the clock may be from where it is expected, as nobody knows since when it has the
    /// speed.
    unsure: TimeDelta,
}

impl Steer {
    /// Begins with a clock that runs at the given speed.
    #[must_use]
    pub fn new(raw: DateTime<Utc>, wall: DateTime<Utc>, speed: Speed) -> Self {
        Self {
            raw,
            wall,
            speed,
            faster_ppm: 0.0,
            unsure: TimeDelta::zero(),
        }
    }

    /// What to do next.
    pub fn act(&mut self, seen: &Seen) -> Vec<Action> {
        let mut actions = Vec::new();
        let Look { raw, wall, aim, .. } = seen.look;
        let elapsed = raw - self.raw;
        let expected = self.wall + elapsed + at_rate(elapsed, self.speed.gain_ppm());
        let moved = wall - expected;
        let unsure = self.unsure + self.unsure_of_foreign(seen, elapsed);
        self.raw = raw;
        self.wall = wall;
        self.faster_ppm = 0.0;
        self.unsure = TimeDelta::zero();
        if moved.abs() > SET_BY_HAND + unsure {
            // The raw clock goes along, and what it is aimed at has to be found anew.
            self.raw += moved;
            actions.push(Action::WasSet(moved));
            return actions;
        }
        if self.is_foreign(seen.tick, seen.frequency_ppm) {
            self.speed = Speed::of_its_own(seen.tick, seen.frequency_ppm);
            actions.push(Action::ForeignSpeed(self.speed));
        }
        let Some(aim) = aim else {
            return actions;
        };
        let mut error = aim.target - wall;
        if aim.step_due {
            actions.push(Action::Step(error));
            self.wall += error;
            error = TimeDelta::zero();
        }
        if aim.rate_ppm.abs() > LARGEST_FREQUENCY_PPM {
            actions.push(Action::TooFarOff(aim.rate_ppm));
        }
        let speed = slewing(self.speed, error, aim.rate_ppm);
        self.faster_ppm = speed.gain_ppm() - self.speed.gain_ppm();
        self.speed = speed;
        actions.push(Action::SetSpeed(speed));
        let maximum = aim.error.map(|target_error| error.abs() + target_error);
        actions.push(match maximum {
            Some(maximum) if maximum < HOPELESS => Action::State {
                estimated: error.abs(),
                maximum,
            },
            _ => Action::Unsynchronized,
        });
        actions
    }

    /// What there was to do was done when the raw clock showed this, or before. A thread that was
    /// held up has set another speed long after it looked, and the clock is where it is not expected.
    pub fn has_acted(&mut self, raw: DateTime<Utc>) {
        self.unsure = at_rate(raw - self.raw, self.faster_ppm).abs();
    }

    /// How much difference it makes since when, of the time that has passed, the clock has the speed
    /// that it is found at, if somebody else has set that.
    fn unsure_of_foreign(&self, seen: &Seen, elapsed: TimeDelta) -> TimeDelta {
        let found = Speed {
            tick: seen.tick,
            frequency_ppm: seen.frequency_ppm,
            ..self.speed
        };
        at_rate(elapsed, found.gain_ppm() - self.speed.gain_ppm()).abs()
    }

    fn is_foreign(&self, tick: i32, frequency_ppm: f64) -> bool {
        tick != self.speed.tick || (frequency_ppm - self.speed.frequency_ppm).abs() > FOREIGN_PPM
    }

    /// The speed to leave behind at the end, if it is not right already: the frequency that was
    /// learned stays, and nothing is left slewing. `tick` is the kernel's: if somebody else has
    /// set it, it is the clock's own.
    #[must_use]
    pub fn end(&self, tick: i32, aim: Option<Aim>) -> Option<Speed> {
        let aim = aim?;
        let speed = if tick == self.speed.tick {
            self.speed
        } else {
            Speed::of_its_own(tick, self.speed.frequency_ppm)
        };
        Some(speed.with_frequency(aim.rate_ppm))
    }
}

/// The speed that takes an error away. During a slew by the tick the frequency is already what it
/// is to be afterwards.
fn slewing(speed: Speed, error: TimeDelta, rate_ppm: f64) -> Speed {
    // A microsecond in a second is one ppm.
    let slew_ppm = float_nanoseconds(error) * 1e-3 / SLEW_SECONDS;
    if error.abs() < BY_TICK {
        return speed.with_frequency(rate_ppm + slew_ppm);
    }
    speed
        .with_frequency(rate_ppm)
        .slewed_by(slew_ppm.clamp(-LARGEST_SLEW_PPM, LARGEST_SLEW_PPM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_700_000_000_000_000 + micros).unwrap()
    }

    fn aim(target: DateTime<Utc>, rate_ppm: f64) -> Aim {
        Aim {
            target,
            rate_ppm,
            step_due: false,
            error: None,
            error_growth_ppm: 1.0,
            corrections: 1,
            holds_over: false,
        }
    }

    fn look(raw: DateTime<Utc>, wall: DateTime<Utc>, aim: Option<Aim>) -> Look {
        Look {
            raw,
            wall,
            apart: TimeDelta::zero(),
            aim,
        }
    }

    /// A kernel's clock over an oscillator that is right.
    struct Kernel {
        now: i64,
        /// How far the raw clock has gone along with what others did.
        set: i64,
        wall: f64,
        speed: Speed,
        steer: Steer,
    }

    impl Kernel {
        fn new() -> Self {
            Self {
                now: 0,
                set: 0,
                wall: 0.0,
                speed: Speed::NOMINAL,
                steer: Steer::new(at(0), at(0), Speed::NOMINAL),
            }
        }

        /// Lets time pass, and does what there is to do. The target gains `rate_ppm`.
        fn pass(&mut self, ahead_micros: i64, rate_ppm: f64, may_step: bool) -> Vec<Action> {
            self.now += 250_000;
            self.wall += 250_000.0 * (1.0 + self.speed.gain_ppm() * 1e-6);
            let aim = Aim {
                step_due: may_step,
                error: Some(TimeDelta::microseconds(7)),
                ..aim(at(self.now + ahead_micros), rate_ppm)
            };
            let (raw, wall) = (at(self.now + self.set), at(self.wall.round() as i64));
            let actions = self.steer.act(&Seen {
                look: look(raw, wall, Some(aim)),
                tick: self.speed.tick,
                frequency_ppm: self.speed.frequency_ppm,
            });
            for action in &actions {
                match action {
                    Action::SetSpeed(speed) => {
                        assert!(speed.frequency_ppm.abs() <= LARGEST_FREQUENCY_PPM);
                        assert!((Speed::TICKS.0..=Speed::TICKS.1).contains(&speed.tick));
                        self.speed = *speed;
                    }
                    Action::WasSet(by) => self.set += by.num_microseconds().unwrap(),
                    Action::Step(by) => self.wall += by.num_microseconds().unwrap() as f64,
                    _ => {}
                }
            }
            actions
        }

        fn off(&self, ahead_micros: i64) -> f64 {
            self.wall - (self.now + ahead_micros) as f64
        }
    }

    #[test]
    fn a_small_error_is_slewed_away_in_seconds() {
        let mut kernel = Kernel::new();
        for _ in 0..40 {
            kernel.pass(100, 0.0, false);
        }
        assert!(kernel.off(100).abs() < 2.0, "{}", kernel.off(100));
        assert!(kernel.speed.frequency_ppm.abs() < 2.0);
    }

    #[test]
    fn of_a_correction_next_to_nothing_is_left_when_the_next_one_comes_after_a_second() {
        let mut kernel = Kernel::new();
        for _ in 0..4 {
            kernel.pass(200, 0.0, false);
        }
        // The first look came with the correction.
        assert!(kernel.off(200).abs() < 30.0, "{}", kernel.off(200));
    }

    #[test]
    fn a_large_error_is_slewed_by_a_tenth_and_never_stepped() {
        for ahead in [400_000, -400_000] {
            let mut kernel = Kernel::new();
            let mut taken = None;
            for look in 1..=60 {
                let before = kernel.wall;
                let actions = kernel.pass(ahead, 0.0, false);
                assert!(kernel.wall > before, "it runs backwards");
                let steps = |action: &Action| matches!(action, Action::Step(_));
                assert!(!actions.iter().any(steps));
                if kernel.off(ahead).abs() < 1000.0 {
                    taken = taken.or(Some(look));
                }
            }
            // 0.4 s at 10 % take 4 s, and the end of it a little more.
            let looks = taken.expect("it arrives");
            assert!(looks <= 4 * 6, "{looks} looks, of 250 ms each");
            assert!(kernel.off(ahead).abs() < 50.0, "{}", kernel.off(ahead));
            assert_eq!(kernel.speed.tick, Speed::TICK, "nothing is left of it");
        }
    }

    #[test]
    fn whoever_finds_a_slew_by_the_tick_finds_the_own_tick() {
        for micros in [1000, -1000, 1300, -1999, 90_000, -90_000] {
            let own = Speed::of_its_own(10_009, 0.0);
            let speed = slewing(own, TimeDelta::microseconds(micros), 0.0);
            let found = Speed::of_its_own(speed.tick, speed.frequency_ppm);
            assert_eq!(found.mended(), Some(own), "{speed:?}");
        }
    }

    #[test]
    fn an_error_of_any_size_is_slewed_away_without_going_too_far() {
        // Around the least that is slewed by the tick, and between two of its steps.
        for ahead in [999_i64, 1000, 1001, 1499, 1500, 1999, 2501, 5555, 123_456] {
            for ahead in [ahead, -ahead] {
                let mut kernel = Kernel::new();
                let towards = ahead.signum() as f64;
                let mut left = f64::INFINITY;
                for _ in 0..14 + ahead.abs() / 24_000 {
                    kernel.pass(ahead, 0.0, false);
                    let before = std::mem::replace(&mut left, -kernel.off(ahead) * towards);
                    assert!(left > -1.0, "{left} µs left of {ahead}");
                    assert!(left <= before, "{left} of {before} µs left of {ahead}");
                }
                assert!(left < 130.0, "{left} µs left of {ahead}");
            }
        }
    }

    #[test]
    fn a_slew_starts_from_the_tick_that_it_finds_and_gives_it_back() {
        let mut kernel = Kernel::new();
        kernel.pass(0, 0.0, false);
        kernel.speed = Speed::of_its_own(10_001, 0.0);
        let actions = kernel.pass(50_000, 0.0, false);
        assert_eq!(
            actions[0],
            Action::ForeignSpeed(kernel.steer.speed.with_frequency(0.0))
        );
        assert!(kernel.speed.tick > 10_100, "it slews");
        let aim = aim(at(0), 30.0);
        let end = |tick| kernel.steer.end(tick, Some(aim));
        let left = Speed::of_its_own(10_001, 30.0);
        assert_eq!(end(kernel.speed.tick), Some(left), "in the middle of it");
        // Somebody has set it since it was looked at.
        assert_eq!(end(10_002), Some(Speed::of_its_own(10_002, 30.0)));
        for _ in 0..40 {
            kernel.pass(50_000, 0.0, false);
        }
        assert_eq!(kernel.speed.tick, 10_001);
    }

    #[test]
    fn a_thread_that_wakes_late_does_not_slew_too_far() {
        let mut steer = Steer::new(at(0), at(0), Speed::NOMINAL);
        let (mut now, mut wall, mut speed) = (0, 0.0, Speed::NOMINAL);
        // Once it is half a second late.
        for pause in [
            250_000, 500_000, 250_000, 250_000, 250_000, 250_000, 250_000,
        ] {
            now += pause;
            wall += pause as f64 * (1.0 + speed.gain_ppm() * 1e-6);
            let aim = aim(at(now + 40_000), 0.0);
            let seen = Seen {
                look: look(at(now), at(wall as i64), Some(aim)),
                tick: speed.tick,
                frequency_ppm: speed.frequency_ppm,
            };
            speed = steer.act(&seen).iter().find_map(Action::speed).unwrap();
            assert!(wall <= (now + 40_000) as f64 + 1.0, "too far");
        }
    }

    #[test]
    fn a_step_is_made_when_it_is_due_and_not_taken_for_somebody_elses() {
        let mut kernel = Kernel::new();
        let minute = 60_000_000;
        let actions = kernel.pass(minute, 0.0, true);
        assert!(matches!(actions[0], Action::Step(by) if by.num_seconds() >= 59));
        assert!(kernel.off(minute).abs() < 2.0);
        for _ in 0..10 {
            let actions = kernel.pass(minute, 0.0, false);
            assert!(matches!(actions[0], Action::SetSpeed(_)), "{actions:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_by_hand_is_noticed_once_and_left_alone() {
        let mut kernel = Kernel::new();
        kernel.pass(0, 0.0, false);
        kernel.wall += 3_600e6;
        let actions = kernel.pass(0, 0.0, false);
        let [Action::WasSet(by)] = actions[..] else {
            panic!("{actions:?}");
        };
        assert!((by - TimeDelta::hours(1)).abs() < TimeDelta::milliseconds(1));
    }

    #[test]
    fn a_thread_that_is_held_up_before_it_sets_the_speed_takes_nobody_for_who_set_the_clock() {
        // At the begin of a slew by a tenth, and at the end of one.
        for (before, ahead) in [(0, 400_000), (400_000, 0)] {
            let mut kernel = Kernel::new();
            kernel.pass(before, 0.0, false);
            let old = kernel.speed;
            let actions = kernel.pass(ahead, 0.0, false);
            assert!((kernel.speed.gain_ppm() - old.gain_ppm()).abs() > 90_000.0);
            assert!(matches!(actions[0], Action::SetSpeed(_)), "{actions:?}");
            // It is another half a second until the speed is set.
            kernel.now += 500_000;
            kernel.wall += 500_000.0 * (1.0 + old.gain_ppm() * 1e-6);
            kernel.steer.has_acted(at(kernel.now + kernel.set));
            let actions = kernel.pass(ahead, 0.0, false);
            assert!(matches!(actions[0], Action::SetSpeed(_)), "{actions:?}");
            // Later it is known where the clock is.
            kernel.wall += 12_000.0;
            let actions = kernel.pass(ahead, 0.0, false);
            assert!(matches!(actions[0], Action::WasSet(_)), "{actions:?}");
        }
    }

    #[test]
    fn a_tick_that_is_set_in_the_middle_of_a_slew_is_not_taken_for_another_time() {
        let mut kernel = Kernel::new();
        for _ in 0..4 {
            kernel.pass(400_000, 0.0, false);
        }
        assert!(kernel.speed.tick > 10_900, "it slews");
        // Just after it was looked at.
        kernel.speed = Speed {
            tick: 10_003,
            ..kernel.speed
        };
        let actions = kernel.pass(400_000, 0.0, false);
        let own = Speed::of_its_own(10_003, 0.0);
        assert_eq!(actions[0], Action::ForeignSpeed(own));
        for _ in 0..40 {
            let actions = kernel.pass(400_000, 0.0, false);
            assert!(matches!(actions[0], Action::SetSpeed(_)), "{actions:?}");
        }
        assert_eq!(kernel.speed.tick, 10_003);
    }

    #[test]
    fn another_programs_frequency_is_noticed() {
        let mut kernel = Kernel::new();
        kernel.pass(0, 0.0, false);
        kernel.speed.frequency_ppm = 37.0;
        let found = kernel.speed;
        let actions = kernel.pass(0, 0.0, false);
        assert_eq!(actions[0], Action::ForeignSpeed(found));
    }

    #[test]
    fn nothing_is_done_before_the_first_correction() {
        let mut steer = Steer::new(at(0), at(0), Speed::of_its_own(Speed::TICK, 12.0));
        let actions = steer.act(&Seen {
            look: look(at(1000), at(1000), None),
            tick: Speed::TICK,
            frequency_ppm: 12.0,
        });
        assert_eq!(actions, []);
        assert_eq!(steer.end(Speed::TICK, None), None);
    }

    #[test]
    fn what_is_told_the_kernel_covers_a_slew_under_way() {
        let mut kernel = Kernel::new();
        let actions = kernel.pass(5000, 0.0, false);
        assert_eq!(
            actions[1],
            Action::State {
                estimated: TimeDelta::microseconds(5000),
                maximum: TimeDelta::microseconds(5007),
            }
        );
    }

    #[test]
    fn a_clock_that_is_a_minute_off_is_not_called_synchronized() {
        let mut kernel = Kernel::new();
        let actions = kernel.pass(60_000_000, 0.0, false);
        assert_eq!(actions[1], Action::Unsynchronized);
    }

    #[test]
    fn an_oscillator_that_cannot_be_held_is_told_of() {
        let mut kernel = Kernel::new();
        let actions = kernel.pass(0, 700.0, false);
        assert_eq!(actions[0], Action::TooFarOff(700.0));
    }

    #[test]
    fn a_step_that_is_due_outlives_a_clock_that_was_set_by_hand() {
        let mut kernel = Kernel::new();
        kernel.wall += 1e6;
        let actions = kernel.pass(60_000_000, 0.0, true);
        assert!(matches!(actions[..], [Action::WasSet(_)]), "{actions:?}");
        let actions = kernel.pass(60_000_000, 0.0, true);
        assert!(matches!(actions[0], Action::Step(_)), "{actions:?}");
    }

    #[test]
    fn the_frequency_that_was_learned_stays_at_the_end() {
        let mut kernel = Kernel::new();
        kernel.pass(500, 30.0, false);
        assert!(kernel.speed.frequency_ppm > 100.0, "it slews");
        let aim = aim(at(0), 30.0);
        assert_eq!(
            kernel.steer.end(Speed::TICK, Some(aim)),
            Some(Speed::of_its_own(Speed::TICK, 30.0))
        );
    }
}
