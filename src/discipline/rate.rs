//! A clock's rate against the network, learned from the corrections it was given.
//!
//! Each correction is a point: at this raw time, the network was so far ahead of the raw clock,
//! give or take an error. A straight line through the last [`WINDOW`] points, weighted by
//! 1/error² (weighted least squares, see Bevington, *Data Reduction and Error Analysis*, ch. 6),
//! has the clock's rate as its slope, and as its end a far better guess of the present offset
//! than the last point alone. What is known before the first point, that quartz is seldom off by
//! more than [`CRYSTAL_PPM`], enters as a prior on the slope: two noisy points do not make a rate.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{CRYSTAL_PPM, LARGEST_RATE_PPM};
use crate::span::{at_rate, float_nanoseconds};

/// How many points the line is drawn through: more would be more exact, and slower to follow an
/// oscillator that is warming up.
pub const WINDOW: usize = 40;

/// How far a rate that was learned may have wandered since (temperature, age), in ppm. Added to
/// the error of every rate that is used for predicting.
pub const WANDER_PPM: f64 = 1.0;

/// No point is taken for more exact than this: a reading and a message have a grain.
const FINEST: TimeDelta = TimeDelta::microseconds(1);

/// The part of the mean waiting that is in every point: found by simulation to be the best for
/// groups of 20 over links that differ widely, and flat around it.
const COMMON_PART: i32 = 5;

/// The network seen from the raw clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// What the raw clock showed.
    pub raw: DateTime<Utc>,
    /// How far the network was ahead of the raw clock.
    pub ahead: TimeDelta,
    /// `ahead` is known to ± this.
    pub error: TimeDelta,
}

/// A rate and how surely it is known, both in ppm. Positive: the network gains on the raw clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The rate, in ppm.
    pub ppm: f64,
    /// One standard deviation of it, in ppm.
    pub error_ppm: f64,
}

impl Rate {
    /// Nothing known but that it is a quartz oscillator.
    pub const UNKNOWN: Self = Self {
        ppm: 0.0,
        error_ppm: CRYSTAL_PPM,
    };
}

/// The line through the points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    raw: DateTime<Utc>,
    ahead: TimeDelta,
    error: TimeDelta,
    /// Its slope.
    pub rate: Rate,
}

impl Line {
    /// The raw time of the last point.
    #[must_use]
    pub fn raw(&self) -> DateTime<Utc> {
        self.raw
    }

    /// How far the network is ahead of the raw clock when that shows `raw`.
    #[must_use]
    pub fn ahead(&self, raw: DateTime<Utc>) -> TimeDelta {
        self.ahead + at_rate(raw - self.raw, self.rate.ppm)
    }

    /// How wrong [`Line::ahead`] may be: the best bound that any of the points gives, growing
    /// with time by three standard deviations of the rate and its wander.
    #[must_use]
    pub fn error(&self, raw: DateTime<Utc>) -> TimeDelta {
        self.error + at_rate((raw - self.raw).abs(), self.error_growth_ppm())
    }

    /// The network is `by_ppm` faster from the raw time `from` on.
    #[must_use]
    fn turned(self, from: DateTime<Utc>, by_ppm: f64) -> Self {
        Self {
            ahead: self.ahead + at_rate(self.raw - from, by_ppm),
            rate: Rate {
                ppm: self.rate.ppm + by_ppm,
                ..self.rate
            },
            ..self
        }
    }

    /// How fast the error grows, in ppm.
    #[must_use]
    pub fn error_growth_ppm(&self) -> f64 {
        3.0 * self.rate.error_ppm + WANDER_PPM
    }
}

/// The last points, and what was known of the rate before them.
#[derive(Debug, Clone)]
pub struct DriftFit {
    points: VecDeque<Point>,
    prior: Rate,
}

impl DriftFit {
    /// No points yet; `prior` is what is known of the rate ([`Rate::UNKNOWN`], or one kept from
    /// an earlier run).
    #[must_use]
    pub fn new(prior: Rate) -> Self {
        Self {
            points: VecDeque::with_capacity(WINDOW),
            prior,
        }
    }

    /// How many points there are, [`WINDOW`] at most.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there are no points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The oscillator is further off than was thought: whatever was known of its rate may be wrong
    /// by ten times as much.
    pub fn doubt_rate(&mut self) {
        let wider = 10.0 * self.prior.error_ppm.max(CRYSTAL_PPM);
        self.prior.error_ppm = wider.min(LARGEST_RATE_PPM);
        self.points.clear();
    }

    /// Adds a point, forgets the oldest one beyond the window, and draws the line anew.
    pub fn add(&mut self, point: Point) -> Line {
        if self.points.len() == WINDOW {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.through(point)
    }

    /// The network as a whole was asked to run `by_ppm` faster from the raw time `from` on. That
    /// is no news of the oscillator, so the points are moved to where the faster network would
    /// have been, and the line, which is returned, turns about `from` at once.
    #[must_use]
    pub fn turn(&mut self, line: Line, from: DateTime<Utc>, by_ppm: f64) -> Line {
        for point in &mut self.points {
            point.ahead += at_rate(point.raw - from, by_ppm);
        }
        self.prior.ppm += by_ppm;
        line.turned(from, by_ppm)
    }

    /// Forgets the points, because a clock was set and they lie on another line, and keeps the
    /// rate: setting a clock does not change its oscillator.
    pub fn restart(&mut self) {
        if let Some(&last) = self.points.back() {
            let line = self.through(last);
            self.prior = Rate {
                ppm: line.rate.ppm,
                error_ppm: line.rate.error_ppm + WANDER_PPM,
            };
        }
        self.points.clear();
    }

    /// The line through the points, of which `last` is the last.
    fn through(&self, last: Point) -> Line {
        let errors = self.points.iter().map(|point| point.error);
        let smallest = errors.fold(last.error, TimeDelta::min);
        // Half the delay is a bound that a sample seldom reaches: on a network where nothing
        // waits, the two ways are alike. What a delay has above the least one seen is waiting,
        // and that is what makes a sample wrong. Then there is what every point has: how low the
        // least delay can be, few points can't tell; and the average has an error of its own,
        // which is a part of what the waiting makes of all clocks' samples.
        let count = i32::try_from(self.points.len()).unwrap_or(i32::MAX);
        let waiting = |point: &Point| point.error - smallest;
        let mean_waiting = self.points.iter().map(waiting).sum::<TimeDelta>() / count;
        let doubt = smallest / count + mean_waiting / COMMON_PART + FINEST;
        let weighted = || {
            self.points.iter().map(|point| {
                let spread = float_nanoseconds(waiting(point)).hypot(float_nanoseconds(doubt));
                Weighted {
                    weight: spread.powi(-2),
                    seconds: float_nanoseconds(point.raw - last.raw) * 1e-9,
                    nanoseconds: float_nanoseconds(point.ahead - last.ahead),
                }
            })
        };
        let mut total = 0.0;
        let (mut mean_raw, mut mean_ahead) = (0.0, 0.0);
        for point in weighted() {
            total += point.weight;
            mean_raw += point.weight * point.seconds;
            mean_ahead += point.weight * point.nanoseconds;
        }
        mean_raw /= total;
        mean_ahead /= total;
        // In these units a slope is in nanoseconds a second, which is ppb.
        let prior_weight = (self.prior.error_ppm * 1e3).powi(-2);
        let (mut spread, mut product) = (prior_weight, prior_weight * self.prior.ppm * 1e3);
        for point in weighted() {
            let seconds = point.seconds - mean_raw;
            spread += point.weight * seconds * seconds;
            product += point.weight * seconds * (point.nanoseconds - mean_ahead);
        }
        let slope = product / spread;
        let rate = Rate {
            ppm: slope * 1e-3,
            error_ppm: spread.sqrt().recip() * 1e-3,
        };
        let end = mean_ahead - slope * mean_raw;
        let mut line = Line {
            raw: last.raw,
            ahead: last.ahead + TimeDelta::nanoseconds(end.round() as i64),
            error: TimeDelta::zero(),
            rate,
        };
        let bound = |point: &Point| {
            let miss = (line.ahead(point.raw) - point.ahead).abs();
            point.error + miss + at_rate(last.raw - point.raw, line.error_growth_ppm())
        };
        line.error = self
            .points
            .iter()
            .map(bound)
            .fold(bound(&last), TimeDelta::min);
        line
    }
}

/// A point relative to the last one, in units that floats hold well.
struct Weighted {
    weight: f64,
    seconds: f64,
    nanoseconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seconds: i64, ahead_micros: i64, error_micros: i64) -> Point {
        Point {
            raw: DateTime::from_timestamp(seconds, 0).unwrap(),
            ahead: TimeDelta::microseconds(ahead_micros),
            error: TimeDelta::microseconds(error_micros),
        }
    }

    fn fit(points: impl IntoIterator<Item = Point>) -> (DriftFit, Line) {
        let mut fit = DriftFit::new(Rate::UNKNOWN);
        let lines = points.into_iter().map(|point| fit.add(point));
        let line = lines.last().unwrap();
        (fit, line)
    }

    #[test]
    fn a_network_that_is_asked_to_run_faster_is_followed_at_once() {
        let mut fit = DriftFit::new(Rate::UNKNOWN);
        let (mut ahead, mut rate) = (0, 7);
        for second in 0..60 {
            let now = point(second, ahead, 1);
            let mut line = fit.add(now);
            if second == 10 {
                line = fit.turn(line, now.raw, 40.0);
                rate += 40;
            }
            if second > 5 {
                let wrong = line.rate.ppm - rate as f64;
                assert!(wrong.abs() < 0.1, "{wrong} ppm in second {second}");
            }
            ahead += rate;
        }
    }

    #[test]
    fn a_straight_line_is_found() {
        // The network gains 50 µs in 5 s: 10 ppm.
        let (_, line) = fit((0..20).map(|n| point(5 * n, 50 * n, 20)));
        assert!((line.rate.ppm - 10.0).abs() < 0.01, "{:?}", line.rate);
        let then = DateTime::from_timestamp(1000, 0).unwrap();
        let ahead = line.ahead(then);
        assert!((ahead - TimeDelta::milliseconds(10)).abs() < TimeDelta::microseconds(10));
    }

    #[test]
    fn one_point_says_nothing_of_the_rate() {
        let (_, line) = fit([point(0, 700, 20)]);
        assert!(line.rate.ppm.abs() < 1e-9);
        assert_eq!(
            line.ahead(DateTime::UNIX_EPOCH),
            TimeDelta::microseconds(700)
        );
    }

    #[test]
    fn two_noisy_points_make_no_rate() {
        // 5 ms in 5 s would be 1000 ppm, but each may be wrong by 10 ms.
        let (_, line) = fit([point(0, 0, 10_000), point(5, 5000, 10_000)]);
        assert!(line.rate.ppm.abs() < 20.0, "{:?}", line.rate);
        // Exact ones do.
        let (_, line) = fit([point(0, 0, 10), point(5, 5000, 10)]);
        assert!((line.rate.ppm - 1000.0).abs() < 10.0, "{:?}", line.rate);
    }

    #[test]
    fn a_sample_that_had_to_wait_counts_little() {
        let mut points: Vec<_> = (0..20).map(|n| point(5 * n, 0, 20)).collect();
        points[19] = point(95, 900, 1000);
        let (_, line) = fit(points);
        let ahead = line.ahead(DateTime::from_timestamp(95, 0).unwrap());
        assert!(ahead < TimeDelta::microseconds(10), "{ahead}");
    }

    #[test]
    fn the_window_forgets() {
        let (mut fit, _) = fit((0..100).map(|n| point(5 * n, 0, 20)));
        assert_eq!(fit.len(), WINDOW);
        for n in 100..100 + WINDOW as i64 {
            fit.add(point(5 * n, 100 * n, 20));
        }
        let line = fit.add(point(5 * 140, 100 * 140, 20));
        assert!((line.rate.ppm - 20.0).abs() < 0.01, "{:?}", line.rate);
    }

    #[test]
    fn a_restart_keeps_the_rate_and_nothing_else() {
        let (mut fit, _) = fit((0..20).map(|n| point(5 * n, 50 * n, 20)));
        fit.restart();
        assert!(fit.is_empty());
        let line = fit.add(point(200, 3_600_000_000, 20));
        assert!((line.rate.ppm - 10.0).abs() < 0.01, "{:?}", line.rate);
        let ahead = line.ahead(DateTime::from_timestamp(200, 0).unwrap());
        assert_eq!(ahead, TimeDelta::hours(1));
    }

    #[test]
    fn the_error_grows_with_time() {
        let (_, line) = fit((0..20).map(|n| point(5 * n, 50 * n, 20)));
        let error = |seconds| line.error(DateTime::from_timestamp(seconds, 0).unwrap());
        assert!(error(95) >= TimeDelta::microseconds(20));
        // At least by what an oscillator may wander: 1 ppm, 3.6 ms an hour.
        assert!(error(95 + 3600) - error(95) >= TimeDelta::microseconds(3600));
    }

    #[test]
    fn the_widest_points_do_not_overflow() {
        let wide = |raw, ahead| Point {
            raw: DateTime::from_timestamp_nanos(raw),
            ahead: TimeDelta::nanoseconds(ahead),
            error: TimeDelta::hours(1),
        };
        let (_, line) = fit([wide(i64::MIN, i64::MAX), wide(i64::MAX, i64::MIN)]);
        let _ = line.error(DateTime::from_timestamp_nanos(i64::MIN));
    }
}
