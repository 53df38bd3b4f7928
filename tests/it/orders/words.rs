//! Each order, to a master alone.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use chrono::{NaiveDateTime, TimeDelta};

use super::{is_done, is_refused, said, tell};
use crate::support::programs::{EXACT, Program, SOON, assert_exact};
use crate::support::timestamp_client::Client;

const STEPPED: &str = "Stepped with the group by ";

/// A master with a round every half second, and its followers.
fn group(record: &str, names: &[&str]) -> (Program, SocketAddr, Vec<Program>) {
    let arguments = ["--interval", "500ms", "--record", record];
    let master = Program::master(&arguments);
    let address = master.address();
    let follower = |name: &&str| Program::follower(address, &["--name", name]);
    let followers: Vec<_> = names.iter().map(follower).collect();
    let all = names.len() + 1;
    master.line(&format!("{all} of {all} clocks agree"));
    (master, address, followers)
}

fn ahead(follower: &Program) -> TimeDelta {
    follower.line("Synchronized time: ").told_ahead("time: ")
}

#[test]
fn a_group_is_stepped_by_a_span_to_a_time_and_to_a_machines_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("master.csv");
    let (master, _, followers) = group(record.to_str().expect("a name"), &["a", "b"]);
    is_done(&master, &["set", "+90s"], "stepped by +1.500 min (step 1)");
    for follower in &followers {
        follower.line(&format!("{STEPPED}+1.500 min (step 1)"));
        assert_exact(ahead(follower), TimeDelta::seconds(90));
    }
    is_done(&master, &["set", "-3s"], "stepped by -3.000 s (step 2)");
    is_done(
        &master,
        &["set", "--", "-500ms"],
        "stepped by -500.000 ms (step 3)",
    );
    followers[0].line(&format!("{STEPPED}-500.000 ms"));
    assert_exact(ahead(&followers[0]), TimeDelta::milliseconds(86_500));

    is_done(&master, &["set", "2031-05-06 07:08:09.25"], "(step 4)");
    followers[0].line(STEPPED);
    let told = followers[0].line("Synchronized time: ").text;
    let told = told.split_at(19).1.get(..26).expect("a time");
    let told = NaiveDateTime::parse_from_str(told, "%Y-%m-%d %H:%M:%S%.6f").expect("a time");
    let set: NaiveDateTime = "2031-05-06T07:08:09.25".parse().expect("a time");
    let passed = told - set;
    assert!((0..3000).contains(&passed.num_milliseconds()), "{passed}");

    // Since the step, the machine's clock has to be told once.
    master.line("3 of 3 clocks agree");
    master.line("3 of 3 clocks agree");
    is_done(&master, &["set", "--from", "b"], "(step 5)");
    followers[1].line("(step 5)");
    assert_exact(ahead(&followers[1]), TimeDelta::zero());

    let rows = fs::read_to_string(&record).expect("a record");
    let told: Vec<_> = rows.lines().filter(|row| row.contains(",#")).collect();
    let [first, .., last] = &told[..] else {
        panic!("no orders in {rows}");
    };
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(first.contains(",,,,set +1.500 min,90000000000,"), "{first}");
    assert!(last.contains(",,,,set --from b,-"), "{last}");
    let user = Command::new("id").arg("-un").output().expect("id");
    let user = said(&user);
    let who = format!("{} told: set +1.500 min", user.trim());
    assert!(master.transcript().matches(&who).count() >= 2, "{who}");
}

#[test]
fn a_client_on_the_timestamp_wire_is_told_the_step_and_its_clock_can_be_taken_over() {
    let master = Program::master(&["--interval", "500ms"]);
    let client = Client::join(master.address(), TimeDelta::minutes(20));
    let hear_until = |expected: TimeDelta| {
        while (client.hear(SOON).expect("a time") - expected).abs() > EXACT {
            client.report();
        }
    };
    // The two meet in the middle.
    hear_until(TimeDelta::minutes(10));
    is_done(&master, &["set", "+90s"], "(step 1)");
    hear_until(TimeDelta::seconds(690));
    client.report();
    master.line("2 of 2 clocks agree");
    is_done(&master, &["set", "--from", &client.name()], "(step 2)");
    hear_until(TimeDelta::minutes(20));
}

#[test]
fn a_clock_is_dropped_until_it_is_admitted() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("master.csv");
    let (master, address, mut followers) = group(record.to_str().expect("a name"), &["a", "b"]);
    is_done(&master, &["drop", "b"], "b has no vote");
    master.line("2 of 3 clocks agree");
    assert!(master.line("  b ").text.contains(" dropped "));
    // It is the clock that is meant, not its connection.
    followers.pop().expect("b").stops_at("TERM");
    master.line("Follower left: b");
    followers.push(Program::follower(address, &["--name", "b"]));
    assert!(master.line("  b ").text.contains(" dropped "));
    is_refused(&master, &["drop", "c"], "no clock here is called c");
    is_done(&master, &["admit", "b"], "b may vote again");
    is_refused(&master, &["admit", "a"], "a was not dropped");
}

#[test]
fn an_order_that_makes_no_sense_is_refused_before_it_is_sent() {
    for (arguments, why) in [
        (&["set"][..], "STEP|TIME"),
        (&["set", "90"], "neither a step"),
        (&["set", "14:02"], "neither a step"),
        (&["set", "200years"], "at most 100 years"),
        (&["set", "+1s", "--from", "a"], "cannot be used with"),
        (&["drop"], "NAME"),
        (&["drop", "a,b"], "not the name"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(arguments)
            .output()
            .expect("the program");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = said(&output);
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
}

#[test]
fn what_can_not_be_done_is_said_and_changes_nothing() {
    let master = Program::master(&["--dry-run"]);
    master.address();
    is_refused(&master, &["set", "+1s"], "--dry-run");
    let master = Program::master(&["--simulate-offset", "100years"]);
    master.address();
    is_done(&master, &["set", "36000d"], "(step 1)");
    is_refused(&master, &["set", "36000d"], "too large");
    is_refused(&master, &["set", "--from", "nobody"], "no clock here");
    let (_, said) = tell(&master, &["set", "-36000d"]);
    assert!(said.contains("(step 2)"), "{said}");
    let socket = super::control_socket(&master);
    drop(master);
    let output = Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
        .args(["set", "+1s", "--socket"])
        .arg(&socket)
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(1));
    assert!(super::said(&output).contains("nobody answers at"));
}
