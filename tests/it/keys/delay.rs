//! What is left to somebody in the middle who can't say anything: to delay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use berkeley::internals::span::span;
use berkeley::{Credentials, FollowerOptions};
use chrono::TimeDelta;

use crate::faults::local::LocalFollower;
use crate::support::keys::Keys;
use crate::support::programs::steady;
use crate::support::relay::{Link, Relay, Toward};

/// So long corrections of a delayed path come.
const DELAYED: Duration = Duration::from_secs(2);

/// What a busy machine adds.
const BUSY: TimeDelta = TimeDelta::milliseconds(1);

/// Delays what goes to the master on one follower's connection, once the path is known. The others
/// are not to be moved, and the one behind it by no more than it states.
fn delayed(milliseconds: u64) {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let address = master.address();
    let local = |name: &str, at: SocketAddr| {
        let options = FollowerOptions {
            credentials: Some(Credentials::Node(keys.node_file(name))),
            ..FollowerOptions::default()
        };
        LocalFollower::of(at, options)
    };
    let relay = Relay::to(address);
    let behind = local("behind", relay.address());
    let others = ["db1", "db2"].map(|name| local(name, address));
    for follower in others.iter().chain([&behind]) {
        follower.is_corrected(8);
    }
    let ahead = |follower: &LocalFollower| follower.clock.mark().target - steady();
    let began = others.each_ref().map(ahead);
    let delay = Duration::from_millis(milliseconds);
    relay.set(Toward::Server, Link::delayed(delay));
    let (mut group, mut own, mut beyond) = (TimeDelta::zero(), TimeDelta::zero(), TimeDelta::MIN);
    let end = Instant::now() + DELAYED;
    while Instant::now() < end {
        let _ = behind.was_corrected_within(Duration::from_millis(5));
        let moved = others
            .iter()
            .zip(began)
            .map(|(it, began)| (ahead(it) - began).abs());
        group = moved.fold(group, TimeDelta::max);
        let (wrong, stated) = behind.away_from(&others[0]);
        own = own.max(wrong);
        beyond = beyond.max(wrong - stated.unwrap_or_default());
    }
    println!(
        "delay | {milliseconds} ms one way | the others were moved by {} | who is behind it by {}, \
         which is {} less than it stated",
        span(group),
        span(own),
        span(-beyond)
    );
    assert!(group <= BUSY, "{group}");
    assert!(beyond <= BUSY, "{own}, {beyond} more than was stated");
    // It was delayed, and that was noticed.
    let told = master.transcript();
    let mut rows = told.lines().filter(|line| line.contains("  behind "));
    assert!(
        rows.any(|row| row.contains(" ms ")),
        "no delay was measured: {told}"
    );
}

#[test]
fn a_delay_of_1_ms_moves_nobody_beyond_the_error_that_is_stated() {
    delayed(1);
}

#[test]
fn nor_does_one_of_10_ms() {
    delayed(10);
}

#[test]
fn nor_does_one_of_100_ms() {
    delayed(100);
}
