//! Who has a key is served and called by its name; who has none is nobody.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::keys::{KeyedPeer, Keys};
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
