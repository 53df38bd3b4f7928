//! A step of many clocks: of a thousand, and of those of a follower that is cut off.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;

use super::{is_done, until};
use crate::support::programs::{Program, SOON, assert_exact};
use crate::support::relay::{BOTH, Relay};
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::{Follower, FollowerOptions};

/// How far a follower's clock is ahead of the machine's.
fn ahead(follower: &Follower) -> TimeDelta {
    follower.clock().now().time - WallClock.read()
}

#[test]
fn one_that_was_cut_off_makes_the_step_when_it_is_back_once() {
    let master = Program::master(&["--interval", "500ms"]);
    let address = master.address();
    let relay = Relay::to(address);
    let follow = |address: SocketAddr| {
        let options = FollowerOptions::default();
        Follower::connect([address.into()], options).expect("a follower")
    };
    let (near, away) = (follow(address), follow(relay.address()));
    let knows = |follower: &Follower| follower.clock().is_synchronized();
    until("both are corrected", || knows(&near) && knows(&away));
    master.line("3 of 3 clocks agree");

    relay.silence(&BOTH);
    is_done(&master, &["set", "+90s"], "(step 1)");
    until("the near one moves", || {
        ahead(&near) > TimeDelta::seconds(80)
    });
    assert_exact(ahead(&near), TimeDelta::seconds(90));
    master.line("2 of 2 clocks agree");
    assert_exact(ahead(&away), TimeDelta::zero());

    relay.heal();
    until("the other one moves", || {
        ahead(&away) > TimeDelta::seconds(80)
    });
    let apart = (ahead(&near) - ahead(&away)).abs();
    assert!(apart < TimeDelta::milliseconds(1), "{apart} apart");
    master.line("3 of 3 clocks agree");
    master.line("3 of 3 clocks agree");
    assert_exact(ahead(&away), TimeDelta::seconds(90));
    let apart = (ahead(&near) - ahead(&away)).abs();
    assert!(apart < TimeDelta::milliseconds(1), "{apart} apart");
}

/// A follower that never corrects itself: it answers so many polls as if each step were made, until
/// it has been told one. What it was told.
fn steps_told(address: SocketAddr, mut answers: usize) -> String {
    let mut stream = TcpStream::connect(address).expect("the master accepts");
    stream.set_read_timeout(Some(4 * SOON)).expect("a socket");
    stream
        .write_all(b"2026-01-01 00:00:00.000000\n")
        .expect("a socket");
    let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
    loop {
        let line = lines.next().expect("a line").expect("a line");
        let mut words = line.split(' ');
        if words.next() != Some("POLL") {
            continue;
        }
        let number = words.next().expect("a number");
        let told = words.find_map(|word| word.strip_prefix("steps=")?.split_once(','));
        if let Some((_, steps)) = told.filter(|(_, steps)| *steps != "0,0") {
            return steps.to_owned();
        }
        let now = WallClock
            .read()
            .timestamp_nanos_opt()
            .expect("this century");
        if answers > 0 {
            answers -= 1;
            writeln!(stream, "TIME {number} {now} {now}").expect("a socket");
        }
    }
}

#[test]
fn a_thousand_followers_are_told_at_once() {
    let limits = ["--max-per-address", "2000", "--min-followers", "1200"];
    let master = Program::master(&[&limits[..], &["--burst", "1"]].concat());
    let address = master.address();
    let follower = |answers| {
        let thread = thread::Builder::new().stack_size(128 * 1024);
        thread
            .spawn(move || steps_told(address, answers))
            .expect("a thread")
    };
    // Pauses grow quickly where many are silent: after the fourth round, the next bursts begin from 0.2
    // to 3.6 s later.
    let silent: Vec<_> = (0..200).map(|_| follower(1)).collect();
    let followers: Vec<_> = (0..1000).map(|_| follower(usize::MAX)).collect();
    master.line("Round 4: ");
    is_done(&master, &["set", "+90s"], "(step 1)");
    let told = std::time::Instant::now();
    for follower in followers {
        assert_eq!(follower.join().expect("a follower"), "1,90000000000");
    }
    let took = told.elapsed();
    drop(silent);
    println!(
        "a thousand followers were told within {} ms",
        took.as_millis()
    );
    assert!(
        took < Duration::from_secs(2),
        "{took:?}: not before their next burst"
    );
}
