//! What an operator tells a running master: by which words, to whom, and who may.

mod follower;
mod group;
mod reference;
mod tellers;
mod words;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::programs::{Program, SOON};

/// Where a master that a test has started takes orders.
pub(crate) fn control_socket(master: &Program) -> PathBuf {
    let name = format!("berkeley-master-{}.control", master.id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// `berkeley-master` with these arguments, which is to tell this master something.
pub(crate) fn teller(master: &Program, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berkeley-master"));
    let socket = control_socket(master);
    command.args(&arguments[..1]).arg("--socket").arg(socket);
    command.args(&arguments[1..]);
    command
}

/// What the master has answered, and whether it has done what it was told.
pub(crate) fn tell(master: &Program, arguments: &[&str]) -> (bool, String) {
    let output = teller(master, arguments).output().expect("the program");
    (output.status.success(), said(&output))
}

/// Tells a master what it has to do.
#[track_caller]
pub(crate) fn is_done(master: &Program, arguments: &[&str], answer: &str) {
    let (done, said) = tell(master, arguments);
    assert!(done && said.contains(answer), "{arguments:?}: {said}");
}

/// Tells a master what it must not do.
#[track_caller]
pub(crate) fn is_refused(master: &Program, arguments: &[&str], why: &str) {
    let (done, said) = tell(master, arguments);
    assert!(!done && said.contains(why), "{arguments:?}: {said}");
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(both).expect("UTF-8")
}

/// Waits until something has happened.
#[track_caller]
pub(crate) fn until(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + 3 * SOON;
    while !happened() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
