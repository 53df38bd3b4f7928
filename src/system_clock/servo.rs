//! How the operating system's clock is steered to the network's time: by its frequency and, when
//! the discipline says so, by a step.
//!
//! Pure: what was seen goes in, what is to be done comes out. The hands are in
//! [`crate::system_clock::kernel`].

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::discipline::correction::Aim;
use crate::span::{at_rate, float_nanoseconds};

/// The largest frequency, drift and slew together, in ppm: the kernel takes no more.
pub const LARGEST_FREQUENCY_PPM: f64 = 500.0;

/// How often the clock is looked at.
pub const PERIOD: Duration = Duration::from_millis(250);

/// An error is slewed away in about this time, if it is small enough for that.
const SLEW_SECONDS: f64 = 2.0;

/// A clock that is this far from where it was left was set by somebody else. What is less is
/// steered away.
const SET_BY_HAND: TimeDelta = TimeDelta::milliseconds(10);

/// A clock that may be this wrong is not synchronized: the kernel knows no larger error
/// (`NTP_PHASE_LIMIT`).
const HOPELESS: TimeDelta = TimeDelta::seconds(16);

/// A frequency that differs by this from what it was set to, in ppm, was set by somebody else.
const FOREIGN_PPM: f64 = 0.01;

/// The system's clock, and where it is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The oscillator's time: the clock as it would run if nobody steered it.
    pub raw: DateTime<Utc>,
    /// The system's clock at the same moment.
    pub wall: DateTime<Utc>,
    /// The kernel's frequency, in ppm.
    pub frequency_ppm: f64,
    /// Where the clock is to be; `None` before the first correction.
    pub aim: Option<Aim>,
}

/// Something to be done to the system's clock, or to be known of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Somebody else has set the clock, by this much.
    WasSet(TimeDelta),
    /// Somebody else has set the frequency, to so many ppm.
    ForeignFrequency(f64),
    /// Set the clock, by this much.
    Step(TimeDelta),
    /// Set the frequency, in ppm.
    SetFrequency(f64),
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

/// What was left behind the last time.
#[derive(Debug, Clone, Copy)]
pub struct Steer {
    raw: DateTime<Utc>,
    wall: DateTime<Utc>,
    frequency_ppm: f64,
}

impl Steer {
    /// Begins with a clock that runs at the given frequency, in ppm.
    #[must_use]
    pub fn new(raw: DateTime<Utc>, wall: DateTime<Utc>, frequency_ppm: f64) -> Self {
        Self {
            raw,
            wall,
            frequency_ppm,
        }
    }

    /// What to do next.
    pub fn act(&mut self, seen: &Seen) -> Vec<Action> {
        let mut actions = Vec::new();
        let elapsed = seen.raw - self.raw;
        let expected = self.wall + elapsed + at_rate(elapsed, self.frequency_ppm);
        let moved = seen.wall - expected;
        self.raw = seen.raw;
        self.wall = seen.wall;
        if moved.abs() > SET_BY_HAND {
            // The raw clock goes along, and what it is aimed at has to be found anew.
            self.raw += moved;
            actions.push(Action::WasSet(moved));
            return actions;
        }
        if (seen.frequency_ppm - self.frequency_ppm).abs() > FOREIGN_PPM {
            actions.push(Action::ForeignFrequency(seen.frequency_ppm));
        }
        let Some(aim) = seen.aim else {
            return actions;
        };
        let mut error = aim.target - seen.wall;
        if aim.step_due {
            actions.push(Action::Step(error));
            self.wall += error;
            error = TimeDelta::zero();
        }
        if aim.rate_ppm.abs() > LARGEST_FREQUENCY_PPM {
            actions.push(Action::TooFarOff(aim.rate_ppm));
        }
        // A microsecond in a second is one ppm.
        let slew_ppm = float_nanoseconds(error) * 1e-3 / SLEW_SECONDS;
        self.frequency_ppm = limited(aim.rate_ppm + slew_ppm);
        actions.push(Action::SetFrequency(self.frequency_ppm));
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

    /// What to do at the end: the frequency that was learned stays, and nothing is left slewing.
    pub fn end(&mut self, aim: Option<Aim>) -> Option<Action> {
        aim.map(|aim| Action::SetFrequency(limited(aim.rate_ppm)))
    }
}

fn limited(ppm: f64) -> f64 {
    ppm.clamp(-LARGEST_FREQUENCY_PPM, LARGEST_FREQUENCY_PPM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_700_000_000_000_000 + micros).unwrap()
    }

    /// A kernel's clock over an oscillator that is right.
    struct Kernel {
        now: i64,
        /// How far the raw clock has gone along with what others did.
        set: i64,
        wall: f64,
        frequency_ppm: f64,
        steer: Steer,
    }

    impl Kernel {
        fn new() -> Self {
            Self {
                now: 0,
                set: 0,
                wall: 0.0,
                frequency_ppm: 0.0,
                steer: Steer::new(at(0), at(0), 0.0),
            }
        }

        /// Lets time pass, and does what there is to do. The target gains `rate_ppm`.
        fn pass(&mut self, ahead_micros: i64, rate_ppm: f64, may_step: bool) -> Vec<Action> {
            self.now += 250_000;
            self.wall += 250_000.0 * (1.0 + self.frequency_ppm * 1e-6);
            let target = at(self.now + ahead_micros);
            let actions = self.steer.act(&Seen {
                raw: at(self.now + self.set),
                wall: at(self.wall.round() as i64),
                frequency_ppm: self.frequency_ppm,
                aim: Some(Aim {
                    target,
                    rate_ppm,
                    step_due: may_step,
                    error: Some(TimeDelta::microseconds(7)),
                }),
            });
            for action in &actions {
                match action {
                    Action::SetFrequency(ppm) => {
                        assert!(ppm.abs() <= LARGEST_FREQUENCY_PPM);
                        self.frequency_ppm = *ppm;
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
        assert!(kernel.frequency_ppm.abs() < 2.0);
    }

    #[test]
    fn a_large_error_is_slewed_at_500_ppm_and_never_stepped() {
        let mut kernel = Kernel::new();
        for _ in 0..400 {
            let actions = kernel.pass(200_000, 0.0, false);
            assert!(
                !actions
                    .iter()
                    .any(|action| matches!(action, Action::Step(_)))
            );
        }
        // 100 s at 500 ppm are 50 ms.
        assert!(
            (kernel.off(0) - 50_000.0).abs() < 200.0,
            "{}",
            kernel.off(0)
        );
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
            assert!(matches!(actions[0], Action::SetFrequency(_)), "{actions:?}");
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
    fn another_programs_frequency_is_noticed() {
        let mut kernel = Kernel::new();
        kernel.pass(0, 0.0, false);
        kernel.frequency_ppm = 37.0;
        let actions = kernel.pass(0, 0.0, false);
        assert_eq!(actions[0], Action::ForeignFrequency(37.0));
    }

    #[test]
    fn nothing_is_done_before_the_first_correction() {
        let mut steer = Steer::new(at(0), at(0), 12.0);
        let actions = steer.act(&Seen {
            raw: at(1000),
            wall: at(1000),
            frequency_ppm: 12.0,
            aim: None,
        });
        assert_eq!(actions, []);
        assert_eq!(steer.end(None), None);
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
        kernel.pass(5000, 30.0, false);
        assert!(kernel.frequency_ppm > 100.0, "it slews");
        let aim = Aim {
            target: at(0),
            rate_ppm: 30.0,
            step_due: false,
            error: None,
        };
        assert_eq!(
            kernel.steer.end(Some(aim)),
            Some(Action::SetFrequency(30.0))
        );
    }
}
