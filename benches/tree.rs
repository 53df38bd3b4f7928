//! How far apart the clocks of a tree of groups are, by its depth; and a million of them.
//!
//! `cargo bench --bench tree -- 100 100 100` runs the large tree alone, with so many groups below the
//! top, groups below each of those, and followers in each of those. It fails where a million clocks
//! take more than ten minutes or 2 GiB, or are too far apart.

#[path = "../tests/it/simulation/network.rs"]
#[allow(dead_code, reason = "the simulation's scenarios need more of it")]
mod network;
#[path = "../tests/it/simulation/queue.rs"]
#[allow(dead_code, reason = "the simulation's scenarios need more of it")]
mod queue;
#[path = "../tests/it/simulation/tree/mod.rs"]
#[allow(dead_code, reason = "the simulation's scenarios need more of it")]
mod tree;

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use fastrand::Rng;
use network::SECOND;
use tree::group::{Group, Plan, Scenario};
use tree::measured::{Measured, chain, part};

fn main() {
    let sizes = env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let sizes: Vec<_> = sizes.collect();
    if let [groups, below, followers] = sizes[..] {
        return large(groups, below, followers);
    }
    println!("groups of a master and 4 followers, two below each of a chain; links of 0.2 ms and");
    println!(
        "exponentially distributed 0.2 ms more; ±100 ppm; rounds of 5 s; 400 rounds after 100;"
    );
    println!(
        "medians in µs, and after how many seconds all are within 1 ms; up to date are children"
    );
    println!("that have held a round since their parent has\n");
    println!(
        "{:>5} {:>8} {:>11} {:>12} {:>11} {:>11} {:>10}",
        "depth", "clocks", "all clocks", "parent-child", "up to date", "neighbours", "start, s"
    );
    for depth in [0, 1, 2, 3, 4, 6, 8, 11, 16, 20] {
        println!("{depth:>5} {}", Measured::of(&chain(depth), 100, 400, 1));
    }
    println!();
    large(100, 100, 100);
}

/// The most that a hundred rounds of a million clocks may cost.
const LONGEST: Duration = Duration::from_mins(10);
const MOST_MIB: usize = 2048;

/// How far apart they may be, in µs.
const FURTHEST: f64 = 150.0;

/// A hundred rounds of a large tree.
fn large(groups: usize, below: usize, followers: usize) {
    let (began, spent) = (Instant::now(), processor_time());
    let mut top = Plan::tree(followers, &[groups, below]);
    top.members = 0;
    top.children.iter_mut().for_each(|group| group.members = 0);
    let scenario = Scenario::default();
    let mut tree = Group::new(&top, scenario, &mut Rng::with_seed(1));
    tree.parallel = true;
    let mut clocks = 0;
    tree.readings(0, &mut |_, _| clocks += 1);
    let mut skews = Vec::new();
    for round in 1..=100 {
        tree.advance(round * scenario.interval);
        if round > 50 {
            skews.push(tree.skew().num_nanoseconds().unwrap_or(i64::MAX));
        }
    }
    let (median, worst) = (part(&mut skews, 0.5), part(&mut skews, 1.0));
    let (took, processors, memory) = (began.elapsed(), processor_time() - spent, most_memory());
    println!(
        "{clocks} clocks, {groups} × {below} × {followers}, 100 rounds of {} s: skew of all \
         {median:.1} µs in the median of the last 50, {worst:.1} µs at worst; {:.0} s, {processors:.0} s \
         of the processors, {memory} MiB, {} bytes a clock",
        scenario.interval / SECOND,
        took.as_secs_f64(),
        memory * 1024 * 1024 / clocks
    );
    assert!(median <= FURTHEST, "{median:.1} µs apart");
    assert!(took <= LONGEST, "{took:.0?}");
    assert!((1..=MOST_MIB).contains(&memory), "{memory} MiB");
}

/// How long this process has kept processors busy, in seconds.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // What comes before may contain anything; then there are words. Linux counts in 1/100 s.
    let words = stat.rsplit(')').next().unwrap_or_default();
    let spent = words.split_whitespace().skip(11).take(2);
    spent.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The most memory that this process has had, in MiB.
fn most_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let size = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    size.unwrap_or(0) / 1024
}
