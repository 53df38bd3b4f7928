//! Programs of others, unmodified, on kernels of their own: the short form of the bench
//! `ntp_clients`.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::virtual_hosts::{Counter, Host, Network, NtpClient};

/// The clients' clocks are off by so many seconds.
const OFF: f64 = 1.2;

/// Lets the clients ask while nobody knows the time.
const UNKNOWN: Duration = Duration::from_secs(12);

/// How long a client may take to follow.
const PATIENCE: Duration = Duration::from_secs(100);

/// How far apart two clocks are, in seconds, over the last second.
fn apart(counter: &Counter, hosts: [&Host; 2]) -> f64 {
    // The last readings are on their way.
    thread::sleep(Duration::from_millis(300));
    let now = counter.now(hosts[0]);
    counter.trace_of(&hosts, now - 1.0, now - 0.1).skew(1.0) * 1e-6
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox, chrony, cc and root"]
fn clients_take_no_time_before_the_group_has_agreed_and_then_follow_it() {
    let (network, hosts) = Network::boot::<4>();
    let counter = Counter::start(&network);
    let [master, follower, clients @ ..] = &hosts;
    let packages = Path::new(NtpClient::PACKAGES);
    let clients = [(NtpClient::Chronyd, 0.001), (NtpClient::Busybox, 0.05)]
        .into_iter()
        .zip(clients)
        .filter(|((client, _), _)| client.is_there(packages));
    let clients: Vec<_> = clients.collect();
    let reader = network.counter().display().to_string();
    for (host, tick) in hosts.iter().zip([10_001, 10_000, 9_999, 10_001]) {
        host.run("mount -t tmpfs tmpfs /run");
        host.run(&format!("busybox adjtimex -q -t {tick}"));
    }
    for (_, host) in &clients {
        host.run(&format!("date --set '{OFF} sec'"));
    }
    for host in &hosts {
        host.run(&format!("{reader} &"));
    }
    let program = env!("CARGO_BIN_EXE_berkeley-master");
    let flags = "--steer system --interval 1s --serve-ntp";
    master.run(&format!("{program} {flags} &"));
    master.line("Serving NTP at 0.0.0.0:123");
    thread::sleep(Duration::from_secs(1));
    let before: Vec<_> = clients
        .iter()
        .map(|(_, host)| apart(&counter, [master, *host]))
        .collect();
    for ((client, _), host) in &clients {
        client.start(host, &network, packages, &["10.0.0.1"]);
    }

    // The master is alone, so there is no group whose time it could be.
    thread::sleep(UNKNOWN);
    for (((client, _), host), before) in clients.iter().zip(before) {
        let off = apart(&counter, [master, *host]);
        println!("{}: {before:.3} s off, and then {off:.3} s", client.name());
        assert!(before > OFF / 2.0, "else this shows nothing");
        // At 200 ppm.
        assert!((off - before).abs() < 0.01, "{} has moved", client.name());
    }

    let program = env!("CARGO_BIN_EXE_berkeley-follower");
    follower.run(&format!("{program} {flags} 10.0.0.1 &"));
    master.line("Round 1: ");
    let agreed = Instant::now();
    for ((client, limit), host) in clients {
        let off = loop {
            let off = apart(&counter, [master, host]);
            if off <= limit || agreed.elapsed() > PATIENCE {
                break off;
            }
        };
        let (name, took) = (client.name(), agreed.elapsed().as_secs_f64());
        println!("{name}: {:.3} ms off after {took:.0} s", off * 1e3);
        assert!(off <= limit, "{name} is {off} s off");
    }
}
