//! Somebody asks as often as they can.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{SERVE, answer_when, served};
use crate::support::ntp_client::{Answer, Client, question};
use crate::support::programs::{Program, SOON};

const SECONDS: u64 = 10;
const PER_SECOND: u64 = 50_000;
const MALFORMED: u64 = 1_000_000;

/// The master's status.
fn status(folder: &std::path::Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
        .args(["status", "--json"])
        .env("RUNTIME_DIRECTORY", folder)
        .output()
        .expect("it starts");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The memory that a process has, in KiB.
fn memory(process: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.expect("a line").split_whitespace().next();
    words.expect("a number").parse().expect("a number")
}

/// Sends questions from one address, as many as said, and says how many answers it has heard.
fn flood(server: SocketAddr) -> usize {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.connect(server).expect("an address");
    socket.set_nonblocking(true).expect("a socket");
    let (began, question) = (Instant::now(), question(4, &[]));
    let (mut sent, mut heard) = (0, 0);
    while sent < SECONDS * PER_SECOND {
        let due = began.elapsed().as_micros() as u64 * PER_SECOND / 1_000_000;
        while sent < due.min(SECONDS * PER_SECOND) {
            let _ = socket.send(&question);
            sent += 1;
        }
        heard += std::iter::from_fn(|| socket.recv(&mut [0; 48]).ok()).count();
        thread::sleep(Duration::from_micros(200));
    }
    heard
}

/// Sends what is no question, and says how many answers there were.
fn nonsense(server: SocketAddr) -> usize {
    let client = Client::of(server);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..MALFORMED {
        let mut bytes = [0; 100];
        random.fill(&mut bytes);
        if bytes[0] & 7 == 3 {
            bytes[0] ^= 4;
        }
        let _ = client.0.send(&bytes[..random.usize(..=100)]);
    }
    client.heard(Duration::from_millis(200))
}

#[test]
#[ignore = "keeps both processors busy for a quarter of a minute"]
fn who_asks_without_end_costs_nobody_else_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = |program| {
        let mut command = Command::new(program);
        command.env("RUNTIME_DIRECTORY", folder.path());
        command
    };
    let master = Program::start(command(env!("CARGO_BIN_EXE_berkeley-master")).args([
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "500ms",
        "--min-followers",
        "3",
        SERVE,
    ]));
    let address = master.address();
    let server = served(&master);
    let followers = [0; 3].map(|_| Program::follower(address, &["--interval", "500ms"]));
    let other = Client::at(Ipv4Addr::new(127, 0, 0, 2), server);
    answer_when(&other, Answer::is_synchronized);
    // Whoever is here for eight rounds has a whole history.
    let reached = |status: &Value| {
        let clocks = status["clocks"].as_array().expect("clocks").clone();
        clocks.into_iter().all(|clock| clock["reach"] == "11111111")
    };
    let deadline = Instant::now() + 3 * SOON;
    while !reached(&status(folder.path())) {
        assert!(Instant::now() < deadline, "no eight rounds");
        thread::sleep(Duration::from_millis(100));
    }

    let (before, memory_before) = (status(folder.path()), memory(master.id()));
    let began = Instant::now();
    let (heard, asked, answered, all_reached) = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(server));
        let (mut asked, mut answered, mut all_reached) = (0, 0, true);
        while !flood.is_finished() {
            thread::sleep(Duration::from_millis(250));
            asked += 1;
            answered += usize::from(other.try_ask().is_some());
            all_reached &= reached(&status(folder.path()));
        }
        (flood.join().expect("a flood"), asked, answered, all_reached)
    });
    let took = began.elapsed().as_secs_f64();
    let (after, memory_after) = (status(folder.path()), memory(master.id()));
    let count = |status: &Value, name: &str| status["counters"][name].as_u64().expect("a number");
    let rounds = count(&after, "rounds_held") - count(&before, "rounds_held");
    let limited = after["ntp"]["counters"]["limited"]
        .as_u64()
        .expect("a number");
    println!(
        "{SECONDS} s of {PER_SECOND} questions a second: {rounds} rounds in {took:.1} s, every poll \
         answered: {all_reached}; {answered} of {asked} questions of another client answered; \
         {limited} too many, {heard} answers; {memory_before} KiB, then {memory_after} KiB"
    );
    assert!(
        rounds as f64 >= 2.0 * took - 2.0,
        "{rounds} rounds in {took} s"
    );
    assert_eq!(
        count(&after, "rounds_abandoned"),
        count(&before, "rounds_abandoned")
    );
    assert!(all_reached, "a poll was lost");
    // 64 at once, 16 a second, and a kiss a second.
    assert!((150..300).contains(&heard), "{heard} answers");
    assert!(
        limited > SECONDS * PER_SECOND / 2,
        "{limited} were too many"
    );
    // Where the thread has to wait for a processor, the kernel has no room for all, and UDP loses some.
    assert!(5 * answered >= 4 * asked, "{answered} of {asked}");
    assert!(memory_after - memory_before < 1024, "it grew");

    assert_eq!(nonsense(server), 0, "answers to nonsense");
    let grown = memory(master.id()) - memory_before;
    let malformed = status(folder.path())["ntp"]["counters"]["malformed"].clone();
    println!(
        "{MALFORMED} malformed packets, of which {malformed} were read: no answer, {grown} KiB more"
    );
    assert!(malformed.as_u64() > Some(MALFORMED / 10));
    assert!(grown < 1024, "it grew");
    assert!(other.ask().is_synchronized());
    drop(followers);
}
