//! A program under load, and what Linux tells of it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a program may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// In what Linux counts processor time for programs to read, on every machine.
pub const TICK: Duration = Duration::from_millis(10);

/// A running program, which is killed when it is dropped.
pub struct Program {
    child: Child,
    /// The file that it prints to.
    output: PathBuf,
}

/// What a program has taken.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Resident, in bytes.
    pub memory: u64,
    /// Of all its threads, in the kernel and outside, since it began.
    pub processor: Duration,
}

impl Program {
    pub fn start(command: &mut Command, output: PathBuf) -> Result<Self> {
        let file = File::create(&output)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command.spawn();
        let child = child.with_context(|| format!("{command:?} does not start"))?;
        Ok(Self { child, output })
    }

    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits for the program to print a line that begins with `label`; the rest of that line.
    pub fn says(&mut self, label: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.output();
            let whole = output.rfind('\n').map_or("", |end| &output[..end]);
            if let Some(rest) = whole.lines().find_map(|line| line.strip_prefix(label)) {
                return Ok(rest.to_owned());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status}):\n{output}");
            }
            ensure!(
                Instant::now() < deadline,
                "no {label:?} in {PATIENCE:?}:\n{output}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn usage(&mut self) -> Result<Usage> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended ({status}):\n{}", self.output());
        }
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let read = |file: &str| {
            let path = process.join(file);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        // (`status` and `statm` may be off by some dozen pages for each core.)
        let memory = read("smaps_rollup")?;
        let memory = memory.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kibibytes =
            memory.and_then(|words| words.split_whitespace().next()?.parse::<u64>().ok());
        let stat = read("stat")?;
        // The name comes second, in parentheses, and may contain anything.
        let ticks = stat.rsplit(')').next().map(|columns| {
            let columns = columns.split_whitespace().skip(11).take(2);
            columns
                .filter_map(|ticks| ticks.parse::<u32>().ok())
                .sum::<u32>()
        });
        Ok(Usage {
            memory: kibibytes.context("smaps_rollup has no Rss")? * 1024,
            processor: TICK * ticks.context("stat has no times")?,
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nothing listens on, for a program that can't pick one itself.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Raises the number of descriptors that this process and those it starts may have, if it is
/// below `needed`: by util-linux's `prlimit`, for the system's own call is not safe Rust.
pub fn allow_descriptors(needed: u64) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|columns| columns.split_whitespace().next());
    if soft.is_none_or(|soft| soft.parse().is_ok_and(|soft: u64| soft < needed)) {
        let mut prlimit = Command::new("prlimit");
        prlimit.arg(format!("--pid={}", std::process::id()));
        let status = prlimit.arg(format!("--nofile={needed}:")).status();
        ensure!(
            status.is_ok_and(|status| status.success()),
            "this needs {needed} descriptors; `ulimit -n {needed}` allows them"
        );
    }
    Ok(())
}
