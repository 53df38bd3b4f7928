//! A software clock laid over a raw one: it is steered to the network's time by corrections.
//!
//! It keeps two times. The *target* is where the network's time is known to be: a correction
//! moves it at once, and it runs at the fitted rate between corrections and without them
//! (holdover). The *reading* is what applications see: it slews towards the target and never runs
//! backwards, except for a step. Polls are answered with the target, so that a slew under way is
//! not measured as an error and corrected twice.
//!
//! Everything here is a function of the raw clock's reading, which the caller passes in.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::discipline::handed_down::HandedDown;
use crate::discipline::line::{Line, Point, Rate};
use crate::discipline::moved::Moved;
use crate::discipline::rate::DriftFit;
use crate::discipline::steering::Steering;
use crate::discipline::told::{NetworkTime, Told};
use crate::span::{at_rate, nanoseconds, since_epoch};
use crate::wire::correction::Correction;
use crate::wire::steps::Steps;

/// How fast the reading may approach the target: 10 %, so a second is caught up in ten.
pub const SLEW_PPM: f64 = 100_000.0;

/// Where a node's target was at a moment, by its raw clock: what an offset was measured against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// What the raw clock showed.
    pub raw: DateTime<Utc>,
    /// The target at that moment.
    pub target: DateTime<Utc>,
    /// How often the raw clock had been set by then: what was measured before it was set says
    /// nothing of it after.
    pub sets: u32,
    /// The steps of its group that it had taken by then: a target before a step and one after it
    /// don't compare.
    pub steps: Option<Steps>,
    /// What it had given to its raw clock by then, see [`HandedDown`].
    pub handed: HandedDown,
}

impl Mark {
    /// The same of a clock that has since been stepped with its group.
    #[must_use]
    pub fn stepped(self, by: TimeDelta) -> Self {
        Self {
            target: self.target + by,
            ..self
        }
    }

    /// The same of a clock whose raw clock has been stepped with the group, and it with that one.
    #[must_use]
    pub fn moved(self, by: TimeDelta) -> Self {
        Self {
            raw: self.raw + by,
            handed: self.handed.moved(by),
            ..self.stepped(by)
        }
    }
}

/// Where a clock has to be steered to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aim {
    /// The target now.
    pub target: DateTime<Utc>,
    /// By how much the target gains on the raw clock, in ppm.
    pub rate_ppm: f64,
    /// Whether the clock is to get there by a step.
    pub step_due: bool,
    /// How wrong the target may be; unknown when the clock was set by hand or suspended, or has
    /// refused a correction, and no correction was taken since.
    pub error: Option<TimeDelta>,
    /// How fast `error` grows from now on, in ppm.
    pub error_growth_ppm: f64,
    /// How many corrections it has taken.
    pub corrections: u64,
    /// Whether corrections are overdue: nobody corrects the clock any more, as far as it knows.
    pub holds_over: bool,
}

/// What became of a correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The reading jumped to the target.
    Stepped,
    /// The reading approaches the target.
    Slewing,
    /// Nothing: it is above the panic threshold.
    Refused,
    /// Nothing: the raw clock was set after it was measured.
    Outdated,
}

/// A clock holds over when it was not corrected for so many times the pause between the last two
/// corrections, or this pause if that was shorter: a group's first rounds follow each other quickly,
/// and the first after those who join may.
const OVERDUE: i64 = 3;
const SHORTEST_PAUSE: TimeDelta = TimeDelta::seconds(5);

/// A correction to a year before 1678 or after 2261.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a correction beyond the years 1678 to 2261")
    }
}

impl std::error::Error for OutOfRange {}

/// The state of a steered clock. Pure: the raw clock's reading is an argument everywhere.
///
/// Inside, times are nanoseconds since the Unix epoch: a reading has to be cheap.
#[derive(Debug, Clone)]
pub struct Discipline {
    steering: Steering,
    pub(in crate::discipline) fit: DriftFit,
    pub(in crate::discipline) line: Option<Line>,
    /// The raw time from which everything below counts.
    pub(in crate::discipline) since: i64,
    /// How far the target was ahead of the raw clock then.
    pub(in crate::discipline) ahead: i64,
    /// By how much the target gains on the raw clock, in ppm.
    pub(in crate::discipline) rate_ppm: f64,
    /// How far the reading was ahead of the target; slewed away from then on.
    reading_ahead: i64,
    /// How wrong the target may have been, and how fast that grows, in ppm.
    pub(in crate::discipline) error: i64,
    pub(in crate::discipline) error_growth_ppm: f64,
    /// The latest reading given out.
    shown: i64,
    /// How many corrections it has taken.
    rounds: u64,
    /// The time between the last two corrections, by the raw clock.
    pause: i64,
    /// How far corrections after the first have moved it today.
    moved: Moved,
    /// The clock was set, suspended, or has refused a correction, and none was taken since.
    in_doubt: bool,
    /// How often the raw clock was set, by how much in all, and for how long it has been suspended.
    pub(in crate::discipline) sets: u32,
    pub(in crate::discipline) set_by: TimeDelta,
    slept: TimeDelta,
    /// A step was made that the system's clock has not followed yet.
    step_due: bool,
    /// The steps of its group that it has taken; `None` before it has heard of any group.
    steps: Option<Steps>,
    /// What it has given to its raw clock, and what that one is expected to move by itself.
    pub(in crate::discipline) handed: HandedDown,
    pub(in crate::discipline) expected: i64,
}

impl Discipline {
    /// A clock that shows the raw time, which is `raw` now.
    #[must_use]
    pub fn new(mut steering: Steering, raw: DateTime<Utc>) -> Self {
        steering.rate = steering.rate.within(steering.largest_rate_ppm);
        let known = steering.drift.then_some(steering.rate.ppm);
        Self {
            fit: DriftFit::new(steering.rate).within(steering.largest_rate_ppm),
            line: None,
            since: since_epoch(raw),
            ahead: 0,
            rate_ppm: known.unwrap_or(0.0),
            reading_ahead: 0,
            error: 0,
            error_growth_ppm: 0.0,
            shown: i64::MIN,
            rounds: 0,
            pause: 0,
            moved: Moved::since(since_epoch(raw)),
            in_doubt: false,
            sets: 0,
            slept: TimeDelta::zero(),
            set_by: TimeDelta::zero(),
            step_due: false,
            steps: None,
            handed: HandedDown::default(),
            expected: 0,
            steering,
        }
    }

    /// Where the network's time is known to be.
    #[must_use]
    pub fn target(&self, raw: DateTime<Utc>) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.target_at(since_epoch(raw)))
    }

    /// The target, with the raw reading it belongs to.
    #[must_use]
    pub fn mark(&self, raw: DateTime<Utc>) -> Mark {
        Mark {
            raw,
            target: self.target(raw),
            sets: self.sets,
            steps: self.steps,
            handed: self.handed,
        }
    }

    /// What an application sees.
    pub fn read(&mut self, raw: DateTime<Utc>) -> NetworkTime {
        let raw = since_epoch(raw);
        let target = self.target_at(raw);
        self.shown = self
            .shown
            .max(target.saturating_add(self.reading_ahead_at(raw)));
        let error = self.error_at(raw).map(|target_error| {
            let slew_left = self.shown.saturating_sub(target).saturating_abs();
            TimeDelta::nanoseconds(target_error.saturating_add(slew_left))
        });
        NetworkTime {
            time: DateTime::from_timestamp_nanos(self.shown),
            error,
        }
    }

    /// What it tells, at `raw`, whoever asks it by a message that came at `arrived`.
    pub fn tell(&mut self, arrived: DateTime<Utc>, raw: DateTime<Utc>) -> Told {
        let now = self.read(raw);
        // What it would have shown before the last correction is of no interest any more.
        let arrived = since_epoch(arrived).clamp(self.since, since_epoch(raw).max(self.since));
        let received = self
            .target_at(arrived)
            .saturating_add(self.reading_ahead_at(arrived));
        let age = since_epoch(raw).saturating_sub(self.since).max(0);
        let corrected = self.line.map(|_| now.time - TimeDelta::nanoseconds(age));
        Told {
            received: DateTime::from_timestamp_nanos(received).min(now.time),
            now,
            corrected,
            series: self.steps.map(|steps| steps.series),
        }
    }

    pub(in crate::discipline) fn target_at(&self, raw: i64) -> i64 {
        let gained = gained(raw.saturating_sub(self.since), self.rate_ppm);
        raw.saturating_add(self.ahead).saturating_add(gained)
    }

    /// How wrong the target may be; `None` while nobody can tell.
    pub(in crate::discipline) fn error_at(&self, raw: i64) -> Option<i64> {
        let gained = gained(raw.saturating_sub(self.since), self.error_growth_ppm);
        self.knows_the_time()
            .then(|| self.error.saturating_add(gained))
    }

    /// How far the reading is ahead of the target.
    fn reading_ahead_at(&self, raw: i64) -> i64 {
        let slewed = gained(raw.saturating_sub(self.since), SLEW_PPM);
        if self.reading_ahead > 0 {
            self.reading_ahead.saturating_sub(slewed).max(0)
        } else {
            self.reading_ahead.saturating_add(slewed).min(0)
        }
    }

    /// Whether the panic threshold bounds corrections: the first one may be as large as it likes.
    fn is_bounded(&self) -> bool {
        self.line.is_some() || self.steering.knows_the_time
    }

    /// Whether a correction by this would be refused when the raw clock shows `raw`.
    #[must_use]
    pub fn refuses(&self, offset: TimeDelta, raw: DateTime<Utc>) -> bool {
        let moved = self.moved.with(offset, since_epoch(raw));
        let beyond = |limit| offset.abs() > limit || moved.by.abs() > limit;
        self.is_bounded() && self.steering.panic_threshold.is_some_and(beyond)
    }

    /// Takes a correction of the target, which was at `mark` when it was measured.
    ///
    /// # Errors
    /// [`OutOfRange`] when the target would have no name in nanoseconds of an `i64` any more, in
    /// the years 1678 to 2261; nothing is changed.
    pub fn correct(
        &mut self,
        mark: Mark,
        correction: Correction,
        raw: DateTime<Utc>,
    ) -> Result<Applied, OutOfRange> {
        let Correction {
            offset,
            error,
            common_ppm,
            shift,
            above,
        } = correction;
        if mark.sets != self.sets {
            return Ok(Applied::Outdated);
        }
        let corrected = mark.target.checked_add_signed(offset).ok_or(OutOfRange)?;
        corrected.timestamp_nanos_opt().ok_or(OutOfRange)?;
        let ahead = corrected - mark.raw - self.handed.since(mark.raw, &mark.handed);
        let point = Point::new(mark.raw, ahead, error - above);
        if self.refuses(offset, raw) {
            self.in_doubt = true;
            return Ok(Applied::Refused);
        }
        if self.is_bounded() {
            self.moved = self.moved.with(offset, since_epoch(raw));
        }
        let steps = self.rounds < self.steering.step_rounds.into()
            && offset.abs() > self.steering.step_threshold;
        self.rounds = self.rounds.saturating_add(1);
        self.in_doubt = false;
        if !self.steering.drift {
            self.fit = DriftFit::new(Rate::UNKNOWN);
        } else if steps {
            self.fit.restart();
        }
        // While rates are unknown, so is what the group's clocks have done in this interval, in
        // which each was measured at its own moment.
        let now = since_epoch(raw);
        let began = match self.line {
            Some(_) => self.since,
            None => since_epoch(mark.raw),
        };
        self.pause = now.saturating_sub(began).max(0);
        let interval = TimeDelta::nanoseconds(self.pause);
        let meanwhile = at_rate(interval, 3.0 * self.rate().error_ppm);
        // What all clocks are moved by is no news of this one.
        self.fit.step(shift);
        let line = self.fit.add(point);
        let line = self.fit.turn(line, raw, common_ppm);
        let reading = self
            .target_at(now)
            .saturating_add(self.reading_ahead_at(now));
        self.since = now;
        if self.steering.drift {
            self.ahead = line.ahead_at(now);
            self.rate_ppm = line.rate.ppm;
        } else {
            self.ahead = point.ahead;
        }
        self.error = nanoseconds(line.error(raw) + meanwhile + above);
        self.error_growth_ppm = line.error_growth_ppm();
        self.line = Some(line);
        if steps {
            self.reading_ahead = 0;
            self.shown = i64::MIN;
            self.step_due = true;
            Ok(Applied::Stepped)
        } else {
            self.reading_ahead = reading.saturating_sub(self.target_at(now));
            Ok(Applied::Slewing)
        }
    }

    /// The steps of its group that it has taken; `None` before it has heard of any group.
    #[must_use]
    pub fn steps(&self) -> Option<Steps> {
        self.steps
    }

    /// Takes those steps of its group that it has not taken yet, at once, however large they are.
    /// What an operator tells the group is no error of this clock, so neither its rate nor the slew
    /// that is under way changes, and the panic threshold does not refuse it. By how much it was
    /// moved: nothing, where it has just come into the group, which measures it as it is.
    ///
    /// # Errors
    /// [`OutOfRange`] as for [`Discipline::correct`]; nothing is changed.
    pub fn take_steps(
        &mut self,
        steps: Steps,
        raw: DateTime<Utc>,
    ) -> Result<TimeDelta, OutOfRange> {
        let by = steps.missing(self.steps);
        let target = self.target(raw).checked_add_signed(by).ok_or(OutOfRange)?;
        target.timestamp_nanos_opt().ok_or(OutOfRange)?;
        self.steps = Some(steps);
        if by.is_zero() {
            return Ok(by);
        }
        self.ahead = self.ahead.saturating_add(nanoseconds(by));
        self.fit.step(by);
        self.line = self.line.map(|line| line.stepped(by));
        self.shown = i64::MIN;
        self.step_due = true;
        Ok(by)
    }

    /// The raw clock was set, by `by`: the target goes along, for others are to see it, and the
    /// line starts anew.
    pub fn raw_was_set(&mut self, by: TimeDelta) {
        self.fit.restart();
        self.in_doubt = true;
        self.sets = self.sets.wrapping_add(1);
        self.since = self.since.saturating_add(nanoseconds(by));
        self.set_by = self.set_by.checked_add(&by).unwrap_or(self.set_by);
    }

    /// The raw clock has been suspended for so long, in all, which kernels know to a second or two:
    /// nobody knows the time then before the next correction.
    pub fn has_slept(&mut self, in_all: TimeDelta) {
        if std::mem::replace(&mut self.slept, in_all) != in_all {
            self.raw_was_set(TimeDelta::zero());
        }
    }

    /// The system's clock has followed a step.
    pub fn step_is_done(&mut self) {
        self.step_due = false;
    }

    /// Where a clock has to be steered to; `None` before the first correction.
    #[must_use]
    pub fn aim(&self, raw: DateTime<Utc>) -> Option<Aim> {
        let now = since_epoch(raw);
        let error = self.error_at(now);
        let pause = self.pause.max(nanoseconds(SHORTEST_PAUSE));
        let patience = pause.saturating_mul(OVERDUE);
        self.line.is_some().then(|| Aim {
            target: self.target(raw),
            rate_ppm: self.rate_ppm,
            step_due: self.step_due,
            error: error.map(TimeDelta::nanoseconds),
            error_growth_ppm: self.error_growth_ppm,
            corrections: self.rounds,
            holds_over: now.saturating_sub(self.since) > patience,
        })
    }

    /// Whether it has followed a correction yet. It stays a part of its group in doubt.
    #[must_use]
    pub fn is_synchronized(&self) -> bool {
        self.line.is_some()
    }

    /// Whether its target is the group's time, as far as it knows: it has followed a correction,
    /// and since then it was neither set by hand nor suspended, nor has it refused one.
    #[must_use]
    pub fn knows_the_time(&self) -> bool {
        self.line.is_some() && !self.in_doubt
    }

    /// What is known of the clock's rate: the network's against the raw clock.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.line.map_or(self.steering.rate, |line| line.rate)
    }
}

pub(in crate::discipline) fn gained(elapsed: i64, rate_ppm: f64) -> i64 {
    // Cut off, not rounded: that would be the most expensive part of a reading.
    (elapsed as f64 * (rate_ppm * 1e-6)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discipline::steering::{LARGEST_SIMULATED_RATE_PPM, STEP_ROUNDS};

    const EXACT: TimeDelta = TimeDelta::microseconds(10);

    fn raw(seconds: f64) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(1_700_000_000_000_000_000 + (seconds * 1e9) as i64)
    }

    fn clock() -> Discipline {
        Discipline::new(Steering::default(), raw(0.0))
    }

    fn by(offset: TimeDelta) -> Correction {
        Correction {
            offset,
            error: EXACT,
            ..Correction::default()
        }
    }

    /// Corrects `clock` by what it is told at `now`.
    fn correct(clock: &mut Discipline, now: f64, offset: TimeDelta) -> Applied {
        let mark = clock.mark(raw(now));
        clock.correct(mark, by(offset), raw(now)).unwrap()
    }

    #[test]
    fn before_any_correction_it_is_the_raw_clock() {
        let mut clock = clock();
        let now = clock.read(raw(7.0));
        assert_eq!((now.time, now.error), (raw(7.0), None));
    }

    #[test]
    fn a_big_correction_steps_in_the_first_three_rounds_only() {
        let minute = TimeDelta::minutes(1);
        let mut clock = clock();
        for round in 1..=5 {
            let before = clock.read(raw(5.0 * f64::from(round))).time;
            let made = correct(&mut clock, 5.0 * f64::from(round), minute);
            let jumped = clock.read(raw(5.0 * f64::from(round))).time - before;
            if round <= STEP_ROUNDS {
                assert_eq!((made, jumped), (Applied::Stepped, minute), "round {round}");
            } else {
                assert_eq!((made, jumped), (Applied::Slewing, TimeDelta::zero()));
            }
        }
    }

    #[test]
    fn a_step_of_the_group_changes_neither_the_rate_nor_the_slew_nor_the_error() {
        let steering = Steering {
            panic_threshold: Some(TimeDelta::seconds(10)),
            ..Steering::default()
        };
        let run = |step: TimeDelta| {
            let mut clock = Discipline::new(steering, raw(0.0));
            assert_eq!(
                clock.take_steps(Steps::none(7), raw(0.0)),
                Ok(TimeDelta::zero())
            );
            for round in 1..=20 {
                // The clock loses 80 ppm, and slews to the group from 900 ms away in the end.
                let now = 5.0 * f64::from(round);
                let offset = if round == 19 { 900_000 } else { 400 };
                correct(&mut clock, now, TimeDelta::microseconds(offset));
                clock.read(raw(now));
            }
            let mark = clock.mark(raw(100.0));
            let steps = Steps::none(7).and(step).unwrap();
            assert_eq!(clock.take_steps(steps, raw(101.0)), Ok(step));
            assert_eq!(clock.take_steps(steps, raw(101.0)), Ok(TimeDelta::zero()));
            // A correction that was measured before it.
            let told = by(TimeDelta::nanoseconds(300));
            let made = clock.correct(mark.stepped(step), told, raw(101.5)).unwrap();
            let aim = clock.aim(raw(102.0)).unwrap();
            (clock.read(raw(102.0)), aim, clock.rate(), made)
        };
        let (still, still_aim, still_rate, _) = run(TimeDelta::zero());
        for step in [TimeDelta::seconds(90), TimeDelta::seconds(-90)] {
            let (read, aim, rate, made) = run(step);
            assert_eq!(made, Applied::Slewing, "no panic");
            assert_eq!(read.time - still.time, step);
            assert_eq!(aim.target - still_aim.target, step);
            assert_eq!((read.error, rate), (still.error, still_rate));
            assert!(aim.step_due, "the system's clock has to follow");
        }
        let mut clock = clock();
        clock.take_steps(Steps::none(7), raw(0.0)).unwrap();
        let far = Steps::none(7).and(TimeDelta::days(36_000)).unwrap();
        clock.take_steps(far, raw(0.0)).unwrap();
        let mut farther = far;
        farther.total = TimeDelta::days(100_000);
        assert_eq!(clock.take_steps(farther, raw(0.0)), Err(OutOfRange));
        assert_eq!(clock.steps(), Some(far));
    }

    #[test]
    fn a_clock_whose_corrections_are_overdue_holds_over() {
        let mut clock = clock();
        let looks = |clock: &Discipline, now| {
            let aim = clock.aim(raw(now)).unwrap();
            (aim.holds_over, aim.corrections)
        };
        correct(&mut clock, 5.0, TimeDelta::zero());
        // The next correction may come at once, and those after it don't.
        correct(&mut clock, 5.1, TimeDelta::zero());
        assert_eq!(looks(&clock, 20.0), (false, 2));
        assert_eq!(looks(&clock, 20.2), (true, 2));
        correct(&mut clock, 65.1, TimeDelta::zero());
        assert_eq!(looks(&clock, 245.0), (false, 3));
        assert_eq!(looks(&clock, 245.2), (true, 3));
        let error = |now| clock.aim(raw(now)).unwrap().error.unwrap();
        let growth_ppm = clock.aim(raw(65.1)).unwrap().error_growth_ppm;
        let more = error(165.1) - error(65.1);
        assert!((more.as_seconds_f64() * 1e6 / 100.0 - growth_ppm).abs() < 0.001);
    }

    #[test]
    fn a_step_may_go_backwards_and_a_slew_may_not() {
        let mut clock = clock();
        let before = clock.read(raw(5.0)).time;
        correct(&mut clock, 5.0, TimeDelta::minutes(-1));
        assert_eq!(clock.read(raw(5.0)).time, before - TimeDelta::minutes(1));
        correct(&mut clock, 6.0, TimeDelta::milliseconds(-900));
        let mut last = clock.read(raw(6.0)).time;
        for step in 0..20_000 {
            let next = clock.read(raw(6.0 + f64::from(step) * 1e-3)).time;
            assert!(next > last || step == 0, "at step {step}");
            last = next;
        }
    }

    #[test]
    fn the_target_moves_at_once_and_the_reading_slews_at_a_tenth() {
        let mut clock = clock();
        correct(&mut clock, 5.0, TimeDelta::milliseconds(500));
        assert_eq!(clock.target(raw(5.0)), raw(5.5));
        assert_eq!(clock.read(raw(5.0)).time, raw(5.0));
        let behind = |clock: &mut Discipline, now| {
            (clock.target(raw(now)) - clock.read(raw(now)).time).num_milliseconds()
        };
        assert_eq!(behind(&mut clock, 7.0), 300);
        assert_eq!(behind(&mut clock, 10.0), 0);
        assert_eq!(behind(&mut clock, 100.0), 0);
    }

    #[test]
    fn the_error_includes_a_slew_under_way() {
        let mut clock = clock();
        correct(&mut clock, 5.0, TimeDelta::milliseconds(500));
        assert!(clock.read(raw(5.0)).error.unwrap() >= TimeDelta::milliseconds(500));
        let later = clock.read(raw(10.0)).error.unwrap();
        assert!(later < TimeDelta::milliseconds(3), "{later}");
    }

    #[test]
    fn what_it_tells_is_of_one_moment() {
        let mut clock = clock();
        let told = clock.tell(raw(0.9), raw(1.0));
        assert_eq!((told.received, told.now.time), (raw(0.9), raw(1.0)));
        assert_eq!(
            (told.now.error, told.corrected, told.series),
            (None, None, None)
        );
        clock.take_steps(Steps::none(7), raw(1.0)).unwrap();
        correct(&mut clock, 5.0, TimeDelta::milliseconds(500));
        // It gains a tenth, so the 400 ms before have been 440.
        let told = clock.tell(raw(6.6), raw(7.0));
        assert_eq!(told.now, clock.read(raw(7.0)));
        let late = told.now.time - told.received;
        assert!(
            (late - TimeDelta::milliseconds(440)).abs() < TimeDelta::microseconds(1),
            "{late}"
        );
        assert_eq!(told.corrected, Some(told.now.time - TimeDelta::seconds(2)));
        assert_eq!(told.series, Some(7));
        // A message that came before the correction, and one that comes after its answer.
        assert_eq!(clock.tell(raw(4.0), raw(7.0)).received, raw(5.0));
        assert_eq!(clock.tell(raw(9.0), raw(7.0)).received, told.now.time);
    }

    #[test]
    fn a_correction_counts_from_when_it_was_measured() {
        let mut clock = clock();
        let mark = clock.mark(raw(1.0));
        clock
            .correct(mark, by(TimeDelta::milliseconds(3)), raw(5.0))
            .unwrap();
        assert_eq!(
            clock.target(raw(5.0)) - raw(5.0),
            TimeDelta::milliseconds(3)
        );
    }

    #[test]
    fn it_holds_over_at_the_rate_it_learned() {
        let mut clock = clock();
        for round in 1..=20 {
            // The network gains 100 ppm on the raw clock.
            let now = 5.0 * f64::from(round);
            let network = raw(now) + at_rate(raw(now) - raw(0.0), 100.0);
            let offset = network - clock.target(raw(now));
            correct(&mut clock, now, offset);
        }
        assert!((clock.rate().ppm - 100.0).abs() < 0.1, "{:?}", clock.rate());
        let hour = raw(100.0 + 3600.0);
        let off = clock.target(hour) - (hour + at_rate(hour - raw(0.0), 100.0));
        assert!(
            off.abs() < TimeDelta::microseconds(200),
            "{off} after an hour alone"
        );
        assert!(clock.read(hour).error.unwrap() > off.abs());
    }

    #[test]
    fn without_drift_correction_it_runs_at_the_raw_rate() {
        let steering = Steering {
            drift: false,
            ..Steering::default()
        };
        let mut clock = Discipline::new(steering, raw(0.0));
        for round in 1..=20 {
            correct(
                &mut clock,
                5.0 * f64::from(round),
                TimeDelta::microseconds(500),
            );
        }
        let ahead = clock.target(raw(200.0)) - raw(200.0);
        assert_eq!(ahead, TimeDelta::milliseconds(10));
    }

    #[test]
    fn what_no_noise_explains_is_followed_at_once() {
        let mut clock = clock();
        for round in 1..=20 {
            correct(&mut clock, 5.0 * f64::from(round), TimeDelta::zero());
        }
        let moved = TimeDelta::milliseconds(20);
        correct(&mut clock, 105.0, moved);
        let off = clock.target(raw(105.0)) - raw(105.0) - moved;
        assert!(off.abs() < TimeDelta::microseconds(10), "{off}");
        assert!(clock.rate().ppm.abs() < 1.0, "{:?}", clock.rate());
    }

    #[test]
    fn a_rate_from_an_earlier_run_is_used_at_once() {
        let steering = Steering {
            rate: Rate {
                ppm: 40.0,
                error_ppm: 1.0,
            },
            ..Steering::default()
        };
        let clock = Discipline::new(steering, raw(0.0));
        assert_eq!(
            clock.target(raw(1000.0)) - raw(1000.0),
            TimeDelta::milliseconds(40)
        );
    }

    #[test]
    fn corrections_move_a_clock_by_the_panic_threshold_in_a_day_and_no_further() {
        let steering = Steering {
            panic_threshold: Some(TimeDelta::seconds(1000)),
            ..Steering::default()
        };
        let mut clock = Discipline::new(steering, raw(0.0));
        let mut correct = |now: f64, seconds| {
            let mark = clock.mark(raw(now));
            let made = clock.correct(mark, by(TimeDelta::seconds(seconds)), raw(now));
            made.unwrap() != Applied::Refused
        };
        assert!(correct(5.0, 3600), "the first one is taken");
        assert!(correct(10.0, 900));
        assert!(!correct(15.0, 900), "900 s a round are not followed");
        assert!(correct(20.0, -900), "the way back is");
        assert!(correct(25.0, -900));
        assert!(!correct(30.0, -200));
        assert!(correct(90_000.0, -200), "on the next day");
    }

    #[test]
    fn a_correction_above_the_panic_threshold_is_refused_once_one_was_taken() {
        let steering = Steering {
            panic_threshold: Some(TimeDelta::seconds(1000)),
            ..Steering::default()
        };
        let mut clock = Discipline::new(steering, raw(0.0));
        let hour = TimeDelta::hours(1);
        // The first one may be as large as it likes.
        assert_eq!(correct(&mut clock, 5.0, hour), Applied::Stepped);
        assert_eq!(correct(&mut clock, 10.0, hour), Applied::Refused);
        assert_eq!(correct(&mut clock, 15.0, -hour), Applied::Refused);
        assert_eq!(clock.target(raw(15.0)) - raw(15.0), hour);
        assert_eq!(clock.aim(raw(15.0)).unwrap().error, None, "it is in doubt");
        correct(&mut clock, 20.0, TimeDelta::zero());
        assert!(clock.aim(raw(20.0)).unwrap().error.is_some());
    }

    #[test]
    fn a_clock_that_an_earlier_run_has_left_right_refuses_its_first_correction_too() {
        let steering = Steering {
            panic_threshold: Some(TimeDelta::seconds(1000)),
            knows_the_time: true,
            ..Steering::default()
        };
        let mut clock = Discipline::new(steering, raw(0.0));
        let hour = TimeDelta::hours(1);
        assert_eq!(correct(&mut clock, 5.0, hour), Applied::Refused);
        assert_eq!(clock.target(raw(5.0)), raw(5.0));
        // It is no part of the group that it does not follow, and its clock is not steered.
        assert!(!clock.is_synchronized() && clock.aim(raw(5.0)).is_none());
        let minute = TimeDelta::minutes(1);
        assert_eq!(correct(&mut clock, 10.0, minute), Applied::Stepped);
        // What it was moved by at first is a part of the day's.
        let rest = TimeDelta::seconds(950);
        assert_eq!(correct(&mut clock, 15.0, rest), Applied::Refused);
    }

    #[test]
    fn no_error_is_promised_in_doubt() {
        let steering = Steering {
            panic_threshold: Some(TimeDelta::minutes(1)),
            ..Steering::default()
        };
        let promised = |clock: &mut Discipline, now| {
            let aimed = clock.aim(raw(now)).unwrap().error;
            let read = clock.read(raw(now)).error;
            assert_eq!(read.is_some(), aimed.is_some(), "one state, two statements");
            read
        };
        let mut clock = Discipline::new(steering, raw(0.0));
        correct(&mut clock, 5.0, TimeDelta::zero());
        assert!(promised(&mut clock, 5.0).is_some());
        assert_eq!(
            correct(&mut clock, 10.0, TimeDelta::hours(1)),
            Applied::Refused
        );
        assert_eq!(promised(&mut clock, 10.0), None, "it refused a correction");
        correct(&mut clock, 15.0, TimeDelta::zero());
        assert!(promised(&mut clock, 15.0).is_some());
        clock.raw_was_set(TimeDelta::minutes(10));
        assert_eq!(promised(&mut clock, 616.0), None, "it was set by hand");
        correct(&mut clock, 620.0, TimeDelta::zero());
        assert!(promised(&mut clock, 620.0).is_some());
    }

    #[test]
    fn no_round_is_early_enough_for_a_step_if_none_is_allowed() {
        let steering = Steering {
            step_rounds: 0,
            ..Steering::default()
        };
        let mut clock = Discipline::new(steering, raw(0.0));
        assert_eq!(
            correct(&mut clock, 5.0, TimeDelta::hours(1)),
            Applied::Slewing
        );
        assert!(!clock.aim(raw(5.0)).unwrap().step_due);
    }

    #[test]
    fn a_step_is_due_until_it_is_done() {
        let mut clock = clock();
        correct(&mut clock, 5.0, TimeDelta::hours(1));
        assert!(clock.aim(raw(5.0)).unwrap().step_due);
        correct(&mut clock, 10.0, TimeDelta::zero());
        assert!(clock.aim(raw(10.0)).unwrap().step_due);
        clock.step_is_done();
        assert!(!clock.aim(raw(10.0)).unwrap().step_due);
    }

    #[test]
    fn what_was_measured_before_the_raw_clock_was_set_is_outdated() {
        let mut clock = clock();
        correct(&mut clock, 5.0, TimeDelta::zero());
        let mark = clock.mark(raw(10.0));
        clock.raw_was_set(TimeDelta::minutes(10));
        let made = clock.correct(mark, by(TimeDelta::zero()), raw(611.0));
        assert_eq!(made, Ok(Applied::Outdated));
        assert_eq!(
            clock.aim(raw(611.0)).unwrap().error,
            None,
            "it is in doubt still"
        );
    }

    #[test]
    fn after_a_suspend_nobody_knows_the_time_before_the_next_correction() {
        let mut clock = clock();
        correct(&mut clock, 5.0, TimeDelta::zero());
        let (mark, minute) = (clock.mark(raw(10.0)), TimeDelta::minutes(1));
        clock.has_slept(TimeDelta::zero());
        assert!(clock.read(raw(10.0)).error.is_some());
        clock.has_slept(minute);
        assert_eq!(clock.read(raw(71.0)).error, None);
        let made = clock.correct(mark, by(TimeDelta::zero()), raw(71.0));
        assert_eq!(made, Ok(Applied::Outdated));
        correct(&mut clock, 72.0, TimeDelta::milliseconds(900));
        clock.has_slept(minute);
        assert!(clock.read(raw(72.0)).error.is_some(), "it was one sleep");
    }

    #[test]
    fn offsets_in_rounds_one_after_the_other_are_no_rate() {
        for offsets in [[300, 200, 12], [100, 100, 20]] {
            let mut clock = clock();
            correct(&mut clock, 5.0, TimeDelta::zero());
            for (round, offset) in (2..).zip(offsets) {
                correct(
                    &mut clock,
                    5.0 * f64::from(round),
                    TimeDelta::milliseconds(offset),
                );
                assert!(
                    clock.rate().ppm.abs() < 30.0,
                    "{offsets:?}: {:?}",
                    clock.rate()
                );
            }
        }
    }

    #[test]
    fn a_raw_clock_that_is_set_takes_the_target_along_and_keeps_its_rate() {
        let mut clock = clock();
        for round in 1..=20 {
            let now = 5.0 * f64::from(round);
            let network = raw(now) + at_rate(raw(now) - raw(0.0), 100.0);
            let offset = network - clock.target(raw(now));
            correct(&mut clock, now, offset);
        }
        let before = clock.target(raw(101.0));
        clock.raw_was_set(TimeDelta::hours(1));
        let hour = TimeDelta::hours(1);
        assert_eq!(clock.target(raw(101.0) + hour) - before, hour);
        assert_eq!(clock.aim(raw(101.0) + hour).unwrap().error, None);
        let later = clock.target(raw(1101.0) + hour) - clock.target(raw(101.0) + hour);
        let gained = later - TimeDelta::seconds(1000);
        assert!((gained - TimeDelta::milliseconds(100)).abs() < TimeDelta::microseconds(200));
    }

    #[test]
    fn an_offset_in_any_round_is_an_offset_and_no_rate() {
        for disturbed in 1..=8 {
            for offset in [TimeDelta::milliseconds(30), TimeDelta::minutes(-10)] {
                let mut clock = clock();
                let mut network = TimeDelta::zero();
                for round in 1..=disturbed + 3 {
                    let now = 5.0 * f64::from(round);
                    if round == disturbed {
                        network = offset;
                    }
                    let off = raw(now) + network - clock.target(raw(now));
                    correct(&mut clock, now, off);
                    let ppm = clock.rate().ppm.abs();
                    assert!(
                        ppm < 30.0,
                        "{offset} in round {disturbed}: {ppm} ppm in {round}"
                    );
                }
                let now = raw(5.0 * f64::from(disturbed + 4));
                let off = (clock.target(now) - now - network).abs();
                assert!(
                    off < TimeDelta::microseconds(200),
                    "{offset} in {disturbed}: {off}"
                );
            }
        }
    }

    #[test]
    fn an_oscillator_far_off_is_learned_all_the_same() {
        for ppm in [1000.0, -10_000.0] {
            let steering = Steering {
                largest_rate_ppm: LARGEST_SIMULATED_RATE_PPM,
                ..Steering::default()
            };
            let mut clock = Discipline::new(steering, raw(0.0));
            for round in 1..=12 {
                let now = 5.0 * f64::from(round);
                let network = raw(now) + at_rate(raw(now) - raw(0.0), ppm);
                let off = network - clock.target(raw(now));
                correct(&mut clock, now, off);
            }
            assert!((clock.rate().ppm - ppm).abs() < 5.0, "{:?}", clock.rate());
        }
    }

    #[test]
    fn corrections_from_one_end_of_time_to_the_other_do_not_overflow() {
        let mut clock = clock();
        for round in 1..=4 {
            correct(&mut clock, f64::from(round), TimeDelta::zero());
        }
        let _ = clock.read(raw(4.5));
        let back = TimeDelta::nanoseconds(-9_200_000_000_000_000_000);
        correct(&mut clock, 5.0, back);
        let mark = clock.mark(raw(6.0));
        let _ = clock.correct(mark, by(TimeDelta::days(-20_000)), raw(6.0));
        let _ = clock.read(raw(6.5));
        let _ = clock.aim(raw(6.5));
    }

    #[test]
    fn a_correction_out_of_all_range_changes_nothing() {
        let mut clock = clock();
        let mark = clock.mark(raw(5.0));
        for _ in 0..3 {
            let wild = TimeDelta::nanoseconds(i64::MAX);
            let refused = clock.correct(mark, by(wild), raw(5.0));
            assert_eq!(refused, Err(OutOfRange));
        }
        assert_eq!(clock.target(raw(5.0)), raw(5.0));
    }
}
