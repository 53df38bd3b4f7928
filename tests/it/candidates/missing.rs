//! Candidates that are not there, or are none: said once, and tried on calmly.

use std::process::Command;
use std::time::{Duration, Instant};

use super::group::Ports;
use crate::support::programs::Program;

const REASON: &str = "this master was started without --candidates";

/// Takes the log until this time has passed.
fn log_for(program: &Program, time: Duration) -> Vec<String> {
    let until = Instant::now() + time;
    let lines = std::iter::from_fn(|| program.log_line_before(until));
    lines.map(|line| line.text).collect()
}

#[test]
fn a_plain_master_in_the_list_says_so_once_and_is_not_flooded() {
    let ports = Ports::reserve(2);
    let plain = Program::start(
        Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(["--listen", &ports.address(1).to_string()])
            .env("RUST_LOG", "debug"),
    );
    plain.line("Listening on ");
    let candidate = ports.candidate(0, &[]);
    // It calls again after five seconds.
    let called = |log: &[String]| log.iter().filter(|line| line.contains(REASON)).count();
    let told = log_for(&plain, Duration::from_secs(8));
    assert!((1..=3).contains(&called(&told)), "{told:?}");
    let warned = |line: &&String| line.contains("WARN");
    assert_eq!(told.iter().find(warned), None);
    let said = log_for(&candidate, Duration::ZERO);
    let warnings: Vec<_> = said.iter().filter(warned).collect();
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    let expected = format!("candidate {} says: {REASON}", ports.address(1));
    assert!(warning.contains(&expected), "{warning}");
    let missing = format!("1 of 2 candidates present, missing: {}", ports.address(1));
    assert!(said.iter().any(|line| line.contains(&missing)), "{said:?}");
}

#[test]
fn a_candidate_that_cannot_be_resolved_is_told_of_once() {
    let ports = Ports::reserve(2);
    let [here, there] = [0, 1].map(|rank| ports.address(rank).to_string());
    // No such name is ever known (RFC 6761).
    let list = format!("{here},{there},nowhere.invalid:8080");
    let master = |listen: &str| {
        Program::start(Command::new(env!("CARGO_BIN_EXE_berkeley-master")).args([
            "--listen",
            listen,
            "--candidates",
            &list,
            "--interval",
            "1s",
        ]))
    };
    let [first, second] = [master(&here), master(&there)];
    first.log_line("2 of 3 candidates present, missing: nowhere.invalid:8080");
    first.log_line("cannot reach candidate nowhere.invalid:8080: ");
    drop(second);
    let gone = format!("1 of 3 candidates present, missing: {there}, nowhere.invalid:8080");
    first.log_line(&gone);
    first.log_line(&format!("cannot reach candidate {there}: "));
    let _second = master(&there);
    first.log_line(&format!("candidate {there} can be reached again"));
    first.log_line("2 of 3 candidates present, missing: nowhere.invalid:8080");
    let said = first.transcript();
    let count = said.matches("cannot reach candidate nowhere").count();
    assert_eq!(count, 1, "{said}");
}
