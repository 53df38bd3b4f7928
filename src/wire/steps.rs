//! The steps of a whole group: what an operator has told its time to move by.
//!
//! Every poll that is the first on its connection, or the first after a step, tells the sum of all
//! steps. A clock remembers the sum that it has taken and adds what is missing, so it takes each
//! step once, whether it was there or comes back later.

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;

use crate::span::nanoseconds;

/// The largest step, and the largest sum of steps: 100 years.
pub const LARGEST_STEP: TimeDelta = TimeDelta::days(36_525);

/// All steps that a group has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Which group it is: a number that its first master has drawn. Sums of different series have
    /// nothing to do with each other.
    pub series: u32,
    /// How many steps were made.
    pub number: u32,
    /// The sum of them. Positive: the group's time was set forward.
    pub total: TimeDelta,
}

impl Steps {
    /// No step yet, in a series of this number.
    #[must_use]
    pub const fn none(series: u32) -> Self {
        Self {
            series,
            number: 0,
            total: TimeDelta::zero(),
        }
    }

    /// With one more step. `None` if it, or the sum, would be more than [`LARGEST_STEP`].
    #[must_use]
    pub fn and(self, by: TimeDelta) -> Option<Self> {
        let total = self.total.checked_add(&by)?;
        (by.abs() <= LARGEST_STEP && total.abs() <= LARGEST_STEP).then_some(Self {
            number: self.number.checked_add(1)?,
            total,
            ..self
        })
    }

    /// What a clock must add that has taken `taken`: nothing, if that was in another series.
    #[must_use]
    pub fn missing(self, taken: Option<Self>) -> TimeDelta {
        match taken {
            Some(taken) if taken.series == self.series => self.total - taken.total,
            _ => TimeDelta::zero(),
        }
    }

    /// Whether these are the steps that were known, and more.
    #[must_use]
    pub fn continue_from(self, known: Self) -> bool {
        self.series == known.series && self.number > known.number
    }
}

impl fmt::Display for Steps {
    /// As in a line: `series,number,nanoseconds`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = nanoseconds(self.total);
        write!(out, "{},{},{total}", self.series, self.number)
    }
}

/// What is no [`Steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not SERIES,NUMBER,NANOSECONDS")]
pub struct NotSteps;

impl FromStr for Steps {
    type Err = NotSteps;

    fn from_str(text: &str) -> Result<Self, NotSteps> {
        fn number<T: FromStr>(part: Option<&str>) -> Result<T, NotSteps> {
            part.and_then(|part| part.parse().ok()).ok_or(NotSteps)
        }
        let mut parts = text.splitn(3, ',');
        let steps = Self {
            series: number(parts.next())?,
            number: number(parts.next())?,
            total: TimeDelta::nanoseconds(number(parts.next())?),
        };
        if steps.total.abs() <= LARGEST_STEP {
            Ok(steps)
        } else {
            Err(NotSteps)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_adds_what_it_has_missed_and_nothing_twice() {
        let begin = Steps::none(7);
        let first = begin.and(TimeDelta::seconds(90)).unwrap();
        let second = first.and(TimeDelta::seconds(-30)).unwrap();
        assert_eq!(second.missing(Some(second)), TimeDelta::zero());
        assert_eq!(second.missing(Some(first)), TimeDelta::seconds(-30));
        assert_eq!(second.missing(Some(begin)), TimeDelta::seconds(60));
        assert_eq!(second.missing(None), TimeDelta::zero(), "it has just come");
        let other = Steps::none(8);
        assert_eq!(second.missing(Some(other)), TimeDelta::zero());
        assert!(second.continue_from(first) && !first.continue_from(second));
        assert!(!second.continue_from(other));
    }

    #[test]
    fn no_step_is_larger_than_a_century() {
        let begin = Steps::none(7);
        assert_eq!(begin.and(LARGEST_STEP + TimeDelta::nanoseconds(1)), None);
        let most = begin.and(LARGEST_STEP).unwrap();
        assert_eq!(most.and(TimeDelta::nanoseconds(1)), None, "the sum");
        assert_eq!(most.to_string().parse(), Ok(most));
        let last = Steps {
            number: u32::MAX,
            ..begin
        };
        assert_eq!(last.and(TimeDelta::seconds(1)), None, "no number is left");
    }

    #[test]
    fn what_is_written_reads_back() {
        let steps = Steps::none(u32::MAX).and(TimeDelta::nanoseconds(-5));
        assert_eq!("4294967295,1,-5".parse(), Ok(steps.unwrap()));
        for wrong in [
            "",
            "1",
            "1,2",
            "1,2,x",
            "1,2,3,4",
            "-1,2,3",
            "1,2,3155760000000000001",
        ] {
            assert_eq!(wrong.parse::<Steps>(), Err(NotSteps), "{wrong:?}");
        }
    }
}
