//! The timestamp wire: what the Python programs `server.py` and `client.py` send each other.
//!
//! A message is the local time as Python's `str(datetime)` writes it, in ASCII, with nothing
//! around it: `2024-01-02 03:04:05.678901`. Python leaves out a fraction of zero, so a message
//! has [`LENGTH`] or [`SHORT_LENGTH`] characters. One newline may follow. Nothing else separates
//! two messages, and TCP may split or join them anywhere, hence the [`Decoder`].

use std::fmt;
use std::time::Duration;

use chrono::{
    DateTime, Datelike, Local, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Timelike, Utc,
};

/// Characters of a timestamp with its fraction. What [`format()`] writes always has this many.
pub const LENGTH: usize = 26;

/// Characters of a timestamp that Python wrote at a whole second.
pub const SHORT_LENGTH: usize = 19;

/// How long a receiver waits for a fraction after [`SHORT_LENGTH`] characters before it takes
/// the timestamp as complete.
pub const FRACTION_WAIT: Duration = Duration::from_millis(50);

/// What stands at each position: `d` is any digit, everything else is itself.
const PATTERN: &[u8; LENGTH] = b"dddd-dd-dd dd:dd:dd.dddddd";

/// The local time that a machine in this time zone shows at `time`.
#[must_use]
pub fn local(time: DateTime<Utc>) -> NaiveDateTime {
    time.with_timezone(&Local).naive_local()
}

/// The moment at which a machine in this time zone shows `time`: of two such moments, when clocks
/// are set back, the nearer to `near`. A time that is never shown, because clocks are set forward
/// over it, is taken by its distance from the local time of `near`.
#[must_use]
pub fn moment(time: NaiveDateTime, near: DateTime<Utc>) -> DateTime<Utc> {
    match Local
        .from_local_datetime(&time)
        .map(|moment| moment.to_utc())
    {
        LocalResult::Single(moment) => moment,
        LocalResult::Ambiguous(one, other) => {
            if (one - near).abs() <= (other - near).abs() {
                one
            } else {
                other
            }
        }
        LocalResult::None => near + (time - local(near)),
    }
}

/// Writes `time` as a timestamp of [`LENGTH`] characters, cut off at the microsecond.
///
/// Years outside 1 to 9999 have no timestamp; they are written as the nearest one that has.
#[must_use]
pub fn format(time: NaiveDateTime) -> String {
    let year = time.year().clamp(1, 9999);
    // A leap second is a fraction beyond one second to chrono; Python has no name for it.
    let micros = (time.nanosecond() / 1000).min(999_999);
    format!(
        "{year:04}-{:02}-{:02} {:02}:{:02}:{:02}.{micros:06}",
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    )
}

/// Reads one whole timestamp of 26 or 19 characters, with nothing around it.
///
/// Every position is checked before the calendar is asked: chrono's own parser would take one
/// digit for two, a tab for a space, and a sign before the year.
///
/// # Errors
/// [`NotATimestamp`] says which position, or which date, is wrong.
pub fn parse(text: &[u8]) -> Result<NaiveDateTime, NotATimestamp> {
    for (position, &byte) in text.iter().enumerate() {
        check(position, byte)?;
    }
    if text.len() != LENGTH && text.len() != SHORT_LENGTH {
        return Err(NotATimestamp::Length(text.len()));
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .fold(0, |value: u32, digit| value * 10 + u32::from(digit - b'0'))
    };
    let micros = if text.len() == LENGTH {
        number(20, 26)
    } else {
        0
    };
    // Python's calendar begins with year 1; four digits always fit an i32.
    let year = number(0, 4);
    NaiveDate::from_ymd_opt(year.cast_signed(), number(5, 7), number(8, 10))
        .filter(|_| year >= 1)
        .and_then(|date| {
            date.and_hms_micro_opt(number(11, 13), number(14, 16), number(17, 19), micros)
        })
        .ok_or_else(|| NotATimestamp::NoSuchTime(String::from_utf8_lossy(text).into_owned()))
}

fn check(position: usize, byte: u8) -> Result<(), NotATimestamp> {
    let fits = match PATTERN.get(position) {
        Some(b'd') => byte.is_ascii_digit(),
        Some(&mark) => byte == mark,
        None => false,
    };
    if fits {
        Ok(())
    } else {
        Err(NotATimestamp::Byte { position, byte })
    }
}

/// Why some bytes are not a timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotATimestamp {
    /// The wrong character stands at a position counted from 0.
    Byte {
        /// Position within the message, from 0.
        position: usize,
        /// What stands there.
        byte: u8,
    },
    /// Right as far as it goes, but neither 26 nor 19 characters long.
    Length(usize),
    /// Of the right form, but no such date or time exists.
    NoSuchTime(String),
}

impl fmt::Display for NotATimestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte { position, byte } => write!(
                out,
                "not a timestamp (YYYY-MM-DD HH:MM:SS.ffffff): byte {byte:#04x} at position {position}"
            ),
            Self::Length(length) => write!(
                out,
                "not a timestamp: {length} characters, where {LENGTH} or {SHORT_LENGTH} belong"
            ),
            Self::NoSuchTime(text) => write!(out, "not a timestamp: there is no time {text}"),
        }
    }
}

impl std::error::Error for NotATimestamp {}

/// A timestamp out of a stream, with the stamp of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<Stamp> {
    /// The time that the message names.
    pub time: NaiveDateTime,
    /// What [`Decoder::push`] was given with the message's first byte: its moment of arrival.
    pub stamp: Stamp,
}

/// Takes a stream of timestamps apart, one byte at a time, however the network cut it.
///
/// It holds one message at most, so no stream can make it grow.
///
/// ```
/// # use berkeley::timestamp::{Decoder, local, format};
/// let mut decoder = Decoder::new();
/// let mut times = Vec::new();
/// for &byte in b"2024-01-02 03:04:05.5000002024-01-02 03:04:06\n" {
///     if let Some(received) = decoder.push(byte, ()).unwrap() {
///         times.push(format(received.time));
///     }
/// }
/// assert_eq!(times, ["2024-01-02 03:04:05.500000", "2024-01-02 03:04:06.000000"]);
/// assert!(decoder.newline_seen());
/// ```
#[derive(Debug)]
pub struct Decoder<Stamp> {
    text: [u8; LENGTH],
    length: usize,
    began: Option<Stamp>,
    newline_may_follow: bool,
    newline_seen: bool,
}

impl<Stamp> Default for Decoder<Stamp> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Stamp> Decoder<Stamp> {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            text: [0; LENGTH],
            length: 0,
            began: None,
            newline_may_follow: false,
            newline_seen: false,
        }
    }

    /// Takes the next byte and, if that completes a timestamp, returns it.
    ///
    /// `stamp` is any note of the moment this byte came; a timestamp is returned with the stamp
    /// of its first byte. A timestamp of 19 characters is complete only when the byte after it is
    /// known, see [`Decoder::flush`].
    ///
    /// # Errors
    /// [`NotATimestamp`] at the first byte that cannot belong to one. The stream has lost its
    /// boundaries then and the decoder is of no more use.
    pub fn push(
        &mut self,
        byte: u8,
        stamp: Stamp,
    ) -> Result<Option<Received<Stamp>>, NotATimestamp> {
        if self.length == 0 && byte == b'\n' && self.newline_may_follow {
            self.newline_may_follow = false;
            self.newline_seen = true;
            return Ok(None);
        }
        let short = if self.length == SHORT_LENGTH && byte != b'.' {
            let short = self.complete()?;
            if byte == b'\n' {
                return self.push(byte, stamp).map(|_| short);
            }
            short
        } else {
            None
        };
        check(self.length, byte)?;
        if self.length == 0 {
            self.began = Some(stamp);
        }
        self.text[self.length] = byte;
        self.length += 1;
        if self.length == LENGTH {
            return self.complete();
        }
        Ok(short)
    }

    /// Completes a timestamp of 19 characters after which nothing came for [`FRACTION_WAIT`].
    ///
    /// # Errors
    /// [`NotATimestamp::NoSuchTime`] when its date or time does not exist.
    pub fn flush(&mut self) -> Result<Option<Received<Stamp>>, NotATimestamp> {
        if self.may_be_complete() {
            self.complete()
        } else {
            Ok(None)
        }
    }

    /// Whether 19 characters have come, so that the next byte, or its absence, decides.
    #[must_use]
    pub fn may_be_complete(&self) -> bool {
        self.length == SHORT_LENGTH
    }

    /// The stamp of the first byte of a message that is not complete yet.
    #[must_use]
    pub fn began(&self) -> Option<&Stamp> {
        self.began.as_ref()
    }

    /// Whether a newline has followed any timestamp of this stream, as it does only when the
    /// peer is a follower that would rather speak the line protocol.
    #[must_use]
    pub fn newline_seen(&self) -> bool {
        self.newline_seen
    }

    fn complete(&mut self) -> Result<Option<Received<Stamp>>, NotATimestamp> {
        let time = parse(&self.text[..self.length])?;
        self.length = 0;
        self.newline_may_follow = true;
        Ok(self.began.take().map(|stamp| Received { time, stamp }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> Result<Vec<NaiveDateTime>, NotATimestamp> {
        let mut decoder = Decoder::new();
        let mut times = Vec::new();
        for &byte in pieces.iter().copied().flatten() {
            times.extend(decoder.push(byte, ())?.map(|received| received.time));
        }
        times.extend(decoder.flush()?.map(|received| received.time));
        Ok(times)
    }

    #[test]
    fn writes_what_python_writes() {
        let time = parse(b"2024-01-02 03:04:05").unwrap();
        assert_eq!(format(time), "2024-01-02 03:04:05.000000");
        let time = parse(b"0001-12-31 23:59:59.000001").unwrap();
        assert_eq!(format(time), "0001-12-31 23:59:59.000001");
    }

    #[test]
    fn years_without_a_timestamp_are_written_with_26_characters_all_the_same() {
        for year in [-5, 0, 10_000, 262_000] {
            let time = NaiveDate::from_ymd_opt(year, 3, 1)
                .unwrap()
                .and_hms_opt(1, 2, 3)
                .unwrap();
            assert_eq!(format(time).len(), LENGTH);
            parse(format(time).as_bytes()).unwrap();
        }
    }

    #[test]
    fn refuses_what_only_looks_like_a_timestamp() {
        for text in [
            "",
            "2024-1-02 03:04:05.678901",
            "2024-01-02\t03:04:05.678901",
            "2024-01-02 03:04:60.500000",
            "2024-01-02 24:00:00.000000",
            "2024-02-30 03:04:05.678901",
            "2023-02-29 03:04:05",
            "0000-01-01 00:00:00.000000",
            "-024-01-02 03:04:05.678901",
            "+024-01-02 03:04:05.678901",
            "2024-01-02 03:04:05.67890",
            "2024-01-02 03:04:05.6789012",
            "2024-01-02 03:04:05.",
            "2024-01-02T03:04:05.678901",
            " 2024-01-02 03:04:05.67890",
            "2024-01-02 03:04:05.678901\n",
            "2024-01-02 03:04:05,678901",
            "٢٠٢٤-01-02 03:04",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_short_timestamp_is_complete_when_something_else_than_a_fraction_follows() {
        let short = parse(b"2024-01-02 03:04:05").unwrap();
        let long = parse(b"2024-01-02 03:04:05.678901").unwrap();
        assert_eq!(
            decode(&[b"2024-01-02 03:04:052024-01-02 03:04:05.678901\n2024-01-02 03:04:05"]),
            Ok(vec![short, long, short])
        );
        assert_eq!(
            decode(&[b"2024-01-02 03:04:05\n2024-01-02 03:04:05\n"]),
            Ok(vec![short, short])
        );
    }

    #[test]
    fn one_newline_after_a_timestamp_and_no_other() {
        for stream in [
            &b"\n2024-01-02 03:04:05.678901"[..],
            b"2024-01-02 03:04:05.678901\n\n",
            b"2024-01-02 03:04:05\n\n",
            b"2024-01-02\n",
            b"2024-01-02 03:04:05.678901\r\n",
        ] {
            assert!(decode(&[stream]).is_err(), "{stream:?}");
        }
    }

    #[test]
    fn a_timestamp_bears_the_stamp_of_its_first_byte() {
        let mut decoder = Decoder::new();
        let stream = b"2024-01-02 03:04:052024-01-02 03:04:05.678901";
        let mut stamps = Vec::new();
        for (at, &byte) in stream.iter().enumerate() {
            stamps.extend(
                decoder
                    .push(byte, at)
                    .unwrap()
                    .map(|received| received.stamp),
            );
        }
        assert_eq!(stamps, [0, SHORT_LENGTH]);
    }

    #[test]
    fn the_error_names_the_position_and_the_byte() {
        let error = parse(b"GET / HTTP/1.1").unwrap_err().to_string();
        assert!(error.contains("byte 0x47 at position 0"), "{error}");
    }

    prop_compose! {
        fn any_time()(
            seconds in -62_135_596_800_i64..253_402_300_800,
            micros in prop_oneof![Just(0_u32), 0..1_000_000_u32],
        ) -> NaiveDateTime {
            DateTime::from_timestamp(seconds, micros * 1000).unwrap().naive_utc()
        }
    }

    /// How a sender may write one time: as we do, or as Python does, with or without a newline.
    fn written() -> impl Strategy<Value = (NaiveDateTime, Vec<u8>)> {
        (any_time(), any::<bool>(), any::<bool>()).prop_map(|(time, as_python, newline)| {
            let mut text = format(time);
            if as_python && text.ends_with(".000000") {
                text.truncate(SHORT_LENGTH);
            }
            if newline {
                text.push('\n');
            }
            (time, text.into_bytes())
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(time in any_time()) {
            prop_assert_eq!(parse(format(time).as_bytes()), Ok(time));
        }

        #[test]
        fn no_bytes_panic(stream in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&stream);
            let _ = decode(&[&stream]);
        }

        #[test]
        fn no_near_miss_panics(stream in "[0-9][0-9.: \n-]{18,60}") {
            let _ = decode(&[stream.as_bytes()]);
        }

        #[test]
        fn any_cut_of_a_stream_yields_the_same_times(
            messages in prop::collection::vec(written(), 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let (times, texts): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
            let stream = texts.concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect();
            prop_assert_eq!(decode(&pieces), Ok(times));
        }
    }
}
