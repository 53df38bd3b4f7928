//! A node whose machine's own clock is right.

use std::process::Command;

use chrono::TimeDelta;

use super::until;
use crate::support::programs::{Program, assert_exact};

#[test]
fn a_new_group_is_stepped_to_its_reference_and_led_from_there() {
    let master = Program::master(&["--interval", "500ms", "--min-followers", "2"]);
    let address = master.address();
    let follower = |arguments: &[&str]| Program::follower(address, arguments);
    let right = [
        "--name",
        "gps",
        "--reference=5ms",
        "--simulate-offset",
        "20m",
    ];
    let (gps, other) = (follower(&right), follower(&["--name", "db"]));
    other.line("Stepped with the group by +");
    let told = other.line("Synchronized time: ");
    assert_exact(told.told_ahead("time: "), TimeDelta::minutes(20));
    let led = master.line("1 of 1 references followed").text;
    assert!(led.contains(" ppm"), "{led}");
    master.line("3 of 3 clocks agree");
    let steps = |program: &Program| program.transcript().matches("with the group").count();
    assert_eq!(
        (steps(&gps), steps(&other)),
        (1, 1),
        "the first, and no other"
    );
}

#[test]
fn a_master_that_is_told_so_follows_no_reference() {
    let arguments = [
        "--interval",
        "500ms",
        "--reference-slew",
        "0",
        "--reference",
    ];
    let master = Program::master(&arguments);
    let follower = Program::follower(master.address(), &["--reference"]);
    for _ in 0..2 {
        follower.line("Synchronized time: ");
    }
    assert!(!master.transcript().contains("references"));
}

#[test]
fn the_clock_of_a_reference_is_not_steered() {
    let command = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--no-new-privs", "--bounding-set=-sys_time"]);
        command.args([program, "--steer", "system", "--reference"]);
        command
    };
    let mut master = command(env!("CARGO_BIN_EXE_berkeley-master"));
    let master = Program::start(master.args(["--listen", "127.0.0.1:0"]));
    let address = master.address().to_string();
    let mut follower = command(env!("CARGO_BIN_EXE_berkeley-follower"));
    let follower = Program::start(follower.arg(&address));
    follower.line("Synchronized time: ");
    // It would have been refused without the right to set the clock.
    let alone = "a reference, so --steer system leaves it alone";
    until("both say so", || {
        master.transcript().contains(alone) && follower.transcript().contains(alone)
    });
}
