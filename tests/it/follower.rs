//! The follower against a master of the test's own, on the timestamp wire.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::programs::{EXACT, Program, SOON, assert_exact, now, parse, refusing_port};
use crate::support::records::lines;
use chrono::TimeDelta;
use tempfile::TempDir;

/// A master that never sends a newline, so that the follower takes it for `server.py`.
struct Master {
    listener: TcpListener,
    address: SocketAddr,
}

impl Master {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a socket");
        Self { listener, address }
    }

    /// Takes the next connection.
    fn accept(&self) -> TcpStream {
        let deadline = Instant::now() + SOON;
        self.listener.set_nonblocking(true).expect("a socket");
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "no follower connects");
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("{error}"),
            }
        };
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        stream
    }
}

/// The local time in so many minutes, as Python writes it.
fn in_minutes(minutes: i64) -> String {
    let time = now() + TimeDelta::minutes(minutes);
    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// Reads exactly `N` bytes.
fn read<const N: usize>(mut stream: &TcpStream) -> String {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("a report");
    String::from_utf8(bytes.to_vec()).expect("ASCII")
}

fn tell(mut stream: &TcpStream, time: &str) {
    stream.write_all(time.as_bytes()).expect("it reads");
}

#[test]
fn it_reports_its_clock_in_26_characters_and_a_newline() {
    let master = Master::start();
    let _follower = Program::follower(
        master.address,
        &["--interval", "200ms", "--simulate-offset", "-14m"],
    );
    let stream = master.accept();
    for _ in 0..3 {
        let report = read::<27>(&stream);
        assert_exact(parse(&report[..26]) - now(), TimeDelta::minutes(-14));
        assert!(report.ends_with('\n'), "{report:?}");
        tell(&stream, &in_minutes(0));
    }
}

#[test]
fn the_timestamp_wire_has_no_newline() {
    let master = Master::start();
    let _follower = Program::follower(
        master.address,
        &["--interval", "200ms", "--wire", "timestamp"],
    );
    let stream = master.accept();
    for _ in 0..3 {
        let report = read::<26>(&stream);
        assert_exact(parse(&report) - now(), TimeDelta::zero());
    }
}

/// All that a follower says from now on, until it ends.
fn rest(mut stream: &TcpStream) -> String {
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an end, and ASCII");
    said
}

#[test]
fn a_stopping_follower_says_goodbye_to_nobody_who_speaks_timestamps() {
    let master = Master::start();
    let interval = ["--interval", "200ms"];
    // To one that has said nothing and may be anybody, ...
    let follower = Program::follower(
        master.address,
        &[&interval[..], &["--wire", "timestamp"]].concat(),
    );
    let stream = master.accept();
    read::<26>(&stream);
    follower.stops_at("TERM");
    let said = rest(&stream);
    assert!(
        said.len().is_multiple_of(26) && !said.contains("BYE"),
        "{said:?}"
    );
    // ... to one that has said something, in each of the ways to listen to it, ...
    for wire in ["timestamp", "auto"] {
        let follower =
            Program::follower(master.address, &[&interval[..], &["--wire", wire]].concat());
        let stream = master.accept();
        tell(&stream, &in_minutes(0));
        follower.line("Synchronized time: ");
        follower.stops_at("TERM");
        let said = rest(&stream);
        assert!(said.len() >= 26 && !said.contains("BYE"), "{said:?}");
    }
    // ... and to one that has sent nonsense.
    let _follower = Program::follower(master.address, &interval);
    let stream = master.accept();
    tell(&stream, &in_minutes(0));
    tell(&stream, "2024-13-01 00:00:00.000000");
    let said = rest(&stream);
    assert!(said.len() >= 26 && !said.contains("BYE"), "{said:?}");
}

#[test]
fn it_never_reports_more_often_than_every_interval() {
    let master = Master::start();
    let _follower = Program::follower(master.address, &["--interval", "400ms"]);
    let stream = master.accept();
    let mut last = parse(&read::<27>(&stream)[..26]);
    for _ in 0..3 {
        // However often it is told the time.
        for _ in 0..5 {
            tell(&stream, &in_minutes(0));
        }
        let next = parse(&read::<27>(&stream)[..26]);
        let gap = next - last;
        // A machine that is busy between the decision to report and the reading of the clock
        // makes a gap look shorter than it is.
        assert!(gap > TimeDelta::milliseconds(400) - EXACT, "{gap}");
        assert!(gap < TimeDelta::milliseconds(800), "{gap}");
        last = next;
    }
}

#[test]
fn it_prints_and_records_what_it_is_told() {
    let folder = TempDir::new().expect("a folder");
    let record = folder.path().join("record.csv");
    let master = Master::start();
    let follower = Program::follower(
        master.address,
        &[
            "--simulate-offset",
            "-14m",
            "--record",
            record.to_str().expect("a name in UTF-8"),
        ],
    );
    let stream = master.accept();
    follower.line(&format!("Connected to {}", master.address));
    let told = in_minutes(2);
    tell(&stream, &told);
    let line = follower.line("Synchronized time: ").text;
    let expected = format!("Synchronized time: {told}  correction +");
    assert!(line.starts_with(&expected), "{line}");
    let minutes = line[expected.len()..].trim_end_matches(" min");
    let minutes: f64 = minutes.parse().expect("minutes");
    assert!((minutes - 16.0).abs() < 0.002, "{line}");

    let lines = lines(&record, 2);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "time,round,correction_ns,clock_ns,network_ns");
    let columns: Vec<&str> = lines[1].split(',').collect();
    assert_eq!(columns[1], "1");
    let [correction, clock, network] =
        [2, 3, 4].map(|column: usize| columns[column].parse::<i64>().expect("nanoseconds"));
    assert_exact(TimeDelta::nanoseconds(correction), TimeDelta::minutes(16));
    assert_eq!(network - clock, correction);
}

#[test]
fn it_connects_again_when_the_connection_drops() {
    let master = Master::start();
    let follower = Program::follower(master.address, &[]);
    for _ in 0..3 {
        let stream = master.accept();
        follower.line("Connected to ");
        read::<27>(&stream);
    }
}

#[test]
fn it_keeps_trying_when_nobody_listens_and_says_so_once() {
    let (socket, address) = refusing_port();
    let follower = Program::start(
        std::process::Command::new(env!("CARGO_BIN_EXE_berkeley-follower"))
            .arg(address.to_string())
            .env("RUST_LOG", "debug"),
    );
    let first = follower.log_line("cannot reach").text;
    assert!(first.contains("WARN"), "{first}");
    assert!(first.contains(&address.to_string()), "{first}");
    for _ in 0..3 {
        let again = follower.log_line("cannot reach").text;
        assert!(again.contains("DEBUG"), "{again}");
    }
    socket.listen(1).expect("the port is ours");
    follower.line(&format!("Connected to {address}"));
}

#[test]
fn it_ends_after_its_rounds() {
    let master = Master::start();
    let mut follower = Program::follower(master.address, &["--rounds", "2"]);
    let stream = master.accept();
    for _ in 0..2 {
        assert!(follower.is_running());
        tell(&stream, &in_minutes(0));
        follower.line("Synchronized time: ");
    }
    assert_eq!(follower.ends_within(SOON).code(), Some(0));
}

#[test]
fn garbage_from_a_master_does_not_end_it() {
    let master = Master::start();
    let follower = Program::follower(master.address, &[]);
    for garbage in [
        "2024-13-01 00:00:00.000000",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\0\u{7f}\n",
    ] {
        let stream = master.accept();
        follower.line("Connected to ");
        tell(&stream, garbage);
    }
    // Said once, for a master that sends garbage may do so for ever.
    follower.log_line("not a timestamp");
    let stream = master.accept();
    let told = in_minutes(0);
    tell(&stream, &told);
    follower.line(&format!("Synchronized time: {told}"));
}
