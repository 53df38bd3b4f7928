//! A point that lies where noise does not put it, and what the next one says of it: a step of the
//! network, a bad measurement, or an oscillator that has changed its rate.

use std::collections::VecDeque;

use crate::discipline::line::Point;

/// No oscillator is further off, simulated ones included; what looks like more is a clock that
/// was set.
const LARGEST_WRONG_PPM: f64 = 12_000.0;

/// A rate that has changed by less is nothing to be hurried about: the points lie on a curve then.
/// Those who drag a group move it by less than half of this.
pub(in crate::discipline) const LEAST_JUMP_PPM: f64 = 50.0;

/// No oscillator changes its rate by more while it runs.
pub(in crate::discipline) const LARGEST_JUMP_PPM: f64 = 500.0;

/// A point that lay where noise does not explain it. It was taken for a step of the network: the
/// points before it were moved along. The next point tells what it was. Spans are in nanoseconds.
#[derive(Debug, Clone)]
pub(in crate::discipline) struct Surprise {
    /// The points without it, and not moved.
    pub(in crate::discipline) before: VecDeque<Point>,
    /// How far ahead of the line it lay, and to what error it was measured.
    pub(in crate::discipline) miss: i64,
    pub(in crate::discipline) error: i64,
    /// By how many ppm the rate has changed, if that is what it was, and if it has changed since
    /// the point before.
    pub(in crate::discipline) ppm: f64,
    /// How long ago the last point was that did not lie on the same side of the line: if the rate
    /// has changed, then not before that.
    pub(in crate::discipline) building: i64,
}

impl Surprise {
    /// What it and the next point, which missed by `second`, make together: what is nearest.
    /// Of the limits, waiting explains the second up to the first one, and noise up to the other;
    /// `certain` says that no delay explains it.
    pub(in crate::discipline) fn explain(
        &self,
        second: i64,
        [waited, limit]: [i64; 2],
        elapsed: i64,
        certain: bool,
    ) -> Explained {
        let ppm = rate_ppm(second, elapsed);
        // A new rate goes on moving the clock as fast as it has since it began, which is no longer
        // ago than the miss has been building. One that no oscillator in order has is believed only
        // if no delay explains the misses.
        let goes_on = (second > 0) == (self.miss > 0);
        let part = ppm / rate_ppm(self.miss, self.building);
        let is_rate = goes_on
            && second.saturating_abs() > waited / 2
            && (part > 0.4 && (LEAST_JUMP_PPM..LARGEST_JUMP_PPM).contains(&ppm)
                || certain && (0.5..2.0).contains(&part) && ppm < LARGEST_WRONG_PPM);
        let returns = !goes_on && second.saturating_abs() > self.miss.saturating_abs() / 2;
        if is_rate {
            Explained::Rate
        } else if returns && self.miss.saturating_add(second).saturating_abs() <= limit {
            Explained::BadMeasurement
        } else if second.saturating_abs() <= limit {
            Explained::Step
        } else {
            Explained::Steps
        }
    }
}

/// So many steps one way, each no more than [`NEAR`] points after the one before it, were none: the
/// rate has changed, by so little that it takes some points to be seen.
const ONE_WAY: u8 = 4;

/// See [`ONE_WAY`].
const NEAR: u8 = 3;

/// The last points that were taken for steps of the network, as long as all lead the same way.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::discipline) struct StepsOneWay {
    ahead: bool,
    count: u8,
    /// How many points have come since the last one.
    since: u8,
}

impl StepsOneWay {
    /// Notes that there is another point.
    pub(in crate::discipline) fn pass(&mut self) {
        self.since = self.since.saturating_add(1);
    }

    /// Notes that this point looks like a step. Whether it is a change of the rate, with those before
    /// it.
    pub(in crate::discipline) fn make_a_rate(&mut self, miss: i64, elapsed: i64) -> bool {
        let ahead = miss > 0;
        let goes_on = self.since <= NEAR && ahead == self.ahead;
        let count = if goes_on { self.count + 1 } else { 1 };
        let is_rate = count >= ONE_WAY && rate_ppm(miss, elapsed) < LEAST_JUMP_PPM;
        *self = Self {
            ahead,
            count: if is_rate { 0 } else { count.min(ONE_WAY) },
            since: 0,
        };
        is_rate
    }
}

/// What the point after a surprise makes of it.
#[derive(Debug, PartialEq)]
pub(in crate::discipline) enum Explained {
    /// It was a step: this point lies where it was expected.
    Step,
    /// It was a bad measurement: this point lies on the old line.
    BadMeasurement,
    /// The oscillator has changed its rate.
    Rate,
    /// None of these: this is another step.
    Steps,
}

/// The rate, either way, that moves a clock so far in this time, in ppm.
pub(in crate::discipline) fn rate_ppm(moved: i64, elapsed: i64) -> f64 {
    (moved as f64).abs() / (elapsed as f64).max(1.0) * 1e6
}
