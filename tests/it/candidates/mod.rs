//! Masters that elect their leader, with the leader as a process that is killed, stopped or told
//! to end, and clocks that are watched all the time.

pub(crate) mod group;
mod handing_over;
mod missing;
mod orders;
mod terms;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::programs::{Program, SOON, assert_exact};
use crate::support::records::lines;
use crate::support::timestamp_client::Client;
use berkeley::internals::span::span;
use chrono::TimeDelta;
use group::{Group, Ports, Watch};

/// How long after the leader's death every follower has to be corrected by the next one.
const CORRECTED_WITHIN: Duration = Duration::from_secs(3);

/// The same after an end that the leader was asked for.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(1);

/// How far apart the readings of those that are left may be at any moment.
const APART: TimeDelta = TimeDelta::microseconds(200);

/// Prints what a fault came to, and checks that it is within the limits.
#[track_caller]
fn row(fault: &str, took: Duration, limit: Duration, apart: TimeDelta) {
    println!(
        "fault | {fault} | all corrected by the next one after {:.2} s, clocks {} apart at most | \
         limit: {} s, {}",
        took.as_secs_f64(),
        span(apart),
        limit.as_secs(),
        span(APART)
    );
    assert!(took <= limit, "{took:?}");
    assert!(apart <= APART, "{apart} apart");
}

#[test]
fn a_leader_that_is_killed_is_replaced_within_3_s() {
    let mut group = Group::start();
    group.settle();
    let watch = Watch::begin(group.survivors());
    let killed = Instant::now();
    group.leader.signal("KILL");
    let took = group.corrected_by_the_next_leader(killed);
    let apart = watch.end();
    row("leader killed", took, CORRECTED_WITHIN, apart);
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_within_1_s() {
    let mut group = Group::start();
    group.settle();
    let watch = Watch::begin(group.survivors());
    let told = Instant::now();
    group.leader.signal("TERM");
    let took = group.corrected_by_the_next_leader(told);
    let apart = watch.end();
    row("leader told to stop", took, HANDED_OVER_WITHIN, apart);
    assert_eq!(group.leader.ends_within(SOON).code(), Some(0));
}

#[test]
fn a_leader_that_was_stopped_for_30_s_follows_and_nobody_follows_it() {
    let mut group = Group::start();
    group.settle();
    let watch = Watch::begin(group.survivors());
    let stopped = Instant::now();
    group.leader.signal("STOP");
    let took = group.corrected_by_the_next_leader(stopped);
    let apart = watch.end();
    row("leader stopped", took, CORRECTED_WITHIN, apart);

    let watch = Watch::begin(group.survivors());
    while stopped.elapsed() < Duration::from_secs(30) {
        group.take_corrections(Duration::from_secs(1));
    }
    group.leader.signal("CONT");
    group
        .leader
        .line(&format!("Following {}", group.ports.address(1)));
    group.leader.line("Synchronized time: ");
    // Nobody has gone back: who follows the second candidate is told nothing but corrections.
    assert!(group.take_corrections(Duration::from_secs(5)));
    let apart = watch.end();
    assert!(apart <= APART, "{apart} apart");
}

#[test]
fn a_group_whose_candidates_all_died_goes_on_from_its_own_time() {
    let ports = Ports::reserve(3);
    let mut candidates: Vec<_> = (0..3).map(|rank| ports.candidate(rank, &[])).collect();
    let mut followers = group::followers(&ports, 4);
    group::take_corrections(&mut followers, 8);
    for candidate in &mut candidates {
        candidate.signal("KILL");
    }
    candidates.clear();
    let before = group::ahead_of_the_machine(&followers);
    // Any one of them, with a clock that is an hour off.
    let last = ports.candidate(2, &["--simulate-offset", "1h"]);
    last.line("Leading, in term");
    group::take_corrections(&mut followers, 3);
    let moved = group::ahead_of_the_machine(&followers) - before;
    let limit = TimeDelta::milliseconds(1);
    println!(
        "fault | all candidates killed, one started an hour off | the group moved by {} | limit: {}",
        span(moved.abs()),
        span(limit)
    );
    assert!(moved.abs() < limit, "moved by {moved}");
}

#[test]
fn a_candidate_that_does_not_lead_sends_followers_on_and_serves_timestamps() {
    let ports = Ports::reserve(2);
    let first = ports.candidate(0, &["--simulate-offset", "20m"]);
    let second = ports.candidate(1, &[]);
    second.line("Following");
    second.line("Synchronized time: ");

    let stream = TcpStream::connect(ports.address(1)).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    (&stream)
        .write_all(b"2026-01-01 00:00:00.000000\n")
        .expect("it reads");
    let lines: Vec<_> = BufReader::new(&stream)
        .lines()
        .map_while(Result::ok)
        .collect();
    let [leader, other] = [0, 1].map(|rank| ports.address(rank));
    let greeting = format!(
        "BERKELEY 1 interval=1000000000 term=1 leader={leader} candidates={leader},{other}"
    );
    assert_eq!(lines, [&greeting, "BYE this candidate does not lead"]);

    // The two clocks have met in the middle, whoever of them is asked.
    let client = Client::join(ports.address(1), TimeDelta::zero());
    for told in client.take_part(5, SOON) {
        assert_exact(told, TimeDelta::minutes(10));
    }
    // Its reports are no votes of the group's.
    first.line("Round 5: 2 of 2 clocks agree, average ");
}

#[test]
fn candidates_with_different_lists_say_so() {
    let ports = Ports::reserve(3);
    let first = ports.candidate(0, &[]);
    let list = [0, 2, 1].map(|rank| ports.address(rank).to_string());
    let second = Program::start(
        std::process::Command::new(env!("CARGO_BIN_EXE_berkeley-master")).args([
            "--listen",
            &list[1],
            "--candidates",
            &list.join(","),
        ]),
    );
    let warning = first.log_line("WARN").text;
    assert!(
        warning.contains("give all masters the same list"),
        "{warning}"
    );
    let warning = second.log_line("says: you sent CANDIDATE").text;
    assert!(
        warning.contains("give all masters the same list"),
        "{warning}"
    );
}

#[test]
fn a_list_that_no_greeting_can_name_is_refused_at_the_start() {
    let names = ["a", "b", "c"].map(|letter| letter.repeat(42) + ":8080");
    let mut master = Program::start(
        std::process::Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(["--listen", "127.0.0.1:0", "--advertise", &names[0]])
            .args(["--candidates", &names.join(",")]),
    );
    master.log_line("--candidates is too long");
    assert_eq!(master.ends_within(SOON).code(), Some(2));
}

/// Who a candidate says leads, in words of a greeting.
fn asked(address: std::net::SocketAddr) -> String {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    (&stream)
        .write_all(b"2026-01-01 00:00:00.000000\n")
        .expect("it reads");
    let mut greeting = String::new();
    let read = BufReader::new(&stream).read_line(&mut greeting);
    read.expect("a greeting");
    greeting
}

#[test]
fn who_claims_to_be_a_candidate_does_not_part_the_others() {
    let ports = Ports::reserve(2);
    let [first, second] = [0, 1].map(|rank| ports.candidate(rank, &[]));
    second.line("Following");
    let twin = TcpStream::connect(ports.address(1)).expect("it listens");
    let twin_says = |line: &str| {
        let line = format!("CANDIDATE 0 {} {line}\n", ports.address(0));
        (&twin).write_all(line.as_bytes()).is_ok()
    };
    // For a while there are two of rank 0, one of them in touch with nobody.
    twin_says("0 seeks hears=");
    let led_by_one = || {
        let greetings = [0, 1].map(|rank| asked(ports.address(rank)));
        let leads = |greeting: &String| greeting.contains("leader=self");
        greetings.iter().filter(|greeting| leads(greeting)).count() == 1
    };
    drop(twin);
    let deadline = Instant::now() + SOON;
    while !led_by_one() {
        assert!(Instant::now() < deadline, "there are two leaders, or none");
        std::thread::sleep(Duration::from_millis(50));
    }
    // And one that talks too much is sent away, whatever it says.
    let twin = TcpStream::connect(ports.address(1)).expect("it listens");
    let line = format!("CANDIDATE 0 {} 1 seeks hears=1\n", ports.address(0)).repeat(200);
    let _ = (&twin).write_all(line.as_bytes());
    twin.set_read_timeout(Some(SOON)).expect("a socket");
    let mut answer = String::new();
    let _ = BufReader::new(&twin).read_line(&mut answer);
    assert_eq!(answer, "BYE you sent too many CANDIDATE lines\n");
    while !led_by_one() {
        assert!(Instant::now() < deadline, "there are two leaders, or none");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop((first, second));
}

#[test]
fn candidates_find_each_other_though_there_is_no_room() {
    let ports = Ports::reserve(2);
    let full = ["--max-followers", "1"];
    let first = ports.candidate(0, &full);
    let follower = Program::follower(ports.address(0), &[]);
    first.line("Leading");
    follower.line("Synchronized time: ");
    let second = ports.candidate(1, &full);
    second.line("Following");
    second.line("Synchronized time: ");
}

#[test]
fn a_record_of_a_candidate_tells_term_rank_and_wait() {
    let ports = Ports::reserve(2);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.csv");
    let path = path.to_str().expect("a name");
    let first = ports.candidate(0, &["--record", path]);
    let _second = ports.candidate(1, &[]);
    first.line("Round 1");
    first.log_line("rank 0 of 2, leads, after a wait of 1");
    let record = lines(path.as_ref(), 2);
    assert!(
        record[0].contains("error_ns,term,rank,waited_ns,rate_ppm,"),
        "{record:?}"
    );
    let columns: Vec<_> = record[1].split(',').collect();
    assert_eq!(columns[9..11], ["1", "0"], "{record:?}");
    let waited: u64 = columns[11].parse().expect("nanoseconds");
    assert!(waited >= 1_000_000_000, "{record:?}");
}

#[test]
fn without_candidates_there_is_no_election() {
    let master = Program::master(&["--interval", "100ms"]);
    let address = master.address();
    let stream = TcpStream::connect(address).expect("it listens");
    (&stream)
        .write_all(b"2026-01-01 00:00:00.000000\n")
        .expect("it reads");
    let mut greeting = String::new();
    BufReader::new(&stream)
        .read_line(&mut greeting)
        .expect("a greeting");
    assert_eq!(greeting, "BERKELEY 1 interval=100000000\n");
    let follower = Program::follower(address, &[]);
    follower.line("Synchronized time: ");
    let mut threads = master.threads();
    threads.retain(|name| !name.starts_with("peer "));
    threads.sort_unstable();
    let expected = "acceptor berkeley-master control coordinator log signals status";
    assert_eq!(threads.join(" "), expected);
    // Its listener, and one socket for each of the two that came.
    assert_eq!(master.sockets(), 3);
    assert_eq!(follower.sockets(), 1);
    // Who is no candidate does not listen to one.
    let stream = TcpStream::connect(address).expect("it listens");
    (&stream)
        .write_all(b"CANDIDATE 0 127.0.0.1:1 9 leads hears=1\n")
        .expect("it reads");
    let mut answer = String::new();
    BufReader::new(&stream)
        .read_line(&mut answer)
        .expect("an answer");
    assert_eq!(answer, "BYE this master was started without --candidates\n");
}

#[test]
fn nothing_is_told_twice_in_one_election() {
    let ports = Ports::reserve(3);
    let [first, second, third] = [0, 1, 2].map(|rank| ports.candidate(rank, &[]));
    for follower in [&second, &third] {
        follower.line(&format!("Following {}, in term 1", ports.address(0)));
        follower.line("Synchronized time: ");
    }
    first.signal("KILL");
    second.line("Leading, in term 2");
    third.line(&format!("Following {}, in term 2", ports.address(1)));
    third.line("Synchronized time: ");
    for candidate in [&second, &third] {
        let told = candidate.transcript();
        let news = told.lines().filter_map(|line| line.split_once(" | "));
        let news = news.map(|(_, text)| text).filter(|text| {
            ["Leading", "Following", "No leader"]
                .iter()
                .any(|begin| text.starts_with(begin))
        });
        let news: Vec<_> = news.collect();
        assert!(news.windows(2).all(|pair| pair[0] != pair[1]), "{news:?}");
    }
}
