//! IPv6 between real programs: link-local addresses, and one socket for both families.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::programs::Program;
use crate::support::timestamp_client::Client;
use chrono::TimeDelta;

/// Makes an interface that has a link-local address, and then waits for the end of its input.
const INTERFACE: &str = "
    ip link set lo up &&
    ip link add lan0 type veth peer name lan1 &&
    ip link set lan0 up && ip link set lan1 up &&
    ip address add fe80::b/64 dev lan0 nodad &&
    echo \"ready $(ip -o link show lan0 | cut -d: -f1)\" && read -r _";

/// A network of its own, which ends with the test.
struct Network(Child);

impl Network {
    /// The network, and the number of its interface `lan0`.
    fn new() -> (Self, u32) {
        let mut shell = Command::new("unshare")
            .args(["--net", "sh", "-c", INTERFACE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut ready = String::new();
        BufReader::new(shell.stdout.take().expect("a pipe"))
            .read_line(&mut ready)
            .expect("a line");
        let index = ready.trim_end().strip_prefix("ready ");
        let index = index.expect("it takes root to make a network");
        (Self(shell), index.parse().expect("a number"))
    }

    fn start(&self, program: &str, arguments: &[&str]) -> Program {
        let namespace = format!("--net=/proc/{}/ns/net", self.0.id());
        let mut command = Command::new("nsenter");
        command.args([&namespace, program]).args(arguments);
        Program::start(&mut command)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root, unshare and ip"]
fn link_local_addresses_are_reached_by_the_name_and_the_number_of_their_interface() {
    let (network, index) = Network::new();
    let (master, follower) = (
        env!("CARGO_BIN_EXE_berkeley-master"),
        env!("CARGO_BIN_EXE_berkeley-follower"),
    );
    let listens = ["--listen", "[fe80::b%lan0]:0", "--interval", "300ms"];
    let group = network.start(master, &listens);
    let shown = group.address().to_string();
    let port = shown.strip_prefix(&format!("[fe80::b%{index}]:"));
    let port = port.expect("an address with its zone");
    for zone in ["lan0", &index.to_string()] {
        let follower = network.start(follower, &[&format!("[fe80::b%{zone}]:{port}")]);
        follower.line(&format!("Connected to {shown}"));
        follower.line("Synchronized time: ");
    }
    let without = network.start(follower, &[&format!("[fe80::b]:{port}")]);
    without.log_line("fe80::1%eth0");
    let unknown = network.start(follower, &[&format!("[fe80::b%lan7]:{port}")]);
    unknown.log_line("cannot reach a master at [fe80::b%lan7]");
}

#[test]
#[ignore = "needs root, unshare and ip"]
fn candidates_find_each_other_by_link_local_addresses() {
    let (network, _) = Network::new();
    let list = "[fe80::b%lan0]:8081,[fe80::b%lan0]:8082";
    let candidates = [8081, 8082].map(|port| {
        network.start(
            env!("CARGO_BIN_EXE_berkeley-master"),
            &["--listen", &format!("[::]:{port}"), "--candidates", list],
        )
    });
    candidates[0].line("Leading");
    candidates[1].line("Following [fe80::b%lan0]:8081");
}

#[test]
fn who_comes_over_ipv4_to_a_socket_of_both_families_is_shown_so() {
    let master = Program::start(Command::new(env!("CARGO_BIN_EXE_berkeley-master")).args([
        "--listen",
        "[::]:0",
        "--interval",
        "300ms",
    ]));
    let port = master.address().port();
    let client = Client::join(([127, 0, 0, 1], port).into(), TimeDelta::zero());
    let shown = client.stream.local_addr().expect("a socket").to_string();
    master.line(&shown);
    master.line("Round 1: ");
    master.line(&shown);
    assert!(!master.transcript().contains("::ffff"));
}
