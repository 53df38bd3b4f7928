//! What is recorded over restarts, and into what.

use std::fs;
use std::path::Path;
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
        more.lines().all(|line| line.split(',').count() == 16),
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

#[test]
fn what_is_no_regular_file_is_refused_and_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let theirs = folder.path().join("theirs");
    fs::write(&theirs, "").expect("a file");
    let [fifo, link] = ["fifo", "link"].map(|name| folder.path().join(name));
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    std::os::unix::fs::symlink(&theirs, &link).expect("a link");
    for (path, why) in [(&fifo, "not a regular file"), (&link, "a symbolic link")] {
        let path = path.to_str().expect("a name");
        let mut master = Program::master(&["--record", path]);
        let error = master.log_line("error: ").text;
        assert!(error.contains("--record") && error.contains(why), "{error}");
        assert_eq!(master.ends_within(SOON).code(), Some(1));
    }
    assert_eq!(fs::read_to_string(&theirs).expect("a file"), "");
    // Nor is a drift file, or what a master knows of its group.
    fs::write(&theirs, "40 0.1\n").expect("a file");
    let path = link.to_str().expect("a name");
    for flag in ["--drift-file", "--state-file"] {
        let mut master = Program::master(&[flag, path]);
        let error = master.log_line("error: ").text;
        assert!(
            error.contains(flag) && error.contains("a symbolic link"),
            "{error}"
        );
        assert_eq!(master.ends_within(SOON).code(), Some(1));
    }
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&theirs).expect("a file"), "40 0.1\n");
}
