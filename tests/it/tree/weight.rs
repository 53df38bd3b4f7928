//! Whose word is taken for how many clocks it stands.

use std::process::Command;

use serde_json::Value;

use super::wait;
use crate::faults::peer::{Liar, Lie};
use crate::support::keys::Keys;
use crate::support::programs::Program;

/// The weights of a master's clocks, by their names.
fn weights(master: &Program) -> Vec<(String, u64)> {
    let socket = format!(
        "{}/berkeley-master-{}.sock",
        env!("CARGO_TARGET_TMPDIR"),
        master.id()
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_berkeley-master"));
    command.args(["status", "--json", "--socket", &socket]);
    let output = command.output().expect("the program");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let clocks = status["clocks"].as_array().into_iter().flatten();
    let weight = |clock: &Value| {
        Some((
            clock["name"].as_str()?.to_owned(),
            clock["clocks"].as_u64()?,
        ))
    };
    clocks.filter_map(weight).collect()
}

/// The master of a group whose clock is 10 s ahead, and which claims to stand for a million.
struct Heavy;

impl Lie for Heavy {
    fn show(&mut self, honest: i64) -> i64 {
        honest + 10_000_000_000
    }

    fn words(&self) -> String {
        " weight=1000000,0 synchronized=yes".to_owned()
    }
}

#[test]
fn a_claim_of_a_million_counts_as_one_or_as_what_an_operator_has_said() {
    for (most, line) in [
        (None, "3 of 4 clocks agree"),
        (Some("2"), "3 of 5 clocks agree"),
    ] {
        let mut flags = vec!["--interval", "500ms", "--min-followers", "3"];
        if let Some(most) = most {
            flags.extend(["--max-weight", most]);
        }
        let top = Program::master(&flags);
        let address = top.address();
        let _followers = [(); 2].map(|()| Program::follower(address, &[]));
        let _heavy = Liar::of(address, Heavy);
        top.line(line);
        let counted = weights(&top).into_iter().map(|(_, weight)| weight).max();
        let wanted = most.map_or(1, |most| most.parse().expect("a number"));
        assert_eq!(counted, Some(wanted));
    }
}

#[test]
fn who_proves_a_name_that_is_trusted_counts_in_full_and_any_other_as_one() {
    let keys = Keys::new();
    let interval = ["--interval", "500ms"];
    let trusting = ["--trust-weight", "aft,bow", "--min-followers", "2"];
    let top = keys.master(&[&interval[..], &trusting].concat());
    let parent = top.address().to_string();
    let below = ["--parent", &parent, "--min-followers", "2"];
    let site = |key: &[&str]| {
        let master = Program::master(&[&interval[..], &below, key].concat());
        let address = master.address();
        let followers = [(); 2].map(|()| Program::follower(address, &[]));
        (master, followers)
    };
    // What a master is called otherwise is worth nothing: its key says who it is.
    let sites = [("bow", "mid"), ("mid", "aft")].map(|(name, called)| {
        let file = keys.node_file(name);
        let file = file.to_str().expect("a name");
        site(&["--parent-key-file", file, "--name", called])
    });
    let unkeyed = site(&["--name", "aft"]);
    let wanted = [("master", 1), ("bow", 3), ("mid", 1)];
    let mut wanted = wanted.map(|(name, weight)| (name.to_owned(), weight));
    wanted.sort_unstable();
    wait("bow counts in full, and mid as one", || {
        let mut found = weights(&top);
        found.sort_unstable();
        found == wanted
    });
    top.line("5 of 5 clocks agree");
    unkeyed.0.log_line("this group requires a key");
    for (site, _) in &sites {
        site.line("Below the group of ");
        site.line("3 of 3 clocks agree");
    }
    assert!(!unkeyed.0.transcript().contains("Below the group of"));
}
