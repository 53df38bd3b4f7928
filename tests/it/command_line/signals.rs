//! Signals that ask for an end.

use std::net::TcpListener;
use std::process::Command;

use chrono::TimeDelta;

use super::{FOLLOWER, MASTER};
use crate::support::programs::{Program, SOON, refusing_port};
use crate::support::timestamp_client::Client;

const SIGNALS: [&str; 4] = ["TERM", "INT", "HUP", "QUIT"];

/// Starts a program that a signal reaches even if the tests run under `nohup`.
fn reached(program: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(program);
    Program::start(command.args(arguments))
}

#[test]
fn a_signal_ends_an_idle_master() {
    for signal in SIGNALS {
        let master = reached(MASTER, &["--listen", "127.0.0.1:0"]);
        master.address();
        master.stops_at(signal);
    }
}

#[test]
fn nohup_keeps_a_program_from_ending_with_its_terminal() {
    let master = Program::start(Command::new("nohup").arg(MASTER).args([
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "100ms",
    ]));
    let address = master.address();
    master.signal("HUP");
    let client = Client::join(address, TimeDelta::zero());
    client.hear(SOON).expect("it goes on");
    master.line("Round 3");
    master.stops_at("TERM");
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
    for signal in SIGNALS {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a socket").to_string();
        let follower = reached(FOLLOWER, &[&address]);
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
