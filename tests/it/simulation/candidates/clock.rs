//! A node's clock, and what must be true of it at any time.

use berkeley::internals::discipline::correction::{Applied, Discipline, Mark};
use berkeley::internals::discipline::steering::Steering;
use berkeley::internals::discipline::told::NetworkTime;
use berkeley::internals::wire::candidate::Term;
use berkeley::internals::wire::correction::Correction;
use berkeley::internals::wire::steps::Steps;
use chrono::{DateTime, TimeDelta, Utc};

use super::world::SECOND;

/// When the simulations begin, by a clock that is right: 2026-01-01.
const EPOCH: i64 = 1_767_225_600 * SECOND;

/// A reading this close to its target has caught up with it.
const CAUGHT_UP: TimeDelta = TimeDelta::microseconds(100);

pub struct Clock {
    /// What the raw clock shows when the simulation begins.
    begins: i64,
    pub drift_ppm: f64,
    pub discipline: Discipline,
    /// The latest reading seen; the next one is not to be earlier.
    seen: DateTime<Utc>,
    /// How wrong that may be, as the clock itself says.
    pub admits: TimeDelta,
    /// How often, by whom, and when it was corrected last since its node started.
    pub corrections: u32,
    pub term: Term,
    pub corrected_at: i64,
    /// By how much all corrections together moved the target.
    pub moved: TimeDelta,
    /// By how much all steps of its group together did.
    pub stepped: TimeDelta,
    /// Those that it agrees with, see [`super::observer`].
    pub cohort: Option<u32>,
    /// How many corrections it had from measurements that were not delayed, without a break.
    pub sure: u32,
    /// Whether the reading has reached the target since the clock came to its cohort.
    pub caught_up: bool,
}

impl Clock {
    pub fn new(offset: i64, drift_ppm: f64) -> Self {
        let raw = raw(EPOCH + offset, drift_ppm, 0);
        Self {
            begins: EPOCH + offset,
            drift_ppm,
            discipline: Discipline::new(Steering::default(), raw),
            seen: raw,
            admits: TimeDelta::MAX,
            corrections: 0,
            term: 0,
            corrected_at: 0,
            moved: TimeDelta::zero(),
            stepped: TimeDelta::zero(),
            cohort: None,
            sure: 0,
            caught_up: false,
        }
    }

    /// Its node has started anew and knows its raw clock only, which was set meanwhile.
    pub fn restart(&mut self, now: i64, offset: i64) {
        let begins = self.begins + offset;
        let raw = raw(begins, self.drift_ppm, now);
        *self = Self {
            begins,
            discipline: Discipline::new(Steering::default(), raw),
            seen: raw,
            ..Self::new(0, self.drift_ppm)
        };
    }

    pub fn raw(&self, now: i64) -> DateTime<Utc> {
        raw(self.begins, self.drift_ppm, now)
    }

    pub fn mark(&self, now: i64) -> Mark {
        self.discipline.mark(self.raw(now))
    }

    pub fn target(&self, now: i64) -> DateTime<Utc> {
        self.discipline.target(self.raw(now))
    }

    /// What an application sees now; or by how much it ran backwards.
    pub fn read(&mut self, now: i64) -> Result<DateTime<Utc>, TimeDelta> {
        let raw = self.raw(now);
        let NetworkTime {
            time: reading,
            error,
        } = self.discipline.read(raw);
        self.admits = error.unwrap_or(TimeDelta::MAX);
        if reading < self.seen {
            return Err(self.seen - reading);
        }
        self.seen = reading;
        if !self.caught_up {
            self.caught_up = (reading - self.discipline.target(raw)).abs() < CAUGHT_UP;
        }
        Ok(reading)
    }

    /// Makes those of the group's steps that it has not made. By how much it moved.
    pub fn take_steps(&mut self, steps: Steps, now: i64) -> TimeDelta {
        let raw = self.raw(now);
        let made = self.discipline.take_steps(steps, raw);
        let by = made.expect("the years of these clocks are near");
        self.stepped += by;
        self.seen += by;
        by
    }

    /// Follows a correction, and how that went.
    pub fn correct(&mut self, mark: Mark, correction: Correction, now: i64) -> Applied {
        let raw = self.raw(now);
        let before = self.discipline.target(raw);
        let made = self
            .discipline
            .correct(mark, correction, raw)
            .expect("the years of these clocks are near");
        self.moved += self.discipline.target(raw) - before;
        if made == Applied::Stepped {
            self.seen = self.discipline.target(raw);
        }
        self.admits = TimeDelta::MAX;
        self.corrections += 1;
        self.corrected_at = now;
        made
    }
}

fn raw(begins: i64, drift_ppm: f64, now: i64) -> DateTime<Utc> {
    let gained = (now as f64 * drift_ppm * 1e-6) as i64;
    DateTime::from_timestamp_nanos(begins + now + gained)
}
