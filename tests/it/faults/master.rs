//! What becomes of followers while their master fails.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use berkeley::FollowerOptions;
use berkeley::internals::clock::Simulation;
use berkeley::internals::span;
use chrono::TimeDelta;

use super::group::{Group, INTERVAL, LIMIT, row, wait_for};
use super::local::LocalFollower;
use super::process::Process;
use crate::support::keys;
use crate::support::programs::{Program, SOON};

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
        // Each start brings its clock back with the same offset.
        let lone = ["--simulate-offset", "50ms"];
        Program::start(
            Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
                .args(["--interval", "200ms", "--listen", address])
                .args(keys::master_flags(&[]))
                .args(lone),
        )
    };
    let master = on("127.0.0.3:0");
    let address = master.address();
    let drifting = |drift_ppm| {
        let options = FollowerOptions {
            simulation: Simulation {
                offset: TimeDelta::zero(),
                drift_ppm,
            },
            ..FollowerOptions::default()
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
    master.line("4 of 4 clocks agree");
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
            span::span(held),
            span::span(after),
            span::span(moved)
        ),
        &format!(
            "{}, {1}, {1}, no step",
            span::span(limit),
            span::span(LIMIT.skew)
        ),
        held <= limit && after.max(moved) <= LIMIT.skew,
    );
}

/// A follower that the machine held up reads the end of one round and the beginning of the next
/// at once.
#[test]
fn a_correction_and_a_poll_come_in_one_piece() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let follower = Program::follower(listener.local_addr().expect("a socket"), &[]);
    let (mut stream, _) = listener.accept().expect("a follower");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    let mut lines = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
    assert_eq!(
        lines.next().expect("its opening").expect("in time").len(),
        26
    );
    let mut answer = |said: &str| {
        stream.write_all(said.as_bytes()).expect("it reads");
        let line = lines.next().expect("an answer").expect("in time");
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let time = |word: usize| words[word].parse::<i64>().expect("a time");
        Duration::from_nanos(u64::try_from(time(3) - time(2)).expect("t3 after t2"))
    };
    answer("BERKELEY 1 interval=1000000000\nPOLL 1\n");
    for (n, offset) in [(1, 900_000_000), (2, -900_000_000)] {
        let poll = n + 1;
        let held = answer(&format!("ADJUST {n} {offset} 1000\nPOLL {poll}\n"));
        assert!(held < Duration::from_millis(450), "{held:?}");
    }
    drop(follower);
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
    let written = lines();
    let mut columns = written.lines().map(|line| line.split(',').count());
    let of_the_first = columns.next().expect("a line that names the columns");
    assert!(
        of_the_first > 1 && columns.all(|count| count == of_the_first),
        "{written}"
    );
    let said = group.master.transcript();
    assert_eq!(said.matches("don't fit").count(), 1, "said once");
}
