//! A master that was restarted begins with the group that it knew.

use std::fs;

use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::span::span;
use chrono::TimeDelta;

use crate::faults::peer::{Liar, Lie};
use crate::support::programs::Program;

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
    let path = folder.path().join("group");
    let today = WallClock.read().date_naive();
    let clocks = (1..=10).map(|number| format!("{today} clock{number} 100 0\n"));
    let clocks = clocks.collect::<Vec<_>>().concat();
    if known {
        fs::write(&path, format!("berkeley-group 1\n{clocks}")).expect("a file");
    }
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
    assert_eq!(words.len(), 4, "{kept}");
    assert_eq!(words[1], "db1", "{kept}");
    assert!(
        words[2].parse::<u32>().is_ok_and(|rounds| rounds >= 8),
        "{kept}"
    );
}
