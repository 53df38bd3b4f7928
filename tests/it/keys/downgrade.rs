//! A follower with a key takes nothing from who has not proven to hold it too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};

use crate::support::keys::{Keys, start};
use crate::support::programs::{Program, SOON};

/// Answers each connection's first line with these bytes, and says when one has come.
fn server(answer: &'static str) -> (SocketAddr, Receiver<()>) {
    let (call, calls) = mpsc::channel();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("a socket");
    let serve = move |stream: TcpStream| {
        let mut opening = String::new();
        let _ = BufReader::new(&stream).read_line(&mut opening);
        assert!(
            opening.starts_with("KEY 1 follower db1 1 nonce="),
            "{opening}"
        );
        let _ = call.send(());
        let _ = (&stream).write_all(answer.as_bytes());
        // Open until the other end has enough.
        let _ = (&stream).read(&mut [0]);
    };
    start(move || listener.incoming().map_while(Result::ok).for_each(serve));
    (address, calls)
}

#[test]
fn nothing_without_a_proof_is_believed_and_that_is_said_once() {
    let keys = Keys::new();
    let zeros = "0".repeat(32);
    let wrong: &'static str = format!("KEY 1 nonce={zeros} mac={zeros}\n").leak();
    for (answer, why) in [
        // `server.py`, a master without keys, and one with another group's.
        ("2026-01-01 00:00:00.000000", "it does not speak of keys"),
        (
            "BERKELEY 1 interval=100000000\nPOLL 1\nADJUST 1 3600000000000 1\n",
            "it does not speak of keys",
        ),
        (wrong, "its proof is wrong"),
        ("BYE \u{1b}[2J\n", "it does not speak of keys"),
        ("BYE no room\n", "it says, without a proof: no room"),
    ] {
        let (address, calls) = server(answer);
        let follower = keys.follower("db1", address);
        let line = follower
            .log_line("NOTHING of what it says is believed")
            .text;
        assert!(line.contains(why) && line.contains("ERROR"), "{line}");
        // It has tried three more times, and has not said it again.
        for _ in 0..4 {
            calls.recv_timeout(SOON).expect("it tries again");
        }
        let told = follower.transcript();
        assert_eq!(told.matches("NOTHING").count(), 1, "{told}");
        assert!(
            !told.contains("Synchronized") && !told.contains("Connected"),
            "{told}"
        );
    }
}

#[test]
fn a_follower_with_a_key_says_what_is_wrong_with_a_master_without() {
    let keys = Keys::new();
    let master = Program::master(&["--interval", "200ms"]);
    let follower = keys.follower("db1", master.address());
    follower.log_line("NOTHING of what it says is believed");
    master.log_line("this master has no key");
}
