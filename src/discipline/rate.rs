//! A clock's rate against the network, learned from the corrections it was given.
//!
//! Each correction is a point: at this raw time, the network was so far ahead of the raw clock,
//! give or take an error. A straight line through the last points ([`WINDOW`] or more), weighted by
//! how wrong each may be (weighted least squares, see Bevington, *Data Reduction and Error Analysis*,
//! ch. 6), has the clock's rate as its slope, and as its end a far better guess of the present offset
//! than the last point alone. What is known before the first point, that quartz is seldom off by
//! more than [`CRYSTAL_PPM`], enters as a prior on the slope: two noisy points do not make a rate.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{CRYSTAL_PPM, LARGEST_RATE_PPM};
use crate::discipline::line::{Line, Point, Rate, WANDER_PPM, at_rate};
use crate::discipline::noise::{Noise, middle};
use crate::discipline::surprise::{
    Explained, LARGEST_JUMP_PPM, LEAST_JUMP_PPM, StepsOneWay, Surprise, rate_ppm,
};
use crate::span::{nanoseconds, since_epoch};

/// How many points the line is drawn through at least, once there are so many: more would be more
/// exact, and slower to follow an oscillator that is warming up.
pub const WINDOW: usize = 40;

/// Where points come quickly, the line is drawn through more of them, if they are no older than this
/// and no more than [`MOST`]: no oscillator warms up so fast, and a minute on a busy machine is not
/// to push all out that were measured before it.
pub const SPAN: TimeDelta = TimeDelta::seconds(100);

/// See [`SPAN`].
pub const MOST: usize = 100;

/// A point that is so many standard deviations away from the line is a surprise.
const SURPRISING: f64 = 6.0;

/// Where a point that is no surprise is so many standard deviations away, nobody knows before the next
/// one whether it has waited, or the rate has changed: by no more than quartz is off, for queues are
/// more frequent than larger jumps.
const SUSPECT: f64 = 3.0;

/// A standard deviation is so many times what half of the misses stay below, if they are distributed
/// normally (Rousseeuw and Croux, 1993).
const DEVIATION_BY_MEDIAN: f64 = 1.4826;

/// A rate that is so many standard deviations away from what was known before the first point is
/// none.
const INCREDIBLE: f64 = 12.0;

/// From so many points on, these tell how much of their waiting is wrong.
const LEAST_TOLD: usize = WINDOW / 2;

/// How often they are asked, each time with the line that was drawn after the last.
const PASSES: usize = 2;

/// With fewer points there are no runs to be counted.
const LEAST_TESTED: f64 = 8.0;

/// A point that waited for so many times what every point has of doubt is not ordinary.
const ORDINARY: i64 = 3;

/// Runs are too few if points at random have so many standard deviations more: chance does this once
/// in 100 times.
const FEW_RUNS: f64 = 2.33;

/// So many points in a row on one side of the line are no accident that an error may rely on.
const SUSPICIOUS: usize = 3;

/// So many of the last points on one side of the line, and the line is drawn through them alone:
/// noise does this once in two thousand times, and no queue lasts so long.
const LONG_RUN: usize = 12;

/// The last points, and what was known of the rate before them.
#[derive(Debug, Clone)]
pub struct DriftFit {
    points: VecDeque<Point>,
    prior: Rate,
    /// No rate is believed beyond this, either way, in ppm.
    largest_ppm: f64,
    /// The line through the points, if there are any.
    line: Option<Line>,
    /// What the points had of noise when the line was drawn.
    noise: Noise,
    /// The last point was a surprise.
    surprise: Option<Box<Surprise>>,
    /// By how many ppm the rate may have changed, if the last point says so and is no surprise.
    suspected_ppm: f64,
    /// The last points that were taken for steps.
    steps: StepsOneWay,
}

impl DriftFit {
    /// No points yet; `prior` is what is known of the rate ([`Rate::UNKNOWN`], or one kept from
    /// an earlier run).
    #[must_use]
    pub fn new(prior: Rate) -> Self {
        Self {
            points: VecDeque::with_capacity(WINDOW),
            prior,
            largest_ppm: LARGEST_RATE_PPM,
            line: None,
            noise: Noise::default(),
            surprise: None,
            suspected_ppm: 0.0,
            steps: StepsOneWay::default(),
        }
    }

    /// The same, which believes no rate beyond `largest_ppm`, either way.
    #[must_use]
    pub fn within(self, largest_ppm: f64) -> Self {
        Self {
            prior: self.prior.within(largest_ppm),
            largest_ppm,
            ..self
        }
    }

    /// How many points there are, [`MOST`] at most.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there are no points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Adds a point, forgets those that are of no use any more, and draws the line anew.
    pub fn add(&mut self, point: Point) -> Line {
        if let Some(line) = self.line {
            self.judge(&line, point);
        }
        // Room is made first: what grows beyond its capacity takes twice of it.
        let oldest = point.raw.saturating_sub(nanoseconds(SPAN));
        while self.points.len() >= WINDOW && self.points[0].raw < oldest
            || self.points.len() >= MOST
        {
            self.points.pop_front();
        }
        self.points.push_back(point);
        let mut line = self.through(point);
        if (line.rate.ppm - self.prior.ppm).abs() > INCREDIBLE * self.prior.error_ppm {
            // It leads through points of different networks, or through bad ones.
            self.points.drain(..self.points.len() - 1);
            line = self.through(point);
        }
        while self.is_bent(&line) {
            self.points.pop_front();
            line = self.through(point);
        }
        self.line = Some(line);
        line
    }

    /// Prepares the points for one more, if that is not where the line leads.
    fn judge(&mut self, line: &Line, point: Point) {
        let (miss, noise) = (line.miss(&point), self.noise);
        let missed = miss.saturating_abs();
        let spread = line.spread(point.raw);
        let beyond = |variance: f64| (SURPRISING * (variance + spread * spread).sqrt()) as i64;
        let limit = beyond(noise.variance(&point));
        // A point that has waited is wrong by no more than it has waited; and one that has waited no
        // longer than others is wrong by no more than they are.
        let base = noise.widest_base() as f64;
        let usual = self.usual_miss(line).max(base);
        let waited = noise.waiting(&point).saturating_add(beyond(base * base));
        let unusual = noise.excess(&point).saturating_add(beyond(usual * usual));
        let waited = waited.min(unusual);
        let elapsed = point.raw.saturating_sub(line.raw);
        self.steps.pass();
        self.suspected_ppm = 0.0;
        let Some(first) = self.surprise.take() else {
            let grown = || rate_ppm(miss, self.building(line, miss, &point));
            if missed > limit || missed > waited && grown() > LEAST_JUMP_PPM {
                self.take_for_step(line, miss, &point);
            } else if missed as f64 > SUSPECT * usual.hypot(spread) {
                self.suspected_ppm = rate_ppm(miss, elapsed).min(CRYSTAL_PPM);
            }
            return;
        };
        let certain = missed > first.error.saturating_add(point.error).saturating_mul(2);
        match first.explain(miss, [waited, limit], elapsed, certain) {
            Explained::Step => {}
            Explained::BadMeasurement => {
                // They go where there is room for one more.
                self.points.clear();
                self.points.extend(first.before);
            }
            Explained::Rate => self.begin_another_rate(),
            Explained::Steps => self.take_for_step(line, miss, &point),
        }
    }

    /// Old points would go on voting against the new ones.
    fn begin_another_rate(&mut self) {
        self.points.drain(..self.points.len() - 1);
        let wider = 10.0 * self.prior.error_ppm.max(CRYSTAL_PPM);
        self.prior.error_ppm = wider.min(LARGEST_RATE_PPM);
    }

    /// For how long a point has been missed, which grows from the last point on that did not lie on
    /// the same side of the line.
    fn building(&self, line: &Line, miss: i64, point: &Point) -> i64 {
        let side = Some(miss > 0);
        let mut earlier = self.points.iter().rev();
        let other = earlier.find(|point| self.noise.side(line, point) != side);
        let began = other.or(self.points.front());
        let began = began.map_or(line.raw, |point| point.raw);
        point.raw.saturating_sub(began)
    }

    /// Moves the points to where they would be if the network had always been so far ahead as this
    /// point says. Where they are then is known no better than where it is.
    fn take_for_step(&mut self, line: &Line, miss: i64, by: &Point) {
        if self
            .steps
            .make_a_rate(miss, by.raw.saturating_sub(line.raw))
        {
            self.begin_another_rate();
            return;
        }
        let before = self.points.clone();
        let waiting = self.noise.waiting(by);
        let building = self.building(line, miss, by);
        for point in &mut self.points {
            *point = point.stepped(miss);
            point.error = point.error.saturating_add(waiting);
        }
        let ppm = rate_ppm(miss, by.raw.saturating_sub(line.raw)).min(LARGEST_JUMP_PPM);
        self.surprise = Some(Box::new(Surprise {
            before,
            miss,
            error: by.error,
            ppm,
            building,
        }));
    }

    /// Whether the points lie on a curve, so that a straight line must do without the oldest: too
    /// few of them change from one side of it to the other (the test of runs, as chronyd does it).
    /// What had to wait lies on one side anyway, and is not asked; but where the last points all lie
    /// on one side for long, whatever they waited for, the points before them are of no use.
    fn is_bent(&self, line: &Line) -> bool {
        let noise = &self.noise;
        let last_run = self.last_run(line);
        if last_run >= LONG_RUN {
            return last_run < self.points.len();
        }
        let longest = noise.doubt.saturating_mul(ORDINARY);
        let ordinary = |point: &&Point| noise.waiting(point) <= longest;
        let sides = self.points.iter().filter(ordinary);
        let (mut count, mut runs, mut last) = (0, 0, None);
        for side in sides.map(|point| noise.side(line, point)) {
            count += 1;
            runs += u32::from(side.is_none() || side != last);
            last = side;
        }
        let (runs, count) = (f64::from(runs), f64::from(count));
        count >= LEAST_TESTED
            && runs < f64::midpoint(count, 1.0) - FEW_RUNS * (count - 1.0).sqrt() / 2.0
    }

    /// The network as a whole was asked to run `by_ppm` faster from the raw time `from` on. That
    /// is no news of the oscillator, so the points are moved to where the faster network would
    /// have been, and the line, which is returned, turns about `from` at once. All that was asked
    /// together turns it no further than to the largest rate.
    #[must_use]
    pub fn turn(&mut self, line: Line, from: DateTime<Utc>, by_ppm: f64) -> Line {
        let (from, largest) = (since_epoch(from), self.largest_ppm);
        let now = line.rate.within(largest).ppm;
        let by_ppm = (now + by_ppm).clamp(-largest, largest) - now;
        self.move_points(|point| point.stepped(at_rate(point.raw.saturating_sub(from), by_ppm)));
        self.prior.ppm += by_ppm;
        self.prior = self.prior.within(largest);
        let mut turned = line.turned(from, by_ppm);
        turned.rate = turned.rate.within(largest);
        self.line = Some(turned);
        turned
    }

    /// The network as a whole was stepped: the points are moved along, for its rate is what it was.
    pub fn step(&mut self, by: TimeDelta) {
        let ahead = nanoseconds(by);
        self.move_points(|point| point.stepped(ahead));
        self.line = self.line.map(|line| line.stepped(by));
    }

    /// The raw clock was moved, and the network with it: the points are where they were between the
    /// two.
    pub fn raw_moved(&mut self, by: TimeDelta) {
        let later = nanoseconds(by);
        self.move_points(|point| Point {
            raw: point.raw.saturating_add(later),
            ..point
        });
        self.line = self.line.map(|line| line.raw_moved(by));
    }

    /// Moves all points, those before a surprise included.
    fn move_points(&mut self, moved: impl Fn(Point) -> Point) {
        let before = self.surprise.iter_mut().flat_map(|first| &mut first.before);
        for point in self.points.iter_mut().chain(before) {
            *point = moved(*point);
        }
    }

    /// Forgets the points, because a clock was set and they lie on another line, and keeps the
    /// rate: setting a clock does not change its oscillator.
    pub fn restart(&mut self) {
        if let Some(line) = self.line.take() {
            self.prior = Rate {
                ppm: line.rate.ppm,
                error_ppm: line.rate.error_ppm + WANDER_PPM,
            };
        }
        self.points.clear();
        self.surprise = None;
        self.suspected_ppm = 0.0;
    }

    /// The line through the points, of which `last` is the last. Notes what these have of noise.
    fn through(&mut self, last: Point) -> Line {
        self.noise = Noise::of(&self.points);
        let mut line = self.weighted(&last, |_, _| 0);
        if self.points.len() >= LEAST_TOLD {
            for _ in 0..PASSES {
                self.noise = self.noise.told(&self.points, &line);
                // Where the last points all lie on one side, the line may have to follow them.
                let run = self.last_run(&line);
                let run = if run >= SUSPICIOUS { run } else { 0 };
                let begins = self.points.len() - run;
                let missed =
                    |place, point: &Point| if place < begins { line.miss(point) } else { 0 };
                line = self.weighted(&last, missed);
            }
        }
        line.error = self.best_bound(&line, &last);
        line
    }

    /// The line through the points, weighted by what each missed an earlier one by.
    fn weighted(&self, last: &Point, missed: impl Fn(usize, &Point) -> i64) -> Line {
        let weighted = (0..).zip(&self.points).map(|(place, point)| Weighted {
            weight: self.noise.weight(point, missed(place, point)),
            seconds: point.raw.saturating_sub(last.raw) as f64 * 1e-9,
            nanoseconds: point.ahead.saturating_sub(last.ahead) as f64,
        });
        let weighted: Vec<_> = weighted.collect();
        let mut total = 0.0;
        let (mut mean_raw, mut mean_ahead) = (0.0, 0.0);
        for point in &weighted {
            total += point.weight;
            mean_raw += point.weight * point.seconds;
            mean_ahead += point.weight * point.nanoseconds;
        }
        mean_raw /= total;
        mean_ahead /= total;
        // In these units a slope is in nanoseconds a second, which is ppb.
        let prior_weight = (self.prior.error_ppm * 1e3).powi(-2);
        let (mut spread, mut product) = (prior_weight, prior_weight * self.prior.ppm * 1e3);
        for point in &weighted {
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
        Line {
            raw: last.raw,
            ahead: last.ahead.saturating_add(end.round() as i64),
            error: 0,
            rate,
            centre: -mean_raw,
            centre_spread: total.sqrt().recip(),
            surprise_ppm: self
                .surprise
                .as_ref()
                .map_or(self.suspected_ppm, |first| first.ppm),
        }
    }

    /// How wrong the line may be at the last point: the best bound that any of the points gives.
    fn best_bound(&self, line: &Line, last: &Point) -> i64 {
        // Where the last points all lie on one side, the oscillator may have changed its rate, and
        // what was known before says nothing.
        let run = self.last_run(line);
        let (points, jump_ppm) = if run >= SUSPICIOUS {
            (run, CRYSTAL_PPM)
        } else {
            (self.points.len(), 0.0)
        };
        let growth_ppm = line.error_growth_ppm() + jump_ppm;
        let bound = |point: &Point| {
            let grown = at_rate(last.raw.saturating_sub(point.raw), growth_ppm);
            let apart = line.miss(point).saturating_abs().saturating_add(grown);
            point.error.saturating_add(apart)
        };
        let bounds = self.points.iter().rev().take(points).map(bound);
        bounds.fold(bound(last), i64::min)
    }

    /// One standard deviation of what the points miss the line by, from the median of that.
    fn usual_miss(&self, line: &Line) -> f64 {
        let misses = self.points.iter();
        let misses = misses.map(|point| line.miss(point).saturating_abs());
        DEVIATION_BY_MEDIAN * middle(misses) as f64
    }

    /// How many of the last points lie on one side of the line, however long they had to wait.
    fn last_run(&self, line: &Line) -> usize {
        let points = self.points.iter().rev();
        let mut sides = points.map(|point| self.noise.side(line, point));
        let Some(Some(last)) = sides.next() else {
            return 0;
        };
        1 + sides.take_while(|side| *side == Some(last)).count()
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
        Point::new(
            DateTime::from_timestamp(seconds, 0).unwrap(),
            TimeDelta::microseconds(ahead_micros),
            TimeDelta::microseconds(error_micros),
        )
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
            let mut line = fit.add(point(second, ahead, 1));
            if second == 10 {
                line = fit.turn(line, line.raw(), 40.0);
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
    fn no_sum_of_requests_makes_a_rate_beyond_the_largest() {
        let mut fit = DriftFit::new(Rate::UNKNOWN).within(500.0);
        let mut ahead = 0.0;
        let mut rate = 0.0;
        for second in 0..300 {
            // A master that is believed: the offsets that it tells fit what it asks for.
            ahead += rate;
            let line = fit.add(point(second, ahead as i64, 20));
            let line = fit.turn(line, line.raw(), 20_000.0);
            rate = line.rate.ppm;
            assert!(rate <= 500.0, "{rate} ppm");
        }
        assert!(rate > 400.0);
        fit.restart();
        assert!(fit.add(point(300, 0, 20)).rate.ppm <= 500.0);
        let steep = fit.add(point(301, 1_000_000, 20));
        let turned = fit.turn(steep, steep.raw(), 0.0);
        assert!(turned.rate.ppm <= 500.0, "{:?}", turned.rate);
        // The way back is as short.
        let line = fit.turn(turned, turned.raw(), -20_000.0);
        assert!(line.rate.ppm >= -500.0);
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
        // Three exact ones do.
        let (_, line) = fit([point(0, 0, 10), point(5, 5000, 10), point(10, 10_000, 10)]);
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
    fn points_that_met_a_queue_do_not_take_the_place_of_the_others() {
        let mut points: Vec<_> = (0..40).map(|n| point(n, 10 * n + n % 2, 20)).collect();
        for n in [21, 22, 26, 29, 30, 31, 32, 36, 38] {
            points[n] = point(n as i64, 10_000, 10_020);
        }
        let (fit, line) = fit(points);
        assert_eq!(fit.len(), WINDOW);
        assert!((line.rate.ppm - 10.0).abs() < 0.1, "{:?}", line.rate);
        let off = line.ahead(line.raw()) - TimeDelta::microseconds(390);
        assert!(off.abs() < TimeDelta::microseconds(2), "{off}");
    }

    #[test]
    fn an_oscillator_that_jumps_is_followed_within_three_points() {
        let (mut fit, _) = fit((0..40).map(|n| point(n, n % 2, 20)));
        // It gains 100 ppm from the middle between two points on.
        let mut line = None;
        for n in 0..3 {
            line = Some(fit.add(point(40 + n, 50 + 100 * n, 20)));
        }
        let line = line.unwrap();
        assert!((line.rate.ppm - 100.0).abs() < 10.0, "{:?}", line.rate);
        let off = line.ahead(line.raw()) - TimeDelta::microseconds(250);
        assert!(off.abs() < TimeDelta::microseconds(10), "{off}");
    }

    /// Bounds on what has waited are far wider than what it makes wrong, as a rule.
    #[test]
    fn a_jump_is_seen_where_every_point_has_waited_and_few_are_wrong() {
        let waiting = |n| 100 + 17 * n % 110;
        let (fit, _) = fit((0..60).map(|n| point(n, 4 * (n % 3) - 4, waiting(n))));
        let is_surprise = |ahead, error| {
            let mut fit = fit.clone();
            fit.add(point(60, ahead, error));
            fit.surprise.is_some()
        };
        assert!(is_surprise(140, 190));
        // It may have met a queue, or is no worse than others were.
        assert!(!is_surprise(140, 290) && !is_surprise(40, 190));
    }

    /// Each way waits for itself, for 10 ms in the mean, and the average of three clocks has its part
    /// of that: the least error that there can be is hardly ever seen.
    #[test]
    fn noise_of_ways_that_jitter_is_seldom_taken_for_a_step() {
        let mut surprises = 0;
        for seed in 0..120 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut waiting = || (-10_000.0 * (1.0 - rng.f64()).ln()) as i64;
            // The one that waited least of a burst of eight: half its delay, and what it is wrong by.
            let mut measured = || {
                let samples = std::iter::repeat_with(|| [waiting(), waiting()]).take(8);
                let best = samples.min_by_key(|ways| ways[0] + ways[1]);
                best.map(|ways| [ways[0] + ways[1], ways[0] - ways[1]].map(|it| it / 2))
            };
            let mut fit = DriftFit::new(Rate::UNKNOWN);
            for n in 0..1000 {
                let clocks = [measured(), measured(), measured()].map(Option::unwrap);
                let mean = |of: usize| clocks.iter().map(|clock| clock[of]).sum::<i64>() / 3;
                let [error, miss] = [clocks[0][0] + mean(0), clocks[0][1] - mean(1)];
                fit.add(point(5 * n, miss, 100 + error));
                surprises += i32::from(fit.surprise.is_some());
            }
        }
        println!("{surprises} surprises");
        assert!(surprises <= 1, "{surprises} surprises");
    }

    #[test]
    fn a_small_change_of_the_rate_is_found_where_measurements_are_exact() {
        // It gains 13 ppm from the last point on: each second by more than noise, and by less than is
        // known for certain.
        for (seconds, ppm) in [(1, 13), (5, 13), (5, 5), (1, 40), (5, -3)] {
            let (mut fit, _) = fit((0..40).map(|n| point(seconds * n, n % 2, 20)));
            let last = seconds * 39;
            for n in 1..=20 {
                let truth = ppm * seconds * n;
                let line = fit.add(point(last + seconds * n, truth + n % 2, 20));
                let off = line.ahead(line.raw()) - TimeDelta::microseconds(truth);
                let wrong = (line.rate.ppm - ppm as f64).abs();
                assert!(
                    n < 16 || wrong < 1.0 && off.abs() < TimeDelta::microseconds(4),
                    "{ppm} ppm, point {n}: wrong by {wrong} ppm, {off}"
                );
            }
        }
    }

    /// What is further off than noise pulls less, but not if it goes on.
    #[test]
    fn a_rate_that_changes_by_less_than_a_surprise_is_followed() {
        let mut worst = Vec::new();
        for seed in 0..40 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut measured = |n: i64, truth: i64| {
                let noise = rng.i64(-14..=14);
                point(5 * n, truth + noise, rng.i64(100..300))
            };
            let (mut fit, _) = fit((0..40).map(|n| measured(n, 0)));
            // 4 ppm.
            let off = (1..=20).map(|n| {
                let line = fit.add(measured(39 + n, 20 * n));
                let off = line.ahead(line.raw()) - TimeDelta::microseconds(20 * n);
                off.abs().num_microseconds().unwrap()
            });
            worst.push(off.max().unwrap());
        }
        worst.sort_unstable();
        println!("median {} µs, worst {} µs", worst[20], worst[39]);
        assert!(worst[20] <= 120, "{worst:?}");
    }

    #[test]
    fn an_oscillator_that_jumps_on_a_busy_link_is_admitted_and_then_followed() {
        let (mut fit, _) = fit((0..40).map(|n| point(n, n % 2, 20)));
        // It gains 100 ppm from now on, and every point has to wait from now on.
        for n in 0..30 {
            let truth = 100 * n;
            let line = fit.add(point(40 + n, truth, 320));
            let off = (line.ahead(line.raw()) - TimeDelta::microseconds(truth)).abs();
            // Two points may still have met a queue.
            assert!(
                n < 3 || off <= line.error(line.raw()),
                "{off} off in second {n}"
            );
            let ppm = line.rate.ppm;
            assert!(n < 25 || (ppm - 100.0).abs() < 25.0, "{ppm} in second {n}");
        }
    }

    #[test]
    fn until_a_surprise_is_explained_the_rate_may_have_changed() {
        let (mut fit, before) = fit((0..40).map(|n| point(n, n % 2, 20)));
        assert!(before.error_growth_ppm() < 3.0);
        let line = fit.add(point(40, 80, 20));
        assert!(
            line.error_growth_ppm() > 75.0,
            "{}",
            line.error_growth_ppm()
        );
        let line = fit.add(point(41, 80, 20));
        assert!(line.error_growth_ppm() < 3.0, "{}", line.error_growth_ppm());
    }

    #[test]
    fn a_point_that_may_have_waited_may_tell_of_another_rate_as_well() {
        let (mut fit, before) = fit((0..40).map(|n| point(n, n % 2, 20)));
        let line = fit.add(point(40, 80, 120));
        assert!(fit.surprise.is_none() && line.rate.ppm.abs() < 1.0);
        let grown = |line: Line| line.error_growth_ppm() - before.error_growth_ppm();
        assert!((75.0..85.0).contains(&grown(line)), "{}", grown(line));
        // It may have been off by as much already.
        let error = line.error(line.raw());
        assert!(error >= TimeDelta::microseconds(80), "{error}");
        let line = fit.add(point(41, 0, 20));
        assert!(grown(line).abs() < 1.0, "{}", grown(line));
    }

    #[test]
    fn a_step_moves_the_points_and_keeps_the_rate() {
        let (mut fit, _) = fit((0..20).map(|n| point(5 * n, 50 * n, 20)));
        for n in 20..24 {
            let line = fit.add(point(5 * n, 30_000 + 50 * n, 20));
            assert!((line.rate.ppm - 10.0).abs() < 0.2, "{:?}", line.rate);
            let off = line.ahead(line.raw()) - TimeDelta::microseconds(30_000 + 50 * n);
            assert!(off.abs() < TimeDelta::microseconds(2), "{off}");
        }
        assert_eq!(fit.len(), 24);
    }

    #[test]
    fn a_bad_measurement_is_forgotten_with_the_next() {
        let (mut fit, _) = fit((0..20).map(|n| point(5 * n, 50 * n, 20)));
        fit.add(point(100, 1700, 20));
        let line = fit.add(point(105, 1050, 20));
        assert!((line.rate.ppm - 10.0).abs() < 0.1, "{:?}", line.rate);
        assert_eq!(fit.len(), 21, "all but the bad one");
    }

    #[test]
    fn the_points_of_a_regular_clock_take_24_bytes_each_and_never_more_room_than_at_first() {
        assert_eq!(size_of::<Point>(), 24);
        let mut fit = DriftFit::new(Rate::UNKNOWN);
        let room = fit.points.capacity();
        for n in 0..200 {
            // Every tenth is a bad measurement.
            let bad = if n % 10 == 9 { 1000 } else { 0 };
            fit.add(point(5 * n, 50 * n + bad, 20));
            assert_eq!(fit.points.capacity(), room, "after point {n}");
        }
        assert_eq!(fit.len(), WINDOW);
    }

    #[test]
    fn points_on_a_curve_do_without_the_oldest() {
        // The rate changes by 2 ppm a point, by too little at once to be a surprise.
        let (fit, line) = fit((0..40).map(|n| point(n, n * n, 20)));
        assert!(fit.len() < 15, "{} points", fit.len());
        assert!((line.rate.ppm - 78.0).abs() < 15.0, "{:?}", line.rate);
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
        let wide = |raw, ahead, error| {
            let raw = DateTime::from_timestamp_nanos(raw);
            Point::new(
                raw,
                TimeDelta::nanoseconds(ahead),
                TimeDelta::nanoseconds(error),
            )
        };
        let ends = [i64::MIN, -1, i64::MAX];
        let errors = [0, nanoseconds(TimeDelta::hours(1)), i64::MAX];
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut one_of = |values: [i64; 3]| values[rng.usize(0..3)];
            let mut fit = DriftFit::new(Rate::UNKNOWN);
            for _ in 0..30 {
                let line = fit.add(wide(one_of(ends), one_of(ends), one_of(errors)));
                let from = DateTime::from_timestamp_nanos(one_of(ends));
                let line = fit.turn(line, from, one_of(ends) as f64);
                let _ = (line.ahead(from), line.error(from));
                fit.step(TimeDelta::nanoseconds(one_of(ends)));
                fit.raw_moved(TimeDelta::nanoseconds(one_of(ends)));
            }
        }
    }
}
