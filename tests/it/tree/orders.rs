//! What the operator of the group at the top tells, and where references belong.

use berkeley::internals::clock::{Clock, WallClock};
use berkeley::{Follower, NetworkClock, Order, OrderError};
use chrono::TimeDelta;

use super::{Site, apart, wait};
use crate::support::programs::Program;

const STEP: TimeDelta = TimeDelta::seconds(90);

fn clocks(sites: &[&Site]) -> Vec<NetworkClock> {
    let clocks = |site: &&Site| {
        let followers = site.followers.iter().map(Follower::clock);
        followers.chain([site.master.clock()]).collect::<Vec<_>>()
    };
    sites.iter().flat_map(clocks).collect()
}

#[test]
fn a_step_that_the_top_is_told_is_made_by_every_clock_below_it_once() {
    let top = Site::start(&[], (0, 30.0), &[(5, 0.0)]);
    let middle = Site::start(&[top.address()], (-30, -20.0), &[(20, 10.0)]);
    let leaf = Site::start(&[middle.address()], (10, 40.0), &[(-20, -40.0)]);
    let sites = [&top, &middle, &leaf];
    let close = || apart(&sites).is_some_and(|it| it < TimeDelta::milliseconds(1));
    wait("all agree", || {
        middle.is_below() && leaf.is_below() && close()
    });
    let refused = leaf.master.operator().tell(&Order::SetBy(STEP), "a test");
    assert_eq!(refused, Err(OrderError::Above(middle.address())));

    let clocks = clocks(&sites);
    let made = |clock: &NetworkClock| clock.steps().map_or((0, STEP), |it| (it.number, it.total));
    assert!(clocks.iter().all(|clock| made(clock).0 == 0));
    // Who has not heard yet whose steps it makes is no part of the group.
    let series = |clock: &NetworkClock| clock.steps().map(|it| it.series);
    wait("all have heard whose steps they make", || {
        let top = series(&top.master.clock());
        top.is_some() && clocks.iter().all(|clock| series(clock) == top)
    });
    let done = top.master.operator().tell(&Order::SetBy(STEP), "a test");
    assert!(done.is_ok(), "{done:?}");
    let took = wait("all have made it", || {
        clocks.iter().all(|clock| made(clock) == (1, STEP))
    });
    println!("tree | a step at the top | made by all after {took:.1?}");
    // Whatever could bring it down once more, as a correction, does so in two rounds of each group.
    let until = leaf.round() + 6;
    wait("rounds later", || {
        let ahead = clocks.iter().map(|it| it.now().time - WallClock.read());
        for moved in ahead {
            let off = (moved - STEP).abs();
            assert!(off < TimeDelta::milliseconds(500), "moved by {moved}");
        }
        leaf.round() >= until
    });
    wait("all agree again", close);
}

#[test]
fn a_reference_in_a_group_below_is_told_where_it_belongs() {
    let top = Program::master(&["--interval", "500ms"]);
    let parent = top.address().to_string();
    let site = Program::master(&["--interval", "500ms", "--parent", &parent]);
    let reference = ["--reference", "--name", "gps"];
    let _follower = Program::follower(site.address(), &reference);
    let why = "gps is a reference and leads nobody";
    assert!(site.log_line(why).text.contains("at the top"));
    for _ in 0..4 {
        site.line("2 of 2 clocks agree");
    }
    let told = site.transcript();
    assert_eq!(told.matches(why).count(), 1, "{told}");
    assert!(!told.contains("references followed"), "{told}");
}
