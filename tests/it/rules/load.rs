//! What a connection costs that does nothing, and one that does too much.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;

use crate::faults::peer::Peer;
use crate::support::fake_master::FakeMaster;
use crate::support::keys::Keys;
use crate::support::programs::{Program, SOON};
use crate::support::timestamp_client::Client;

/// How often the threads that serve connections have waited for something.
fn waits(master: &Program) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", master.id())).expect("a process");
    let waits = tasks.filter_map(|task| {
        let task = task.ok()?.path();
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let status = fs::read_to_string(task.join("status")).ok()?;
        let waits = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        name.starts_with("peer ")
            .then(|| waits.trim().parse::<u64>().expect("a number"))
    });
    waits.sum()
}

#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "no other kernel counts waits there"
)]
fn a_client_that_says_nothing_wakes_nobody() {
    let master = Program::master(&["--interval", "300ms"]);
    let address = master.address();
    idle(&master, address, 0.5);
    master.stops_at("TERM");
}

#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "no other kernel counts waits there"
)]
fn a_client_that_counts_for_nothing_wakes_its_thread_once_an_interval() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "1s", "--serve-timestamps"]);
    let address = master.address();
    // Whose polls are counted too: by a clock, the time becomes the group's.
    let follower = keys.follower("db1", address);
    follower.line("Synchronized time: ");
    idle(&master, address, 2.5);
    master.stops_at("TERM");
}

/// Clients that say nothing wake their threads so many times a second at most.
fn idle(master: &Program, address: SocketAddr, limit: f64) {
    const CLIENTS: usize = 20;
    const WATCHED: Duration = Duration::from_secs(2);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client::join(address, TimeDelta::zero()))
        .collect();
    for client in &clients {
        // Twice: then it is served.
        assert!(client.hear(SOON).is_some() && client.hear(SOON).is_some());
    }
    let before = waits(master);
    thread::sleep(WATCHED);
    let waits = (waits(master) - before) as f64 / CLIENTS as f64 / WATCHED.as_secs_f64();
    println!(
        "rules | an idle client of the timestamp wire | {waits:.2} wake-ups a second | limit: \
         {limit}"
    );
    assert!(waits <= limit, "{waits} wake-ups a second");
    // All the while, they were told the time.
    for client in &clients {
        assert!(client.hear(SOON).is_some());
    }
}

#[test]
fn who_sends_more_than_there_is_to_say_is_sent_away() {
    let master = Program::master(&[]);
    let address = master.address();
    let mut talker = Peer::connected_to(address);
    let report = "2026-01-02 03:04:05.678901".repeat(10);
    for _ in 0..100_000 {
        if !talker.send(report.as_bytes()) {
            break;
        }
    }
    master.log_line("it sent too many reports");
    // So is a master.
    let fake = FakeMaster::start();
    let follower = Program::follower(fake.address(), &[]);
    let mut link = fake.greet("interval=1000000000");
    for n in 1..=10_000 {
        link.say(&format!("POLL {n}"));
    }
    follower.log_line("it sent too many lines");
    let answered = std::iter::from_fn(|| link.line());
    let answered = answered.filter(|line| line.starts_with("TIME")).count();
    println!("rules | 10,000 questions at once | {answered} answers");
    assert!(answered <= 1000, "{answered}");
}
