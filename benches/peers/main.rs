//! How far apart the system clocks of three hosts are, ours beside chronyd's, where machines are
//! switched on, links are busy and oscillators change: User-mode Linux kernels with clocks of
//! their own, compared by the processor's counter, which all of them share.
//!
//! ```text
//! cargo bench --bench peers -- [--quick] [--only berkeley|chronyd] [SCENARIO]...
//! ```
//!
//! It needs root and Debian's `user-mode-linux iproute2 busybox util-linux gcc chrony`, and an idle
//! machine if the figures are to mean anything. Each scenario is run three times by each, or once
//! with `--quick`, alternating, and the medians are printed: 2 hours, or 40 minutes.

mod scenarios;
#[path = "../../tests/it/support/virtual_hosts/mod.rs"]
mod virtual_hosts;

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use scenarios::SCENARIOS;
use virtual_hosts::Who;

/// How often each scenario is run.
const RUNS: usize = 3;

const PEERS: [(Who, &str); 2] = [(Who::Berkeley, "berkeley"), (Who::Chronyd, "chronyd")];

fn main() -> Result<()> {
    if virtual_hosts::traffic::send_if_told() {
        return Ok(());
    }
    // Cargo tells every benchmark that it is one.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let known = |word: &String| {
        let mut words = SCENARIOS.iter().map(|scenario| scenario.name);
        ["--quick", "--only", "berkeley", "chronyd"].contains(&&**word)
            || words.any(|name| name == word)
    };
    if let Some(unknown) = arguments.iter().find(|word| !known(word)) {
        let names = SCENARIOS.map(|scenario| scenario.name).join(" ");
        bail!("'{unknown}' is none of: --quick, --only berkeley|chronyd, {names}");
    }
    check()?;
    // What else the machine does is not to be measured.
    let this = std::process::id().to_string();
    let _ = Command::new("renice")
        .args(["-n", "-15", "-p", &this])
        .output();
    let runs = if arguments.iter().any(|word| word == "--quick") {
        1
    } else {
        RUNS
    };
    let only = arguments.iter().position(|word| word == "--only");
    let only = only.and_then(|at| Some(arguments.get(at + 1)?.as_str()));
    let names: Vec<_> = arguments
        .iter()
        .filter(|word| !word.starts_with("--") && only != Some(word))
        .collect();
    println!(
        "{:<64}{:>12}{:>12}",
        "medians; µs, or s where it says so", "berkeley", "chronyd"
    );
    for scenario in SCENARIOS {
        if !names.is_empty() && !names.iter().any(|name| *name == scenario.name) {
            continue;
        }
        let mut found = [Vec::new(), Vec::new()];
        for _ in 0..runs {
            for ((who, name), found) in PEERS.into_iter().zip(&mut found) {
                if only.is_none_or(|only| only == name) {
                    found.push((scenario.run)(who));
                }
            }
        }
        for (row, what) in scenario.rows.iter().enumerate() {
            let [ours, theirs] = found.each_ref().map(|runs| {
                let mut values: Vec<_> = runs.iter().map(|run: &Vec<f64>| run[row]).collect();
                values.sort_by(f64::total_cmp);
                values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
            });
            println!(
                "{:<64}{ours:>12.1}{theirs:>12.1}",
                format!("{}: {what}", scenario.name)
            );
        }
    }
    Ok(())
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
