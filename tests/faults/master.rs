//! What becomes of followers while their master fails.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use berkeley::clock::Simulation;
use berkeley::follower;
use berkeley::human;
use chrono::TimeDelta;

use crate::group::{Group, INTERVAL, LIMIT, row, wait_for};
use crate::local::LocalFollower;
use crate::process::Process;
use crate::programs::Program;

/// How far apart their targets are, read in next to no time.
fn skew(followers: &[LocalFollower]) -> TimeDelta {
    loop {
        let began = Instant::now();
        let targets: Vec<_> = followers.iter().map(|f| f.clock.mark().target).collect();
        if began.elapsed() < Duration::from_micros(100) {
            let ends = targets.iter().min().zip(targets.iter().max());
            return ends.map_or(TimeDelta::zero(), |(first, last)| *last - *first);
        }
    }
}

#[test]
fn a_master_is_killed_and_restarted() {
    // An address that no outgoing connection takes a port of meanwhile.
    let on = |address: &str| {
        // Each start brings its clock back with the same offset; and it is not to average with
        // the first that comes back.
        let lone = ["--simulate-offset", "50ms", "--min-followers", "3"];
        Program::start(
            Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
                .args(["--interval", "200ms", "--listen", address])
                .args(lone),
        )
    };
    let master = on("127.0.0.3:0");
    let address = master.address();
    let drifting = |drift_ppm| {
        let options = follower::Options {
            simulation: Simulation {
                offset: TimeDelta::zero(),
                drift_ppm,
            },
            ..follower::Options::default()
        };
        LocalFollower::of(address, options)
    };
    let followers = [100.0, -100.0, 0.0].map(drifting);
    for follower in &followers {
        follower.is_corrected(40);
    }
    master.signal("KILL");
    drop(master);
    let skew = || skew(&followers);
    let ahead_of_machine = || {
        let (raw, network) = followers[2].clock.raw_and_now();
        network.time - raw
    };
    let (gone, before, ahead) = (Instant::now(), skew(), ahead_of_machine());
    let mut shown = followers.each_ref().map(|f| f.clock.now().time);
    let mut held = TimeDelta::zero();
    while gone.elapsed() < Duration::from_secs(3) {
        for (follower, shown) in followers.iter().zip(&mut shown) {
            let now = follower.clock.now().time;
            assert!(now > *shown, "time goes on");
            *shown = now;
        }
        held = held.max(skew());
        std::thread::sleep(Duration::from_millis(5));
    }
    let master = on(&address.to_string());
    master.line("Listening on ");
    master.line("Round 3: 4 of 4 clocks agree");
    for follower in &followers {
        follower.connects();
        follower.is_corrected(3);
    }
    let after = skew();
    let moved = (ahead_of_machine() - ahead).abs();
    // Without holdover they would be 600 µs apart, and a step would be more than a second.
    let (held, limit) = (held - before, TimeDelta::microseconds(300));
    row(
        "master killed for 3 s and restarted",
        &format!(
            "200 ppm apart, followers drift {} in holdover, agree to {} after three rounds, moved {}",
            human::span(held),
            human::span(after),
            human::span(moved)
        ),
        &format!(
            "{}, {1}, {1}, no step",
            human::span(limit),
            human::span(LIMIT.skew)
        ),
        held <= limit && after.max(moved) <= LIMIT.skew,
    );
}

#[test]
#[ignore = "mounts a small file system in a namespace of its own: needs root and unshare"]
fn the_disk_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let mount = "mount -t tmpfs -o size=16k tmpfs \"$0\" && head -c 12288 /dev/zero > \"$0\"/full \
                 && exec \"$@\" --record \"$0\"/record.csv";
    let master = Program::start(
        Command::new("unshare")
            .args(["-m", "sh", "-c", mount])
            .arg(folder.path())
            .arg(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(["--listen", "127.0.0.1:0", "--interval", "500ms"]),
    );
    let group = Group::of(master, 3, INTERVAL);
    let watch = group.watch();
    // A page is full after some ten rounds.
    group
        .master
        .log_line("going on without the lines that don't fit");
    watch.rounds(16);
    watch.noticed().row("disk full under --record", LIMIT);
    let inside = Process(group.master.id())
        .file("root")
        .join(folder.path().strip_prefix("/").expect("a root"));
    fs::remove_file(inside.join("full")).expect("the file that fills it");
    group.master.log_line("is written again");
    let lines = || fs::read_to_string(inside.join("record.csv")).expect("a record");
    let before = lines().len();
    wait_for("a line more", || lines().len() > before);
    let columns = |line: &str| line.split(',').count();
    assert!(
        lines().lines().all(|line| columns(line) == 8),
        "{}",
        lines()
    );
    let said = group.master.transcript();
    assert_eq!(said.matches("don't fit").count(), 1, "said once");
}
