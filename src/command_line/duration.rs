//! Durations as people write them.

use std::time::Duration;

use chrono::TimeDelta;

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
