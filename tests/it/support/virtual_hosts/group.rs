//! Three hosts whose clocks are kept together, by us or by others.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::Duration;

use super::skew::quantile;
use super::traffic;
use super::{Clock, Counter, Host, Network, Trace};

/// Who keeps the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Berkeley,
    Chronyd,
    Ptpd,
}

/// Three hosts, of which the first is the master or server.
pub(crate) struct Group {
    who: Who,
    pub hosts: [Host; 3],
    network: Network,
    counter: Counter,
}

/// Ticks of the hosts' kernels: two oscillators are off by 100 ppm.
const TICKS: [i32; 3] = [10_001, 10_000, 9_999];

impl Group {
    /// Boots hosts with clocks that are off by so many seconds.
    pub(crate) fn boot(who: Who, offsets: [f64; 3]) -> Self {
        let (network, hosts) = Network::boot();
        let counter = Counter::start(&network);
        let program = network.counter().display().to_string();
        for ((host, tick), offset) in hosts.iter().zip(TICKS).zip(offsets) {
            host.run("mount -t tmpfs tmpfs /run");
            host.run(&format!("busybox adjtimex -q -t {tick}"));
            host.run(&format!("date --set '{offset} sec'"));
            host.run(&format!("{program} &"));
        }
        let group = Self {
            who,
            hosts,
            network,
            counter,
        };
        group.wait(1.0);
        group
    }

    /// Starts the programs, with rounds or polls every second or by the defaults: 5 s for ours, 4 s
    /// for chronyd, a second for ptpd. When that was.
    pub(crate) fn start(&self, every_second: bool) -> f64 {
        let began = self.now();
        let [master, followers @ ..] = &self.hosts;
        match self.who {
            Who::Berkeley => {
                let steer = if every_second {
                    "--steer system --interval 1s"
                } else {
                    "--steer system"
                };
                let program = env!("CARGO_BIN_EXE_berkeley-master");
                master.run(&format!("{program} {steer} --min-followers 2 &"));
                let program = env!("CARGO_BIN_EXE_berkeley-follower");
                for host in followers {
                    host.run(&format!("{program} {steer} 10.0.0.1 &"));
                }
            }
            Who::Chronyd => {
                let poll = if every_second { 0 } else { 2 };
                let server = self.chrony("server", "local stratum 5\nallow\n");
                master.run(&format!("chronyd -n -U -u root -f {server} &"));
                let client = format!("server 10.0.0.1 iburst minpoll {poll} maxpoll {poll}\n");
                let client = self.chrony("client", &client);
                for host in followers {
                    host.run(&format!("chronyd -n -U -u root -f {client} &"));
                }
            }
            Who::Ptpd => {
                let program = "ptpd -C -L -i vec0";
                master.run(&format!("{program} -M &"));
                for host in followers {
                    host.run(&format!("{program} -s &"));
                }
            }
        }
        began
    }

    /// Writes a configuration: Debian's, as far as clocks are concerned.
    pub(crate) fn chrony(&self, name: &str, lines: &str) -> String {
        let file = PathBuf::from(self.network.folder()).join(name);
        let common = "makestep 1 3\ncmdport 0\nbindcmdaddress /\npidfile /run/chronyd.pid\n";
        fs::write(&file, format!("{lines}{common}")).expect("a file");
        file.display().to_string()
    }

    /// The moment, in seconds of the counter.
    pub(crate) fn now(&self) -> f64 {
        self.counter.now(&self.hosts[0])
    }

    /// Suspends a host for so many seconds, and wakes it.
    #[track_caller]
    pub(crate) fn suspend(&self, host: &Host, seconds: f64) {
        host.suspend();
        self.wait(seconds);
        host.wake(&self.network);
    }

    /// Lets so many seconds pass.
    #[allow(clippy::unused_self, reason = "it is the group's time that passes")]
    pub(crate) fn wait(&self, seconds: f64) {
        thread::sleep(Duration::from_secs_f64(seconds));
    }

    /// What the clock of each host has shown until now.
    pub(crate) fn clocks(&self) -> [Clock; 3] {
        // The last readings are on their way.
        self.wait(0.3);
        self.hosts.each_ref().map(|host| self.counter.clock(host))
    }

    /// What the clocks have shown since a moment.
    pub(crate) fn since(&self, from: f64) -> Trace {
        // The last readings are on their way.
        self.wait(0.3);
        self.counter.trace(&self.hosts, from, self.now() - 0.1)
    }

    /// What round trips have left unknown of our clocks' errors since the master's lines were last
    /// asked for or forgotten, in µs, in the median round: half of the longest for the clock itself,
    /// and two thirds of that again for the average of the three.
    pub(crate) fn unknowable(&self) -> f64 {
        let mut longest = Vec::new();
        for line in self.hosts[0].lines() {
            if line.starts_with("Round ") {
                longest.push(f64::NAN);
            } else if let (Some(longest), Some(delay)) = (longest.last_mut(), delay(&line)) {
                *longest = longest.max(delay);
            }
        }
        quantile(&mut longest, 0.5) / 2.0 * (1.0 + 2.0 / 3.0)
    }

    /// Makes all links slow enough to be busy.
    pub(crate) fn slow_links(&self) {
        for port in 1..=3 {
            let port = format!("port{port}");
            let limit = ["rate", "20mbit", "burst", "16k", "latency", "20ms"];
            self.here("tc", &["qdisc", "add", "dev", &port, "root", "tbf"], &limit);
        }
        self.here(
            "ip",
            &["address", "add", "10.0.0.254/24", "dev", "switch"],
            &[],
        );
    }

    /// Pulls the last host's cable, or plugs it in.
    pub(crate) fn cable(&self, state: &str) {
        self.here("ip", &["link", "set", "port3", state], &[]);
    }

    fn here(&self, program: &str, words: &[&str], more: &[&str]) {
        let status = self
            .network
            .command(program)
            .args(words)
            .args(more)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{program} {words:?}"
        );
    }

    /// Sends traffic to the second host for so many seconds.
    pub(crate) fn traffic(&self, seconds: f64) -> Child {
        let this = std::env::current_exe().expect("a program");
        let mut sender = self.network.command(this.to_str().expect("a name"));
        // A bench takes no notice of these arguments then; they name a test.
        sender.args(["--ignored", "--exact", "skew::traffic"]);
        sender.env(traffic::SECONDS, seconds.to_string());
        sender.spawn().expect("a sender")
    }
}

/// The delay in a row of a round's table, in µs: the second of its values that have units.
fn delay(row: &str) -> Option<f64> {
    let words: Vec<_> = row.split_whitespace().collect();
    let [_, _, _, delay, unit, ..] = words[..] else {
        return None;
    };
    let micros = match unit {
        "ns" => 1e-3,
        "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(delay.parse::<f64>().ok()? * micros)
}
