//! Spans of time as people write and read them.

use std::time::Duration;

use chrono::TimeDelta;

/// Units from the largest, with the nanoseconds in each.
const UNITS: [(&str, i128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("µs", 1_000),
    ("ns", 1),
];

/// A span with its sign in the largest unit that it fills: `+16.000 min`, `-12.345 µs`, `0 ns`.
#[must_use]
pub fn signed(span: TimeDelta) -> String {
    let sign = match span.cmp(&TimeDelta::zero()) {
        std::cmp::Ordering::Less => "-",
        std::cmp::Ordering::Equal => "",
        std::cmp::Ordering::Greater => "+",
    };
    format!("{sign}{}", self::span(span))
}

/// The length of a span, without its sign: `16.000 min`, `12.345 µs`.
#[must_use]
pub fn span(span: TimeDelta) -> String {
    let nanoseconds =
        i128::from(span.num_seconds()) * 1_000_000_000 + i128::from(span.subsec_nanos());
    let length = nanoseconds.abs();
    // Thousandths of a unit in whole numbers: a float would show the rounding of years.
    let in_thousandths = UNITS.map(|(name, unit)| (name, (length * 1000 + unit / 2) / unit));
    match in_thousandths.iter().find(|(_, count)| *count >= 1000) {
        None | Some(("ns", _)) => format!("{length} ns"),
        Some((name, count)) => format!("{}.{:03} {name}", count / 1000, count % 1000),
    }
}

/// Reads a span with its unit and perhaps a sign: `5s`, `-14m`, `+1.5ms`, `1h 30m`.
///
/// # Errors
/// A sentence that says what is wrong with `text`.
pub fn parse_signed(text: &str) -> Result<TimeDelta, String> {
    let (negative, length) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let length = TimeDelta::from_std(parse(length)?).map_err(|_| "too long".to_owned())?;
    Ok(if negative { -length } else { length })
}

/// Reads a span with its unit: `5s`, `200ms`, `1h 30m`.
///
/// # Errors
/// A sentence that says what is wrong with `text`.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("not a duration such as 5s or 200ms: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        for (span, text) in [
            (TimeDelta::zero(), "0 ns"),
            (TimeDelta::nanoseconds(-7), "-7 ns"),
            (TimeDelta::nanoseconds(12_345), "+12.345 µs"),
            (TimeDelta::minutes(16), "+16.000 min"),
            (TimeDelta::milliseconds(-1500), "-1.500 s"),
            (TimeDelta::days(20_000), "+20000.000 d"),
            (TimeDelta::nanoseconds(-999_499), "-999.499 µs"),
            (TimeDelta::nanoseconds(999_999_900), "+1.000 s"),
            (TimeDelta::nanoseconds(119_999_999_000), "+2.000 min"),
            (TimeDelta::MAX, "+106751991167.301 d"),
        ] {
            assert_eq!(signed(span), text);
        }
    }

    #[test]
    fn signs_and_units_are_read() {
        assert_eq!(parse_signed("-14m"), Ok(TimeDelta::minutes(-14)));
        assert_eq!(parse_signed("+20m"), Ok(TimeDelta::minutes(20)));
        assert_eq!(parse_signed("1.5s"), Ok(TimeDelta::milliseconds(1500)));
        for text in [
            "5",
            "",
            "-",
            "--5s",
            "+-5s",
            "s",
            "5 parsecs",
            "9999999999999y",
        ] {
            assert!(parse_signed(text).is_err(), "{text:?} was accepted");
        }
    }
}
