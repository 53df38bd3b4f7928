//! The subcommands that tell a running master what to do: `set`, `drop` and `admit`; and the same
//! words as a line, in which they reach it.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta};

use crate::command_line::{telling, values};
use crate::master::order::Order;
use crate::wire::steps::LARGEST_STEP;

/// The longest name or address of a clock: 64 characters, a host name at most.
const LONGEST_NAME: usize = 255;

/// The years whose every moment is a whole number of nanoseconds for a clock.
const YEARS: RangeInclusive<i32> = 1678..=2261;

/// How a local time is written.
const TIME: &str = "%Y-%m-%d %H:%M:%S%.f";

/// Which master to tell.
#[derive(Debug, clap::Args)]
struct At {
    /// The control socket of the master to tell [default: the one that runs on this machine]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// `set`.
#[derive(Debug, clap::Args)]
pub struct Set {
    /// By how much (+90s, -3s, 1h) or to which time: '2026-11-24 14:02:00', by the time zone of the
    /// master, or 2026-11-24T14:02:00Z
    #[arg(value_name = "STEP|TIME", allow_hyphen_values = true, required_unless_present = "from", value_parser = goal)]
    goal: Option<Order>,

    /// To what the own clock of this node's machine shows
    #[arg(long, value_name = "NAME|ADDR", conflicts_with = "goal", value_parser = clock)]
    from: Option<String>,

    #[command(flatten)]
    at: At,
}

/// `drop` and `admit`.
#[derive(Debug, clap::Args)]
pub struct Clock {
    /// The clock's name, as `status` shows it, or its address
    #[arg(value_name = "NAME", value_parser = clock)]
    name: String,

    #[command(flatten)]
    at: At,
}

impl Set {
    /// Tells the master to set the time of its group.
    ///
    /// # Errors
    /// What the master answers, or why it does not.
    pub fn run(self) -> anyhow::Result<()> {
        let order = self.goal.or(self.from.map(Order::SetFrom));
        // The command line has one of the two.
        order.map_or(Ok(()), |order| telling::tell(self.at.socket, &line(&order)))
    }
}

impl Clock {
    /// Tells the master that this clock has no vote.
    ///
    /// # Errors
    /// What the master answers, or why it does not.
    pub fn drop(self) -> anyhow::Result<()> {
        telling::tell(self.at.socket, &line(&Order::Drop(self.name)))
    }

    /// Tells the master that this clock may vote again.
    ///
    /// # Errors
    /// What the master answers, or why it does not.
    pub fn admit(self) -> anyhow::Result<()> {
        telling::tell(self.at.socket, &line(&Order::Admit(self.name)))
    }
}

/// An order as a line, without its newline.
#[must_use]
pub fn line(order: &Order) -> String {
    match order {
        Order::SetBy(by) => {
            let sign = if *by < TimeDelta::zero() { '-' } else { '+' };
            let length = by.abs().to_std().unwrap_or_default();
            format!("set {sign}{}", humantime::format_duration(length))
        }
        Order::SetTo(time) => format!("set {}", time.format(TIME)),
        Order::SetAt(time) => format!("set {}", time.to_rfc3339()),
        Order::SetFrom(clock) => format!("set --from {clock}"),
        Order::Drop(clock) => format!("drop {clock}"),
        Order::Admit(clock) => format!("admit {clock}"),
    }
}

/// Reads an order.
///
/// # Errors
/// A sentence that says what belongs there.
pub fn parse(line: &str) -> Result<Order, String> {
    match line.split_once(' ') {
        Some(("set", rest)) => match rest.strip_prefix("--from ") {
            Some(from) => clock(from).map(Order::SetFrom),
            None => goal(rest),
        },
        Some(("drop", rest)) => clock(rest).map(Order::Drop),
        Some(("admit", rest)) => clock(rest).map(Order::Admit),
        _ => Err("an order is `set`, `drop` or `admit`, and what it is about".to_owned()),
    }
}

/// A step or a time.
fn goal(text: &str) -> Result<Order, String> {
    let time =
        NaiveDateTime::parse_from_str(text, TIME).map(|time| (time.year(), Order::SetTo(time)));
    let moment =
        DateTime::parse_from_rfc3339(text).map(|time| (time.year(), Order::SetAt(time.to_utc())));
    if let Ok((year, order)) = time.or(moment) {
        if YEARS.contains(&year) {
            return Ok(order);
        }
        return Err(format!(
            "a year is from {} to {}",
            YEARS.start(),
            YEARS.end()
        ));
    }
    let by = values::signed_duration(text).map_err(|_| {
        "neither a step such as +90s or -1.5ms nor a time such as '2026-11-24 14:02:00' (local) or \
         2026-11-24T14:02:00Z"
            .to_owned()
    })?;
    if by.abs() <= LARGEST_STEP {
        Ok(Order::SetBy(by))
    } else {
        Err("a step is at most 100 years either way".to_owned())
    }
}

/// The name or the address of a clock.
fn clock(text: &str) -> Result<String, String> {
    let printable = |byte: u8| byte.is_ascii_graphic() && !b",\"".contains(&byte);
    if !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(printable) {
        Ok(text.to_owned())
    } else {
        Err("not the name or the address of a clock".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders_are_read_as_people_type_them() {
        let set = |nanoseconds| Ok(Order::SetBy(TimeDelta::nanoseconds(nanoseconds)));
        assert_eq!(parse("set +90s"), set(90_000_000_000));
        assert_eq!(parse("set -1.5ms"), set(-1_500_000));
        assert_eq!(parse("set 1h 30m"), set(5_400_000_000_000));
        let time = "2026-11-24T14:02:00".parse().unwrap();
        assert_eq!(parse("set 2026-11-24 14:02:00"), Ok(Order::SetTo(time)));
        let time = "2026-11-24T14:02:00.25".parse().unwrap();
        assert_eq!(parse("set 2026-11-24 14:02:00.25"), Ok(Order::SetTo(time)));
        for text in [
            "2026-11-24T14:02:00Z",
            "2026-11-24T15:02:00+01:00",
            "2026-11-24 14:02:00Z",
        ] {
            let moment = "2026-11-24T14:02:00Z".parse().unwrap();
            let order = Ok(Order::SetAt(moment));
            assert_eq!(parse(&format!("set {text}")), order);
            assert_eq!(parse(&line(order.as_ref().unwrap())), order);
        }
        let from = Order::SetFrom("10.0.0.7".to_owned());
        assert_eq!(parse("set --from 10.0.0.7"), Ok(from));
        assert_eq!(parse("drop db1#2"), Ok(Order::Drop("db1#2".to_owned())));
        assert_eq!(parse("admit db1"), Ok(Order::Admit("db1".to_owned())));
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for line in [
            "",
            "set",
            "set ",
            "set 90",
            "set 14:02",
            "set 2026-02-30 14:02:00",
            "set 2026-11-24 25:02:00",
            "set 1677-12-31 14:02:00",
            "set 262142-12-31 23:59:59",
            "set 2262-01-01T00:00:00Z",
            "set --5s",
            "set 200years",
            "set --from ",
            "set --from a b",
            "drop",
            "drop ",
            "drop a,b",
            "drop \x1b[2J",
            "stop now",
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn an_order_survives_its_line(by in -3_155_760_000_000_000_000..3_155_760_000_000_000_000_i64) {
            let order = Order::SetBy(TimeDelta::nanoseconds(by));
            prop_assert_eq!(parse(&line(&order)), Ok(order));
        }

        #[test]
        fn no_line_panics(line in "((set|drop|admit)( --from)?)? ?[ -~]{0,40}") {
            let _ = parse(&line);
        }
    }
}
