//! Who has a key is served and called by its name; who has none is nobody.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berkeley::internals::wire::address::Address;
use berkeley::{Credentials, Follower, FollowerOptions};
use socket2::{Domain, Socket, Type};

use crate::support::keys::{Calling, KeyedPeer, Keys, start};
use crate::support::programs::{Program, SOON};

/// Everything that a server says to this opening, until it ends the connection.
pub(super) fn answers(server: SocketAddr, opening: &str) -> Vec<String> {
    let stream = TcpStream::connect(server).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    (&stream).write_all(opening.as_bytes()).expect("it reads");
    let lines = BufReader::new(&stream).lines();
    lines.map_while(Result::ok).collect()
}

#[test]
fn a_group_with_keys_is_one_of_named_clocks() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms", "--min-followers", "2"]);
    let address = master.address();
    let followers = ["db1", "db2"].map(|name| keys.follower(name, address));
    master.line("Follower joined: db");
    master.line("Follower joined: db");
    for follower in &followers {
        follower.line("Connected to ");
        follower.line("Synchronized time: ");
    }
    master.line("Round 3: 3 of 3 clocks agree, average ");
}

#[test]
fn who_has_no_key_is_told_so_in_its_own_words_and_votes_for_nothing() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let address = master.address();
    let follower = keys.follower("db1", address);
    follower.line("Synchronized time: ");
    let stamp = "2026-01-01 00:00:00.000000";
    for (opening, answer) in [
        (
            format!("{stamp}\n"),
            &["BYE this group requires a key: start it with --key-file"][..],
        ),
        (stamp.to_owned(), &[]),
        (
            "CANDIDATE 0 127.0.0.1:1 9 leads hears=1\n".to_owned(),
            &["BYE candidates of this group prove a key: give it --key-file"],
        ),
        (
            "KEY 1 nonsense\n".to_owned(),
            &["BYE an opening that is not KEY 1 ROLE NAME GENERATION nonce=NONCE"],
        ),
    ] {
        assert_eq!(answers(address, &opening), answer, "{opening:?}");
    }
    let told = master.transcript();
    assert_eq!(told.matches("Follower joined: ").count(), 1, "{told}");
    let unkeyed = Program::follower(address, &[]);
    unkeyed.log_line("this group requires a key");
    follower.line("Synchronized time: ");
    assert!(!unkeyed.transcript().contains("Synchronized"));
}

#[test]
fn of_one_name_the_latest_session_lives_and_there_is_one_vote() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let address = master.address();
    let mut first = KeyedPeer::join(address, &keys.node("db1", None)).expect("a key");
    first.hear_of("POLL ");
    let second = keys.follower("db1", address);
    second.line("Synchronized time: ");
    // It owes an answer, for which it would have ten seconds.
    let began = Instant::now();
    first.hears_the_end();
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    second.line("Synchronized time: ");
    master.line("2 of 2 clocks agree");
    let told = master.transcript();
    assert!(!told.contains("#2") && !told.contains("3 of 3"), "{told}");
}

#[test]
fn who_proves_nothing_is_gone_after_3_s_and_there_is_an_end_to_its_places() {
    let keys = Keys::new();
    let master = keys.master(&["--max-per-address", "2000"]);
    let address = master.address();
    let began = Instant::now();
    let nonce = "0".repeat(32);
    let opening = format!("KEY 1 follower db1 1 nonce={nonce}\n");
    let silent: Vec<_> = (0..700)
        .map(|number| {
            let stream = TcpStream::connect(address).expect("it listens");
            if number % 2 == 0 {
                (&stream).write_all(opening.as_bytes()).expect("it reads");
            }
            stream
        })
        .collect();
    // Those that came first have made room for the others, and for who has a key.
    let follower = keys.follower("db2", address);
    follower.line("Connected to ");
    follower.line("Synchronized time: ");
    // Its listener, and one for each.
    assert!(master.sockets() <= 512 + 8, "{}", master.sockets());
    while master.sockets() > 2 {
        assert!(began.elapsed() < SOON * 2, "they stay");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(silent);
}

#[test]
fn who_reports_without_a_pause_is_gone_after_3_s_too() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let address = master.address();
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).expect("it listens");
    // No newline ever comes, and no time in which one could still come.
    while stream.write_all(b"2026-01-01 00:00:00.000000").is_ok() {
        assert!(began.elapsed() < SOON, "it may go on for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("it was gone after {} ms", began.elapsed().as_millis());
    master.log_line("a client of the timestamp wire has no key");
}

#[test]
fn two_machines_with_one_key_are_told_of() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let address = master.address();
    // Both have the same disk.
    let machines = [(); 2].map(|()| keys.follower("db1", address));
    for machine in &machines {
        machine.line("Synchronized time: ");
    }
    let told = master.log_line("has proven the same key").text;
    assert!(
        told.contains("db1: ") && told.contains("give each a key of its own"),
        "{told}"
    );
}

#[test]
fn a_follower_is_called_by_its_key_in_its_status_too() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let options = FollowerOptions {
        name: Some("other".parse().expect("a name")),
        credentials: Some(Credentials::Node(keys.node_file("db1"))),
        ..FollowerOptions::default()
    };
    let follower = Follower::connect([Address::from(master.address())], options);
    let status = follower.expect("a follower").observer().status();
    assert_eq!(status.process.name.as_deref(), Some("db1"));
}

#[test]
fn a_master_with_a_key_says_nothing_of_having_none() {
    let keys = Keys::new();
    let path = keys.group_file();
    let mut command = Command::new(env!("CARGO_BIN_EXE_berkeley-master"));
    command
        .args(["--listen", "0.0.0.0:0", "--key-file"])
        .arg(path);
    let master = Program::start(&mut command);
    master.line("Listening on ");
    assert!(!master.transcript().contains("without a key"));
}

/// A connection from an address of the loopback that nothing else has.
fn from(address: [u8; 4], server: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((address, 0)).into())
        .expect("an address");
    let connected = socket.connect_timeout(&server.into(), SOON);
    connected.ok().map(|()| socket.into())
}

#[test]
fn a_herd_that_proves_itself_over_a_slow_network_is_let_in_whole() {
    const ROUND_TRIP: Duration = Duration::from_millis(300);
    let keys = Keys::new();
    // No round of many clocks that this test does not speak for.
    let master = keys.master(&["--interval", "10s"]);
    let address = master.address();
    // More than there are places, at one moment.
    let calling: Vec<_> = (0..700_u16)
        .map(|number| {
            let [third, fourth] = number.to_be_bytes();
            let stream = from([127, 1, third, fourth], address).expect("it listens");
            let key = keys.node(&format!("n{number}"), None);
            (Instant::now(), Calling::open(stream, &key))
        })
        .collect();
    let greeted = calling.into_iter().map(|(opened, calling)| {
        std::thread::sleep(ROUND_TRIP.saturating_sub(opened.elapsed()));
        let mut peer = calling.prove().expect("nobody gave way");
        peer.hear_of("BERKELEY ");
        peer
    });
    assert_eq!(greeted.collect::<Vec<_>>().len(), 700);
}

#[test]
fn a_flood_from_many_addresses_that_prove_nothing_keeps_nobody_out() {
    let keys = Keys::new();
    let master = keys.master(&["--interval", "200ms"]);
    let address = master.address();
    let ends = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&ends);
    // Each has an address of its own, opens as somebody who has a key, and says no more.
    let opening = format!("KEY 1 follower db1 1 nonce={}\n", "0".repeat(32));
    let flood = start(move || {
        let mut held = VecDeque::new();
        let mut opened = 0_u32;
        while !ended.load(Ordering::SeqCst) {
            opened += 1;
            let [_, second, third, fourth] = opened.to_be_bytes();
            let Some(stream) = from([127, 2 + second, third, fourth.max(1)], address) else {
                continue;
            };
            let _ = (&stream).write_all(opening.as_bytes());
            held.push_back(stream);
            held.drain(..held.len().saturating_sub(1000));
        }
        opened
    });
    // A machine with other work may be too slow to open so many before the first have to leave.
    let began = Instant::now();
    while master.sockets() < 500 && began.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("it comes where there are {} sockets", master.sockets());
    let began = Instant::now();
    let follower = keys.follower("db2", address);
    follower.line("Connected to ");
    println!("it was in after {} ms", began.elapsed().as_millis());
    for _ in 0..10 {
        follower.line("Synchronized time: ");
    }
    assert!(master.sockets() <= 512 + 8, "{}", master.sockets());
    ends.store(true, Ordering::SeqCst);
    let opened = flood.join().expect("a thread");
    println!("{opened} connections that proved nothing were opened meanwhile");
}
