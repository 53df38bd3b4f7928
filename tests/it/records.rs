//! What is recorded over restarts, and where nobody takes what is written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::programs::{Program, SOON};
use crate::support::records::lines;
use crate::support::timestamp_client::Client;
use berkeley::internals::report::record::{FOLLOWER_HEADER, MASTER_HEADER};
use chrono::TimeDelta;
use tempfile::TempDir;

/// A master that ends, or is killed, after its first round.
fn first_round(record: &Path, killed: bool) {
    let record = record.to_str().expect("a name");
    let rounds = if killed { "1000" } else { "1" };
    let flags = ["--interval", "100ms", "--rounds", rounds];
    let mut master = Program::master(&[&flags[..], &["--record", record]].concat());
    let _client = Client::join(master.address(), TimeDelta::zero());
    master.line("Round 1: ");
    if killed {
        lines(record.as_ref(), 3);
        master.signal("KILL");
    }
    master.ends_within(SOON);
}

#[test]
fn a_restart_goes_on_with_the_record() {
    let folder = TempDir::new().expect("a folder");
    let record = folder.path().join("record.csv");
    first_round(&record, true);
    let before = fs::read_to_string(&record).expect("a record");
    // As if the crash had come while a line was written.
    fs::write(&record, format!("{before}2026-01-01T0")).expect("a record");
    first_round(&record, false);
    let mut after = fs::read_to_string(&record).expect("a record");
    assert!(after.starts_with(&before), "{before}{after}");
    let more = after.split_off(before.len());
    assert!(more.lines().count() >= 2, "{more}");
    assert!(!more.contains(MASTER_HEADER), "{more}");
    assert!(
        more.lines().all(|line| line.split(',').count() == 9),
        "{more}"
    );
}

#[test]
fn a_record_of_something_else_is_refused_and_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let record = folder.path().join("record.csv");
    fs::write(&record, format!("{FOLLOWER_HEADER}\n")).expect("a file");
    let mut master = Program::master(&["--record", record.to_str().expect("a name")]);
    let error = master.log_line("error: ").text;
    for part in ["--record", "record.csv", "move it away"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(master.ends_within(SOON).code(), Some(1));
    let left = fs::read_to_string(&record).expect("a file");
    assert_eq!(left, format!("{FOLLOWER_HEADER}\n"));
}

fn fifo(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    path
}

#[test]
fn a_fifo_that_nobody_reads_stops_neither_the_start_nor_the_rounds() {
    let folder = TempDir::new().expect("a folder");
    let fifo = fifo(&folder);
    let path = fifo.to_str().expect("a name");
    let master = Program::master(&["--interval", "100ms", "--record", path]);
    master.log_line("it can't be opened yet");
    let _client = Client::join(master.address(), TimeDelta::zero());
    master.line("Round 3: ");
    // A reader that comes late gets all of it.
    let reader = Program::start(Command::new("cat").arg(&fifo));
    assert_eq!(reader.line("time").text, MASTER_HEADER);
    for round in 1..=5 {
        reader.line(&format!("Z,{round},master,"));
    }
    master.stops_at("TERM");
}

#[test]
fn a_reader_that_hangs_stops_neither_the_rounds_nor_the_end() {
    let folder = TempDir::new().expect("a folder");
    let fifo = fifo(&folder);
    let path = fifo.to_str().expect("a name");
    // It opens the FIFO and reads nothing.
    let reader = Program::start(
        Command::new("sh")
            .args(["-c", "exec 3<\"$0\"; echo open; kill -s STOP $$"])
            .arg(&fifo),
    );
    let master = Program::master(&["--interval", "10ms", "--record", path]);
    let address = master.address();
    reader.line("open");
    let clients: Vec<_> = (0..50)
        .map(|_| Client::join(address, TimeDelta::zero()))
        .collect();
    // A pipe of 64 KiB holds some 15 of these rounds.
    master.line("Round 100: ");
    master.line("Round 200: ");
    master.stops_at("TERM");
    drop(clients);
}
