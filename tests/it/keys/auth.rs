//! Groups of which some have a key and some don't, while they move to keys; and clients that can
//! have none.

use chrono::TimeDelta;

use crate::support::keys::Keys;
use crate::support::programs::{Program, SOON, assert_exact};
use crate::support::timestamp_client::Client;

/// Waits for a round in which this one's vote has this verdict.
#[track_caller]
fn vote(master: &Program, name: &str, verdict: &str) {
    let row = format!("  {name} ");
    let verdict = format!("  {verdict} ");
    let mut rows = (0..50).map(|_| master.line(&row).text);
    assert!(
        rows.any(|row| row.contains(&verdict)),
        "no vote of {name} is{verdict}"
    );
}

#[test]
fn under_observe_who_has_no_key_votes_and_is_named() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms", "--auth", "observe"]);
    let address = master.address();
    let keyed = keys.follower("db1", address);
    let unkeyed = Program::follower(address, &["--name", "old"]);
    keyed.line("Synchronized time: ");
    unkeyed.line("Synchronized time: ");
    master.log_line("it has no key, and is served all the same");
    vote(&master, "old", "yes");
}

#[test]
fn under_prefer_who_has_no_key_votes_where_the_others_are_no_majority() {
    let keys = Keys::new();
    let flags = ["--interval", "200ms", "--auth", "prefer"];
    let master = keys.master(&flags);
    let address = master.address();
    let first = keys.follower("db1", address);
    let unkeyed = Program::follower(address, &["--name", "old"]);
    // Two of three have a key, the master is one of them.
    for follower in [&first, &unkeyed] {
        follower.line("Synchronized time: ");
    }
    vote(&master, "old", "unkeyed");
    vote(&master, "db1", "yes");
    drop(first);
    // One of two is no majority.
    vote(&master, "old", "yes");
    unkeyed.line("Synchronized time: ");
}

#[test]
fn clients_of_the_timestamp_wire_are_told_the_time_if_that_was_asked_for_and_count_for_nothing() {
    let keys = Keys::new();
    let flags = ["--interval", "200ms", "--serve-timestamps"];
    let master = keys.master(&flags);
    let address = master.address();
    let follower = keys.follower("db1", address);
    follower.line("Synchronized time: ");
    // A client that is a quarter of an hour ahead.
    let client = Client::join(address, TimeDelta::minutes(15));
    for told in client.take_part(5, SOON) {
        assert_exact(told, TimeDelta::zero());
    }
    master.line("2 of 2 clocks agree");
    let told = master.transcript();
    assert!(
        !told.contains("of 3 clocks") && !told.contains("timestamp wire"),
        "{told}"
    );
}
