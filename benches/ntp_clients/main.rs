//! How close programs of others come to a server that they ask over NTP: to one of ours, which
//! serves a group's time, and beside it to chronyd, which serves its own machine's. Each runs on a
//! User-mode Linux kernel with a clock of its own, 1.2 s and 100 ppm off in the beginning, those of a
//! pair alike; clocks are compared by the processor's counter, which all of them share.
//!
//! ```text
//! cargo bench --bench ntp_clients -- [--minutes N] [--trace] [--set] [--show] [PACKAGES]
//! cargo bench --bench ntp_clients -- --sources
//! ```
//!
//! With `--trace` it shows how far each client was in each minute, at most, with `--set` also what
//! becomes of them when an operator steps the group, and with `--show` what they have said. The second
//! form prints which of several sources chronyd follows.
//!
//! It needs root and Debian's `user-mode-linux iproute2 busybox util-linux gcc chrony`. Of other
//! clients, those are tried whose packages were unpacked (not installed: their services would be
//! started) into a folder each under PACKAGES, `target/ntp-clients` by default:
//!
//! ```text
//! mkdir -p target/ntp-clients && cd target/ntp-clients
//! for package in ntpsec openntpd systemd-timesyncd libsystemd-shared; do
//!     apt-get download $package && dpkg -x ${package}_*.deb $package
//! done
//! ```
//!
//! Debian's busybox has no ntpd: build one with `CONFIG_NTPD=y` as `PACKAGES/busybox/busybox`.
//!
//! It takes 15 minutes, or as many as it is told.

mod sources;
#[path = "../../tests/it/support/virtual_hosts/mod.rs"]
mod virtual_hosts;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use virtual_hosts::{Counter, Host, Network, NtpClient};

/// A group's master and its follower, chronyd as a server, and of each client one for either.
const HOSTS: usize = 3 + 2 * NtpClient::ALL.len();

const MINUTES: u64 = 15;

/// Clients' clocks are off by so many seconds: all of them step by that, and none slews instead.
const OFF: f64 = 1.2;

/// Ticks of the kernels of our master and follower, whose rates are averaged, and of chronyd's.
const TICKS: [i32; 3] = [10_001, 9_999, 10_000];

const MASTER: &str = env!("CARGO_BIN_EXE_berkeley-master");

/// The last minutes of the run, in seconds, when every client has settled.
const SETTLED: f64 = 180.0;

/// What the bench was told.
struct Arguments {
    minutes: u64,
    packages: PathBuf,
    shows: bool,
    traces: bool,
    sets: bool,
}

fn main() -> Result<()> {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut words = words.peekable();
    if words.peek().is_some_and(|word| word == "--sources") {
        sources::run();
        return Ok(());
    }
    let mut arguments = Arguments {
        minutes: MINUTES,
        packages: PathBuf::from(NtpClient::PACKAGES),
        shows: false,
        traces: false,
        sets: false,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--show" => arguments.shows = true,
            "--trace" => arguments.traces = true,
            "--set" => arguments.sets = true,
            "--minutes" => {
                let number = words.next().context("--minutes N")?;
                arguments.minutes = number.parse().context("--minutes N")?;
            }
            _ => arguments.packages = word.into(),
        }
    }
    run(&arguments);
    Ok(())
}

/// Lets the clients follow for so many minutes, and prints how close they came.
fn run(arguments: &Arguments) {
    let packages = &arguments.packages;
    let packages = packages.canonicalize().unwrap_or(packages.clone());
    let (network, hosts) = Network::boot::<HOSTS>();
    let counter = Counter::start(&network);
    set_clocks(&network, &hosts);
    let [master, follower, server, clients @ ..] = &hosts;
    group_serves(master, follower);
    chronyd_serves(&network, server, 10);
    let (ours, theirs) = clients.split_at(NtpClient::ALL.len());
    // Of each client, those that follow ours and those that follow chronyd.
    let mut tried = Vec::new();
    for (client, pair) in NtpClient::ALL.into_iter().zip(ours.iter().zip(theirs)) {
        if !client.is_there(&packages) {
            let program = client.program(&packages);
            println!("{}: not there, {}", client.name(), program.display());
            continue;
        }
        client.start(pair.0, &network, &packages, &["10.0.0.1"]);
        client.start(pair.1, &network, &packages, &["10.0.0.3"]);
        tried.push((client, [[master, pair.0], [server, pair.1]]));
    }
    let began = counter.now(master);
    thread::sleep(Duration::from_secs(60 * arguments.minutes));

    println!(
        "{:<20}{:>36}{:>36}",
        "µs from the server", "berkeley --serve-ntp", "chronyd, local"
    );
    let columns = format!("{:>12}{:>12}{:>12}", "1 ms after", "median", "worst");
    println!("{:<20}{columns}{columns}", "");
    for (client, pair) in &tried {
        let [ours, theirs] = pair.map(|hosts| reached(&counter, hosts, began));
        println!("{:<20}{ours}{theirs}", client.name());
    }
    if arguments.traces {
        let each_minute = |hosts| each_minute(&counter, hosts, began, arguments.minutes);
        println!("\nworst of each minute, µs");
        println!("{:<30}{}", "our servers", each_minute([master, follower]));
        for (client, pair) in &tried {
            for (of, hosts) in ["berkeley", "chronyd"].into_iter().zip(*pair) {
                println!("{:<20}{of:<10}{}", client.name(), each_minute(hosts));
            }
        }
    }
    if arguments.sets {
        master.run(&format!("{MASTER} set +90s"));
        println!("\nseconds from the server, after the group was stepped by 90 s");
        println!("{:<20}{:>12}{:>12}", "", "2 min", "5 min");
        let off = |minutes: u64| {
            thread::sleep(Duration::from_secs(60 * minutes));
            let ours = tried.iter().map(|(_, [ours, _])| apart(&counter, *ours));
            ours.collect::<Vec<_>>()
        };
        for ((client, _), (two, five)) in tried.iter().zip(off(2).into_iter().zip(off(3))) {
            println!("{:<20}{two:>12.3}{five:>12.3}", client.name());
        }
    }
    if arguments.shows {
        for [_, client] in tried.iter().flat_map(|(_, pair)| pair) {
            eprintln!("{}", client.transcript());
        }
    }
}

/// Gives each host the clock that it begins with, and reads it from now on.
fn set_clocks(network: &Network, hosts: &[Host; HOSTS]) {
    let reader = network.counter().display().to_string();
    for (number, host) in hosts.iter().enumerate() {
        host.run("mount -t tmpfs tmpfs /run");
        let client = number.checked_sub(TICKS.len());
        // Both of a pair are off by as much.
        let fast = client.map(|client| (client % NtpClient::ALL.len()).is_multiple_of(2));
        let tick = fast.map_or_else(|| TICKS[number], |fast| if fast { 10_001 } else { 9_999 });
        host.run(&format!("busybox adjtimex -q -t {tick}"));
        if let Some(fast) = fast {
            let sign = if fast { '+' } else { '-' };
            host.run(&format!("date --set '{sign}{OFF} sec'"));
        }
        host.run(&format!("{reader} &"));
    }
}

/// How far a client was from its server in each minute, at most, in µs.
fn each_minute(counter: &Counter, hosts: [&Host; 2], began: f64, minutes: u64) -> String {
    let all = counter.trace_of(&hosts, began, began + 60.0 * minutes as f64);
    let minutes = (0..minutes).map(|minute| {
        let from = began + 60.0 * minute as f64;
        format!(" {:.0}", all.part(from, from + 60.0).skew(1.0))
    });
    minutes.collect()
}

/// Starts a group, and waits until it has a time to serve.
fn group_serves(master: &Host, follower: &Host) {
    let flags = "--steer system --serve-ntp";
    master.run(&format!("{MASTER} {flags} &"));
    let program = env!("CARGO_BIN_EXE_berkeley-follower");
    follower.run(&format!("{program} {flags} 10.0.0.1 &"));
    master.line("Round 3: ");
}

/// Starts a chronyd that serves its machine's time.
fn chronyd_serves(network: &Network, server: &Host, stratum: u8) {
    let file = Path::new(network.folder()).join("server.conf");
    let lines = "allow\ncmdport 0\nbindcmdaddress /\npidfile /run/chronyd.pid\n";
    std::fs::write(&file, format!("local stratum {stratum}\n{lines}")).expect("a file");
    server.run(&format!("chronyd -n -U -u root -f {} &", file.display()));
}

/// How far apart two hosts' clocks were lately, in seconds.
fn apart(counter: &Counter, hosts: [&Host; 2]) -> f64 {
    let now = counter.now(hosts[0]);
    counter.trace_of(&hosts, now - 5.0, now - 1.0).skew(1.0) * 1e-6
}

/// After how many seconds a client was within 1 ms for good; how far it was from the server at the
/// end, in the median and at most.
fn reached(counter: &Counter, hosts: [&Host; 2], began: f64) -> String {
    let until = counter.now(hosts[0]) - 0.1;
    let trace = counter.trace_of(&hosts, began, until);
    let within = trace.within(1000.0, began);
    let within = within.map_or("never".to_owned(), |after| format!("{after:.0} s"));
    let settled = trace.part(until - SETTLED, until);
    format!(
        "{within:>12}{:>12.1}{:>12.1}",
        settled.skew(0.5),
        settled.skew(1.0)
    )
}
