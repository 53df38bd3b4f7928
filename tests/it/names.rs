//! A machine keeps its name, wherever it connects from.

use std::process::Command;

use crate::support::programs::Program;

const NAMED: [&str; 2] = ["--name", "db1"];

#[test]
fn a_machine_keeps_its_name_over_reconnects_and_two_of_one_name_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("record.csv");
    let record = record.to_str().expect("a name");
    let master = Program::master(&["--interval", "200ms", "--record", record]);
    let address = master.address();
    let mut last = String::new();
    for _ in 0..2 {
        let follower = Program::follower(address, &NAMED);
        let joined = master.line("Follower joined: ").text;
        assert!(
            joined.starts_with("Follower joined: db1 (127.0.0.1:"),
            "{joined}"
        );
        assert_ne!(joined, last, "it connects from another port");
        last = joined;
        let row = master.line("db1 ").text;
        assert!(row.trim_start().starts_with("db1 "), "{row}");
        follower.stops_at("TERM");
        master.line("Follower left: db1 (it says: the follower is stopping)");
    }
    let _first = Program::follower(address, &NAMED);
    master.line("Follower joined: db1 (");
    let _second = Program::follower(address, &NAMED);
    master.line("Follower joined: db1#2 (");
    master.line("3 of 3 clocks agree");
    master.line("db1#2 ");
    master.stops_at("TERM");
    let record = std::fs::read_to_string(record).expect("a record");
    for node in [",db1,127.0.0.1:", ",db1#2,127.0.0.1:"] {
        assert!(record.contains(node), "{node}: {record}");
    }
}

#[test]
fn a_name_is_checked_and_the_flag_is_named() {
    let long = "x".repeat(65);
    for name in ["two words", "a,b", "", long.as_str()] {
        let output = Command::new(env!("CARGO_BIN_EXE_berkeley-follower"))
            .args(["--name", name])
            .output()
            .expect("it starts");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("--name"), "{message}");
    }
}
