//! How fast the kernel lets its clock run: a tick, added a hundred times a second, and a frequency.

use std::fmt;

/// The largest frequency, in ppm: the kernel takes no more.
pub const LARGEST_FREQUENCY_PPM: f64 = 500.0;

/// What a microsecond more in each tick makes, in ppm.
const PPM_PER_MICROSECOND: f64 = 100.0;

/// A slew by the tick makes a multiple of so many microseconds, which is 2000 ppm. An oscillator's own
/// tick is less than half of that from [`Speed::TICK`], so that what is found in the middle of a slew
/// tells both.
const SLEW_STEP: i32 = 20;

/// The speed of the kernel's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// The tick that the clock has if nobody slews it, in µs. It is a property of the oscillator,
    /// as far as we are concerned: whoever set it wants it so.
    pub own_tick: i32,
    /// The tick, in µs.
    pub tick: i32,
    /// The frequency, in ppm, in addition to that.
    pub frequency_ppm: f64,
}

impl Speed {
    /// A tick of a clock that nobody slews or corrects, in µs.
    pub const TICK: i32 = 10_000;

    /// The ticks that the kernel takes, in µs.
    pub const TICKS: (i32, i32) = (9_000, 11_000);

    /// Nobody slews or corrects the clock.
    pub const NOMINAL: Self = Self {
        own_tick: Self::TICK,
        tick: Self::TICK,
        frequency_ppm: 0.0,
    };

    /// The speed of a clock that we don't slew.
    #[must_use]
    pub fn of_its_own(tick: i32, frequency_ppm: f64) -> Self {
        Self {
            own_tick: tick,
            tick,
            frequency_ppm,
        }
    }

    /// By how many ppm the clock is faster than its oscillator.
    #[must_use]
    pub fn gain_ppm(self) -> f64 {
        let slew = f64::from(self.tick - self.own_tick) * PPM_PER_MICROSECOND;
        (slew + self.frequency_ppm) * f64::from(Self::TICK) / f64::from(self.own_tick)
    }

    /// The same clock, not slewed, with a frequency as near to this as can be.
    #[must_use]
    pub fn with_frequency(self, ppm: f64) -> Self {
        Self {
            tick: self.own_tick,
            frequency_ppm: ppm.clamp(-LARGEST_FREQUENCY_PPM, LARGEST_FREQUENCY_PPM),
            ..self
        }
    }

    /// The same clock, slewed by about so many ppm by its tick: by the nearest multiple of 2000 ppm
    /// that the kernel takes.
    #[must_use]
    pub fn slewed_by(self, ppm: f64) -> Self {
        let steps = (ppm / PPM_PER_MICROSECOND / f64::from(SLEW_STEP)).round() as i32;
        let least = (Self::TICKS.0 - self.own_tick) / SLEW_STEP;
        let most = (Self::TICKS.1 - self.own_tick) / SLEW_STEP;
        Self {
            tick: self.own_tick + steps.clamp(least, most) * SLEW_STEP,
            ..self
        }
    }

    /// What this is without what a program left behind that could not end in order; `None` if
    /// that is nothing. A frequency at its limit is no oscillator's either. Any other is taken for
    /// the clock's own: whether it is that of a slew can't be seen.
    ///
    /// Of a tick that is further off than any oscillator's, the next one that can be its own is left,
    /// within 900 ppm. That is right after a slew of ours. If somebody else has set such a tick, nobody
    /// knows what is right.
    #[must_use]
    pub fn mended(self) -> Option<Self> {
        let at_limit = self.frequency_ppm.abs() > LARGEST_FREQUENCY_PPM - 0.1;
        let frequency_ppm = if at_limit { 0.0 } else { self.frequency_ppm };
        let mended = Self::of_its_own(unslewed(self.tick), frequency_ppm);
        (mended != self).then_some(mended)
    }
}

/// The tick of an oscillator that was found at this one, see [`SLEW_STEP`]. One halfway between two
/// is nobody's, and the nominal one is as good as any then.
fn unslewed(tick: i32) -> i32 {
    let half = SLEW_STEP / 2;
    let off = (tick - Speed::TICK + half).rem_euclid(SLEW_STEP) - half;
    Speed::TICK + if off == -half { 0 } else { off }
}

impl fmt::Display for Speed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tick,
            frequency_ppm,
            ..
        } = self;
        write!(
            out,
            "a tick of {tick} µs and a frequency of {frequency_ppm:.3} ppm"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_100_ppm_and_the_own_one_is_none() {
        let speed = Speed::of_its_own(10_001, 7.0);
        assert!((speed.gain_ppm() - 7.0).abs() < 0.001);
        let slewed = speed.slewed_by(-30_000.0);
        assert_eq!(slewed.tick, 9_701);
        assert!((slewed.gain_ppm() + 29_993.0).abs() < 4.0);
        assert_eq!(slewed.with_frequency(700.0).tick, 10_001);
        assert!((slewed.with_frequency(700.0).frequency_ppm - 500.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_kernel_takes_every_tick() {
        let speed = Speed::of_its_own(10_300, 0.0);
        assert_eq!(speed.slewed_by(90_000.0).tick, 11_000);
        assert_eq!(speed.slewed_by(-150_000.0).tick, 9_000);
        let speed = Speed::of_its_own(11_000, 0.0);
        assert_eq!(speed.slewed_by(90_000.0).tick, 11_000);
    }

    #[test]
    fn a_slew_is_the_nearest_multiple_of_2000_ppm() {
        let slew = |ppm| Speed::of_its_own(9_999, 0.0).slewed_by(ppm).tick - 9_999;
        assert_eq!(slew(2_000.0), 20);
        assert_eq!(slew(2_999.0), 20);
        assert_eq!(slew(3_001.0), 40);
        assert_eq!(slew(-2_999.0), -20);
        assert_eq!(slew(-98_000.0), -980);
    }

    #[test]
    fn in_the_middle_of_any_slew_the_own_tick_can_be_found() {
        for own_tick in 9_991..=10_009 {
            let speed = Speed::of_its_own(own_tick, 12.5);
            for ppm in (2_000..200_000).step_by(500).flat_map(|ppm| [ppm, -ppm]) {
                let slewed = speed.slewed_by(f64::from(ppm));
                let found = Speed::of_its_own(slewed.tick, slewed.frequency_ppm);
                assert_eq!(found.mended(), Some(speed), "{slewed:?}");
            }
            assert_eq!(speed.mended(), None);
        }
    }

    #[test]
    fn what_a_killed_program_left_behind_is_mended_and_nothing_else() {
        let mended = |tick, ppm| {
            let mended = Speed::of_its_own(tick, ppm).mended();
            mended.map(|speed| (speed.tick, speed.frequency_ppm))
        };
        assert_eq!(mended(10_000, 12.5), None);
        assert_eq!(mended(10_001, -480.0), None);
        assert_eq!(mended(9_020, 12.5), Some((10_000, 12.5)));
        assert_eq!(mended(9_021, 12.5), Some((10_001, 12.5)));
        // Not ours: what remains is at least near.
        assert_eq!(mended(10_010, 0.0), Some((10_000, 0.0)));
        assert_eq!(mended(10_015, 0.0), Some((9_995, 0.0)));
        assert_eq!(mended(10_002, -500.0), Some((10_002, 0.0)));
    }
}
