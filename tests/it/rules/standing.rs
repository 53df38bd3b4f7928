//! A reputation goes by name: it outlives connections, and a liar that forces elections gains nothing.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use berkeley::internals::span::span;
use chrono::TimeDelta;

use crate::candidates::group::Ports;
use crate::faults::group::{Group, INTERVAL};
use crate::faults::peer::{Liar, Lie};
use crate::support::programs::Program;
use crate::support::records::moments;

/// So far ahead of the group is the liar, whatever it is told; more than a busy machine's noise.
const AHEAD: i64 = 80_000_000;

/// The tolerance that it stays within.
const TOLERANCE: [&str; 2] = ["--tolerance", "100ms"];

/// A clock that stays ahead of its group.
#[derive(Default)]
struct Ahead {
    group: i64,
}

impl Lie for Ahead {
    fn show(&mut self, honest: i64) -> i64 {
        honest + self.group + AHEAD
    }

    fn words(&self) -> String {
        " name=liar".to_owned()
    }

    fn corrected(&mut self, nanoseconds: i64) {
        self.group += AHEAD + nanoseconds;
    }
}

/// Waits until a master has found out that the liar does not follow.
#[track_caller]
fn is_found_out(master: &Program) {
    let found_out = (0..200).any(|_| master.line("  liar  ").text.contains("  biased  "));
    assert!(found_out, "it has its vote");
}

/// What the master's table says of the liar's vote, in each round.
fn votes(said: &str) -> Vec<&str> {
    let rows = said.lines().filter_map(|line| {
        let (_, row) = line.split_once(" |   liar ")?;
        ["new", "biased", "outlier", "yes"]
            .into_iter()
            .find(|vote| row.contains(&format!("  {vote}  ")))
    });
    rows.collect()
}

#[test]
fn a_liar_that_comes_back_is_known() {
    let flags = [&["--interval", "500ms"], &TOLERANCE[..]].concat();
    let group = Group::of(Program::master(&flags), 3, INTERVAL);
    group.master.line("Round 9: ");
    let first = Liar::of(group.address(), Ahead::default());
    is_found_out(&group.master);
    drop(first);
    group.master.line("Follower left: liar");
    let before = group.master.transcript().len();
    let _second = Liar::of(group.address(), Ahead::default());
    for _ in 0..3 {
        group.master.line("  liar  ");
    }
    let said = group.master.transcript();
    let votes = votes(&said[before..]);
    println!("rules | a liar comes back | its votes: {votes:?}");
    assert!(votes.len() >= 2, "{votes:?}");
    assert!(votes.iter().all(|vote| *vote == "biased"), "{votes:?}");
}

/// Connections with one master after the other, until one of them leads.
fn one_after_the_other(masters: Vec<SocketAddr>) -> impl Fn() -> std::io::Result<TcpStream> {
    let turn = AtomicUsize::new(0);
    move || {
        thread::sleep(Duration::from_millis(50));
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        TcpStream::connect(masters[turn % masters.len()])
    }
}

#[test]
fn a_liar_gains_nothing_by_elections() {
    const LIMIT: TimeDelta = TimeDelta::milliseconds(20);
    let ports = Ports::reserve(3);
    let start = |rank| ports.candidate_every(rank, "200ms", &TOLERANCE);
    let first = start(0);
    first.line("Leading, in term 1");
    let others = [1, 2].map(start);
    let folder = tempfile::tempdir().expect("a folder");
    let masters: Vec<_> = (0..3).map(|rank| ports.address(rank)).collect();
    let names: Vec<_> = masters.iter().map(ToString::to_string).collect();
    let follower = |number: u32| {
        let record = folder.path().join(format!("{number}.csv"));
        let path = record.to_str().expect("a name");
        let flags = [names[1].as_str(), &names[2], "--record", path];
        let program = Program::follower(masters[0], &flags);
        (program, record)
    };
    let honest = [1, 2].map(follower);
    first.line("5 of 5 clocks agree");
    // They are new for eight rounds.
    for _ in 0..10 {
        first.line("Round ");
    }
    let _liar = Liar::over(one_after_the_other(masters.clone()), Ahead::default());
    is_found_out(&first);
    // Each of them that has come to lead judges it anew.
    first.stops_at("TERM");
    let [second, third] = others;
    second.line("Leading, in term ");
    is_found_out(&second);
    second.stops_at("TERM");
    third.line("Leading, in term ");
    is_found_out(&third);
    for (follower, record) in honest {
        follower.stops_at("TERM");
        let moments = moments(&record);
        let moved = moments.iter().map(|it| it.ahead_of_own().abs()).max();
        let moved = moved.expect("corrections");
        println!(
            "rules | a liar {} ahead, two elections | the others moved by {} in all | limit: {}",
            span(TimeDelta::nanoseconds(AHEAD)),
            span(moved),
            span(LIMIT)
        );
        assert!(moved <= LIMIT, "moved by {}", span(moved));
    }
}
