//! What is answered: a pure function of the question, what the clock tells, and the options.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use chrono::TimeDelta;

use crate::discipline::told::Told;
use crate::ntp::packet::{Answer, Question};

/// What an NTP server is told at its start.
///
/// There will be more fields: write `..NtpOptions::default()` after those that you set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpOptions {
    /// Where clients ask. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// The stratum that clients are told, one of [`STRATA`]: a source of a lower one is preferred.
    pub stratum: u8,
    /// Clients are told not to take the time while it may be wrong by more: at most
    /// [`LARGEST_MAX_ERROR`].
    pub max_error: TimeDelta,
}

/// The strata that there are. At 1 there are clocks that know the time by themselves; a client of
/// 15 is at 16, which is nobody's.
pub const STRATA: std::ops::RangeInclusive<u8> = 2..=15;

/// No client takes a time that may be wrong by more: `MAXDISP` of RFC 5905.
pub const LARGEST_MAX_ERROR: TimeDelta = TimeDelta::seconds(16);

/// Where NTP is spoken.
pub const NTP_PORT: u16 = 123;

impl Default for NtpOptions {
    /// At port 123 of all addresses; stratum 10, as chronyd's `local` has it; 1 s.
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), NTP_PORT),
            stratum: 10,
            max_error: TimeDelta::seconds(1),
        }
    }
}

/// The stratum of who does not know the time.
pub const UNSYNCHRONIZED: u8 = 16;

/// The stratum of an answer that is a kiss of death: its reference is a command.
const KISS: u8 = 0;

/// Ask less often.
const RATE: [u8; 4] = *b"RATE";

/// What we ask those to wait who ask too often, as a power of 2 s, unless they say that they wait
/// longer.
const PATIENCE: i8 = 6;

/// 2⁻²³ s, 119 ns: as long as it takes to look at the clock.
const PRECISION: i8 = -23;

/// What a question is answered.
#[must_use]
pub fn answer(question: &Question, told: &Told, options: &NtpOptions) -> Answer {
    let error = told.now.error;
    let synchronized = error.is_some_and(|error| error <= options.max_error);
    let (stratum, reference) = if synchronized {
        (options.stratum, reference(told))
    } else {
        (UNSYNCHRONIZED, [0; 4])
    };
    Answer {
        synchronized,
        version: question.version,
        stratum,
        poll: question.poll,
        precision: PRECISION,
        // Our error is a bound as it is. No part of it is the delay of a path that one could name.
        root_delay: TimeDelta::zero(),
        root_dispersion: error.unwrap_or(LARGEST_MAX_ERROR),
        reference,
        corrected: told.corrected,
        origin: question.transmit,
        received: told.received,
        transmitted: told.now.time,
    }
}

/// The answer to one question too many.
#[must_use]
pub fn kiss(question: &Question, told: &Told, options: &NtpOptions) -> Answer {
    Answer {
        synchronized: false,
        stratum: KISS,
        poll: question.poll.max(PATIENCE),
        reference: RATE,
        ..answer(question, told, options)
    }
}

/// What all servers of a group say that they follow: an address that is nobody's, and the same for
/// all of them, so that whoever looks sees that they are one source and not two.
///
/// Clients compare it with their own address, to find a loop. Those from 127.127.0.0 on are no
/// machine's: NTP names clocks by them, and from 127.127.128.0 on no clock either. The last 15 bits
/// tell the group: its first master has drawn them.
fn reference(told: &Told) -> [u8; 4] {
    let [_, _, high, low] = told.series.unwrap_or_default().to_be_bytes();
    [127, 127, 128 | high, low]
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::discipline::told::NetworkTime;

    fn told(error: Option<TimeDelta>) -> Told {
        let at = |nanoseconds: i64| {
            DateTime::from_timestamp_nanos(1_700_000_000_000_000_000 + nanoseconds)
        };
        Told {
            received: at(10),
            now: NetworkTime {
                time: at(30),
                error,
            },
            corrected: Some(at(-5)),
            series: Some(0x1234_0567),
        }
    }

    fn question() -> Question {
        Question {
            version: 3,
            poll: 4,
            transmit: *b"question",
        }
    }

    fn asked(error: Option<TimeDelta>) -> Answer {
        answer(&question(), &told(error), &NtpOptions::default())
    }

    #[test]
    fn a_clock_that_knows_the_time_tells_it_with_its_error() {
        let error = TimeDelta::microseconds(70);
        let told = told(Some(error));
        let answer = asked(Some(error));
        let expected = Answer {
            synchronized: true,
            version: 3,
            stratum: 10,
            poll: 4,
            precision: PRECISION,
            root_delay: TimeDelta::zero(),
            root_dispersion: error,
            reference: [127, 127, 0x85, 0x67],
            corrected: told.corrected,
            origin: *b"question",
            received: told.received,
            transmitted: told.now.time,
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn nobody_takes_the_time_of_a_clock_that_does_not_know_it_or_badly() {
        let limit = NtpOptions::default().max_error;
        assert!(asked(Some(limit)).synchronized);
        let more = limit + TimeDelta::nanoseconds(1);
        for (error, dispersion) in [(None, LARGEST_MAX_ERROR), (Some(more), more)] {
            let answer = asked(error);
            assert_eq!((answer.synchronized, answer.stratum), (false, 16));
            assert_eq!(answer.reference, [0; 4]);
            assert_eq!(answer.root_dispersion, dispersion);
        }
    }

    #[test]
    fn a_kiss_asks_to_wait_and_is_no_time_to_take() {
        let told = told(Some(TimeDelta::zero()));
        for (poll, patience) in [(-6, 6), (10, 10)] {
            let question = Question { poll, ..question() };
            let kiss = kiss(&question, &told, &NtpOptions::default());
            assert_eq!((kiss.synchronized, kiss.stratum), (false, 0));
            assert_eq!((&kiss.reference, kiss.poll), (b"RATE", patience));
            assert_eq!(kiss.origin, question.transmit, "else nobody believes it");
        }
    }
}
