//! How close programs of others come to a server that they ask over NTP: to one of ours, which
//! serves a group's time, and beside it to chronyd, which serves its own machine's. Each runs on a
//! User-mode Linux kernel with a clock of its own, 1 s and 100 ppm off in the beginning; clocks are
//! compared by the processor's counter, which all of them share.
//!
//! ```text
//! cargo bench --bench ntp_clients -- [--minutes N] [PACKAGES]
//! cargo bench --bench ntp_clients -- --sources
//! ```
//!
//! With `--show` it shows what the clients have said, too. The second form prints which of several sources chronyd follows.
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

/// Clients' clocks are off by so many seconds.
const OFF: f64 = 1.0;

/// The last minutes of the run, in seconds, when every client has settled.
const SETTLED: f64 = 180.0;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut minutes, mut packages) = (MINUTES, PathBuf::from(NtpClient::PACKAGES));
    let mut shows = false;
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--show" => shows = true,
            "--sources" => {
                sources::run();
                return Ok(());
            }
            "--minutes" => {
                let number = arguments.next().context("--minutes N")?;
                minutes = number.parse().context("--minutes N")?;
            }
            _ => packages = word.into(),
        }
    }
    let packages = packages.canonicalize().unwrap_or(packages);
    let (network, hosts) = Network::boot::<HOSTS>();
    let counter = Counter::start(&network);
    let reader = network.counter().display().to_string();
    let [master, follower, server, clients @ ..] = &hosts;
    for (number, host) in hosts.iter().enumerate() {
        host.run("mount -t tmpfs tmpfs /run");
        // Two of three oscillators are 100 ppm off.
        host.run(&format!("busybox adjtimex -q -t {}", 9_999 + number % 3));
        if number >= 3 {
            let sign = if number % 2 == 0 { '-' } else { '+' };
            host.run(&format!("date --set '{sign}{OFF} sec'"));
        }
        host.run(&format!("{reader} &"));
    }
    group_serves(master, follower);
    chronyd_serves(&network, server, 10);
    let (ours, theirs) = clients.split_at(NtpClient::ALL.len());
    let mut tried = Vec::new();
    for (client, pair) in NtpClient::ALL.into_iter().zip(ours.iter().zip(theirs)) {
        if !client.is_there(&packages) {
            let program = client.program(&packages);
            println!("{}: not there, {}", client.name(), program.display());
            continue;
        }
        client.start(pair.0, &network, &packages, &["10.0.0.1"]);
        client.start(pair.1, &network, &packages, &["10.0.0.3"]);
        tried.push((client, pair));
    }
    let began = counter.now(master);
    thread::sleep(Duration::from_secs(60 * minutes));

    println!(
        "{:<20}{:>36}{:>36}",
        "µs from the server", "berkeley --serve-ntp", "chronyd, local"
    );
    let columns = format!("{:>12}{:>12}{:>12}", "1 ms after", "median", "worst");
    println!("{:<20}{columns}{columns}", "");
    for (client, (ours, theirs)) in tried {
        let of = |server, host| reached(&counter, [server, host], began);
        println!(
            "{:<20}{}{}",
            client.name(),
            of(master, ours),
            of(server, theirs)
        );
        if shows {
            eprintln!("{}\n{}", ours.transcript(), theirs.transcript());
        }
    }
    Ok(())
}

/// Starts a group, and waits until it has a time to serve.
fn group_serves(master: &Host, follower: &Host) {
    let flags = "--steer system --serve-ntp";
    let program = env!("CARGO_BIN_EXE_berkeley-master");
    master.run(&format!("{program} {flags} &"));
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
