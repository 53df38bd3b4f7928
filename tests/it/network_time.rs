//! Network time as programs see it: through the library, and in the records of real processes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::programs::{Program, SOON};
use crate::support::records::{ahead_at, moments};
use berkeley::internals::clock::Simulation;
use berkeley::internals::wire::address::Address;
use berkeley::{Follower, FollowerError, FollowerEvent, FollowerOptions, Master, MasterOptions};
use chrono::TimeDelta;

fn master(interval: Duration) -> Master {
    Master::start(MasterOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        interval,
        ..MasterOptions::default()
    })
    .expect("a master")
}

fn follower_of(master: &Master, simulation: Simulation) -> Follower {
    let options = FollowerOptions {
        simulation,
        ..FollowerOptions::default()
    };
    Follower::connect([Address::from(master.local_addr())], options).expect("a follower")
}

fn corrections(follower: &Follower, mut count: usize) {
    while count > 0 {
        match follower.next_event() {
            Some(FollowerEvent::Synchronized { .. }) => count -= 1,
            Some(_) => {}
            None => panic!("the follower ended"),
        }
    }
}

#[test]
fn an_embedded_follower_shows_network_time_to_any_thread_and_never_backwards() {
    let master = master(Duration::from_millis(100));
    let off = Simulation {
        offset: TimeDelta::milliseconds(400),
        drift_ppm: 500.0,
    };
    let follower = follower_of(&master, off);
    assert_eq!(
        follower.clock().now().error,
        None,
        "no correction has come yet"
    );
    let until = Instant::now() + Duration::from_secs(2);
    let read = |clock: berkeley::internals::discipline::network_clock::NetworkClock| {
        let mut last = clock.now().time;
        let mut readings = 0_u64;
        while Instant::now() < until {
            let next = clock.now().time;
            assert!(next >= last, "{next} after {last}");
            last = next;
            readings += 1;
        }
        readings
    };
    thread::scope(|scope| {
        let (one, other) = (follower.clock(), follower.clock());
        let readers = [
            scope.spawn(move || read(one)),
            scope.spawn(move || read(other)),
        ];
        corrections(&follower, 10);
        for reader in readers {
            assert!(reader.join().expect("no reading ran backwards") > 10_000);
        }
    });
    // Both are 200 ms off their own clocks now, and agree to what their errors say.
    let (ours, theirs) = (follower.clock(), master.clock());
    let apart = (ours.mark().target - theirs.mark().target).abs();
    let error = ours.now().error.expect("corrections came");
    assert!(
        apart < error && apart < TimeDelta::milliseconds(2),
        "{apart}, {error}"
    );
}

#[test]
fn it_holds_over_when_the_master_is_gone() {
    let master = master(Duration::from_millis(100));
    let drifting = |drift_ppm| Simulation {
        offset: TimeDelta::zero(),
        drift_ppm,
    };
    let (fast, slow) = (
        follower_of(&master, drifting(300.0)),
        follower_of(&master, drifting(-300.0)),
    );
    corrections(&fast, 30);
    corrections(&slow, 30);
    master.stopper().stop();
    master.finish().expect("an orderly end");
    let apart = || fast.clock().mark().target - slow.clock().mark().target;
    let (before, began) = (apart(), Instant::now());
    let error = fast.clock().now().error.expect("corrections came");
    while began.elapsed() < Duration::from_secs(2) {
        thread::park_timeout(Duration::from_millis(100));
    }
    // Left to themselves their oscillators would be 1200 µs further apart.
    let drifted = (apart() - before).abs();
    assert!(
        drifted < TimeDelta::microseconds(120),
        "{drifted} in two seconds"
    );
    let later = fast.clock().now().error.expect("corrections came");
    assert!(later > error, "the error grows: {error}, then {later}");
}

#[test]
fn a_clock_knows_whether_anybody_corrects_it() {
    let master = master(Duration::from_millis(100));
    let address = Address::from(master.local_addr());
    assert!(master.clock().is_disciplined());
    // Dropped in the middle of a line, in which nobody sees it.
    let clock = Follower::connect([address.clone()], FollowerOptions::default())
        .expect("a follower")
        .clock();
    assert!(!clock.is_disciplined(), "its follower is gone");

    let follower = follower_of(&master, Simulation::NONE);
    let clock = follower.clock();
    corrections(&follower, 3);
    assert!(clock.is_disciplined());
    drop(follower);
    assert!(!clock.is_disciplined());
    let error = || clock.now().error.expect("corrections came");
    let (before, began) = (error(), Instant::now());
    while error() <= before {
        assert!(began.elapsed() < SOON, "it does not hold over");
        thread::park_timeout(Duration::from_millis(1));
    }

    let clock = master.clock();
    master.stopper().stop();
    master.finish().expect("an orderly end");
    assert!(!clock.is_disciplined());
}

#[test]
fn a_follower_is_finished_when_it_has_ended_by_itself_or_was_stopped() {
    let master = master(Duration::from_millis(100));
    let address = Address::from(master.local_addr());
    let options = || FollowerOptions {
        rounds: Some(5),
        ..FollowerOptions::default()
    };
    let follower = Follower::connect([address.clone()], options()).expect("a follower");
    let clock = follower.clock();
    // Nobody takes its events.
    follower.finish().expect("an end by itself");
    assert!(clock.is_synchronized() && !clock.is_disciplined());

    let follower = Follower::connect([address.clone()], options()).expect("a follower");
    let mut events = std::iter::from_fn(|| follower.next_event());
    assert_eq!(
        events
            .by_ref()
            .filter(|event| matches!(event, FollowerEvent::Synchronized { .. }))
            .count(),
        5,
        "the events of a follower that has ended are there to be taken"
    );
    follower.finish().expect("an end by itself");

    let follower = follower_of(&master, Simulation::NONE);
    corrections(&follower, 1);
    let (clock, stopper) = (follower.clock(), follower.stopper());
    thread::scope(|scope| {
        let finished = scope.spawn(|| follower.finish());
        assert!(clock.is_disciplined() || finished.is_finished());
        stopper.stop();
        let finished = finished.join().expect("no panic");
        finished.expect("an end that was asked for");
    });
    assert!(!clock.is_disciplined());
}

#[test]
fn what_makes_no_follower_is_refused() {
    let nobody = Follower::connect([], FollowerOptions::default());
    assert!(matches!(nobody, Err(FollowerError::NoMaster)));
    let hot = FollowerOptions {
        interval: Duration::ZERO,
        ..FollowerOptions::default()
    };
    let hot = Follower::connect([Address::new("127.0.0.1", 1)], hot);
    assert!(matches!(hot, Err(FollowerError::Interval(_))));
}

#[test]
fn clocks_that_drift_apart_agree_at_any_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let master = Program::master(&["--interval", "1s", "--rounds", "20", "--min-followers", "3"]);
    let address = master.address();
    let followers = ["100", "-100", "40"].map(|drift| {
        let path = folder.path().join(format!("{drift}.csv"));
        let file = path.to_str().expect("a name").to_owned();
        let follower = Program::follower(address, &["--simulate-drift", drift, "--record", &file]);
        (path, follower)
    });
    for round in 1..=20 {
        master.line(&format!("Round {round}: 4 of 4 clocks agree"));
    }
    // Rates are learned in the first rounds; until then 100 ppm are 100 µs in a round.
    let records = followers.map(|(path, _)| moments(&path).split_off(4));
    assert!(records.iter().all(|record| record.len() >= 14));
    let apart = records.iter().flatten().filter_map(|moment| {
        let there = records.iter().map(|record| ahead_at(record, moment.time));
        let there = there.collect::<Option<Vec<_>>>()?;
        Some(*there.iter().max()? - *there.iter().min()?)
    });
    let mut apart: Vec<_> = apart.collect();
    apart.sort_unstable();
    assert!(apart.len() > 30, "{} moments", apart.len());
    // A busy machine may come between the two readings of a row, which spoils those beside it.
    let (most, worst) = (apart[apart.len() * 8 / 10], apart[apart.len() - 1]);
    assert!(most <= TimeDelta::microseconds(100), "{most} apart");
    assert!(
        worst <= TimeDelta::milliseconds(2),
        "{worst} apart at worst"
    );
}

#[test]
fn a_rate_is_kept_in_the_drift_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("drift");
    let name = file.to_str().expect("a name");
    let master = Program::master(&["--interval", "200ms"]);
    let address = master.address();
    let drift = ["--simulate-drift", "200ppm", "--drift-file", name];
    let follower = Program::follower(address, &[&drift[..], &["--rounds", "25"]].concat());
    follower.stops_by_itself();
    let kept = fs::read_to_string(&file).expect("a drift file");
    let ppm: f64 = kept
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()
        .expect("a rate");
    // The network is half-way between a right clock and one that gains 200 ppm.
    assert!((ppm + 100.0).abs() < 25.0, "{kept}");

    fs::write(&file, "-100.0").expect("a file");
    let follower = Program::follower(address, &drift);
    follower.log_line("does not hold a rate");
    follower.line("Synchronized time: ");
}
