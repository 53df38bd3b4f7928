//! One measurement of another clock: how far it is ahead, and how surely that is known.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

/// The error assumed of a clock that was only heard, not asked: a timestamp tells when it was
/// sent, not how long it travelled. Local networks, and Python's threads, stay well below.
pub const ONE_WAY_ERROR: TimeDelta = TimeDelta::milliseconds(50);

/// Nobody is believed to have held a question for more than this part of the time that it took.
const LARGEST_HELD_PART: i32 = 2;

/// What is known of another clock's distance from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The other clock minus ours: positive when the other clock is ahead.
    pub offset: TimeDelta,
    /// The round trip less the time the peer held the message; unknown when it was only heard.
    pub delay: Option<TimeDelta>,
    /// The true offset lies within `offset` ± `error`. Never negative.
    pub error: TimeDelta,
}

impl Sample {
    /// A clock seen by itself: no offset, no delay, no error.
    pub const OWN: Self = Self {
        offset: TimeDelta::zero(),
        delay: Some(TimeDelta::zero()),
        error: TimeDelta::zero(),
    };

    /// A clock that was heard once: its message is taken to have travelled for no time.
    #[must_use]
    pub fn one_way(offset: TimeDelta) -> Self {
        Self {
            offset,
            delay: None,
            error: ONE_WAY_ERROR,
        }
    }

    /// A clock that was asked, by the four instants of RFC 5905, section 8: our clock when the
    /// question left (`t1`), the other clock when it came (`t2`) and when the answer left (`t3`),
    /// our clock when that came (`t4`).
    ///
    /// The error is half the delay: the truth if the whole of it was on one way (Cristian, 1989). It is
    /// a quarter of what passed here at least: how long the question was held is only the other's
    /// word, and by that nobody is to look better measured than all others.
    ///
    /// # Errors
    /// [`Impossible`] when either clock ran backwards, or when the peer says that it held the
    /// question longer than the answer took.
    pub fn round_trip(
        t1: DateTime<Utc>,
        t2: DateTime<Utc>,
        t3: DateTime<Utc>,
        t4: DateTime<Utc>,
    ) -> Result<Self, Impossible> {
        let held = t3 - t2;
        let delay = (t4 - t1) - held;
        if held < TimeDelta::zero() || delay < TimeDelta::zero() {
            return Err(Impossible { held, delay });
        }
        Ok(Self {
            // Halves of each way first: the sum of two ways of 292 years would overflow.
            offset: (t2 - t1) / 2 + (t3 - t4) / 2,
            delay: Some(delay),
            error: delay.max((t4 - t1) / LARGEST_HELD_PART) / 2,
        })
    }
}

/// Four instants that no two clocks can have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impossible {
    /// How long the peer says it held the question.
    pub held: TimeDelta,
    /// What is left for the network.
    pub delay: TimeDelta,
}

impl fmt::Display for Impossible {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "impossible times: held for {}, which leaves {} for the network",
            crate::span::signed(self.held),
            crate::span::signed(self.delay)
        )
    }
}

impl std::error::Error for Impossible {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(micros).unwrap()
    }

    #[test]
    fn offset_delay_and_error_of_a_round_trip() {
        // 100 µs out, held for 40, 300 µs back; the other clock is 1000 µs ahead.
        let sample = Sample::round_trip(at(0), at(1100), at(1140), at(440)).unwrap();
        assert_eq!(sample.offset, TimeDelta::microseconds(900));
        assert_eq!(sample.delay, Some(TimeDelta::microseconds(400)));
        assert_eq!(sample.error, TimeDelta::microseconds(200));
    }

    #[test]
    fn who_claims_to_have_held_a_question_for_all_the_time_is_not_known_perfectly() {
        let sample = Sample::round_trip(at(0), at(90), at(490), at(400)).unwrap();
        assert_eq!(sample.delay, Some(TimeDelta::zero()));
        assert_eq!(sample.error, TimeDelta::microseconds(100));
    }

    #[test]
    fn a_clock_behind_has_a_negative_offset() {
        let sample = Sample::round_trip(at(0), at(-900), at(-900), at(200)).unwrap();
        assert_eq!(sample.offset, TimeDelta::microseconds(-1000));
    }

    #[test]
    fn instants_that_cannot_be_are_refused() {
        assert!(Sample::round_trip(at(0), at(100), at(99), at(200)).is_err());
        assert!(Sample::round_trip(at(0), at(0), at(300), at(200)).is_err());
        assert!(Sample::round_trip(at(200), at(0), at(0), at(100)).is_err());
    }

    #[test]
    fn the_widest_instants_do_not_overflow() {
        let (low, high) = (
            DateTime::from_timestamp_nanos(i64::MIN),
            DateTime::from_timestamp_nanos(i64::MAX),
        );
        let sample = Sample::round_trip(low, high, high, low).unwrap();
        assert!(sample.offset > TimeDelta::days(365 * 584));
    }
}
