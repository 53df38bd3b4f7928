//! The worst moments in the life of a tree that need real threads and sockets.

use std::thread;
use std::time::Duration;

use berkeley::internals::span::span;
use chrono::TimeDelta;

use super::{Site, apart, wait};
use crate::candidates::group::Ports;
use crate::support::programs::Program;
use crate::support::relay::{Relay, Toward};

#[test]
fn a_link_to_the_top_comes_and_goes_every_two_seconds() {
    let top = Site::start(&[], (0, 40.0), &[(10, -20.0), (-10, 30.0)]);
    let link = Relay::to(top.address());
    let site = Site::start(&[link.address()], (300, -60.0), &[(310, 50.0)]);
    let sites = [&top, &site];
    let close = || apart(&sites).is_some_and(|it| it < TimeDelta::microseconds(500));
    wait("both agree", || site.is_below() && close());
    let mut worst = TimeDelta::zero();
    let mut look = |so_long: Duration| {
        for _ in 0..8 {
            thread::sleep(so_long / 8);
            worst = worst.max(apart(&sites).expect("all are corrected"));
        }
    };
    for _ in 0..3 {
        link.silence(&[Toward::Client, Toward::Server]);
        link.cut();
        look(Duration::from_secs(2));
        link.heal();
        look(Duration::from_secs(2));
    }
    let took = wait("they agree again", || site.is_below() && close());
    println!(
        "tree | a link comes and goes every 2 s | {} apart at most, and close {took:.1?} after",
        span(worst)
    );
    assert!(worst < TimeDelta::milliseconds(2), "{worst} apart");
}

#[test]
fn the_leader_at_the_top_is_killed_while_a_site_joins() {
    let ports = Ports::reserve(2);
    let top = [0, 1].map(|rank| ports.candidate_every(rank, "500ms", &[]));
    top[0].line("Leading, in term 1");
    let follower = Program::follower(ports.address(0), &["--name", "witness"]);
    follower.line("Synchronized time: ");
    top[0].line("3 of 3 clocks agree");
    let parents = [0, 1].map(|rank| ports.address(rank).to_string()).join(",");
    let wrong = ["--simulate-offset", "20m", "--interval", "500ms"];
    let site = Program::master(&[&wrong[..], &["--parent", &parents]].concat());
    let below = Program::follower(site.address(), &["--simulate-offset", "20m"]);
    // It is asked for its time by the leader now, which can't tell any more what came of it.
    top[0].signal("KILL");
    let joined = site.line("Below the group of ");
    assert!(
        joined.text.contains(&ports.address(1).to_string()),
        "{}",
        joined.text
    );
    site.line("2 of 2 clocks agree");
    top[1].line("3 of 3 clocks agree");
    let off = below
        .line("Synchronized time: ")
        .told_ahead("Synchronized time: ");
    assert!(off.abs() < TimeDelta::seconds(1), "{off} off the machine's");
    let off = follower
        .line("Synchronized time: ")
        .told_ahead("Synchronized time: ");
    assert!(
        off.abs() < TimeDelta::milliseconds(100),
        "the others were moved by {off}"
    );
}
