//! A clock that is measured badly costs the others nothing.

use std::thread;
use std::time::Duration;

use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::span::span;
use chrono::TimeDelta;

use crate::faults::group::{Group, INTERVAL, LIMIT};
use crate::faults::peer::Liar;
use crate::support::programs::Program;

/// Half of what the answers take.
const WAY: Duration = Duration::from_millis(110);

/// The largest error that the rounds state in a master's output.
fn largest_error(said: &str) -> TimeDelta {
    let error = |line: &str| {
        let (_, error) = line.split_once(" ± ")?;
        let (number, unit) = error.split_once(' ')?;
        let nanoseconds = match unit.split([';', ' ']).next()? {
            "ns" => 1.0,
            "µs" => 1e3,
            "ms" => 1e6,
            _ => 1e9,
        };
        Some((number.parse::<f64>().ok()? * nanoseconds) as i64)
    };
    let rounds = said.lines().filter(|line| line.contains(" clocks agree, "));
    let largest = rounds.filter_map(error).max();
    TimeDelta::nanoseconds(largest.expect("a round"))
}

#[test]
fn a_clock_that_answers_late_has_no_vote_and_no_share_in_the_error() {
    // It is within the tolerance even where a busy machine makes its ways differ.
    let flags = ["--interval", "500ms", "--tolerance", "100ms"];
    let group = Group::of(Program::master(&flags), 3, INTERVAL);
    group.watch().rounds(3);
    let alone = group.master.transcript();
    let _late = Liar::of(group.address(), |_: i64| {
        thread::sleep(WAY);
        let stamp = WallClock.read().timestamp_nanos_opt().unwrap_or(0);
        thread::sleep(WAY);
        stamp
    });
    let watch = group.watch();
    // It is new for eight rounds.
    watch.rounds(9);
    for _ in 0..2 {
        group.master.line("  uncertain  ");
    }
    assert_eq!(INTERVAL, Duration::from_millis(500), "it answers in time");
    let said = group.master.transcript();
    let beside = &said[alone.len()..];
    let (before, error) = (largest_error(&alone), largest_error(beside));
    let noticed = watch.noticed();
    println!(
        "rules | a clock answers 0.22 s late | the stated error is {} (before it came: {}), skew {}",
        span(error),
        span(before),
        span(noticed.skew)
    );
    // What a busy machine does to the others is no part of it.
    assert!(
        error < TimeDelta::milliseconds(1) + before * 2,
        "{}",
        span(error)
    );
    assert!(noticed.skew <= LIMIT.skew, "{}", span(noticed.skew));
}
