//! Arguments, exit statuses and signals of both programs.

use std::net::TcpListener;
use std::process::Output;

use crate::support::programs::{Program, SOON, refusing_port};
use crate::support::timestamp_client::Client;
use assert_cmd::Command;
use chrono::TimeDelta;

const MASTER: &str = env!("CARGO_BIN_EXE_berkeley-master");
const FOLLOWER: &str = env!("CARGO_BIN_EXE_berkeley-follower");

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .timeout(SOON)
        .output()
        .expect("it starts")
}

/// Runs a program that has to fail, with one message that contains `part`.
#[track_caller]
fn fails(program: &str, arguments: &[&str], status: i32, part: &str) {
    let output = run(program, arguments);
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {message}"
    );
    let first = message.lines().next().unwrap_or_default();
    assert!(first.contains(part), "{arguments:?}: {message}");
    let errors = message.to_lowercase().matches("error").count();
    assert!(
        errors == 1 || first.contains("(os error "),
        "{arguments:?}: {message}"
    );
    assert!(output.stdout.is_empty(), "{arguments:?} starts something");
}

#[test]
fn a_bad_argument_is_named_and_exits_with_2() {
    for (arguments, part) in [
        (["--interval", "0s"], "'--interval "),
        (["--interval", "5"], "'--interval "),
        (["--interval", "-5s"], "'--interval "),
        (["--rounds", "0"], "'--rounds "),
        (["--rounds", "two"], "'--rounds "),
        (["--simulate-offset", "5"], "'--simulate-offset "),
        (["--simulate-offset", "--14m"], "'--simulate-offset "),
        (["--simulate-drift", "fast"], "'--simulate-drift "),
        (["--simulate-drift", "nan"], "'--simulate-drift "),
        (["--interval", "--record"], "'--interval "),
        (["--no-such-flag", "1"], "'--no-such-flag'"),
    ] {
        fails(MASTER, &arguments, 2, part);
        fails(FOLLOWER, &arguments, 2, part);
    }
    for (arguments, part) in [
        (["--listen", "nonsense"], "'--listen "),
        (["--listen", "127.0.0.1"], "'--listen "),
        (["--listen", "127.0.0.1:65536"], "'--listen "),
        (["--min-followers", "0"], "'--min-followers "),
        (["--max-followers", "0"], "'--max-followers "),
        (["--max-per-address", "0"], "'--max-per-address "),
        (["--tolerance", "0s"], "'--tolerance "),
        (["--tolerance", "1"], "'--tolerance "),
        (["--max-offset", "0s"], "'--max-offset "),
        (["--candidates", "a:0,b"], "'--candidates "),
        (
            ["--candidates", "127.0.0.1:1"],
            "--candidates names from 2 to 9",
        ),
        (
            ["--candidates", "a,b,a"],
            "--candidates names one address twice",
        ),
        (["--advertise", "a"], "--candidates"),
    ] {
        fails(MASTER, &arguments, 2, part);
    }
    let dry = ["--dry-run", "--candidates", "a,b"];
    fails(MASTER, &dry, 2, "--dry-run does not go with --candidates");
    fails(FOLLOWER, &["--wire", "pigeon"], 2, "'--wire ");
    fails(FOLLOWER, &["http://127.0.0.1:80"], 2, "MASTER");
    fails(FOLLOWER, &["host:65536"], 2, "MASTER");
    fails(FOLLOWER, &[""], 2, "MASTER");
}

#[test]
fn an_address_in_use_exits_with_1_and_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a socket").to_string();
    fails(MASTER, &["--listen", &address], 1, "--listen");
    fails(MASTER, &["--listen", &address], 1, &address);
}

#[test]
fn a_record_that_cannot_be_written_exits_with_1_and_names_the_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("missing").join("record.csv");
    let path = path.to_str().expect("a name in UTF-8");
    for part in ["--record", path] {
        fails(
            MASTER,
            &["--listen", "127.0.0.1:0", "--record", path],
            1,
            part,
        );
        fails(FOLLOWER, &["--record", path], 1, part);
    }
}

/// Checks the default that `--help` shows for each flag.
#[track_caller]
fn help_shows(program: &str, defaults: &[(&str, &str)]) {
    let output = run(program, &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    // However the lines are broken.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, default) in defaults {
        let about = help
            .split_once(&format!(" {flag} "))
            .unwrap_or_else(|| panic!("{flag} is not in {help}"))
            .1;
        // Up to the next flag.
        let about = about.split(" --").next().unwrap_or(about);
        let shown = format!("[default: {default}");
        assert!(about.contains(&shown), "{flag}: {about}");
    }
}

#[test]
fn help_shows_every_default() {
    let both = [
        ("--interval", "5s]"),
        ("--rounds", "for ever]"),
        ("--simulate-offset", "0s]"),
        ("--simulate-drift", "0ppm]"),
        ("--record", "none]"),
    ];
    help_shows(MASTER, &both);
    help_shows(FOLLOWER, &both);
    help_shows(
        MASTER,
        &[
            ("--listen", "0.0.0.0:8080]"),
            ("--min-followers", "1]"),
            ("--max-followers", "16000]"),
            ("--max-per-address", "256]"),
            ("--tolerance", "automatic"),
            ("--max-offset", "24h]"),
            ("--candidates", "this one alone]"),
            ("--advertise", "the one that listens here]"),
        ],
    );
    help_shows(
        FOLLOWER,
        &[
            ("Arguments: [MASTER]...", "127.0.0.1:8080]"),
            ("--wire", "auto]"),
        ],
    );
}

#[test]
fn a_signal_ends_an_idle_master() {
    for signal in ["TERM", "INT"] {
        let master = Program::master(&[]);
        master.address();
        master.stops_at(signal);
    }
}

#[test]
fn a_signal_ends_a_master_with_clients_of_every_kind() {
    for signal in ["TERM", "INT"] {
        let master = Program::master(&["--interval", "50ms"]);
        let address = master.address();
        let silent = Client::connect(address, TimeDelta::zero());
        let in_mid_message = Client::connect(address, TimeDelta::zero());
        in_mid_message.send(b"2024-01-02 03:");
        let never_reads = Client::join(address, TimeDelta::zero());
        let good = Client::join(address, TimeDelta::zero());
        master.line("Round 2");
        master.stops_at(signal);
        for client in [silent, in_mid_message, never_reads, good] {
            client.until_end();
        }
    }
}

#[test]
fn a_signal_ends_a_master_in_mid_round() {
    for signal in ["TERM", "INT"] {
        // Every 10 ms a round with 50 clients: there is hardly a moment between two.
        let master = Program::master(&["--interval", "10ms"]);
        let address = master.address();
        let _clients: Vec<_> = (0..50)
            .map(|_| Client::join(address, TimeDelta::zero()))
            .collect();
        master.line("Round 10");
        master.stops_at(signal);
    }
}

#[test]
fn a_signal_ends_a_follower_that_is_connected() {
    for signal in ["TERM", "INT"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let follower = Program::follower(listener.local_addr().expect("a socket"), &[]);
        follower.line("Connected to ");
        follower.stops_at(signal);
    }
}

#[test]
fn a_signal_ends_a_follower_that_is_refused() {
    for signal in ["TERM", "INT"] {
        let (_held, address) = refusing_port();
        let follower = Program::follower(address, &[]);
        follower.log_line("cannot reach");
        follower.stops_at(signal);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_ends_a_follower_that_gets_no_answer() {
    use std::time::{Duration, Instant};
    use std::{fs, thread};

    // The state of a connection attempt in /proc/net/tcp.
    const SYN_SENT: &str = " 02 ";
    for signal in ["TERM", "INT"] {
        let (socket, address) = refusing_port();
        // Two connections fill a queue of none, and Linux ignores whoever else calls.
        socket.listen(0).expect("the port is ours");
        let _first = Client::connect(address, TimeDelta::zero());
        let follower = Program::follower(address, &[]);
        let attempt = format!(":{:04X}{SYN_SENT}", address.port());
        let deadline = Instant::now() + SOON;
        while !fs::read_to_string("/proc/net/tcp")
            .expect("a list of connections")
            .contains(&attempt)
        {
            assert!(Instant::now() < deadline, "no connection attempt hangs");
            thread::sleep(Duration::from_millis(2));
        }
        follower.stops_at(signal);
    }
}

#[test]
fn a_signal_ends_a_master_whose_output_nobody_reads() {
    let mut command = std::process::Command::new(MASTER);
    command.args(["--listen", "127.0.0.1:0", "--interval", "10ms"]);
    let mut master = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a master");
    // Held open and not read on, as by a terminal after Ctrl-S.
    let mut output = std::io::BufReader::new(master.stdout.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
    let address: std::net::SocketAddr = line
        .trim_start_matches("Listening on ")
        .trim_end()
        .parse()
        .expect("an address");
    let _follower = crate::support::programs::Program::follower(address, &[]);
    // Some 300 bytes in 10 ms fill a pipe of 64 KiB in about three seconds.
    let full = std::time::Instant::now() + std::time::Duration::from_secs(4);
    while std::time::Instant::now() < full {
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    let kill = format!("kill -s TERM {}", master.id());
    std::process::Command::new("sh")
        .args(["-c", &kill])
        .status()
        .expect("kill");
    let asked = std::time::Instant::now();
    let status = loop {
        if let Some(status) = master.try_wait().expect("a child") {
            break status;
        }
        if asked.elapsed() > crate::support::programs::STOPPED_WITHIN {
            master.kill().expect("a child");
            panic!("it runs on");
        }
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_master_that_cannot_start_leaves_the_record_of_another_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.csv");
    std::fs::write(&path, "the record of a running master").expect("a file");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("a socket").to_string();
    let record = path.to_str().expect("a name");
    fails(
        MASTER,
        &["--listen", &address, "--record", record],
        1,
        "--listen",
    );
    let left = std::fs::read_to_string(&path).expect("a file");
    assert_eq!(left, "the record of a running master");
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_the_rounds() {
    let mut command = std::process::Command::new(MASTER);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "100ms",
        "--max-followers",
        "1",
    ]);
    command.env("RUST_LOG", "trace");
    command.stderr(std::process::Stdio::piped());
    let mut master = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a master");
    // Held open and never read.
    let _log = master.stderr.take();
    let output = std::io::BufReader::new(master.stdout.take().expect("a pipe"));
    let mut lines = std::io::BufRead::lines(output).map_while(Result::ok);
    let first = lines.next().expect("a line");
    let address = first.trim_start_matches("Listening on ").to_owned();
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let follower = crate::support::programs::Program::follower(address, &[]);
    assert!(lines.any(|line| line.starts_with("Round 1: ")));
    // Each of these is turned away with a warning; a pipe holds some 600 of those.
    for _ in 0..1500 {
        let _ = std::net::TcpStream::connect(address).expect("the master accepts");
    }
    drop(follower);
    // The acceptor too goes on: another follower takes the place of the first.
    crate::support::programs::Program::follower(address, &[]).line("Synchronized time: ");
    master.kill().expect("a child");
    master.wait().expect("a child");
}
