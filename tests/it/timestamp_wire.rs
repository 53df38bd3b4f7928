//! The master against clients of the timestamp wire, good and bad, over real sockets.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::programs::{Program, SOON, assert_exact, now};
use crate::support::timestamp_client::{Client, GRACE};
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::wire::timestamp;
use chrono::{Datelike, TimeDelta, Weekday};
use tempfile::TempDir;

const INTERVAL: Duration = Duration::from_millis(400);

/// The offset that a master records for one client that does as `speak` says, against what the
/// last timestamp that it sent was ahead of this machine's clock when it began to send.
fn recorded_offset(speak: impl FnOnce(&Client)) -> TimeDelta {
    let folder = TempDir::new().expect("a folder");
    let record = folder.path().join("record.csv");
    let path = record.to_str().expect("a name in UTF-8");
    // Long enough to hold the whole message: one that a round cuts in two does not count.
    let mut master = Program::master(&["--interval", "600ms", "--rounds", "1", "--record", path]);
    let client = Client::connect(master.address(), TimeDelta::minutes(-14));
    speak(&client);
    assert_eq!(master.ends_within(SOON).code(), Some(0));

    let record = fs::read_to_string(record).expect("a record");
    let mut lines = record.lines().map(|line| line.split(',').collect());
    let header: Vec<&str> = lines.next().expect("a header");
    let column = |name| header.iter().position(|&column| column == name);
    let (node, offset) = (column("node").unwrap(), column("offset_ns").unwrap());
    let row = lines
        .find(|row: &Vec<&str>| row[node] == client.name())
        .unwrap_or_else(|| panic!("{} is not in {record}", client.name()));
    TimeDelta::nanoseconds(row[offset].parse().expect("nanoseconds"))
}

#[test]
fn a_timestamp_of_19_characters_is_read() {
    let mut sent = TimeDelta::zero();
    let recorded = recorded_offset(|client| {
        let whole_second = client.timestamp()[..19].to_owned();
        sent = crate::support::programs::parse(&format!("{whole_second}.000000")) - now();
        client.send(whole_second.as_bytes());
    });
    assert_exact(recorded, sent);
}

#[test]
fn two_timestamps_in_one_segment_are_both_read() {
    for first in ["2024-01-02 03:04:05.678901", "2024-01-02 03:04:05"] {
        let recorded = recorded_offset(|client| {
            let segment = format!("{first}{}", client.timestamp());
            client.send(segment.as_bytes());
        });
        // The second one is the news; the first one is out of the way.
        assert_exact(recorded, TimeDelta::minutes(-14));
    }
}

#[test]
fn a_timestamp_in_26_segments_is_read_and_counts_from_its_first_byte() {
    let recorded = recorded_offset(|client| {
        for byte in client.timestamp().as_bytes() {
            client.send(&[*byte]);
            // Time for the master to read it alone: the whole takes 130 ms.
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert_exact(recorded, TimeDelta::minutes(-14));
}

#[test]
fn every_round_of_the_worked_example_tells_the_masters_clock_plus_2_minutes() {
    let rounds = ["--interval", "400ms", "--rounds", "4"];
    let mut master = Program::master(&[&rounds[..], &["--min-followers", "2"]].concat());
    let address = master.address();
    thread::scope(|scope| {
        for minutes in [-14, 20] {
            scope.spawn(move || {
                let client = Client::join(address, TimeDelta::minutes(minutes));
                for told in client.take_part(4, INTERVAL) {
                    assert_exact(told, TimeDelta::minutes(2));
                }
            });
        }
    });
    master.line("Round 1: 3 of 3 clocks agree, average +");
    assert_eq!(master.ends_within(SOON).code(), Some(0));
}

#[test]
fn who_comes_and_goes_is_printed() {
    let master = Program::master(&["--interval", "100ms"]);
    let client = Client::join(master.address(), TimeDelta::zero());
    let name = client.name();
    master.line(&format!("Follower joined: {name} "));
    drop(client);
    master.line(&format!("Follower left: {name} "));
}

/// Holds three rounds, in each of which two good clients have to be told the time, whatever a third
/// one does; and a fourth, who comes after it, in the next.
fn costs_nobody_a_round<T>(misbehave: impl FnOnce(&Program, SocketAddr) -> T) {
    let rounds = ["--interval", "400ms", "--rounds", "3"];
    let mut master = Program::master(&[&rounds[..], &["--min-followers", "2"]].concat());
    let address = master.address();
    let held = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let client = Client::join(address, TimeDelta::zero());
                for told in client.take_part(3, INTERVAL) {
                    // That it comes is the point here, not how exact it is.
                    assert!(told.abs() < TimeDelta::milliseconds(250), "{told}");
                }
            });
        }
        let held = misbehave(&master, address);
        let late = Client::join(address, TimeDelta::zero());
        assert!(late.hear(INTERVAL + GRACE).is_some(), "no room for another");
        held
    });
    assert_eq!(master.ends_within(SOON).code(), Some(0));
    drop(held);
}

#[test]
fn a_mebibyte_of_random_bytes_costs_nobody_else_a_round() {
    costs_nobody_a_round(|master, address| {
        let mut random = fastrand::Rng::with_seed(2);
        let bytes: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
        master.line("Round 1");
        let client = Client::connect(address, TimeDelta::zero());
        // The master need not listen to the end.
        let _ = (&client.stream).write_all(&bytes);
        client.until_end();
        master.log_line(&client.name());
    });
}

#[test]
fn a_web_browser_costs_nobody_else_a_round() {
    costs_nobody_a_round(|master, address| {
        master.line("Round 1");
        let client = Client::connect(address, TimeDelta::zero());
        client.send(b"GET / HTTP/1.1\r\nHost: berkeley\r\n\r\n");
        client.until_end();
        master.log_line(&client.name());
    });
}

#[test]
fn a_client_that_says_nothing_costs_nobody_else_a_round() {
    costs_nobody_a_round(|_, address| Client::connect(address, TimeDelta::zero()));
}

#[test]
fn a_client_that_begins_a_message_costs_nobody_else_a_round() {
    costs_nobody_a_round(|_, address| {
        let client = Client::connect(address, TimeDelta::zero());
        client.send(b"2024-01-02 03:");
        client
    });
}

#[test]
fn a_client_that_never_reads_and_then_breaks_off_costs_nobody_else_a_round() {
    costs_nobody_a_round(|master, address| {
        let client = Client::join(address, TimeDelta::zero());
        master.line("Round 2");
        // What it was told is unread, so this resets the connection.
        drop(client);
        master.line("Follower left");
    });
}

#[test]
fn one_follower_more_than_max_followers_is_turned_away_with_the_reason() {
    let master = Program::master(&["--interval", "300ms", "--max-followers", "1"]);
    let address = master.address();
    let first = Client::join(address, TimeDelta::zero());
    master.line("Follower joined");
    let second = Client::connect(address, TimeDelta::zero());
    let farewell = second.until_end();
    assert!(farewell.starts_with("BYE "), "{farewell:?}");
    assert!(farewell.contains("--max-followers"), "{farewell:?}");
    assert!(farewell.ends_with('\n'), "{farewell:?}");
    first.hear(SOON).expect("the first one stays");
}

#[test]
fn one_address_holds_no_more_than_max_per_address() {
    let master = Program::master(&["--interval", "300ms", "--max-per-address", "2"]);
    let address = master.address();
    let joined = || Client::join(address, TimeDelta::zero());
    let first = [joined(), joined()];
    for _ in 0..2 {
        // At once it opens too many in a second, later it holds too many.
        let farewell = Client::connect(address, TimeDelta::zero()).until_end();
        assert!(farewell.starts_with("BYE too many "), "{farewell:?}");
        assert!(farewell.contains("--max-per-address 2"), "{farewell:?}");
        for client in &first {
            client.hear(SOON).expect("the first ones stay");
        }
    }
}

#[test]
fn no_round_is_held_before_min_followers_have_reported() {
    let master = Program::master(&["--interval", "200ms", "--min-followers", "2"]);
    let address = master.address();
    let late = Client::connect(address, TimeDelta::zero());
    let early = Client::join(address, TimeDelta::zero());
    // It is here, but until it has reported it is not one of the two.
    assert_eq!(early.hear(Duration::from_secs(1)), None);
    late.report();
    early.hear(SOON).expect("a round");
    // A clock that was read on a busy machine may have no vote.
    let first = master.line(" of 3 clocks agree").text;
    assert!(first.starts_with("Round 1: "), "{first}");
}

#[test]
fn setting_clocks_forward_for_the_summer_moves_nobody() {
    // Central European Time: clocks go forward by an hour at 01:00 UTC on March's last Sunday.
    let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
    let utc = WallClock.read();
    let summer = (1..400)
        .map(|days| utc.date_naive() + TimeDelta::days(days))
        .find(|day| day.month() == 3 && day.day() > 24 && day.weekday() == Weekday::Sun)
        .and_then(|day| day.and_hms_opt(1, 0, 0))
        .expect("March has a last Sunday")
        .and_utc();
    // The master is beyond that moment and goes back over it by half of the 20 s between them.
    let (master_ahead, client_ahead) = (TimeDelta::seconds(9), TimeDelta::seconds(-11));
    let offset = format!("{}s", (summer + master_ahead - utc).num_seconds());
    let mut command = Command::new(env!("CARGO_BIN_EXE_berkeley-master"));
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "300ms",
        "--rounds",
        "10",
    ]);
    command.args(["--simulate-offset", &offset]).env("TZ", zone);
    let master = Program::start(&mut command);
    let client = Client::connect(master.address(), TimeDelta::zero());
    for round in 1..=10 {
        let clock = summer + client_ahead + (WallClock.read() - utc);
        let local = (clock + TimeDelta::hours(1)).naive_utc();
        client.send(timestamp::format(local).as_bytes());
        let table = master.line(&format!("Round {round}: "));
        let moved = ["min", "h ±"].map(|unit| table.text.contains(unit));
        assert_eq!(moved, [false, false], "{}", table.text);
    }
}
