//! A network that falls into two parts and grows together again.

pub(crate) mod sides;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::programs::Program;
use crate::support::records::{self, Moment, moments};
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::span::span;
use chrono::{DateTime, TimeDelta, Utc};
use sides::Network;

const CANDIDATES: &str = "10.0.0.1:8080,10.0.0.2:8080,10.0.0.3:8080";

/// How soon each side has to have a leader.
const LED_WITHIN: Duration = Duration::from_secs(3);

/// For how long the network is cut.
const CUT: Duration = Duration::from_mins(1);

/// How far apart clocks of one side may be.
const APART: TimeDelta = TimeDelta::microseconds(200);

struct Follower {
    program: Program,
    record: PathBuf,
}

impl Follower {
    fn start(network: &Network, folder: &Path, number: usize, drift: &str) -> Self {
        let side = usize::from(number >= 3);
        let record = folder.join(format!("{number}.csv"));
        let mut command = network.command(side, env!("CARGO_BIN_EXE_berkeley-follower"));
        // Any one of the candidates will do, so each side's followers know another one.
        command
            .arg(format!("10.0.0.{}", 1 + number % 3))
            .args(["--simulate-drift", drift, "--record"])
            .arg(&record);
        Self {
            program: Program::start(&mut command),
            record,
        }
    }

    fn moments(&self) -> Vec<Moment> {
        moments(&self.record)
    }

    fn last(&self) -> Moment {
        *self.moments().last().expect("a correction")
    }
}

/// How far apart these clocks were at most, at any moment of corrections between two times.
fn apart(followers: &[Follower], from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
    let records: Vec<_> = followers.iter().map(Follower::moments).collect();
    let apart = records::apart(&records, from, to);
    apart[apart.len() - 1]
}

fn median(mut spans: Vec<TimeDelta>) -> TimeDelta {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

#[test]
#[ignore = "needs root, iproute2 and util-linux"]
fn each_side_of_a_partition_keeps_its_time_and_the_larger_one_moves_less() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::new([&[1], &[2, 3]]);
    let candidate = |number: usize| {
        let side = usize::from(number > 1);
        let mut command = network.command(side, env!("CARGO_BIN_EXE_berkeley-master"));
        command
            .args(["--listen", &format!("10.0.0.{number}:8080")])
            .args(["--candidates", CANDIDATES, "--interval", "1s"])
            // The followers of one side are on one machine.
            .args(["--votes-per-address", "20"]);
        Program::start(&mut command)
    };
    let candidates = [1, 2, 3].map(candidate);
    // What the sides' clocks gain on the machine's: apart, they would be 12 ms apart in the end.
    let drifts = [
        "150", "100", "50", "-60", "-80", "-100", "-110", "-120", "-140", "-90",
    ];
    let drifts = drifts.iter().enumerate();
    let follower =
        |(number, drift): (usize, &&str)| Follower::start(&network, folder.path(), number, drift);
    let followers: Vec<_> = drifts.map(follower).collect();
    let (left, right) = followers.split_at(3);
    for _ in 0..15 {
        candidates[0].line("13 of 13 clocks agree");
    }

    network.unplug(0);
    let (cut, cut_at) = (Instant::now(), WallClock.read());
    candidates[1].line("Leading, in term 2");
    let led = cut.elapsed();
    assert!(led <= LED_WITHIN, "{led:?}");
    for follower in right {
        follower.program.line("Connected to 10.0.0.2:8080");
        follower.program.line("Synchronized time: ");
    }
    while cut.elapsed() < CUT {
        candidates[0].line("clocks agree");
        candidates[1].line("clocks agree");
    }
    let before: Vec<_> = followers.iter().map(Follower::last).collect();
    let (apart_left, apart_right) = (
        apart(left, cut_at + TimeDelta::seconds(3), before[0].time),
        apart(right, cut_at + TimeDelta::seconds(3), before[3].time),
    );
    let sides = median(before[..3].iter().map(Moment::ahead).collect())
        - median(before[3..].iter().map(Moment::ahead).collect());
    assert!(
        apart_left <= APART && apart_right <= APART,
        "{apart_left} {apart_right}"
    );
    assert!(
        sides > APART * 5,
        "the sides are {sides} apart, which shows nothing"
    );

    network.plug_in(0);
    candidates[0].line("Following 10.0.0.2:8080, in term 2");
    // Three rounds of all.
    for _ in 0..3 {
        candidates[1].line("of 13 clocks agree");
    }
    for follower in left {
        follower.program.line("Connected to 10.0.0.2:8080");
        for _ in 0..4 {
            follower.program.line("Synchronized time: ");
        }
    }
    let after: Vec<_> = followers.iter().map(Follower::last).collect();
    let moved = |followers: std::ops::Range<usize>| {
        let moved = followers
            .map(|number| (after[number].ahead_of_own() - before[number].ahead_of_own()).abs());
        median(moved.collect())
    };
    let (small, large) = (moved(0..3), moved(3..10));
    let ahead = after.iter().map(Moment::ahead);
    let together = ahead.clone().max().unwrap() - ahead.min().unwrap();
    println!(
        "fault | network cut for a minute | a leader after {:.2} s, each side {} apart at most; \
         healed: {} apart after three rounds, the smaller side moved by {}, the larger by {} | \
         limit: {} s, {}; {}, the larger by less",
        led.as_secs_f64(),
        span(apart_left.max(apart_right)),
        span(together),
        span(small),
        span(large),
        LED_WITHIN.as_secs(),
        span(APART),
        span(APART * 5)
    );
    assert!(together <= APART * 5, "{together} apart after three rounds");
    assert!(
        large < small,
        "the larger side moved by {large}, the smaller by {small}"
    );
}
