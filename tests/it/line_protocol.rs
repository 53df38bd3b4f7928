//! The line protocol over real sockets: as a person would type it, between our own programs, and
//! what becomes of a peer that breaks its rules.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::programs::{Program, SOON, now};
use berkeley::NodeName;
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::wire::timestamp;
use chrono::{DateTime, TimeDelta};

/// One end of a connection, spoken to in lines.
struct Peer {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let lines = BufReader::new(stream.try_clone().expect("a descriptor"));
        Self { stream, lines }
    }

    /// A follower that has opened with a timestamp and a newline, and was greeted.
    fn greeted_by(master: SocketAddr) -> Self {
        let mut peer = Self::new(TcpStream::connect(master).expect("the master accepts"));
        peer.send("2024-01-02 03:04:05.678901");
        assert!(peer.line().starts_with("BERKELEY 1 interval="));
        peer
    }

    /// A master that was called by a follower, which opens with a timestamp.
    fn called_on(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("a follower");
        let mut peer = Self::new(stream);
        assert_eq!(peer.line().len(), 26);
        peer
    }

    fn send(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stream
            .write_all(line.as_bytes())
            .expect("the peer reads");
    }

    /// The next line without its newline; empty at the end of the connection.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line, in time");
        line.trim_end_matches('\n').to_owned()
    }

    /// Waits for a line that begins like this, and skips others.
    fn line_of(&mut self, begin: &str) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the connection ended before {begin}");
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    /// Answers polls with a clock that is `ahead`, until another line comes.
    fn answer_polls(&mut self, ahead: TimeDelta) -> String {
        self.answer_polls_saying(ahead, "")
    }

    /// The same, and each answer ends so.
    fn answer_polls_saying(&mut self, ahead: TimeDelta, words: &str) -> String {
        loop {
            let line = self.line();
            let Some(n) = poll_number(&line) else {
                return line;
            };
            let now = nanoseconds(WallClock.read() + ahead);
            self.send(&format!("TIME {n} {now} {now}{words}"));
        }
    }
}

/// A listener, a follower of it, and the connection that it has opened.
fn called() -> (TcpListener, Program, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let follower = Program::follower(listener.local_addr().expect("a socket"), &[]);
    let master = Peer::called_on(&listener);
    (listener, follower, master)
}

fn nanoseconds(time: DateTime<chrono::Utc>) -> i64 {
    time.timestamp_nanos_opt().expect("this century")
}

fn words<const N: usize>(line: &str) -> [i64; N] {
    let numbers: Vec<i64> = line
        .split(' ')
        .skip(1)
        .take(N)
        .map(|word| word.parse().expect("a number"))
        .collect();
    numbers.try_into().expect("enough numbers")
}

/// The number of a poll, if the line is one.
fn poll_number(line: &str) -> Option<&str> {
    line.strip_prefix("POLL ")?.split(' ').next()
}

#[test]
fn a_session_as_typed_by_hand() {
    let master = Program::master(&["--interval", "500ms", "--burst", "3"]);
    let mut peer = Peer::greeted_by(master.address());
    let adjust = peer.answer_polls(TimeDelta::seconds(1));
    assert!(adjust.starts_with("ADJUST "), "{adjust}");
    let [n, offset, error] = words(&adjust);
    // One burst at once, and perhaps one of the interval's own before it ends.
    assert!((1..=6).contains(&n), "no such poll: {adjust}");
    // Two clocks meet in the middle: half a second each.
    assert!((offset + 500_000_000).abs() < 5_000_000, "{adjust}");
    assert!((0..5_000_000).contains(&error), "{adjust}");
    peer.send("BYE enough");
    assert!(master.line("Follower left").text.contains("enough"));
}

/// A follower whose newline comes in a packet of its own, after its timestamp has been taken for a
/// client's; it is 10 min behind.
fn with_a_late_newline(master: &Program, address: SocketAddr) -> Peer {
    loop {
        let mut peer = Peer::new(TcpStream::connect(address).expect("the master accepts"));
        let report = timestamp::format(now() - TimeDelta::minutes(10));
        peer.stream.write_all(report.as_bytes()).expect("it reads");
        master.line("timestamp wire");
        peer.send("");
        // A tenth of a second later it is served as a client, and sent away.
        if peer.line().starts_with("BERKELEY ") {
            return peer;
        }
    }
}

#[test]
fn a_newline_that_comes_late_makes_a_follower_of_a_client() {
    let master = Program::master(&["--interval", "500ms"]);
    let address = master.address();
    let mut peer = with_a_late_newline(&master, address);
    let mut ahead = TimeDelta::minutes(-10);
    let mut told = Vec::new();
    for _ in 0..4 {
        let adjust = peer.answer_polls(ahead);
        let [_, offset, _] = words(&adjust);
        ahead += TimeDelta::nanoseconds(offset);
        told.push(offset);
    }
    // It has followed, and nothing is kept for it besides.
    assert!(told[0] > 0, "{told:?}");
    assert!(
        told[2..].iter().all(|it| it.abs() < 1_000_000_000),
        "{told:?}"
    );
}

#[test]
fn a_clock_that_was_set_by_hand_is_corrected_after_its_next_burst_and_moves_nobody() {
    let master = Program::master(&["--interval", "1h"]);
    let mut peer = Peer::greeted_by(master.address());
    let knows = " synchronized=yes";
    for words in ["", knows] {
        let adjust = peer.answer_polls_saying(TimeDelta::zero(), words);
        assert!(adjust.starts_with("ADJUST "), "{adjust}");
    }
    let ahead = TimeDelta::milliseconds(400);
    let adjust = peer.answer_polls_saying(ahead, "");
    let [_, offset, _] = words(&adjust);
    // In a round, two clocks would meet in the middle.
    assert!((offset + 400_000_000).abs() < 5_000_000, "{adjust}");
    let adjust = peer.answer_polls_saying(TimeDelta::zero(), knows);
    let [_, offset, _] = words(&adjust);
    assert!(offset.abs() < 5_000_000, "{adjust}");
}

#[test]
fn a_burst_has_as_many_polls_as_asked_for() {
    let master = Program::master(&["--interval", "1s", "--burst", "5"]);
    let mut peer = Peer::greeted_by(master.address());
    let mut polls = 0;
    loop {
        let line = peer.line();
        let Some(n) = poll_number(&line) else {
            break;
        };
        polls += 1;
        let now = nanoseconds(WallClock.read());
        peer.send(&format!("TIME {n} {now} {now}"));
    }
    // One burst at once, and perhaps one of the interval's own before it ends.
    assert!(polls == 5 || polls == 10, "{polls}");
}

/// A peer that sends `line` when it is polled is told why it has to leave, and costs a healthy
/// follower nothing.
fn is_a_fault(line: &str, reason: &str) {
    let master = Program::master(&["--interval", "200ms"]);
    let address = master.address();
    let healthy = Program::follower(address, &[]);
    healthy.line("Synchronized time: ");
    let mut peer = Peer::greeted_by(address);
    peer.line_of("POLL ");
    peer.send(line);
    let bye = peer.line_of("BYE ");
    assert!(bye.contains(reason), "{line:?} is answered {bye:?}");
    master.log_line(reason);
    for _ in 0..3 {
        healthy.line("Synchronized time: ");
    }
    assert!(!healthy.transcript().contains("lost"));
}

#[test]
fn an_answer_to_a_poll_that_never_was_is_a_fault() {
    is_a_fault("TIME 99 1 1", "TIME 99 where TIME 1 was to come");
}

#[test]
fn an_unknown_line_is_a_fault() {
    is_a_fault("HELLO", "no message of the line protocol");
}

#[test]
fn an_endless_line_is_a_fault() {
    is_a_fault(&"BYE ".repeat(70), "a line of more than 256 bytes");
}

#[test]
fn a_number_out_of_range_is_a_fault() {
    is_a_fault("TIME 1 99999999999999999999 1", "out of range");
}

#[test]
fn an_answer_that_left_before_the_poll_came_is_a_fault() {
    is_a_fault("TIME 1 2000 1000", "impossible times");
}

#[test]
fn binary_is_a_fault() {
    is_a_fault("\u{1}\u{2}", "not printable ASCII");
}

#[test]
fn a_follower_answers_polls_and_follows_corrections() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a socket");
    let follower = Program::follower(address, &["--simulate-offset", "20m", "--rounds", "2"]);
    let mut master = Peer::called_on(&listener);
    // A word of tomorrow is skipped.
    master.send("BERKELEY 1 interval=1000000000 term=7");
    master.send("POLL 41");
    let time = master.line();
    let [n, t2, t3] = words(&time);
    assert_eq!(n, 41);
    assert!(t2 <= t3, "{time}");
    let ahead = t2 - nanoseconds(WallClock.read());
    assert!((ahead - 1_200_000_000_000).abs() < 1_000_000_000, "{time}");
    master.send("ADJUST 41 -1200000000000 1000");
    let told = follower.line("Synchronized time: ");
    assert!(
        told.text
            .ends_with("correction -20.000 min ± 1.000 µs, stepped"),
        "{}",
        told.text
    );
    crate::support::programs::assert_exact(
        told.told_ahead("Synchronized time: "),
        TimeDelta::zero(),
    );
    // What it answers now is the corrected time.
    master.send("POLL 42");
    let [_, t2, _] = words(&master.line());
    assert!((t2 - nanoseconds(WallClock.read())).abs() < 1_000_000_000);
    master.send("ADJUST 42 0 1000");
    follower.stops_by_itself();
}

#[test]
fn a_follower_tells_its_name_in_the_first_answer_of_each_connection() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    let host = NodeName::of_host(host.trim_end()).expect("a name");
    for (arguments, name) in [(&["--name", "db-1"][..], "db-1"), (&[], host.as_str())] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a socket");
        let _follower = Program::follower(address, arguments);
        for _ in 0..2 {
            let mut master = Peer::called_on(&listener);
            master.send("BERKELEY 1 interval=1000000000");
            master.send("POLL 1");
            let first = master.line();
            assert!(first.ends_with(&format!(" name={name}")), "{first}");
            master.send("POLL 2");
            let second = master.line();
            assert!(
                second.starts_with("TIME 2 ") && !second.contains("name="),
                "{second}"
            );
        }
    }
}

#[test]
fn a_version_that_is_not_known_is_refused_by_name() {
    let (listener, follower, mut master) = called();
    master.send("BERKELEY 2 interval=1000000000");
    let bye = master.line();
    assert!(
        bye.starts_with("BYE ") && bye.contains("version 1 only"),
        "{bye}"
    );
    follower.log_line("BERKELEY 2");
    // It is not the end: the master may be replaced by one that it understands.
    Peer::called_on(&listener);
}

#[test]
fn a_follower_refuses_what_a_master_may_not_say() {
    for line in [
        "ADJUST 9 0 0",
        "POLL",
        "TIME 1 1 1",
        "ADJUST 1 9223372036854775807 0",
        "ADJUST 1 0 -1",
        "nonsense",
    ] {
        let (listener, follower, mut master) = called();
        master.send("BERKELEY 1 interval=1000000000");
        master.send("POLL 1");
        master.line_of("TIME 1 ");
        master.send(line);
        assert!(master.line().starts_with("BYE you sent "), "{line}");
        follower.log_line("trying to connect again");
        Peer::called_on(&listener);
    }
}

#[test]
fn a_follower_leaves_a_master_that_falls_silent() {
    let (listener, follower, mut master) = called();
    master.send("BERKELEY 1 interval=10000000");
    follower.log_line("it was silent for 3 s");
    Peer::called_on(&listener);
}

#[test]
fn a_follower_that_falls_silent_is_dropped_after_three_rounds() {
    let master = Program::master(&["--interval", "500ms"]);
    let mut peer = Peer::greeted_by(master.address());
    assert!(peer.answer_polls(TimeDelta::zero()).starts_with("ADJUST"));
    assert!(peer.line_of("BYE ").contains("no time in three rounds"));
    master.line("Follower left");
}

#[test]
fn a_stopping_master_says_goodbye() {
    let master = Program::master(&[]);
    let mut peer = Peer::greeted_by(master.address());
    let adjust = peer.answer_polls(TimeDelta::zero());
    assert!(adjust.starts_with("ADJUST "), "{adjust}");
    master.signal("TERM");
    assert_eq!(peer.line_of("BYE "), "BYE the master is stopping");
}

#[test]
fn a_stopping_follower_says_goodbye() {
    let (_listener, follower, mut master) = called();
    master.send("BERKELEY 1 interval=1000000000");
    master.send("POLL 1");
    master.line_of("TIME 1 ");
    follower.signal("TERM");
    assert_eq!(master.line(), "BYE the follower is stopping");
}

#[test]
fn a_dry_run_corrects_nobody() {
    let master = Program::master(&["--dry-run", "--interval", "300ms", "--rounds", "3"]);
    let mut peer = Peer::greeted_by(master.address());
    let end = peer.answer_polls(TimeDelta::seconds(10));
    assert_eq!(end, "BYE the master is stopping", "no correction was sent");
    for round in 1..=3 {
        master.line(&format!("Round {round}: "));
        // In every round as in the first, for the master too stays where it is.
        master.line(" +5.000 s");
        master.line("+10.000 s");
    }
}

#[test]
fn a_second_report_before_the_greeting_is_no_fault() {
    let master = Program::master(&["--interval", "300ms"]);
    let mut peer = Peer::greeted_by(master.address());
    // It was on its way when the greeting came.
    peer.send("2024-01-02 03:04:05.778901");
    let adjust = peer.answer_polls(TimeDelta::zero());
    assert!(adjust.starts_with("ADJUST "), "{adjust}");
}

#[test]
fn a_master_that_ends_every_connection_is_called_less_and_less() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let follower = Program::follower(listener.local_addr().expect("a socket"), &[]);
    let began = std::time::Instant::now();
    for _ in 0..6 {
        Peer::called_on(&listener).send("BYE no room");
    }
    // Pauses of 100, 200, 400, 800 and 1600 ms, or half of each.
    assert!(
        began.elapsed() >= Duration::from_millis(1550),
        "{:?}",
        began.elapsed()
    );
    follower.log_line("no room");
    assert_eq!(
        follower.transcript().matches("no room").count(),
        1,
        "said once"
    );
}

#[test]
fn a_follower_that_was_stopped_and_goes_on_keeps_its_master() {
    let master = Program::master(&["--interval", "300ms"]);
    let follower = Program::follower(master.address(), &[]);
    follower.line("Synchronized time: ");
    for _ in 0..3 {
        follower.signal("STOP");
        follower.signal("CONT");
        follower.line("Synchronized time: ");
    }
    assert!(!follower.transcript().contains("lost"));
}

#[test]
fn a_flood_of_corrections_is_a_fault() {
    let (_listener, follower, mut master) = called();
    master.send("BERKELEY 1 interval=10000000");
    let flood = "POLL 1\nADJUST 1 0 0\n".repeat(250);
    // It may be cut off before it is through.
    let _ = master.stream.write_all(flood.as_bytes());
    // Whichever limit it meets first: that of lines or that of corrections.
    follower.log_line("too many ");
}

#[test]
fn an_unfinished_handshake_and_an_unfinished_line_are_gone_in_10_s() {
    // However long the interval is.
    let master = Program::master(&["--interval", "1h"]);
    let address = master.address();
    let mut silent = Peer::greeted_by(address);
    let mut half = Peer::greeted_by(address);
    half.line_of("POLL 1");
    half.stream.write_all(b"TIME 1 17").expect("it reads");
    let mut nothing = Peer::new(TcpStream::connect(address).expect("it accepts"));
    let mut opening = Peer::new(TcpStream::connect(address).expect("it accepts"));
    opening.stream.write_all(b"2024-01-0").expect("it reads");
    let began = std::time::Instant::now();
    for peer in [&mut silent, &mut half, &mut nothing, &mut opening] {
        let patience = Duration::from_secs(30);
        peer.stream
            .set_read_timeout(Some(patience))
            .expect("a socket");
        while !peer.line().is_empty() {}
    }
    let took = began.elapsed();
    // A first burst waits for its answer before anything else.
    assert!(took < Duration::from_secs(15), "{took:?}");
}
