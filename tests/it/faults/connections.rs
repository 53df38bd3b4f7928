//! Connections that are opened and not used as they should be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use berkeley::internals::clock::{Clock, WallClock};
use socket2::{Domain, Socket, Type};

use super::group::{Group, INTERVAL, LIMIT, row, wait_for};
use super::peer::{OPENING, Peer};
use super::process::Process;
use crate::support::keys;
use crate::support::programs::{Program, SOON, STOPPED_WITHIN};
use crate::support::relay::{BOTH, Relay};

#[test]
fn a_connection_is_half_open() {
    let group = Group::new(3);
    let relay = Relay::to(group.address());
    let lost = Program::follower(relay.address(), &[]);
    lost.line("Connected to ");
    lost.line("Synchronized time: ");
    let watch = group.watch();
    relay.silence(&BOTH);
    // Each side finds out by itself.
    let left = group.master.line("Follower left: ");
    assert!(
        left.text.contains("no time in three rounds"),
        "{}",
        left.text
    );
    lost.log_line("it was silent for 3 s");
    relay.heal();
    lost.line("Connected to ");
    lost.line("Synchronized time: ");
    watch.rounds(8);
    watch.noticed().row("half-open connection", LIMIT);
}

#[test]
fn a_peer_drips_a_byte_a_second() {
    let group = Group::new(3);
    let watch = group.watch();
    let began = Instant::now();
    let mut opens = Peer::connected_to(group.address());
    let mut answers = Peer::polled_by(group.address());
    let mut answer = b"TIME 1 1".iter().chain([b'1'].iter().cycle());
    let mut opening = OPENING.iter();
    let mut kept = [true, true];
    let next = |bytes: &mut dyn Iterator<Item = &u8>| [*bytes.next().expect("26 s of it")];
    while kept != [false, false] {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "they are kept: {kept:?}"
        );
        kept[0] &= opens.send(&next(&mut opening));
        kept[1] &= answers.send(&next(&mut answer));
        thread::sleep(Duration::from_secs(1));
    }
    watch.rounds(8);
    watch
        .noticed()
        .row("a peer that drips a byte a second", LIMIT);
}

#[test]
fn a_peer_never_reads() {
    let group = Group::new(3);
    let watch = group.watch();
    // Room for little, so that it is soon full.
    let unread = |opening: &[u8]| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(1).expect("a socket");
        socket
            .connect(&group.address().into())
            .expect("the master accepts");
        socket.send(opening).expect("it reads");
        TcpStream::from(socket)
    };
    // Asked by lines, of which it answers the first unheard; and telling timestamps, which are
    // answered.
    let now = WallClock
        .read()
        .timestamp_nanos_opt()
        .expect("this century");
    let answer = format!("TIME 1 {now} {now}\n");
    let mut polled = unread(OPENING);
    // An answer that comes before its question is none.
    let mut heard = String::new();
    while !heard.contains("POLL 1") {
        let mut byte = [0];
        polled.read_exact(&mut byte).expect("a greeting and a poll");
        heard.push(byte[0].into());
    }
    polled.write_all(answer.as_bytes()).expect("it reads");
    let told = unread(&OPENING[..26]);
    let left = group.master.line("Follower left: ");
    assert!(
        left.text.contains("no time in three rounds"),
        "{}",
        left.text
    );
    watch.rounds(8);
    watch.noticed().row("a peer that never reads", LIMIT);
    drop(told);
    // It is not waited for.
    group.master.signal("TERM");
    group.ends_within(STOPPED_WITHIN);
}

/// Opens connections from another address than the healthy followers', until it is dropped.
fn flood(master: SocketAddr, duration: Duration) -> (u32, Duration) {
    let began = Instant::now();
    let mut opened = 0;
    let mut held = Vec::new();
    while began.elapsed() < duration {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::from(([127, 0, 0, 2], 0));
        socket.bind(&from.into()).expect("a port");
        if opened % 2 == 0 {
            // A reset, not an end; and no port waits for late packets.
            socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        }
        let soon = Duration::from_secs(1);
        // A master that has enough of it may refuse.
        if socket.connect_timeout(&master.into(), soon).is_ok() {
            opened += 1;
            if opened % 3 == 0 {
                let _ = socket.send(OPENING);
            }
            if opened % 8 == 0 && held.len() < 200 {
                held.push(socket);
            }
        }
        // A thousand a second, if the machine makes it.
        let due = began + Duration::from_millis(u64::from(opened));
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    (opened, began.elapsed())
}

#[test]
fn a_thousand_connections_a_second() {
    let group = Group::new(3);
    let process = Process(group.master.id());
    let before = (process.threads(), process.descriptors());
    let watch = group.watch();
    let (opened, took) = flood(group.address(), INTERVAL * 8);
    let rate = f64::from(opened) / took.as_secs_f64();
    assert!(rate > 300.0, "the machine is too slow: {rate:.0} a second");
    let lines = group.master.transcript().lines().count();
    watch.rounds(8);
    watch.noticed().row(
        &format!("{rate:.0} connections a second, from one address"),
        LIMIT,
    );
    // Nobody can fill a log, and nothing stays behind.
    assert!(lines < 300, "{opened} connections wrote {lines} lines");
    let after = || (process.threads(), process.descriptors());
    wait_for("the end of their threads and descriptors", || {
        after() <= before
    });
}

const DESCRIPTORS: usize = 64;

/// A master that may have no more than these.
fn starving(arguments: &[&str]) -> Program {
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
    Program::start(
        Command::new("sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_berkeley-master")])
            .args(["--listen", "127.0.0.1:0"])
            .args(keys::master_flags(arguments))
            .args(arguments),
    )
}

const NO_MORE: &str = "cannot accept more connections";

#[test]
fn descriptors_are_used_up() {
    let group = Group::of(starving(&["--interval", "500ms"]), 3, INTERVAL);
    let watch = group.watch();
    // They say nothing, and have ten seconds for it.
    let idle = || TcpStream::connect(group.address()).expect("the queue has room");
    let mut hogs: Vec<_> = (0..80).map(|_| idle()).collect();
    group.master.log_line(NO_MORE);
    // One that leaves lets the next one in, and then there is none left again.
    for _ in 0..10 {
        hogs.remove(0);
        hogs.push(idle());
        watch.rounds(watch.corrections()[0].len() + 1);
    }
    watch.noticed().row("descriptors used up", LIMIT);
    let said = group.master.transcript().matches(NO_MORE).count();
    assert_eq!(said, 1, "said once");
    // Some leave, and whoever waited comes in.
    let waiting = Program::follower(group.address(), &[]);
    hogs.truncate(10);
    waiting.line("Synchronized time: ");
    hogs.extend((0..80).map(|_| idle()));
    group.master.signal("TERM");
    let took = group.ends_within(STOPPED_WITHIN);
    row(
        "descriptors used up, then SIGTERM",
        &format!("the master ends in {} ms", took.as_millis()),
        "1000 ms",
        true,
    );
}

/// The last free descriptor is the one that `accept` waits with: none is left to call it by.
#[test]
fn a_master_ends_when_its_last_descriptor_is_taken() {
    let mut master = starving(&["--interval", "1s", "--rounds", "2"]);
    let address = master.address();
    let process = Process(master.id());
    // Those that it inherited may have higher numbers. Now and then it opens a file for a moment.
    let taken = || process.descriptors_below(DESCRIPTORS);
    let alone = taken();
    // One that does not come back, for that would wake the acceptor.
    let mut peer = Peer::polled_by(address);
    let mut hogs = Vec::new();
    // Each `accept` waits with one: those of followers, of who asks and of who tells.
    while alone + 1 + hogs.len() < DESCRIPTORS - 3 {
        hogs.push(TcpStream::connect(address).expect("the master accepts"));
        let expected = alone + 1 + hogs.len();
        wait_for("a descriptor more", || taken() >= expected);
    }
    let mut asked = "POLL 1".to_owned();
    while !asked.starts_with("BYE") {
        if let Some(n) = asked.strip_prefix("POLL ") {
            peer.send(format!("TIME {n} 1 1\n").as_bytes());
        }
        asked = peer.line().expect("a goodbye");
    }
    assert_eq!(asked, "BYE the master is stopping");
    let began = Instant::now();
    master.ends_within(SOON);
    assert!(!master.transcript().contains(NO_MORE), "one was left");
    row(
        "the last descriptor used, then the last round",
        &format!("the master ends in {} ms", began.elapsed().as_millis()),
        &format!("{} ms", SOON.as_millis()),
        true,
    );
}
