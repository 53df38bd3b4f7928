//! How wrong the system's clock may be, and by how much that grows until it is looked at again:
//! what ClockBound's clients want to know. Pure.
//!
//! The system's clock is off from the network's time by what the target may be wrong by and by what
//! it is off from its target. It gains on its target by what its speed differs from the target's: as
//! long as it slews, it is taken to slew on and in the wrong direction. So the bound holds however
//! late the clock is looked at again, and if the program is killed in the middle of a slew.

use chrono::TimeDelta;

use crate::clock::Coarse;
use crate::discipline::correction::Aim;
use crate::system_clock::look::Look;
use crate::system_clock::speed::Speed;

/// An error that covers whatever the time may be: 30 years.
const ANYTHING: TimeDelta = TimeDelta::days(30 * 365);

/// What is known of the system's clock, as ClockBound's clients call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nobody knows how wrong it is.
    Unknown = 0,
    /// It follows the network.
    Synchronized = 1,
    /// It goes on at the rate that was learned (holdover), with a bound that grows.
    FreeRunning = 2,
    /// It was set, or the machine was suspended, and nobody knows yet what came of it.
    Disrupted = 3,
}

/// How wrong the system's clock may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Since when, by the clock of [`Coarse`], in nanoseconds.
    pub as_of: i64,
    /// How far from the network's time it may have been then.
    pub error: TimeDelta,
    /// By how much `error` grows from then on, in ppm of the clock of [`Coarse`].
    pub growth_ppm: f64,
    /// What to make of it.
    pub status: Status,
}

impl Bound {
    /// Of a clock of which nothing is known.
    #[must_use]
    pub fn unknown(as_of: Coarse, status: Status) -> Self {
        Self {
            as_of: earliest(as_of),
            error: ANYTHING,
            growth_ppm: 0.0,
            status,
        }
    }

    /// Of a clock that runs at one of some speeds from now on, unless it is looked at again. `as_of`
    /// was read before `look`.
    fn known(as_of: Coarse, look: &Look, aim: &Aim, error: TimeDelta, speeds: &[Speed]) -> Self {
        let growths = speeds.iter().map(|speed| growth_ppm(aim, *speed));
        let growth_ppm = growths.fold(0.0, f64::max);
        // Whoever asks may be told that a grain less has passed than has.
        let unseen = (growth_ppm * 1e-6 * as_of.grain as f64).ceil() as i64;
        let lag = (aim.target - look.wall).abs() + look.apart;
        Self {
            as_of: earliest(as_of),
            error: error + lag + TimeDelta::nanoseconds(unseen),
            growth_ppm,
            status: if aim.holds_over {
                Status::FreeRunning
            } else {
                Status::Synchronized
            },
        }
    }
}

/// What the clock of [`Coarse`] does not show again. Before Linux 6.15 it goes back when the kernel's
/// speed is changed, by a fifth of its grain at most; and who sees that it does believes nothing.
fn earliest(as_of: Coarse) -> i64 {
    as_of.shown - as_of.grain
}

/// How fast the distance of a clock that runs at this speed from the network's time may grow, in ppm
/// of what the kernel's monotonic clock counts, which runs at this speed too.
fn growth_ppm(aim: &Aim, speed: Speed) -> f64 {
    let gain_ppm = speed.gain_ppm();
    (aim.error_growth_ppm + (gain_ppm - aim.rate_ppm).abs()) / (1.0 + gain_ppm * 1e-6)
}

/// Whether what the discipline knows can be said of the system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust {
    /// How often the clock has been disrupted.
    disruptions: u64,
    /// How many corrections the clock has to have taken.
    corrections: u64,
}

impl Trust {
    /// Begins after so many disruptions.
    #[must_use]
    pub fn after(disruptions: u64) -> Self {
        Self {
            disruptions,
            corrections: 0,
        }
    }

    /// How often the clock has been disrupted.
    #[must_use]
    pub fn disruptions(&self) -> u64 {
        self.disruptions
    }

    /// The clock was disrupted. What is known of it is trusted again when it has taken so many
    /// corrections.
    pub fn disrupted(&mut self, corrections: u64) {
        self.disruptions = self.disruptions.wrapping_add(1);
        self.corrections = self.corrections.max(corrections);
    }

    /// How wrong the clock may be that is seen in `look`, if it runs at one of these speeds from now
    /// on; `None` before the first correction: what was said by an earlier run of the program stays
    /// true as far as anybody knows. `as_of` was read before `look`.
    #[must_use]
    pub fn bound(&self, as_of: Coarse, look: &Look, speeds: &[Speed]) -> Option<Bound> {
        let aim = look.aim?;
        Some(match aim.error {
            _ if aim.corrections < self.corrections || aim.step_due => {
                Bound::unknown(as_of, Status::Disrupted)
            }
            None => Bound::unknown(as_of, Status::Unknown),
            Some(error) => Bound::known(as_of, look, &aim, error, speeds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use chrono::{DateTime, Utc};

    const AS_OF: Coarse = Coarse {
        shown: 7_000_000_000,
        grain: 4_000_000,
    };

    const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_700_000_000_000_000 + micros).unwrap()
    }

    /// A clock that is so far behind its target, which is known to 7 µs.
    fn look(behind_micros: i64) -> Look {
        Look {
            raw: at(0),
            wall: at(0),
            apart: MICROSECOND,
            aim: Some(Aim {
                target: at(behind_micros),
                rate_ppm: 30.0,
                step_due: false,
                error: Some(MICROSECOND * 7),
                error_growth_ppm: 4.0,
                corrections: 9,
                holds_over: false,
            }),
        }
    }

    fn aim(look: &mut Look) -> &mut Aim {
        look.aim.as_mut().unwrap()
    }

    fn bound(trust: &Trust, look: &Look, speeds: &[Speed]) -> Bound {
        trust.bound(AS_OF, look, speeds).unwrap()
    }

    #[test]
    fn it_is_what_is_known_and_what_is_left_of_a_slew_and_how_the_clocks_were_read() {
        let told = bound(
            &Trust::default(),
            &look(-50),
            &[Speed::of_its_own(Speed::TICK, 30.0)],
        );
        // And 4 ppm of a grain of 4 ms.
        let expected = MICROSECOND * (7 + 50 + 1) + TimeDelta::nanoseconds(16);
        assert!((told.error - expected).abs() <= TimeDelta::nanoseconds(1));
        assert!((told.growth_ppm - 4.0).abs() < 0.01, "{told:?}");
        assert_eq!(
            (told.status, told.as_of),
            (Status::Synchronized, AS_OF.shown - AS_OF.grain)
        );
    }

    #[test]
    fn it_holds_for_whoever_is_not_told_again_at_any_time_in_a_slew() {
        // Behind and ahead, by the frequency and by the tick; and a slew that is killed goes on.
        for behind_micros in [900_000, -900_000, 20_000, 300, -300] {
            let seen = look(behind_micros);
            let slew_ppm = (behind_micros as f64 / 0.5).clamp(-98_000.0, 98_000.0);
            let speed = Speed::of_its_own(Speed::TICK, 30.0).slewed_by(slew_ppm);
            let told = bound(&Trust::default(), &seen, &[speed]);
            // By the oscillator, in seconds; the monotonic clock runs at the wall clock's speed.
            for elapsed in [0.0, 0.001, 0.25, 1.0, 10.0, 900.0] {
                let monotonic = elapsed * (1.0 + speed.gain_ppm() * 1e-6);
                let off = speed.gain_ppm() * elapsed - behind_micros as f64 - 30.0 * elapsed;
                let may_be_off = off.abs() + 7.0 + 4.0 * elapsed;
                // The grain is not seen.
                let seen = (monotonic - 0.004).max(0.0);
                let stated = told.error.as_seconds_f64() * 1e6 + told.growth_ppm * seen;
                assert!(
                    stated >= may_be_off,
                    "{stated} < {may_be_off} after {elapsed} s"
                );
            }
        }
    }

    #[test]
    fn while_the_speed_is_changed_either_may_act() {
        let speeds = [
            Speed::NOMINAL.slewed_by(90_000.0),
            Speed::of_its_own(Speed::TICK, 30.0),
        ];
        let told = |speeds: &[Speed]| bound(&Trust::default(), &look(0), speeds).growth_ppm;
        assert!(told(&speeds[1..]) < 5.0);
        assert!(told(&speeds) > 80_000.0);
        assert!((told(&speeds) - told(&speeds[..1])).abs() < f64::EPSILON);
    }

    #[test]
    fn nothing_is_said_before_the_first_correction_and_nothing_certain_in_doubt() {
        let trust = Trust::default();
        let mut seen = look(0);
        aim(&mut seen).error = None;
        let told = bound(&trust, &seen, &[]);
        assert_eq!(told, Bound::unknown(AS_OF, Status::Unknown));
        assert!(told.error > TimeDelta::days(10_000));
        seen.aim = None;
        assert_eq!(trust.bound(AS_OF, &seen, &[]), None);
    }

    #[test]
    fn without_corrections_it_is_free_running() {
        let mut seen = look(0);
        aim(&mut seen).holds_over = true;
        let told = bound(&Trust::default(), &seen, &[Speed::NOMINAL]);
        assert_eq!(told.status, Status::FreeRunning);
        assert!(told.error < TimeDelta::milliseconds(1));
    }

    #[test]
    fn after_a_disruption_a_correction_is_waited_for() {
        let mut trust = Trust::after(41);
        let mut seen = look(0);
        // It slept, or somebody has set it.
        trust.disrupted(10);
        assert_eq!(trust.disruptions(), 42);
        let status = |trust: &Trust, seen: &Look| bound(trust, seen, &[Speed::NOMINAL]).status;
        assert_eq!(status(&trust, &seen), Status::Disrupted);
        aim(&mut seen).error = None;
        assert_eq!(
            status(&trust, &seen),
            Status::Disrupted,
            "not merely unknown"
        );
        aim(&mut seen).error = Some(MICROSECOND);
        aim(&mut seen).corrections = 10;
        assert_eq!(status(&trust, &seen), Status::Synchronized);
        // A step of ours is as good as what led to it.
        aim(&mut seen).step_due = true;
        assert_eq!(status(&trust, &seen), Status::Disrupted);
        trust.disrupted(10);
        aim(&mut seen).step_due = false;
        assert_eq!(status(&trust, &seen), Status::Synchronized);
        assert_eq!(trust.disruptions(), 43);
    }
}
