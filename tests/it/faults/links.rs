//! Links that are slow, or slower one way than the other.

use std::net::SocketAddr;
use std::time::Duration;

use berkeley::FollowerOptions;
use berkeley::internals::span;
use chrono::TimeDelta;

use super::group::{Group, LIMIT, row};
use super::local::LocalFollower;
use crate::support::programs::Program;
use crate::support::relay::{Link, Relay, Toward};

/// What a follower behind a bad link shows to applications, while it is corrected.
#[derive(Debug, Default)]
struct Shown {
    /// The farthest from the time of the group.
    wrong: TimeDelta,
    /// By how much it was further from that than it stated.
    beyond: TimeDelta,
}

/// How far the healthy followers may be from each other meanwhile.
const GROUP_ERROR: TimeDelta = TimeDelta::microseconds(500);

/// Reads the clock of a follower behind a relay, in this process, until it was corrected so many
/// times, and beside it that of one that is not.
fn shown_behind(relay: SocketAddr, group: SocketAddr, corrections: usize) -> Shown {
    let [follower, healthy] =
        [relay, group].map(|to| LocalFollower::of(to, FollowerOptions::default()));
    healthy.is_corrected(1);
    let mut shown = Shown::default();
    for _ in 0..corrections {
        while !follower.was_corrected_within(Duration::from_millis(2)) {
            if let (wrong, Some(stated)) = follower.away_from(&healthy) {
                shown.wrong = shown.wrong.max(wrong);
                shown.beyond = shown.beyond.max(wrong - stated - GROUP_ERROR);
            }
        }
    }
    shown
}

impl Shown {
    fn row(&self, fault: &str) {
        row(
            &format!("{fault}: who is behind it"),
            &format!(
                "is wrong by {} at most, by {} more than it states",
                span::span(self.wrong),
                span::span(self.beyond)
            ),
            "no more than it states",
            self.beyond.is_zero(),
        );
    }
}

#[test]
fn a_link_is_asymmetric_by_10_ms() {
    let group = Group::new(3);
    let relay = Relay::to(group.address());
    relay.set(Toward::Server, Link::delayed(Duration::from_millis(10)));
    let watch = group.watch();
    let shown = shown_behind(relay.address(), group.address(), 8);
    watch.rounds(8);
    let fault = "a link that is asymmetric by 10 ms";
    watch.noticed().row(fault, LIMIT);
    shown.row(fault);
    assert!(
        shown.wrong > TimeDelta::milliseconds(4),
        "the relay delays one way"
    );
}

#[test]
fn four_of_ten_polls_come_half_a_second_late() {
    let seed = fastrand::u64(..);
    println!("the relay's seed is {seed}");
    // Four times as long as that: a poll that is answered in the next round is of no use.
    let interval = Duration::from_secs(2);
    let group = Group::of(Program::master(&["--interval", "2s"]), 3, interval);
    let relay = Relay::new(group.address(), seed);
    let late = Link {
        late: Some((0.4, Duration::from_millis(500))),
        ..Link::CLEAR
    };
    let watch = group.watch();
    relay.set(Toward::Client, late);
    let shown = shown_behind(relay.address(), group.address(), 5);
    watch.rounds(6);
    let fault = "40 % of polls 500 ms late";
    watch.noticed().row(fault, LIMIT);
    shown.row(fault);
    assert_eq!(relay.connections(), 1, "it was never sent away");
}
