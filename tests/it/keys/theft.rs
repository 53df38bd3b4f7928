//! A candidate was stolen, and it leads: its followers believe it until they are given other keys,
//! and from then on they don't, though it goes on speaking.

use std::fs;
use std::time::{Duration, Instant};

use berkeley::internals::keys::secret::Secret;

use crate::candidates::group::Ports;
use crate::support::keys::Keys;
use crate::support::programs::Program;

/// How soon an order is obeyed; the machine may be busy.
const OBEYED_WITHIN: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(2);

#[test]
fn a_follower_that_is_given_another_key_leaves_the_thief_that_it_follows() {
    let (keys, ports) = (Keys::new(), Ports::reserve(2));
    let own = keys.group_file();
    let stolen = own.with_file_name("stolen.key");
    fs::copy(&own, &stolen).expect("a copy");
    let start = |rank, path: &std::path::Path| {
        ports.candidate_every(
            rank,
            "200ms",
            &["--key-file", path.to_str().expect("a name")],
        )
    };
    let thief = start(0, &stolen);
    thief.line("Leading, in term 1");
    let other = start(1, &own);
    other.line("Synchronized time: ");
    let path = keys.node_file("db1");
    let path = path.to_str().expect("a name");
    let [first, second] = [0, 1].map(|rank| ports.address(rank).to_string());
    let follower = Program::follower(ports.address(0), &[&second, "--key-file", path]);
    follower.line(&format!("Connected to {first}"));
    follower.line("Synchronized time: ");

    // As the page has it.
    keys.change(|group| {
        group.rotate(Secret::new([9; 32])).expect("the first one");
        group.finish_rotation().expect("it has begun");
    });
    other.line("Leading, in term ");
    follower.line("Synchronized time: ");
    let ordered = Instant::now();
    keys.node_file("db1");
    let left = follower.log_line("this machine has another key now");
    let took = left.read.duration_since(ordered);
    println!("it had left after {} ms", took.as_millis());
    assert!(took < OBEYED_WITHIN + BUSY, "{took:?}");
    follower.line(&format!("Connected to {second}"));
    follower.line("Synchronized time: ");
    thief.log_line("generation 2 of the group's key is not in use here");
}
