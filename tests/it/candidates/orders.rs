//! A step of a group with several candidates.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::discipline::network_clock::NetworkClock;
use berkeley::internals::span::span;
use chrono::TimeDelta;

use super::group::{Group, take_corrections};
use crate::orders::{is_done, is_refused, teller, until};
use crate::support::keys;
use crate::support::programs::{Program, SOON, steady};
use crate::support::records::moments;

const STEP: TimeDelta = TimeDelta::seconds(90);

/// How far these clocks are ahead of what the machine's oscillator has counted, from the first to
/// the last.
fn ahead(clocks: &[NetworkClock]) -> (TimeDelta, TimeDelta) {
    let all = clocks.iter().map(|clock| clock.now().time - steady());
    let all: Vec<_> = all.collect();
    (*all.iter().min().unwrap(), *all.iter().max().unwrap())
}

fn have_moved(clocks: &[NetworkClock]) -> bool {
    ahead(clocks).0 > STEP / 2
}

#[test]
fn all_candidates_and_followers_make_the_step_and_one_that_was_away_too() {
    let mut group = Group::start();
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("away.csv");
    let arguments = [
        "--name",
        "away",
        "--record",
        record.to_str().expect("a name"),
    ];
    let away = Program::follower(group.ports.address(1), &arguments);
    for _ in 0..4 {
        away.line("Synchronized time: ");
    }
    take_corrections(&mut group.followers, 3);
    let clocks = group.survivors();
    let before = ahead(&clocks);

    away.signal("STOP");
    let told = Instant::now();
    is_done(
        &group.leader,
        &["set", "+90s"],
        "stepped by +1.500 min (step 1)",
    );
    until("all but one have moved", || have_moved(&clocks));
    let took = told.elapsed();
    group.leader.line("clocks agree");
    take_corrections(&mut group.followers, 1);
    let after = ahead(&clocks);
    println!(
        "12 clocks moved by {} to {} within {} ms, and are {} apart",
        span(after.0 - before.0),
        span(after.1 - before.1),
        took.as_millis(),
        span(after.1 - after.0)
    );
    assert!(after.1 - after.0 < TimeDelta::milliseconds(1));
    assert!((after.0 - before.0 - STEP).abs() < TimeDelta::milliseconds(1));

    away.signal("CONT");
    catches_up(&away, &record, &clocks);
}

/// That one which was away has made the step one round after it is back, and once.
#[track_caller]
fn catches_up(away: &Program, record: &Path, clocks: &[NetworkClock]) {
    away.line("Stepped with the group by +1.500 min (step 1)");
    for _ in 0..2 {
        away.line("Synchronized time: ");
    }
    let (record, others) = (moments(record), clocks[0].now().time - WallClock.read());
    let last = record.last().expect("a correction").ahead();
    let apart = (last - others).abs();
    println!("the one that was away is {} from them", span(apart));
    assert!(apart < TimeDelta::milliseconds(1), "{apart}");
    let steps = away.transcript().matches("Stepped with the group").count();
    assert_eq!(steps, 1);
}

#[test]
fn a_leader_that_is_killed_in_the_middle_of_a_step_leaves_all_with_it_or_none() {
    let mut group = Group::start();
    take_corrections(&mut group.followers, 3);
    let clocks = group.survivors();
    let mut told = teller(&group.leader, &["set", "+90s"]);
    let told = told.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut told = told.expect("the program");
    // The first clock of the others that moves is the leader's end.
    let some_moved = || ahead(&clocks).1 > STEP / 2;
    let deadline = Instant::now() + SOON;
    while !some_moved() && Instant::now() < deadline {
        thread::yield_now();
    }
    group.leader.signal("KILL");
    let at_once = clocks
        .iter()
        .filter(|clock| have_moved(&[(*clock).clone()]));
    println!(
        "{} of 12 had moved when the leader was killed",
        at_once.count()
    );
    let _ = told.wait();
    group.corrected_by_the_next_leader(Instant::now());
    let (first, last) = ahead(&clocks);
    println!(
        "in the next term they are {} ahead, {} apart",
        span(first),
        span(last - first)
    );
    assert!(
        last - first < TimeDelta::milliseconds(1),
        "{first} to {last}"
    );
    assert!(
        (first - STEP).abs() < TimeDelta::milliseconds(50),
        "{first}"
    );
}

#[test]
fn one_that_does_not_lead_says_who_does() {
    let ports = super::Ports::reserve(2);
    let candidates = [0, 1].map(|rank| ports.candidate(rank, &[]));
    candidates[1].line("Following");
    let leader = format!("{} does: tell that one", ports.address(0));
    is_refused(&candidates[1], &["set", "+1s"], &leader);
    is_done(&candidates[0], &["set", "+1s"], "(step 1)");
    candidates[1].line("Stepped with the group by +1.000 s");
    candidates[0].signal("KILL");
    candidates[1].line("Leading");
    is_done(&candidates[1], &["set", "+1s"], "(step 2)");
}

#[test]
fn no_candidate_steps_the_group_without_end() {
    let ports = super::Ports::reserve(2);
    let leader = ports.candidate(0, &[]);
    leader.line("Leading, in term 1");
    let call = || TcpStream::connect(ports.address(0)).expect("it listens");
    let mut follower = call();
    let opened = follower.write_all(b"2026-01-01 00:00:00.000000\n");
    opened.expect("it reads");
    let mut lines = BufReader::new(follower.try_clone().expect("a socket"))
        .lines()
        .map_while(Result::ok);
    let mut told = |part: &str| {
        let steps = lines.find_map(|line| Some(line.split_once("steps=")?.1.to_owned()));
        let steps = steps.expect("a poll that tells steps");
        assert!(steps.contains(part), "{steps}");
        steps
    };
    let (first, own) = (told(",0,0"), ports.address(1));
    let series = first.split(',').next().expect("a series");
    let mut liar = call();
    for number in 1..=25 {
        let sum = number % 2 * 1_000_000_000;
        let steps = format!("steps={series},{number},{sum}");
        let line = format!("CANDIDATE 1 {own} 1 follows=0 hears=0 {steps}\n");
        liar.write_all(line.as_bytes()).expect("it reads");
        if number <= 20 {
            told(&format!(",{number},"));
        }
    }
    // What is printed comes another way than what is logged.
    for _ in 0..20 {
        leader.line("Group stepped");
    }
    leader.log_line("another candidate tells of too many steps");
    let steps = leader.transcript().matches("Group stepped").count();
    assert_eq!(steps, 20);
}

#[test]
fn a_new_leader_steps_no_group_to_a_reference_that_has_come_late() {
    let ports = super::Ports::reserve(2);
    let candidates = [0, 1].map(|rank| ports.candidate(rank, &[]));
    // The opening, in which a group is stepped, is over.
    for _ in 0..12 {
        candidates[0].line("2 of 2 clocks agree");
    }
    let arguments = ["--reference", "--simulate-offset", "20m", "--name", "gps"];
    let gps = Program::follower(ports.address(0), &arguments);
    candidates[0].line("1 of 1 references followed, +20.000 min ahead");
    candidates[0].signal("KILL");
    candidates[1].line("Leading");
    for _ in 0..2 {
        candidates[1].line("1 of 1 references followed, +20.000 min ahead");
    }
    for program in [&candidates[0], &candidates[1], &gps] {
        let said = program.transcript();
        let steps = ["Group stepped", "Stepped with the group"];
        assert!(!steps.iter().any(|step| said.contains(step)));
    }
}

#[test]
fn a_clock_that_was_dropped_has_no_vote_with_any_later_leader() {
    let ports = super::Ports::reserve(2);
    let candidate = |rank| ports.candidate(rank, &["--name", ["m0", "m1"][rank]]);
    let mut candidates = [candidate(0), candidate(1)];
    let addresses = [0, 1].map(|rank| ports.address(rank).to_string());
    // By what its key says, if it has one.
    let called = |rank: usize| match keys::of_all() {
        Some(_) => addresses[rank].clone(),
        None => format!("m{rank}"),
    };
    let db = Program::follower(ports.address(0), &[&addresses[1], "--name", "db"]);
    db.line("Synchronized time: ");
    candidates[0].line("3 of 3 clocks agree");
    is_done(&candidates[0], &["drop", "db"], "db has no vote");
    // The answer has come, so the other one knows.
    candidates[0].signal("KILL");
    candidates[1].line(&format!("an operator at {} told: drop db", addresses[0]));
    candidates[1].line("Leading");
    assert!(candidates[1].line("  db ").text.contains(" dropped "));

    // One that has just started hears of it, and of what is said now.
    candidates[0] = candidate(0);
    candidates[0].line("told: drop db");
    candidates[1].line(&format!("  {} ", called(0)));
    is_done(&candidates[1], &["drop", "master"], "master has no vote");
    is_done(&candidates[1], &["admit", &called(1)], "may vote again");
    is_done(&candidates[1], &["drop", &called(1)], "master has no vote");
    assert!(candidates[1].line("  master ").text.contains(" dropped "));
    candidates[1].signal("TERM");
    candidates[0].line("Leading");
    assert!(candidates[0].line("  db ").text.contains(" dropped "));
    candidates[1] = candidate(1);
    let other = candidates[0].line(&format!("  {} ", called(1)));
    assert!(other.text.contains(" dropped "), "{}", other.text);
    is_done(&candidates[0], &["admit", "db"], "db may vote again");
}

/// A candidate that is played by hand.
struct Played {
    told: std::io::Lines<BufReader<TcpStream>>,
    tells: TcpStream,
    own: String,
}

impl Played {
    /// The second of two, which has met the first.
    fn meet(ports: &super::Ports) -> Self {
        let listener = TcpListener::bind(ports.address(1)).expect("its port");
        let tells = TcpStream::connect(ports.address(0)).expect("it listens");
        let (told, _) = listener.accept().expect("the first tells it");
        told.set_read_timeout(Some(SOON)).expect("a socket");
        Self {
            told: BufReader::new(told).lines(),
            tells,
            own: ports.address(1).to_string(),
        }
    }

    /// A heartbeat with these words, and these lines.
    fn say(&mut self, words: &str, lines: &str) {
        let heartbeat = format!("CANDIDATE 1 {} 1 follows=0 hears=0{words}\n", self.own);
        let said = heartbeat + lines;
        self.tells.write_all(said.as_bytes()).expect("it reads");
    }

    /// What it is told next that is no heartbeat, if anything in so many heartbeats, each of which it
    /// answers with these words.
    fn order(&mut self, heartbeats: usize, words: &str) -> Option<String> {
        for _ in 0..heartbeats {
            let line = self.told.next().expect("a line").expect("a line");
            if !line.starts_with("CANDIDATE ") {
                return Some(line);
            }
            self.say(words, "");
        }
        None
    }
}

#[test]
fn conflicting_orders_of_two_candidates_have_one_outcome_which_both_are_told() {
    let ports = super::Ports::reserve(2);
    let leader = ports.candidate(0, &[]);
    leader.line("Leading, in term 1");
    let _followers = ["a", "b"].map(|name| {
        let follower = Program::follower(ports.address(0), &["--name", name]);
        follower.line("Synchronized time: ");
        follower
    });
    // Two on this side, the second of which is the later word on `b` on either.
    is_done(&leader, &["drop", "a"], "a has no vote");
    is_done(&leader, &["drop", "b"], "b has no vote");
    let mut other = Played::meet(&ports);
    let told = "DROP 1 1 b\nADMIT 2 1 a\nADMIT 2 1 b\nADMIT 1 1 nobody\n";
    other.say(" orders=2", told);
    leader.line(&format!("an operator at {} told: admit b", other.own));
    let heard: Vec<_> = (0..4)
        .map_while(|_| other.order(20, " orders=2"))
        .take_while(|line| line != "ADMIT 1 1 nobody")
        .collect();
    assert_eq!(heard, ["ADMIT 2 1 a", "ADMIT 2 1 b"], "what has come of it");
    is_refused(&leader, &["admit", "b"], "b was not dropped");
    let mut told = teller(&leader, &["drop", "b"]);
    let mut told = told.stdout(Stdio::null()).spawn().expect("the program");
    let next = other.order(20, " orders=2");
    assert_eq!(next.as_deref(), Some("DROP 3 0 b"));
    // Nobody but the leader knows of it, which is no reason not to do it.
    assert!(told.wait().expect("the program").success());
}

#[test]
fn a_candidate_of_an_older_release_is_told_no_orders_and_nothing_grows() {
    let ports = super::Ports::reserve(2);
    let leader = ports.candidate(0, &[]);
    leader.line("Leading, in term 1");
    is_done(&leader, &["drop", "master"], "master has no vote");
    let mut older = Played::meet(&ports);
    assert_eq!(older.order(8, ""), None);
    older.say(" orders=0", "DROP 1 1 x\"y\n");
    leader.log_line("whose name is missing");
    let mut liar = TcpStream::connect(ports.address(0)).expect("it listens");
    let heartbeat = format!("CANDIDATE 1 {} 1 follows=0 hears=0\n", older.own);
    // All at once: line by line, a busy machine makes a second or more of it, and so many are allowed
    // in a second. It may have been sent away before all is written.
    let drop = |number| format!("DROP {number} 1 c{number}\n");
    let flood: String = (1..=3000).map(drop).collect();
    let _ = liar.write_all((heartbeat + &flood).as_bytes());
    leader.log_line("too many orders about votes");
    let told = leader.transcript().matches(" told: drop c").count();
    assert!(told <= 20, "{told} lines");
}
