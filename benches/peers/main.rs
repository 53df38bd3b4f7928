//! How far apart the system clocks of three hosts are, ours beside those of others, where machines
//! are switched on, links are busy and oscillators change: User-mode Linux kernels with clocks of
//! their own, compared by the processor's counter, which all of them share.
//!
//! ```text
//! cargo bench --bench peers -- [--quick] [--only PEER] [SCENARIO]...
//! ```
//!
//! The peers are `berkeley`, `chronyd` and, where it is installed, `ptpd`, which is left to its
//! defaults: a message every second, and no step below one.
//!
//! It needs root and Debian's `user-mode-linux iproute2 busybox util-linux gcc chrony`, and an idle
//! machine if the figures are to mean anything. Each scenario is run three times by each, or once
//! with `--quick`, alternating: three hours, or one, and two thirds of that without ptpd. What a run
//! has found is written to standard error at once. It fails if any of ours misses its goal.

mod scenarios;
mod table;
#[path = "../../tests/it/support/virtual_hosts/mod.rs"]
mod virtual_hosts;

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use scenarios::{SCENARIOS, Scenario};
use table::Table;
use virtual_hosts::Who;

/// How often each scenario is run.
const RUNS: usize = 3;

/// Who keeps clocks; the last one where it is installed.
const PEERS: [(Who, &str); 3] = [
    (Who::Berkeley, "berkeley"),
    (Who::Chronyd, "chronyd"),
    (Who::Ptpd, "ptpd"),
];

/// What the bench was told.
struct Arguments {
    runs: usize,
    peers: Vec<(Who, &'static str)>,
    scenarios: Vec<Scenario>,
}

fn main() -> Result<()> {
    if virtual_hosts::traffic::send_if_told() {
        return Ok(());
    }
    let arguments = Arguments::parse()?;
    check()?;
    // What else the machine does is not to be measured.
    let this = std::process::id().to_string();
    let _ = Command::new("renice")
        .args(["-n", "-15", "-p", &this])
        .output();
    let mut table = Table::begin(&arguments.peers);
    for scenario in &arguments.scenarios {
        let mut found = vec![Vec::new(); arguments.peers.len()];
        for _ in 0..arguments.runs {
            for ((who, name), found) in arguments.peers.iter().zip(&mut found) {
                let values = (scenario.run)(*who);
                eprintln!("{} of {name}: {values:.1?}", scenario.name);
                found.push(values);
            }
        }
        table.show(scenario, &found);
    }
    table.end()
}

impl Arguments {
    fn parse() -> Result<Self> {
        // Cargo tells every benchmark that it is one.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        let (mut runs, mut only, mut names) = (RUNS, None, Vec::new());
        while let Some(word) = words.next() {
            match &*word {
                "--quick" => runs = 1,
                "--only" => only = Some(words.next().unwrap_or_default()),
                _ if SCENARIOS.iter().any(|it| it.name == word) => names.push(word),
                _ => bail!(
                    "'{word}' is none of: --quick, --only PEER, {}",
                    SCENARIOS.map(|scenario| scenario.name).join(" ")
                ),
            }
        }
        let mut peers = PEERS.to_vec();
        let is_missing = |who: Who| who == Who::Ptpd && !is_there("ptpd");
        if peers.iter().any(|(who, _)| is_missing(*who)) {
            println!("ptpd is left out: it is not installed (on Debian, `apt-get install ptpd`)");
            peers.retain(|(who, _)| !is_missing(*who));
        }
        if let Some(only) = only {
            peers.retain(|(_, name)| *name == only);
        }
        ensure!(
            !peers.is_empty(),
            "--only takes one of: {}",
            PEERS.map(|(_, name)| name).join(" ")
        );
        let mut scenarios = SCENARIOS.to_vec();
        scenarios.retain(|it| names.is_empty() || names.iter().any(|name| name == it.name));
        Ok(Self {
            runs,
            peers,
            scenarios,
        })
    }
}

/// Says what is missing.
fn check() -> Result<()> {
    let programs = [
        "linux.uml",
        "busybox",
        "ip",
        "tc",
        "unshare",
        "nsenter",
        "cc",
        "chronyd",
    ];
    let missing: Vec<_> = programs
        .into_iter()
        .filter(|name| !is_there(name))
        .collect();
    ensure!(
        missing.is_empty(),
        "{} not installed: on Debian, `apt-get install user-mode-linux iproute2 busybox util-linux \
         gcc chrony`",
        missing.join(", ")
    );
    let id = Command::new("id").arg("-u").output()?;
    if id.stdout != b"0\n" {
        bail!("it takes root to make a network of hosts");
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders
        .into_iter()
        .any(|folder| Path::new(folder).join(program).exists())
}
