//! A clock over a group's: where the group is to be, as the group above it tells.
//!
//! The master of a group that has another one above it lays a second [`Discipline`] over its
//! group's time. It is the group's clock as the group above sees it: that asks for it, and its
//! corrections move it at once, so that nothing is corrected twice. What it is ahead of the group's
//! own time is handed down with the group's next round, to all clocks alike, and then it is ahead
//! no more. So nothing that is told from above changes how far the group's clocks are from each
//! other, and what a group's clocks tell of their own moves what the group above sees.
//!
//! What the group above was itself moved by from further above is told with its corrections (see
//! [`Correction::shift`](crate::wire::correction::Correction::shift)), and is passed on as it is: if
//! every group of a chain drew its own line through it, each would add to what the one above it has
//! made of it, and the last would swing the most.

use chrono::{DateTime, TimeDelta, Utc};

use crate::discipline::correction::{Discipline, gained};
use crate::span::{nanoseconds, since_epoch};
use crate::wire::correction::FromAbove;

impl Discipline {
    /// Before the group has held a round: its clocks have shown that its own first round is going to
    /// move it by so much. The group above is told where it will be.
    pub fn expect(&mut self, own: TimeDelta) {
        let own = nanoseconds(own);
        self.ahead = self.ahead.saturating_add(own - self.expected);
        self.expected = own;
    }

    /// What there is to hand down when the group's time is `raw`, besides what the group is going
    /// to do by itself.
    #[must_use]
    pub fn to_hand_down(&self, raw: DateTime<Utc>) -> FromAbove {
        let now = since_epoch(raw);
        let ahead = self.target_at(now).saturating_sub(now);
        FromAbove {
            shift: TimeDelta::nanoseconds(ahead.saturating_sub(self.expected)),
            rate_ppm: self.rate_ppm,
            error: TimeDelta::nanoseconds(self.error_at(now).unwrap_or(0)),
        }
    }

    /// The group has followed what was given to it: its time was `before`, and is `after` now, by a
    /// round of its own besides.
    pub fn handed_down(&mut self, given: &FromAbove, before: DateTime<Utc>, after: DateTime<Utc>) {
        let given = FromAbove {
            shift: given.shift + TimeDelta::nanoseconds(self.expected),
            ..*given
        };
        self.expected = 0;
        let at = since_epoch(before);
        let ahead = self.target_at(at).saturating_sub(at);
        let grown = gained(at.saturating_sub(self.since), self.error_growth_ppm);
        self.error = self.error.saturating_add(grown);
        self.since = at;
        self.ahead = ahead.saturating_sub(nanoseconds(given.shift));
        self.rate_ppm -= given.rate_ppm;
        if let Some(line) = self.line {
            let line = self.fit.turn(line, before, -given.rate_ppm);
            self.fit.step(-given.shift);
            self.line = Some(line.stepped(-given.shift));
        }
        self.handed = self.handed.and(&given, before);
        self.raw_moved(after - before);
    }

    /// By how much the raw clock was set, in all.
    #[must_use]
    pub fn set_by(&self) -> TimeDelta {
        self.set_by
    }

    /// The clock that this one is laid over was set by so much, in all. What it is ahead of that one
    /// is known as well as before, but nothing that was measured before holds after it.
    pub fn has_been_set(&mut self, in_all: TimeDelta) {
        let by = in_all - std::mem::replace(&mut self.set_by, in_all);
        if !by.is_zero() {
            self.raw_moved(by);
            self.sets = self.sets.wrapping_add(1);
        }
    }

    /// The raw clock was moved by so much, and this clock with it.
    pub fn raw_moved(&mut self, by: TimeDelta) {
        self.since = self.since.saturating_add(nanoseconds(by));
        self.fit.raw_moved(by);
        self.line = self.line.map(|line| line.raw_moved(by));
        self.handed = self.handed.moved(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discipline::correction::{Applied, Mark};
    use crate::discipline::steering::Steering;
    use crate::wire::correction::Correction;

    fn at(seconds: f64) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(1_700_000_000_000_000_000 + (seconds * 1e9) as i64)
    }

    fn micros(micros: i64) -> TimeDelta {
        TimeDelta::microseconds(micros)
    }

    fn told(clock: &mut Discipline, mark: Mark, offset: i64, now: f64) {
        let correction = Correction {
            offset: micros(offset),
            error: micros(10),
            ..Correction::default()
        };
        clock.correct(mark, correction, at(now)).unwrap();
    }

    /// A clock over a group's, told once that it is 300 µs behind.
    fn told_once() -> Discipline {
        let mut clock = Discipline::new(Steering::default(), at(0.0));
        let mark = clock.mark(at(1.0));
        told(&mut clock, mark, 300, 2.0);
        clock
    }

    #[test]
    fn what_was_handed_down_is_not_handed_down_again() {
        let mut clock = told_once();
        let seen = clock.target(at(3.0));
        let given = clock.to_hand_down(at(3.0));
        assert_eq!(given.shift, micros(300));
        // The group moves by that, and by 40 µs of its own.
        let after = at(3.0) + micros(340);
        clock.handed_down(&given, at(3.0), after);
        assert_eq!(clock.target(after), seen + micros(40));
        assert_eq!(clock.to_hand_down(after).shift, TimeDelta::zero());
    }

    #[test]
    fn a_correction_that_was_measured_before_something_was_handed_down_holds_after_it() {
        let mut clock = told_once();
        let mark = clock.mark(at(2.5));
        let given = clock.to_hand_down(at(3.0));
        clock.handed_down(&given, at(3.0), at(3.0) + micros(300));
        // It was right, so there is nothing to be done.
        told(&mut clock, mark, 0, 3.5);
        let left = clock.to_hand_down(at(3.5)).shift;
        assert!(left.abs() <= micros(1), "{left} again");
    }

    #[test]
    fn a_group_is_ahead_of_its_masters_clock_by_as_much_when_that_is_set_by_hand() {
        let mut clock = told_once();
        // It gains 300 ppm: the hour is not to count as one that has passed.
        let mark = clock.mark(at(3.0));
        told(&mut clock, mark, 300, 3.0);
        let before = clock.to_hand_down(at(4.0)).shift;
        let mark = clock.mark(at(4.0));
        let hour = TimeDelta::hours(1);
        clock.has_been_set(hour);
        assert_eq!(clock.to_hand_down(at(4.0) + hour).shift, before);
        clock.has_been_set(hour);
        assert_eq!(clock.to_hand_down(at(4.0) + hour).shift, before);
        let corrected = clock.correct(mark, Correction::default(), at(4.5) + hour);
        assert_eq!(corrected, Ok(Applied::Outdated));
        clock.raw_moved(-hour);
        assert_eq!(clock.to_hand_down(at(4.0)).shift, before);
    }

    #[test]
    fn a_group_is_where_its_first_round_will_bring_it() {
        let mut clock = Discipline::new(Steering::default(), at(0.0));
        let minute = TimeDelta::minutes(1);
        clock.expect(minute);
        assert_eq!(clock.target(at(1.0)), at(1.0) + minute);
        let mark = clock.mark(at(1.0));
        told(&mut clock, mark, 300, 2.0);
        let given = clock.to_hand_down(at(2.0));
        assert_eq!(
            given.shift,
            micros(300),
            "not what the group does by itself"
        );
        let after = at(2.0) + minute + given.shift;
        clock.handed_down(&given, at(2.0), after);
        assert_eq!(clock.target(after), after);
    }

    #[test]
    fn what_moves_all_is_passed_on_as_it_comes() {
        let mut clock = told_once();
        for round in 1..=20 {
            let now = 2.0 + 5.0 * f64::from(round);
            let mark = clock.mark(at(now));
            told(&mut clock, mark, 0, now);
        }
        let before = clock.to_hand_down(at(102.0)).shift;
        let mark = clock.mark(at(103.0));
        let moved = Correction {
            offset: micros(50),
            shift: micros(50),
            error: micros(10),
            ..Correction::default()
        };
        clock.correct(mark, moved, at(104.0)).unwrap();
        let passed = clock.to_hand_down(at(104.0)).shift - before;
        assert!(
            (passed - micros(50)).abs() <= micros(1),
            "{passed} of 50 µs"
        );
    }
}
