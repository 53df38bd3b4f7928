//! Arguments, exit statuses and signals of both programs, and what becomes of their output.

mod arguments;
mod signals;
mod streams;

use std::process::Output;

use crate::support::programs::SOON;
use assert_cmd::Command;

const MASTER: &str = env!("CARGO_BIN_EXE_berkeley-master");
const FOLLOWER: &str = env!("CARGO_BIN_EXE_berkeley-follower");

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .timeout(SOON)
        .output()
        .expect("it starts")
}

/// Runs a program that has to fail, with one message that contains `part`.
#[track_caller]
fn fails(program: &str, arguments: &[&str], status: i32, part: &str) {
    let output = run(program, arguments);
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {message}"
    );
    let first = message.lines().next().unwrap_or_default();
    assert!(first.contains(part), "{arguments:?}: {message}");
    let errors = message.to_lowercase().matches("error").count();
    assert!(
        errors == 1 || first.contains("(os error "),
        "{arguments:?}: {message}"
    );
    assert!(output.stdout.is_empty(), "{arguments:?} starts something");
}
