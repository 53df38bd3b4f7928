//! Nothing that a peer sends reaches a terminal as anything but printable characters.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::support::programs::{Program, SOON};

/// A cleared screen, a deleted character, the 8-bit form of an escape sequence, a title, text from
/// right to left, and a line of a log that is not ours.
const NASTY: &[u8] = b"BYE \x1b[2J\x7f\x9b31m\x1b]0;x\x07\xe2\x80\xae\xc2\x9b\r[ERROR] 1";

/// Checks all that a program has written until now.
#[track_caller]
fn is_clean(program: &Program) {
    let written = program.transcript();
    let ours = |c: char| c == '\n' || c == ' ' || c.is_ascii_graphic() || "µ±".contains(c);
    let foreign = written.chars().find(|c| !ours(*c));
    assert_eq!(foreign, None, "{written:?}");
}

#[test]
fn what_a_follower_sends_is_escaped() {
    let master = Program::master(&[]);
    let address = master.address();
    // One that has been greeted, and one that opens with it.
    for opening in [&b"2026-01-01 00:00:00.000000\n"[..], b""] {
        let mut peer = TcpStream::connect(address).expect("it listens");
        peer.set_read_timeout(Some(SOON)).expect("a socket");
        if !opening.is_empty() {
            peer.write_all(opening).expect("it reads");
            peer.read_exact(&mut [0; 10]).expect("a greeting");
        }
        peer.write_all(&[NASTY, b"\n"].concat()).expect("it reads");
        let _ = peer.read_to_end(&mut Vec::new());
        master.log_line("it sent ");
    }
    is_clean(&master);
}

#[test]
fn what_a_master_sends_is_escaped() {
    for opening in [&b"BERKELEY 1\n"[..], b"", b"2026-01-01 "] {
        let master = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = master.local_addr().expect("a socket");
        let follower = Program::follower(address, &[]);
        let (mut stream, _) = master.accept().expect("a follower");
        stream
            .write_all(&[opening, NASTY, b"\n"].concat())
            .expect("it reads");
        follower.log_line("it sent ");
        is_clean(&follower);
    }
}

#[test]
fn what_a_candidate_answers_is_escaped() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let there = other.local_addr().expect("a socket");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let here = free.local_addr().expect("a socket");
    drop(free);
    let candidate = Program::start(
        Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(["--listen", &here.to_string()])
            .args(["--candidates", &format!("{here},{there}")]),
    );
    let (mut stream, _) = other.accept().expect("the candidate connects");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    stream.write_all(NASTY).expect("it reads");
    let warning = candidate.log_line("says: ").text;
    assert!(warning.contains(r"\x1b[2J\x7f\x9b31m"), "{warning}");
    is_clean(&candidate);
}
