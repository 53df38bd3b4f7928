//! `berkeley-master`: asks every clock for its time, averages, and sends each its correction.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use berkeley::arguments::{self, Common};
use berkeley::average::Rules;
use berkeley::master::{DEFAULT_BURST, Event, Master, Options};
use berkeley::record::MASTER_HEADER;
use berkeley::signals;
use chrono::TimeDelta;
use clap::Parser;

/// Keeps the clocks of a group of machines in agreement: asks every follower for its time,
/// averages, and sends each clock its correction.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where followers connect; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,

    #[command(flatten)]
    common: Common,

    /// How many times each follower is asked in a round; the best answer counts
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BURST, value_parser = clap::value_parser!(u32).range(1..=64))]
    burst: u32,

    /// Measure, average and tell, but correct no clock
    #[arg(long)]
    dry_run: bool,

    /// Hold no round before so many followers have joined and reported a clock
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    min_followers: u32,

    /// How far from the median a clock may be and still vote
    /// [default: automatic, three standard deviations of the clocks and at least 1ms]
    #[arg(long, value_name = "DURATION", value_parser = arguments::window)]
    tolerance: Option<TimeDelta>,

    /// How far from the median a clock may be and still vote, whatever the tolerance
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = arguments::window)]
    max_offset: TimeDelta,

    /// Turn away one more connection than so many
    #[arg(long, value_name = "N", default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1..))]
    max_followers: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let common = arguments.common;
    let record = common.record(MASTER_HEADER)?;
    let (steering, drift_file) = common.steering();
    let master = Master::start(Options {
        listen: arguments.listen,
        interval: common.interval,
        min_followers: arguments.min_followers as usize,
        max_followers: arguments.max_followers as usize,
        rules: Rules {
            tolerance: arguments.tolerance,
            max_offset: arguments.max_offset,
        },
        rounds: common.rounds,
        simulation: common.simulation(),
        burst: arguments.burst,
        dry_run: arguments.dry_run,
        steering,
        drift_file,
        record,
    })?;
    let stopper = master.stopper();
    signals::on_stop(move || stopper.stop()).context("cannot catch signals")?;
    let mut out = io::stdout();
    let mut written = writeln!(out, "Listening on {}", master.local_addr());
    while written.is_ok() {
        let Some(event) = master.next_event() else {
            break;
        };
        written = match event {
            Event::Joined { name, wire } => writeln!(out, "Follower joined: {name} ({wire})"),
            Event::Left { name, reason } => writeln!(out, "Follower left: {name} ({reason})"),
            Event::Withheld(count) => writeln!(out, "({count} more joined or left)"),
            Event::Round(round) => writeln!(out, "{round}"),
        };
    }
    master.stopper().stop();
    master.finish()?;
    written.context("cannot write to stdout")
}
