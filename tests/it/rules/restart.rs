//! A master that was restarted begins with the group that it knew.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::span::span;
use chrono::TimeDelta;

use crate::faults::peer::{Liar, Lie};
use crate::rules::votes::{OTHER, from_other};
use crate::support::own_network::is_in_own_network;
use crate::support::programs::{Program, SOON};

/// A clock of the group that is 10 h ahead and says that it knows the time.
struct Quick(u32);

impl Lie for Quick {
    fn show(&mut self, honest: i64) -> i64 {
        honest + 36_000_000_000_000
    }

    fn words(&self) -> String {
        format!(" synchronized=yes name=clock{}", self.0)
    }
}

/// How far six honest clocks of ten are moved at most by four that are quicker, where a master
/// knows all of them, or nobody.
fn moved_by_four_quick_liars(known: bool) -> TimeDelta {
    let folder = tempfile::tempdir().expect("a folder");
    let path = if known {
        ten_known(folder.path())
    } else {
        folder.path().join("group")
    };
    let path = path.to_str().expect("a name");
    let master = Program::master(&["--interval", "300ms", "--state-file", path]);
    let address = master.address();
    let _liars: Vec<_> = (1..=4)
        .map(|number| Liar::of(address, Quick(number)))
        .collect();
    if known {
        master.log_line("waiting for the clocks that this master knows");
    } else {
        master.line("Round 1: ");
    }
    let name = |number: u32| format!("clock{number}");
    let honest: Vec<_> = (5..=10)
        .map(|number| Program::follower(address, &["--name", &name(number)]))
        .collect();
    let told = honest.iter().map(|follower| {
        let told = follower.line("Synchronized time: ");
        told.told_ahead("Synchronized time: ").abs()
    });
    told.max().expect("a follower")
}

#[test]
fn four_quick_liars_of_ten_move_nobody_that_a_restarted_master_knows() {
    let (before, moved) = (
        moved_by_four_quick_liars(false),
        moved_by_four_quick_liars(true),
    );
    println!(
        "rules | four quick liars of ten are 10 h ahead | the six others moved by {} (by {} where \
         the master knows nobody) | limit: 1 s",
        span(moved),
        span(before)
    );
    assert!(before > TimeDelta::hours(9), "the lie is none: {before}");
    assert!(moved < TimeDelta::seconds(1), "moved by {moved}");
}

/// The file of a master that knows ten clocks, `clock1` to `clock10`.
fn ten_known(folder: &Path) -> PathBuf {
    let path = folder.join("group");
    let today = WallClock.read().date_naive();
    let clocks = (1..=10).map(|number| format!("{today} clock{number} 100 0 -\n"));
    let clocks = clocks.collect::<Vec<_>>().concat();
    fs::write(&path, format!("berkeley-group 1\n{clocks}")).expect("a file");
    path
}

#[test]
#[ignore = "needs root, unshare and ip"]
fn one_quick_machine_under_many_names_moves_nobody_that_a_restarted_master_knows() {
    let last = [1, 2, 3, 4, 5, 6, OTHER[3]];
    let addresses = last.map(|last| format!("10.9.0.{last}"));
    let test = "rules::restart::one_quick_machine_under_many_names_moves_nobody_that_a_restarted_\
                master_knows";
    if !is_in_own_network(test, &addresses) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = ten_known(folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_berkeley-master"));
    command
        .args(["--listen", "0.0.0.0:0", "--interval", "300ms"])
        .arg("--state-file")
        .arg(&path);
    let master = Program::start(&mut command);
    let port = master.address().port();
    let address = move |last: u8| SocketAddr::from(([10, 9, 0, last], port));
    let began = Instant::now();
    let _liars: Vec<_> = (1..=10)
        .map(|number| Liar::over(move || from_other(address(1)), Quick(number)))
        .collect();
    master.log_line("waiting for the clocks that this master knows");
    let honest: Vec<_> = (1..=6)
        .map(|last| Program::follower(address(last), &[]))
        .collect();
    // It is held once the master has waited for ten seconds, or a moment later.
    let waited = master.try_line("Round 1: ").map(|it| it.read - began);
    let told = honest.iter().map(|follower| {
        let told = follower.line("Synchronized time: ");
        told.told_ahead("Synchronized time: ").abs()
    });
    let moved = told.max().expect("a follower");
    println!(
        "rules | one machine that is quick calls itself by ten names, 10 h ahead | six others moved \
         by {} | limit: 1 s",
        span(moved)
    );
    assert!(waited.is_none_or(|it| it >= SOON / 2), "{waited:?}");
    assert!(moved < TimeDelta::seconds(1), "moved by {moved}");
}

#[test]
fn a_master_keeps_which_clocks_its_group_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let drift = folder.path().join("drift");
    let path = drift.to_str().expect("a name");
    let master = Program::master(&["--interval", "50ms", "--drift-file", path]);
    let _follower = Program::follower(master.address(), &["--name", "db1"]);
    // It is new for eight rounds.
    master.line("Round 12: ");
    master.stops_at("TERM");
    let kept = fs::read_to_string(folder.path().join("drift.group")).expect("a state file");
    let clock = kept.strip_prefix("berkeley-group 1\n").expect("a version");
    let words: Vec<_> = clock.split_whitespace().collect();
    assert_eq!(words.len(), 5, "{kept}");
    assert_eq!(words[1], "db1", "{kept}");
    assert!(
        words[2].parse::<u32>().is_ok_and(|rounds| rounds >= 8),
        "{kept}"
    );
}
