//! From another machine of the network, without a key of the group.

use crate::partition::sides::Network;
use crate::support::keys::Keys;
use crate::support::programs::Program;

const MASTER: &str = env!("CARGO_BIN_EXE_berkeley-master");
const FOLLOWER: &str = env!("CARGO_BIN_EXE_berkeley-follower");

#[test]
#[ignore = "needs root, iproute2 and util-linux"]
fn eight_liars_without_a_key_move_nobody_and_lead_nobody_away() {
    let keys = Keys::new();
    let network = Network::new([&[1], &[2]]);
    let group = keys.group_file();
    let start = |side: usize, program: &str, arguments: &[&str]| {
        let mut command = network.command(side, program);
        Program::start(command.args(arguments))
    };
    let group = group.to_str().expect("a name");
    let listen = ["--listen", "10.0.0.1:8080", "--interval", "200ms"];
    let list = ["--candidates", "10.0.0.1:8080,10.0.0.2:8080"];
    let keyed = ["--key-file", group];
    let master = start(0, MASTER, &[&listen[..], &list, &keyed].concat());
    master.line("Leading, in term 1");
    let followers = ["db1", "db2"].map(|name| {
        let path = keys.node_file(name);
        let path = path.to_str().expect("a name").to_owned();
        start(0, FOLLOWER, &["10.0.0.1", "10.0.0.2", "--key-file", &path])
    });
    for follower in &followers {
        follower.line("Synchronized time: ");
    }
    // Seven honest clocks were moved by ten hours in one round without keys. Here are two, and the
    // liars have the address of a candidate, too.
    let liars: Vec<_> = (0..8)
        .map(|_| start(1, FOLLOWER, &["10.0.0.1", "--simulate-offset", "10h"]))
        .collect();
    let listen = ["--listen", "10.0.0.2:8080", "--simulate-offset", "10h"];
    let candidate = start(1, MASTER, &[&listen[..], &list].concat());
    // And with the keys of another group.
    let others = Keys::new();
    let path = others.node_file("db1");
    let path = path.to_str().expect("a name");
    let stranger = start(1, FOLLOWER, &["10.0.0.1", "--key-file", path]);
    for liar in &liars {
        liar.log_line("this group requires a key");
    }
    candidate.log_line("prove a key");
    stranger.log_line("NOTHING of what it says is believed");
    for _ in 0..20 {
        for follower in &followers {
            let ahead = follower
                .line("Synchronized time: ")
                .told_ahead("Synchronized time: ");
            assert!(ahead.abs() < chrono::TimeDelta::seconds(1), "{ahead}");
        }
    }
    let told = master.transcript();
    assert!(
        !told.contains("in term 2") && !told.contains("of 4 clocks"),
        "{told}"
    );
    for follower in &followers {
        let told = follower.transcript();
        assert!(!told.contains("Connected to 10.0.0.2"), "{told}");
    }
}
