//! Which time a client follows that has several sources: two servers of one group, and one of
//! another clock, which is right, 3 s away and of stratum 1.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::virtual_hosts::{Counter, Host, Network, NtpClient};
use crate::{apart, chronyd_serves, group_serves};

/// How far the other clock is ahead, in seconds.
const AHEAD: f64 = 3.0;

/// How long the clients have to choose.
const CHOICE: Duration = Duration::from_mins(2);

/// How near a client is to what it follows, in seconds.
const NEAR: f64 = 0.1;

/// What the clients ask: `1` and `2` are of one group, `3` is the other clock.
const SOURCES: [(&str, &[&str]); 5] = [
    ("both of ours", &["10.0.0.1", "10.0.0.2"]),
    ("one of ours and the other", &["10.0.0.1", "10.0.0.3"]),
    (
        "both of ours and the other",
        &["10.0.0.1", "10.0.0.2", "10.0.0.3"],
    ),
    (
        "one of ours and the other, prefer trust",
        &["10.0.0.1", "10.0.0.3 prefer trust"],
    ),
    (
        "both of ours and the other, prefer trust",
        &["10.0.0.1", "10.0.0.2", "10.0.0.3 prefer trust"],
    ),
];

/// Prints which time chronyd follows for each choice of sources; and for the first, when one of
/// the two servers has been killed.
pub(crate) fn run() {
    let (network, hosts) = Network::boot::<{ 3 + SOURCES.len() }>();
    let counter = Counter::start(&network);
    let reader = network.counter().display().to_string();
    let [master, follower, other, clients @ ..] = &hosts;
    for host in &hosts {
        host.run("mount -t tmpfs tmpfs /run");
        host.run(&format!("{reader} &"));
    }
    other.run(&format!("date --set '{AHEAD} sec'"));
    group_serves(master, follower);
    chronyd_serves(&network, other, 1);
    for (client, (_, sources)) in clients.iter().zip(SOURCES) {
        client.run("date --set '-5 sec'");
        NtpClient::Chronyd.start(client, &network, Path::new(""), sources);
    }
    thread::sleep(CHOICE);
    let follows = |client: &Host| {
        let near = |to| apart(&counter, [client, to]) < NEAR;
        match (near(follower), near(other)) {
            (true, _) => "the group",
            (_, true) => "the other",
            _ => "nobody",
        }
    };
    println!("{:<44}follows", "sources");
    for (client, (what, _)) in clients.iter().zip(SOURCES) {
        println!("{what:<44}{}", follows(client));
    }
    master.run("kill -KILL %2");
    thread::sleep(CHOICE);
    let off = apart(&counter, [&clients[0], follower]) * 1e6;
    println!("both of ours, one of them killed: {off:.0} µs from the group's clocks");
}
