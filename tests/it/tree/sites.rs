//! Three sites in network namespaces, with real programs: two groups of five below two candidates.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::partition::sides::Network;
use crate::support::programs::{Line, Program};
use crate::support::records::{apart, moments};
use crate::tree::wait;
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::span::span;
use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;

/// A fifth of the default, so that the test is as much shorter.
const INTERVAL: Duration = Duration::from_secs(1);

/// The masters at the top.
const TOP: &str = "10.0.0.1:8080,10.0.0.2:8080";

/// How far apart any two clocks may be.
const CLOSE: TimeDelta = TimeDelta::microseconds(300);

/// A site is cut off for so many rounds: with rounds of 5 s, that is a minute and more. At the rates
/// of their oscillators, the two sites would be 900 µs apart.
const CUT: u32 = 15;

/// How far apart they may be in the end. A site that took up a rate of its own would be 200 µs away.
const HELD: TimeDelta = TimeDelta::microseconds(100);

/// The longest pause of a master that tries to reach the one above it again, and how long it tries
/// each of two.
const PAUSE: Duration = Duration::from_secs(6);

/// A master and four followers beside it, but for the top.
struct Site {
    master: Program,
    _followers: Vec<Program>,
    records: Vec<PathBuf>,
}

/// The network, and a folder for the records of all.
struct Sites {
    network: Network,
    folder: TempDir,
}

impl Sites {
    fn master(&self, side: usize, address: u8, arguments: &[&str]) -> Program {
        let mut command = (self.network).command(side, env!("CARGO_BIN_EXE_berkeley-master"));
        command
            .args(["--listen", &format!("10.0.0.{address}:8080")])
            .args(["--interval", &format!("{}s", INTERVAL.as_secs())])
            .args(arguments);
        Program::start(&mut command)
    }

    fn follower(&self, side: usize, master: u8, drift: i32) -> (Program, PathBuf) {
        let record = self.folder.path().join(format!("{master}{drift:+}.csv"));
        let mut command = (self.network).command(side, env!("CARGO_BIN_EXE_berkeley-follower"));
        command
            .arg(format!("10.0.0.{master}"))
            .args(["--simulate-drift", &drift.to_string(), "--record"])
            .arg(&record);
        (Program::start(&mut command), record)
    }

    /// A site whose clocks have these drifts, the master's first.
    fn site(&self, side: usize, address: u8, drifts: [i32; 5]) -> Site {
        let drift = drifts[0].to_string();
        let parent = ["--parent", TOP, "--min-followers", "4"];
        let flags = [&parent[..], &["--simulate-drift", &drift]].concat();
        let master = self.master(side, address, &flags);
        let followers = drifts[1..].iter();
        let followers = followers.map(|drift| self.follower(side, address, *drift));
        let (programs, records) = followers.unzip();
        Site {
            master,
            _followers: programs,
            records,
        }
    }
}

impl Site {
    /// Waits until the master has held a round that ends after this moment.
    fn rounds_until(&self, until: Instant) {
        while self.master.line("clocks agree").read < until {}
    }

    /// Waits until it is below another group, and counts the rounds that it holds from `since` on
    /// until then.
    fn is_below(&self, since: Instant) -> (u32, Line) {
        let mut rounds = 0;
        loop {
            let line = self.master.line("");
            rounds += u32::from(line.text.contains("clocks agree") && line.read > since);
            if line.text.contains("Below the group of") {
                return (rounds, line);
            }
        }
    }
}

/// How far apart the clocks of these records were at most between two moments.
fn worst(records: &[&PathBuf], from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
    let records: Vec<_> = records.iter().map(|path| moments(path)).collect();
    *apart(&records, from, to).last().expect("a distance")
}

#[test]
#[ignore = "needs root, iproute2 and util-linux"]
fn three_sites_have_one_time_whatever_is_lost() {
    let sites = Sites {
        network: Network::new([&[1, 2], &[11], &[21]]),
        folder: tempfile::tempdir().expect("a folder"),
    };
    let mut top =
        [1, 2].map(|address| sites.master(0, address, &["--candidates", TOP, "--max-weight", "5"]));
    // Any two clocks are 100 ppm apart at most, and the two sites 60 in the mean.
    let (_witness, record) = sites.follower(0, 1, 0);
    let [one, other] = [
        sites.site(1, 11, [-30, -50, -40, -20, -10]),
        sites.site(2, 21, [30, 50, 40, 20, 10]),
    ];
    let all: Vec<_> = [&record]
        .into_iter()
        .chain(&one.records)
        .chain(&other.records)
        .collect();
    for site in [&one, &other] {
        site.is_below(Instant::now());
    }
    // By then, the rate of the tree is held by what it was.
    one.rounds_until(Instant::now() + 40 * INTERVAL);
    let began = WallClock.read();
    one.rounds_until(Instant::now() + 5 * INTERVAL);
    let together = worst(&all, began, WallClock.read());

    sites.network.unplug(2);
    let cut = Instant::now();
    other.master.line("No group above: going on alone");
    one.rounds_until(cut + CUT * INTERVAL);
    let (plugged, plugged_at) = (Instant::now(), WallClock.read());
    sites.network.plug_in(2);
    let (_, line) = other.is_below(plugged);
    let reached = line.read - plugged;
    let away = worst(&all, plugged_at - TimeDelta::seconds(4), WallClock.read());
    other.rounds_until(Instant::now() + 3 * INTERVAL);
    let back_at = WallClock.read();
    other.rounds_until(Instant::now() + 4 * INTERVAL);
    let back = worst(&all, back_at, WallClock.read());

    let (killed, killed_at) = (Instant::now(), WallClock.read());
    let leader = &mut top[usize::from(line.text.ends_with("10.0.0.2:8080"))];
    leader.signal("KILL");
    leader.ends_within(INTERVAL);
    let missed = [&one, &other].map(|site| {
        let (rounds, line) = site.is_below(killed);
        (rounds, line.read - killed)
    });
    one.rounds_until(Instant::now() + 5 * INTERVAL);
    let without = worst(&all, killed_at, WallClock.read());
    println!(
        "tree | two groups of five below two candidates | {} apart at most; a site cut off for \
         {CUT} rounds: {} apart in the end, reached after {:.2} s, and {} apart three rounds \
         later; the leader at the top killed: below the next one after {:.2} s and {:.2} s, {} \
         apart",
        span(together),
        span(away),
        reached.as_secs_f64(),
        span(back),
        missed[0].1.as_secs_f64(),
        missed[1].1.as_secs_f64(),
        span(without),
    );
    assert!(together <= CLOSE, "{together} apart");
    assert!(away <= HELD, "{away} apart when cut off");
    assert!(reached <= PAUSE + INTERVAL, "back after {reached:?}");
    assert!(back <= CLOSE, "{back} apart when back");
    for (rounds, after) in missed {
        assert!(
            rounds <= 2 && after < INTERVAL * 5 / 2,
            "{rounds} rounds without the leader, {after:?}"
        );
    }
    assert!(without <= CLOSE, "{without} apart without the leader");
}

#[test]
#[ignore = "needs root, iproute2 and util-linux"]
fn a_loop_of_three_programs_is_broken() {
    let sites = Sites {
        network: Network::new([&[1], &[2], &[3]]),
        folder: tempfile::tempdir().expect("a folder"),
    };
    let parents = ["10.0.0.2", "10.0.0.3", "10.0.0.1"];
    let masters =
        [0, 1, 2].map(|side| sites.master(side, side as u8 + 1, &["--parent", parents[side]]));
    let began = Instant::now();
    let that_say = |what: &str| {
        let said = masters.iter().map(Program::transcript);
        said.filter(|said| said.contains(what)).count()
    };
    wait("two are below, and one says why it is not", || {
        that_say("Below the group of") == 2 && that_say("would close a loop of 3 groups") == 1
    });
    let took = began.elapsed();
    println!("tree | a loop of three programs | broken after {took:.1?}");
    // A round takes 5 s, if nobody says otherwise.
    assert!(took < Duration::from_secs(5), "broken after {took:?}");
}
