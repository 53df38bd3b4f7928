//! How soon a clock is corrected that has just come, however long the interval is.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use berkeley::internals::clock::Simulation;
use berkeley::{Follower, FollowerOptions, Master, MasterOptions};
use chrono::TimeDelta;

use crate::support::programs::{Program, SOON, assert_exact};
use crate::support::relay::{BOTH, Link, Relay};
use crate::support::timestamp_client::Client;

/// How soon after its start a clock has to be corrected.
const CORRECTED_WITHIN: Duration = Duration::from_secs(1);

/// An interval that no test waits for.
const LONG: [&str; 2] = ["--interval", "1h"];

#[test]
fn a_new_group_holds_its_first_round_when_its_first_follower_has_answered() {
    let master = Program::master(&LONG);
    let address = master.address();
    let began = Instant::now();
    let follower = Program::follower(address, &["--simulate-offset", "-10m"]);
    let told = follower.line("Synchronized time: ");
    assert!(began.elapsed() < CORRECTED_WITHIN, "{:?}", began.elapsed());
    assert_exact(
        told.told_ahead("Synchronized time: "),
        TimeDelta::minutes(-5),
    );
    master.line("Round 1: 2 of 2 clocks agree");
}

#[test]
fn a_new_group_waits_for_those_that_it_is_told_to_wait_for() {
    let master = Program::master(&[&LONG[..], &["--min-followers", "2"]].concat());
    let address = master.address();
    let first = Program::follower(address, &["--simulate-offset", "-14m"]);
    master.line("Waiting for followers: 1 of 2 are here (--min-followers 2)");
    let began = Instant::now();
    let second = Program::follower(address, &["--simulate-offset", "20m"]);
    for follower in [&first, &second] {
        let told = follower.line("Synchronized time: ");
        assert_exact(
            told.told_ahead("Synchronized time: "),
            TimeDelta::minutes(2),
        );
    }
    assert!(began.elapsed() < CORRECTED_WITHIN, "{:?}", began.elapsed());
    master.line("Round 1: 3 of 3 clocks agree, average +2.0");
    assert_eq!(master.transcript().matches("Waiting for").count(), 1);
}

#[test]
fn a_clock_that_joins_a_group_is_corrected_at_once_and_moves_nobody() {
    let master = Program::master(&LONG);
    let address = master.address();
    let first = Program::follower(address, &[]);
    first.line("Synchronized time: ");
    for offset in ["1h", "-20ms"] {
        let began = Instant::now();
        let late = Program::follower(address, &["--simulate-offset", offset]);
        let told = late.line("Synchronized time: ");
        assert!(began.elapsed() < CORRECTED_WITHIN, "{:?}", began.elapsed());
        assert_exact(told.told_ahead("Synchronized time: "), TimeDelta::zero());
        late.stops_at("TERM");
    }
    // So is a client that can't correct itself.
    let began = Instant::now();
    let client = Client::join(address, TimeDelta::minutes(20));
    let told = client.hear(CORRECTED_WITHIN).expect("the time");
    assert_exact(told, TimeDelta::zero());
    assert!(began.elapsed() < CORRECTED_WITHIN, "{:?}", began.elapsed());
    // The next round finds a group that agrees.
    let next = first.line("Synchronized time: ").text;
    assert!(next.contains(" ns ±") || next.contains(" µs ±"), "{next}");
}

/// A round may end between its correction and the moment when it is heard again.
#[test]
fn a_clock_that_joins_over_a_slow_link_is_corrected_once() {
    let master = Program::master(&["--interval", "500ms"]);
    let address = master.address();
    let near = Program::follower(address, &[]);
    let relay = Relay::to(address);
    for way in BOTH {
        relay.set(way, Link::delayed(Duration::from_millis(100)));
    }
    near.line("Synchronized time: ");
    let late = ["20m", "15m", "10m", "5m", "-5m", "-10m", "-15m", "-20m"];
    let late = late.map(|off| Program::follower(relay.address(), &["--simulate-offset", off]));
    for follower in &late {
        for _ in 0..4 {
            let told = follower.line("Synchronized time: ");
            assert_exact(told.told_ahead("Synchronized time: "), TimeDelta::zero());
        }
    }
}

#[test]
fn the_first_rounds_of_a_new_group_follow_each_other_quickly() {
    let master = Program::master(&LONG);
    let follower = Program::follower(master.address(), &["--simulate-drift", "100"]);
    let first = follower.line("Synchronized time: ").read;
    // After half a second, and then after a tenth longer each.
    for round in [2, 3, 4, 5] {
        master.line(&format!("Round {round}: 2 of 2 clocks agree"));
    }
    let took = first.elapsed();
    let expected = Duration::from_millis(500 + 550 + 605 + 665);
    // A burst that comes too late on a busy machine doubles a pause.
    assert!(took > expected / 2 && took < expected * 3, "{took:?}");
}

/// How far a new master is from the mean of its group, whose two other clocks gain 300 ppm, just after
/// the first round, and what it says of that. Nothing, if the second round came too soon.
fn off_and_stated() -> Option<(TimeDelta, TimeDelta)> {
    let master = Master::start(MasterOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        min_followers: 2,
        ..MasterOptions::default()
    });
    let master = master.expect("a master");
    let followers = [(); 2].map(|()| {
        let simulation = Simulation {
            offset: TimeDelta::zero(),
            drift_ppm: 300.0,
        };
        let options = FollowerOptions {
            simulation,
            ..FollowerOptions::default()
        };
        Follower::connect([master.local_addr().into()], options).expect("a follower")
    });
    let own = master.clock();
    let is_told = || followers.iter().all(|it| it.clock().is_synchronized());
    let began = Instant::now();
    while !is_told() || !own.is_synchronized() {
        assert!(began.elapsed() < SOON, "no first round");
        thread::sleep(Duration::from_millis(1));
    }
    let stated = own.now().error.expect("an error");
    let ahead = followers.iter().map(|follower| {
        let read = || {
            let before = own.now().time;
            let time = follower.clock().now().time;
            let took = own.now().time - before;
            (took, time - before - took / 2)
        };
        // The quickest of some: a thread may be interrupted between two readings.
        let (_, ahead) = (0..20).map(|_| read()).min_by_key(|(took, _)| *took)?;
        Some(ahead)
    });
    let ahead: Option<TimeDelta> = ahead.sum();
    let round = master.status().round.map(|round| round.number);
    (round <= Some(1)).then_some((ahead? / 3, stated))
}

/// Nobody knows the clocks' rates then, nor what they have made of the offsets since these were measured.
#[test]
fn a_new_masters_first_error_covers_what_the_others_have_drifted() {
    let mut tries = (0..20).filter_map(|_| off_and_stated());
    let (off, stated) = tries.next().expect("a machine that is not too busy");
    println!("a first round | a new master is {off} off, and says ± {stated}");
    assert!(off > TimeDelta::microseconds(50), "they have not drifted");
    assert!(off < stated, "{off} off, ± {stated}");
}

#[test]
fn a_new_group_that_is_slower_than_its_first_rounds_waits_longer_for_each() {
    let master = Program::master(&LONG);
    let relay = Relay::to(master.address());
    for way in BOTH {
        relay.set(way, Link::delayed(Duration::from_millis(200)));
    }
    let follower = Program::follower(relay.address(), &[]);
    let first = follower.line("Synchronized time: ").read;
    // After half a second there is no answer yet, nor a second after that.
    master.line("Round 2: 2 of 2 clocks agree");
    assert!(first.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_dry_run_welcomes_nobody() {
    let master = Program::master(&["--dry-run", "--interval", "300ms"]);
    let follower = Program::follower(master.address(), &["--simulate-offset", "1h"]);
    master.line("Round 3: ");
    assert!(!follower.transcript().contains("Synchronized time: "));
}
