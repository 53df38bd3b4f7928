//! The binaries together with the Python programs that they mirror.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::programs::{Program, SOON, assert_exact};
use crate::support::records::lines;
use crate::support::timestamp_client::{Client, GRACE};
use berkeley::internals::wire::timestamp;
use chrono::{NaiveDateTime, TimeDelta};

/// What `client.py` and what our follower print before the time that they are told.
const CLIENT_TOLD: &str = "Synchronized time at the client is: ";
const FOLLOWER_TOLD: &str = "Synchronized time: ";

/// A command that runs Python on a clock that is ahead by so many seconds.
///
/// `FAKETIME_DONT_FAKE_MONOTONIC` is not set: with it, `time.sleep` of Python 3.11 fails under
/// libfaketime 0.9.10 (its issue 426), which would end `client.py`'s reports after the first.
fn python_ahead(seconds: i32) -> Command {
    let mut command = Command::new("faketime");
    command.args(["-f", &format!("{seconds:+}s"), "python3"]);
    command
}

/// Calls a function of one of the Python programs, which take no arguments, with a port. They write
/// whole lines: of an unbuffered one, another thread's may come between two pieces.
fn call(mut python: Command, module: &str, function: &str, port: u16) -> Program {
    let seed = std::env::var("BERKELEY_SEED")
        .expect("BERKELEY_SEED has to name the folder of client.py and server.py");
    let script = format!(
        "import sys; sys.stdout.reconfigure(line_buffering=True); sys.path.insert(0, sys.argv[1]); \
         import {module}; {module}.{function}(port={port})"
    );
    Program::start(
        python
            .args(["-c", &script, &seed])
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

fn client_py(master: SocketAddr, seconds: i32) -> Program {
    let python = python_ahead(seconds);
    call(python, "client", "initiate_slave_client", master.port())
}

/// When the first rounds of three clocks ended, by the local time of this machine: it takes the
/// record's word for it, in which each of them has a line.
fn ends_of_rounds(record: &Path, rounds: usize) -> Vec<NaiveDateTime> {
    let lines = lines(record, 1 + 3 * rounds);
    let masters = lines[1..].iter().step_by(3).take(rounds).zip(1..);
    let ended = masters.map(|(line, number)| {
        let (time, rest) = line.split_once(',').expect("a time");
        assert!(rest.starts_with(&format!("{number},")), "{line}");
        timestamp::local(time.parse().expect("a time"))
    });
    ended.collect()
}

/// Checks that a Python program has no thread that failed, which leaves its others running.
#[track_caller]
fn assert_sound(program: &mut Program) {
    assert!(program.is_running());
    assert!(!program.transcript().contains("Traceback"));
}

/// Starts `server.py`, which needs to be told a port: one that was free a moment ago.
fn server_py() -> (Program, SocketAddr) {
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a socket");
        drop(free);
        let python = Command::new("python3");
        let server = call(python, "server", "initiate_clock_server", address.port());
        if server.try_line("Clock server started").is_some() {
            return (server, address);
        }
    }
    panic!("server.py does not start");
}

#[test]
#[ignore = "needs python3 with dateutil, faketime and BERKELEY_SEED"]
fn every_round_tells_two_clients_the_masters_clock_plus_2_minutes() {
    // The clients report every 5 s, so these rounds are held on three reports of each. The first
    // ones are half a second apart and more.
    const ROUNDS: usize = 15;
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("record.csv");
    let master = Program::master(&[
        "--interval",
        "2s",
        "--min-followers",
        "2",
        "--record",
        record.to_str().expect("a name"),
    ]);
    let address = master.address();
    let mut clients = [-14 * 60, 20 * 60].map(|seconds| client_py(address, seconds));
    let told = clients.each_ref().map(|client| {
        let told = (0..ROUNDS).map(|_| client.line(CLIENT_TOLD).told(CLIENT_TOLD));
        told.collect::<Vec<_>>()
    });
    // What a client prints is read late on a busy machine, so it is held against the moments at which
    // the master says that it has told them. Who comes late is told something between two rounds.
    let ends = ends_of_rounds(&record, ROUNDS);
    for told in told.iter().flatten() {
        let ahead = ends.iter().map(|ended| *told - *ended);
        let nearest = ahead.min_by_key(|ahead| (*ahead - TimeDelta::minutes(2)).abs());
        assert_exact(nearest.expect("a round"), TimeDelta::minutes(2));
    }
    for client in &mut clients {
        assert_sound(client);
        let reports = client.transcript().matches("Time sent").count();
        assert!(reports >= 3, "{reports} reports");
    }
    master.stops_at("TERM");
}

#[test]
#[ignore = "needs python3 with dateutil, faketime and BERKELEY_SEED"]
fn server_py_serves_our_follower_for_ten_rounds_and_lives() {
    let (mut server, address) = server_py();
    let followers = ["auto", "timestamp"]
        .map(|wire| Program::follower(address, &["--interval", "5s", "--wire", wire]));
    for _ in 0..10 {
        for follower in &followers {
            let told = follower.line(FOLLOWER_TOLD).told_ahead(FOLLOWER_TOLD);
            assert!(told.abs() < TimeDelta::seconds(1), "{told}");
        }
    }
    assert_sound(&mut server);
    for follower in followers {
        follower.stops_at("TERM");
    }
}

#[test]
#[ignore = "needs python3 with dateutil, faketime and BERKELEY_SEED"]
fn a_mixed_group_agrees() {
    let master = Program::master(&["--interval", "2s", "--min-followers", "3"]);
    let address = master.address();
    let mut client = client_py(address, -14 * 60);
    let followers = ["0s", "+20m"].map(|offset| {
        Program::follower(address, &["--interval", "1s", "--simulate-offset", offset])
    });
    for _ in 0..4 {
        // The mean of 0, -14, 0 and 20 minutes.
        let agreed = TimeDelta::seconds(90);
        assert_exact(client.line(CLIENT_TOLD).told_ahead(CLIENT_TOLD), agreed);
        for follower in &followers {
            let told = follower.line(FOLLOWER_TOLD).told_ahead(FOLLOWER_TOLD);
            assert_exact(told, agreed);
        }
    }
    assert_sound(&mut client);
    master.stops_at("TERM");
}

#[test]
#[ignore = "needs python3 with dateutil, faketime and BERKELEY_SEED"]
fn clients_that_die_hang_or_send_garbage_cost_nobody_else_a_round() {
    const ROUNDS: usize = 8;
    const INTERVAL: Duration = Duration::from_secs(1);
    let master = Program::master(&["--interval", "1s", "--min-followers", "5"]);
    let address = master.address();
    let [mut client, killed, stopped] = [0; 3].map(|seconds| client_py(address, seconds));
    let follower = Program::follower(address, &["--interval", "1s"]);
    let held = thread::scope(|scope| {
        scope.spawn(|| {
            let client = Client::join(address, TimeDelta::zero());
            for told in client.take_part(1, SOON) {
                assert_exact(told, TimeDelta::zero());
            }
            for told in client.take_part(ROUNDS - 1, INTERVAL) {
                assert_exact(told, TimeDelta::zero());
            }
        });
        master.line("Round 2");
        killed.signal("KILL");
        stopped.signal("STOP");
        let silent = Client::connect(address, TimeDelta::zero());
        let noisy = Client::connect(address, TimeDelta::zero());
        let mut random = fastrand::Rng::with_seed(2);
        let bytes: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
        // The master need not listen to the end.
        let _ = (&noisy.stream).write_all(&bytes);
        noisy.until_end();
        silent
    });
    for (program, label) in [(&client, CLIENT_TOLD), (&follower, FOLLOWER_TOLD)] {
        let lines: Vec<_> = (0..ROUNDS).map(|_| program.line(label)).collect();
        for line in &lines {
            assert_exact(line.told_ahead(label), TimeDelta::zero());
        }
        for pair in lines.windows(2) {
            let gap = pair[1].read - pair[0].read;
            assert!(gap < INTERVAL + GRACE, "{gap:?} before {}", pair[1].text);
        }
    }
    assert_sound(&mut client);
    // The one that is stopped reads nothing of the end either.
    master.stops_at("TERM");
    drop(held);
}
