//! Spans of time: as numbers of nanoseconds, each conversion once, and as people read them.

use chrono::{DateTime, TimeDelta, Utc};

/// A span in nanoseconds, or the nearest that an `i64` holds: 292 years either way.
#[must_use]
pub fn nanoseconds(span: TimeDelta) -> i64 {
    let nearest = if span < TimeDelta::zero() {
        i64::MIN
    } else {
        i64::MAX
    };
    span.num_nanoseconds().unwrap_or(nearest)
}

/// A span in nanoseconds, whatever its length: for sums and for records.
#[must_use]
pub fn exact_nanoseconds(span: TimeDelta) -> i128 {
    i128::from(span.num_seconds()) * 1_000_000_000 + i128::from(span.subsec_nanos())
}

/// A span in nanoseconds, to 16 digits: for weights and rates.
#[must_use]
pub fn float_nanoseconds(span: TimeDelta) -> f64 {
    span.num_seconds() as f64 * 1e9 + f64::from(span.subsec_nanos())
}

/// A time in nanoseconds since the Unix epoch, or the nearest that an `i64` holds.
#[must_use]
pub fn since_epoch(time: DateTime<Utc>) -> i64 {
    time.timestamp_nanos_opt()
        .unwrap_or_else(|| nanoseconds(time - DateTime::UNIX_EPOCH))
}

/// What a clock that gains `rate_ppm` has gained after `elapsed`, to the nanosecond.
#[must_use]
pub fn at_rate(elapsed: TimeDelta, rate_ppm: f64) -> TimeDelta {
    TimeDelta::nanoseconds((float_nanoseconds(elapsed) * rate_ppm * 1e-6).round() as i64)
}

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
    let length = exact_nanoseconds(span).abs();
    // Thousandths of a unit in whole numbers: a float would show the rounding of years.
    let in_thousandths = UNITS.map(|(name, unit)| (name, (length * 1000 + unit / 2) / unit));
    match in_thousandths.iter().find(|(_, count)| *count >= 1000) {
        None | Some(("ns", _)) => format!("{length} ns"),
        Some((name, count)) => format!("{}.{:03} {name}", count / 1000, count % 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_nanoseconds_are_exact_as_long_as_they_fit() {
        for span in [0, -7, 999_999_999, -1_000_000_001, i64::MAX, i64::MIN] {
            let delta = TimeDelta::nanoseconds(span);
            assert_eq!(nanoseconds(delta), span);
            assert_eq!(exact_nanoseconds(delta), i128::from(span));
            assert!((float_nanoseconds(delta) - span as f64).abs() <= 1e-15 * (span as f64).abs());
        }
        // Beyond 292 years each does what its name says.
        assert_eq!(nanoseconds(TimeDelta::MIN), i64::MIN);
        assert_eq!(nanoseconds(TimeDelta::MAX), i64::MAX);
        let longest = i128::from(i64::MAX) * 1_000_000;
        assert_eq!(exact_nanoseconds(TimeDelta::MAX), longest);
        assert!((float_nanoseconds(TimeDelta::MAX) / longest as f64 - 1.0).abs() < 1e-15);
        assert_eq!(since_epoch(DateTime::<Utc>::MIN_UTC), i64::MIN);
        assert_eq!(since_epoch(DateTime::<Utc>::MAX_UTC), i64::MAX);
        assert_eq!(since_epoch(DateTime::from_timestamp_nanos(-5)), -5);
    }

    #[test]
    fn a_rate_is_what_a_clock_gains() {
        let hour = TimeDelta::hours(1);
        assert_eq!(at_rate(hour, 100.0), TimeDelta::milliseconds(360));
        assert_eq!(at_rate(-hour, 100.0), TimeDelta::milliseconds(-360));
        assert_eq!(at_rate(hour, -0.001), TimeDelta::nanoseconds(-3600));
    }

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
}
