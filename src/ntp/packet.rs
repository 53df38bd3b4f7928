//! NTP's packets, as a server reads and writes them: RFC 5905, sections 6 and 7.3, and RFC 7822 on
//! what may follow a header.

use chrono::{DateTime, TimeDelta, Utc};

use crate::span::exact_nanoseconds;

/// A header; and an answer, which is nothing else.
pub const HEADER: usize = 48;

/// No question is longer, whatever follows its header.
pub const LONGEST_QUESTION: usize = 1024;

/// From 1900-01-01, where NTP's seconds begin, to 1970-01-01.
const UNIX_EPOCH: i64 = 2_208_988_800;

/// A client asks.
const CLIENT: u8 = 3;

/// A server answers.
const SERVER: u8 = 4;

/// An extension field is no shorter.
const SHORTEST_FIELD: usize = 16;

/// Nor is the last one, where no code follows that proves who has asked: what is shorter is such a
/// code (RFC 7822, section 7.5).
const SHORTEST_LAST_FIELD: usize = 28;

/// What a client has asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The version that it speaks: 3 or 4. It is answered in the same.
    pub version: u8,
    /// How long it waits from one question to the next, as a power of 2 s.
    pub poll: i8,
    /// The moment at which it says that it has sent this; the answer carries it back as it is.
    pub transmit: [u8; 8],
}

impl Question {
    /// What these bytes ask. `None` of what is no question: of another mode or version, too short,
    /// too long, with extension fields that don't add up, or with a code that we have no key for.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let (mode, version) = (header[0] & 7, header[0] >> 3 & 7);
        let sound = match version {
            3 => rest.is_empty(),
            4 => bytes.len() <= LONGEST_QUESTION && are_fields(rest),
            _ => false,
        };
        (mode == CLIENT && sound).then_some(Self {
            version,
            poll: header[2].cast_signed(),
            transmit: *header.last_chunk()?,
        })
    }
}

/// Whether these are extension fields, one after the other, and nothing else. What they say is no
/// matter of ours.
fn are_fields(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        if rest.len() < SHORTEST_LAST_FIELD {
            return false;
        }
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length < SHORTEST_FIELD || length % 4 != 0 || length > rest.len() {
            return false;
        }
        rest = &rest[length..];
    }
    true
}

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether the time may be taken: else the leap indicator is 3, *not synchronized*.
    pub synchronized: bool,
    /// As asked.
    pub version: u8,
    /// How many servers it is to a reference clock: 16 where there is none, 0 in a kiss.
    pub stratum: u8,
    /// How long to wait until the next question, as a power of 2 s.
    pub poll: i8,
    /// How exactly times are told, as a power of 2 s.
    pub precision: i8,
    /// Half of it, with the dispersion, is how wrong the time may be.
    pub root_delay: TimeDelta,
    /// How wrong the time may be, beside half the delay.
    pub root_dispersion: TimeDelta,
    /// What the server follows.
    pub reference: [u8; 4],
    /// When its clock was corrected last, if ever.
    pub corrected: Option<DateTime<Utc>>,
    /// The question's own moment.
    pub origin: [u8; 8],
    /// When the question came.
    pub received: DateTime<Utc>,
    /// When the answer leaves.
    pub transmitted: DateTime<Utc>,
}

impl Answer {
    /// As it is sent.
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER] {
        let leap = if self.synchronized { 0 } else { 3 };
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, &[leap << 6 | self.version << 3 | SERVER, self.stratum]);
        put(2, &self.poll.to_be_bytes());
        put(3, &self.precision.to_be_bytes());
        put(4, &short(self.root_delay));
        put(8, &short(self.root_dispersion));
        put(12, &self.reference);
        put(16, &self.corrected.map_or([0; 8], timestamp));
        put(24, &self.origin);
        put(32, &timestamp(self.received));
        put(40, &timestamp(self.transmitted));
        bytes
    }
}

/// A moment as seconds since 1900, 32 bits of them and as many of their fraction. The seconds begin
/// anew in 2036 and every 136 years: a client knows the era.
fn timestamp(at: DateTime<Utc>) -> [u8; 8] {
    let seconds = (at.timestamp() + UNIX_EPOCH) as u32;
    let fraction = (u64::from(at.timestamp_subsec_nanos()) << 32) / 1_000_000_000;
    (u64::from(seconds) << 32 | fraction).to_be_bytes()
}

/// A span in units of 2⁻¹⁶ s, rounded up: an error must not become smaller on the wire. The longest
/// is 18 hours.
fn short(span: TimeDelta) -> [u8; 4] {
    let nanoseconds = exact_nanoseconds(span).max(0);
    let units = ((nanoseconds << 16) + 999_999_999) / 1_000_000_000;
    u32::try_from(units).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A question with these bytes behind its header.
    fn question(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[0] = first;
        bytes[2] = 0xfd;
        bytes[40..].copy_from_slice(b"transmit");
        bytes.extend(rest);
        bytes
    }

    fn field(length: u16, given: usize) -> Vec<u8> {
        let mut field = vec![0; given];
        field[2..4].copy_from_slice(&length.to_be_bytes());
        field
    }

    const VERSION_3: u8 = 0o033;
    const VERSION_4: u8 = 0o043;

    #[test]
    fn a_client_is_understood_in_both_versions() {
        for (first, version) in [(VERSION_3, 3), (VERSION_4, 4), (0o343, 4)] {
            let asked = Question {
                version,
                poll: -3,
                transmit: *b"transmit",
            };
            assert_eq!(Question::parse(&question(first, &[])), Some(asked));
        }
    }

    #[test]
    fn other_modes_and_versions_are_not_for_us() {
        for first in 0..=u8::MAX {
            let asked = Question::parse(&question(first, &[])).is_some();
            let ours = first & 7 == CLIENT && matches!(first >> 3 & 7, 3 | 4);
            assert_eq!(asked, ours, "{first:#o}");
        }
    }

    #[test]
    fn extension_fields_have_to_add_up() {
        let asks = |rest: &[u8]| Question::parse(&question(VERSION_4, rest)).is_some();
        assert!(asks(&field(28, 28)));
        assert!(asks(&[field(16, 16), field(400, 400)].concat()));
        for rest in [
            // Codes of keys: of none, of MD5, of SHA-1; and one behind a field.
            vec![0; 4],
            vec![0; 20],
            vec![0; 24],
            [field(28, 28), vec![0; 20]].concat(),
            // Longer than there is, shorter than any, not in words of 32 bits, of no length.
            field(32, 28),
            [field(12, 12), field(28, 28)].concat(),
            field(30, 30),
            field(0, 28),
            // A byte too many, and too many of them.
            [field(28, 28), vec![0; 1]].concat(),
            field(980, 980),
        ] {
            assert!(!asks(&rest), "{} bytes", rest.len());
        }
        let longest = LONGEST_QUESTION - HEADER;
        assert!(asks(&field(longest as u16, longest)));
        assert!(Question::parse(&question(VERSION_3, &field(28, 28))).is_none());
        assert!(Question::parse(&question(VERSION_4, &[])[..HEADER - 1]).is_none());
        assert!(Question::parse(&[]).is_none());
    }

    #[test]
    fn an_answer_has_its_fields_where_they_belong() {
        let at = |seconds, nanoseconds| DateTime::from_timestamp(seconds, nanoseconds).unwrap();
        let answer = Answer {
            synchronized: true,
            version: 4,
            stratum: 10,
            poll: 6,
            precision: -23,
            root_delay: TimeDelta::seconds(1),
            root_dispersion: TimeDelta::nanoseconds(15_259),
            reference: [127, 127, 200, 7],
            corrected: None,
            origin: *b"transmit",
            // The last second of the first era, and the first of the next.
            received: at(0xffff_ffff - UNIX_EPOCH, 500_000_000),
            transmitted: at(0x1_0000_0000 - UNIX_EPOCH, 1),
        };
        let expected: [&[u8]; 8] = [
            &[0o044, 10, 6, 0xe9],
            &[0, 1, 0, 0, 0, 0, 0, 2],
            &[127, 127, 200, 7],
            &[0; 8],
            b"transmit",
            &[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 4],
            &[],
        ];
        assert_eq!(answer.bytes().as_slice(), expected.concat());
        let unknown = Answer {
            synchronized: false,
            stratum: 16,
            ..answer
        };
        assert_eq!(unknown.bytes()[..2], [0o344, 16]);
    }

    #[test]
    fn no_error_becomes_smaller_on_the_wire() {
        for (nanoseconds, units) in [
            (0, 0),
            (1, 1),
            (15_258, 1),
            (15_259, 2),
            (1_000_000_000, 1 << 16),
            (i64::MAX, u32::MAX),
            (-5, 0),
        ] {
            let told = u32::from_be_bytes(short(TimeDelta::nanoseconds(nanoseconds)));
            assert_eq!(told, units, "{nanoseconds} ns");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50_000))]

        #[test]
        fn whatever_comes_is_a_question_or_none(
            first in prop_oneof![Just(VERSION_3), Just(VERSION_4), any::<u8>()],
            header in prop::collection::vec(any::<u8>(), 0..HEADER),
            lengths in prop::collection::vec((0u16..80, 0usize..80), 0..6),
            rest in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut bytes = vec![first];
            bytes.extend(header);
            for (length, given) in lengths {
                bytes.extend(field(length, given.max(4)));
            }
            bytes.extend(rest);
            if let Some(question) = Question::parse(&bytes) {
                prop_assert!(bytes.len() >= HEADER, "an answer would be longer");
                prop_assert_eq!(&question.transmit, &bytes[40..48]);
            }
        }
    }
}
