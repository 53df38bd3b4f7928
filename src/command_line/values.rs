//! The values of flags, as people write them, and what to write instead where one makes no sense.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::TimeDelta;

use crate::average::consensus::Rules;
use crate::clock::Simulation;
use crate::ntp::answer::LARGEST_MAX_ERROR;
use crate::wire::address::{self, Address};
use crate::wire::message::INTERVALS;
use crate::wire::words::LARGEST_ERROR;

/// Reads a duration with its unit: `5s`, `200ms`, `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("a duration must not be negative; write one such as 5s or 200ms".to_owned());
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("not a duration such as 5s or 200ms: {error}"))
}

/// Reads a duration with its unit and perhaps a sign: `5s`, `-14m`, `+1.5ms`, `1h 30m`.
///
/// # Errors
/// A sentence that says what belongs there.
pub fn signed_duration(text: &str) -> Result<TimeDelta, String> {
    let (negative, length) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let length = TimeDelta::from_std(duration(length)?).map_err(|_| "too long".to_owned())?;
    Ok(if negative { -length } else { length })
}

/// For `--interval`.
///
/// # Errors
/// A sentence that says what belongs there, as for every value here.
pub fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if INTERVALS.contains(&interval) {
        Ok(interval)
    } else {
        Err("an interval is from 10ms to 1day".to_owned())
    }
}

/// For `--rounds`.
///
/// # Errors
/// For anything but a whole number from 1.
pub fn rounds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(rounds) if rounds > 0 => Ok(rounds),
        _ => Err("a number of rounds is at least 1; leave --rounds out to run for ever".to_owned()),
    }
}

/// For `--simulate-offset`.
///
/// # Errors
/// For what is no duration, or more than [`Simulation::LARGEST_OFFSET`].
pub fn offset(text: &str) -> Result<TimeDelta, String> {
    let offset = signed_duration(text)?;
    if offset.abs() <= Simulation::LARGEST_OFFSET {
        Ok(offset)
    } else {
        Err("an offset is at most 200 years either way".to_owned())
    }
}

/// For `--simulate-drift`, in ppm.
///
/// # Errors
/// For what is no number, or more than [`Simulation::LARGEST_DRIFT_PPM`].
pub fn drift_ppm(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("ppm").unwrap_or(text).trim_end();
    let ppm: f64 = number
        .parse()
        .map_err(|_| "a drift is a number of ppm, for example 100 or -50ppm".to_owned())?;
    // Not a range check on its own: NaN is outside of every range.
    if ppm.abs() <= Simulation::LARGEST_DRIFT_PPM {
        Ok(ppm)
    } else {
        Err("a drift is at most 10000 ppm (1 %) either way".to_owned())
    }
}

/// For `--tolerance`.
///
/// # Errors
/// For what is no duration, 0, or more than [`Rules::LARGEST_OFFSET`].
pub fn tolerance(text: &str) -> Result<TimeDelta, String> {
    let otherwise = "a tolerance is more than 0s and at most 100 years; leave --tolerance out for \
                     an automatic one";
    positive(text, otherwise)
}

/// For `--max-offset`.
///
/// # Errors
/// As [`tolerance`].
pub fn largest_offset(text: &str) -> Result<TimeDelta, String> {
    positive(
        text,
        "a largest offset is more than 0s and at most 100 years",
    )
}

/// For `--step-threshold` and `--panic-threshold`.
///
/// # Errors
/// As [`tolerance`].
pub fn threshold(text: &str) -> Result<TimeDelta, String> {
    positive(text, "a threshold is more than 0s and at most 100 years")
}

/// For `--timeout`.
///
/// # Errors
/// For what is no duration, or more than a year.
pub fn patience(text: &str) -> Result<Duration, String> {
    let patience = duration(text)?;
    if patience <= Duration::from_hours(365 * 24) {
        Ok(patience)
    } else {
        Err("a time-out is at most a year".to_owned())
    }
}

/// For `--reference`.
///
/// # Errors
/// For what is no duration, or more than [`LARGEST_ERROR`].
pub fn reference(text: &str) -> Result<TimeDelta, String> {
    let error = TimeDelta::from_std(duration(text)?).unwrap_or(TimeDelta::MAX);
    if error <= LARGEST_ERROR {
        Ok(error)
    } else {
        Err("a clock that is wrong by more than 1h is no reference".to_owned())
    }
}

/// For `--ntp-max-error`.
///
/// # Errors
/// For what is no duration, 0, or more than [`LARGEST_MAX_ERROR`].
pub fn ntp_error(text: &str) -> Result<TimeDelta, String> {
    let error = TimeDelta::from_std(duration(text)?).unwrap_or(TimeDelta::MAX);
    if error > TimeDelta::zero() && error <= LARGEST_MAX_ERROR {
        Ok(error)
    } else {
        Err("a largest error is more than 0s and at most 16s, beyond which no client of NTP takes a \
             time"
            .to_owned())
    }
}

/// For `--reference-slew`, in ppm.
///
/// # Errors
/// For what is no number, negative, or more than 500.
pub fn slew_ppm(text: &str) -> Result<f64, String> {
    let otherwise =
        || "a slew is a number of ppm from 0 to 500, for example 50 or 10ppm".to_owned();
    let number = text.strip_suffix("ppm").unwrap_or(text).trim_end();
    let ppm: f64 = number.parse().map_err(|_| otherwise())?;
    if (0.0..=500.0).contains(&ppm) {
        Ok(ppm)
    } else {
        Err(otherwise())
    }
}

fn positive(text: &str, otherwise: &str) -> Result<TimeDelta, String> {
    let length = TimeDelta::from_std(duration(text)?).unwrap_or(TimeDelta::MAX);
    if length > TimeDelta::zero() && length <= Rules::LARGEST_OFFSET {
        Ok(length)
    } else {
        Err(otherwise.to_owned())
    }
}

/// For an item of `--candidates`.
///
/// # Errors
/// For what is no address.
pub fn candidate(text: &str) -> Result<Address, String> {
    let missing = "before or after a comma an address is missing; write A:8080,B:8080,C:8080";
    match text.trim() {
        "" => Err(missing.to_owned()),
        address => address.parse().map_err(|error| format!("{error}")),
    }
}

/// For a master that a follower is to connect to.
///
/// # Errors
/// For what is no address.
pub fn master(text: &str) -> Result<Address, String> {
    if text.contains(',') {
        return Err("several masters are arguments of their own: A:8080 B:8080".to_owned());
    }
    if ["set", "drop", "admit", "replay"].contains(&text) {
        return Err(format!(
            "only masters do that: berkeley-master {text}; a host of that name is {text}:8080"
        ));
    }
    text.parse().map_err(|error| format!("{error}"))
}

/// For `--listen`.
///
/// # Errors
/// For what is no IP address and port.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    address::socket_address(text).map_err(|error| error.to_string())
}

/// For `--http`.
///
/// # Errors
/// For what is no IP address and port, or a port alone.
pub fn http(text: &str) -> Result<SocketAddr, String> {
    if text.parse::<u16>().is_ok() {
        return Err(format!(
            "a port alone would not say who may read; write 127.0.0.1:{text} for this machine \
             alone, or 0.0.0.0:{text} for all"
        ));
    }
    listen(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_units_are_read() {
        assert_eq!(signed_duration("-14m"), Ok(TimeDelta::minutes(-14)));
        assert_eq!(signed_duration("+20m"), Ok(TimeDelta::minutes(20)));
        assert_eq!(signed_duration("1.5s"), Ok(TimeDelta::milliseconds(1500)));
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
            assert!(signed_duration(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn what_makes_no_sense_is_answered_with_what_does() {
        let said = [
            (duration("-5s").unwrap_err(), "must not be negative"),
            (duration("5").unwrap_err(), "such as 5s"),
            (
                rounds("0").unwrap_err(),
                "leave --rounds out to run for ever",
            ),
            (rounds("-1").unwrap_err(), "at least 1"),
            (tolerance("0s").unwrap_err(), "a tolerance is more than 0s"),
            (tolerance("101y").unwrap_err(), "at most 100 years"),
            (threshold("0s").unwrap_err(), "a threshold is more than 0s"),
            (interval("1ms").unwrap_err(), "an interval is from 10ms"),
            (ntp_error("0s").unwrap_err(), "more than 0s"),
            (ntp_error("17s").unwrap_err(), "at most 16s"),
            (candidate("").unwrap_err(), "an address is missing"),
            (candidate(" ").unwrap_err(), "an address is missing"),
            (
                master("a,").unwrap_err(),
                "arguments of their own: A:8080 B:8080",
            ),
            (master("set").unwrap_err(), "berkeley-master set; a host"),
        ];
        for (said, part) in said {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(candidate(" a ").unwrap(), Address::new("a", 8080));
        assert_eq!(master("set:8080").unwrap(), Address::new("set", 8080));
    }
}
