//! `berkeley-follower`: reports this machine's clock to a master and follows the network's time.

use std::iter;
use std::path::PathBuf;
use std::process::ExitCode;

use berkeley::internals::command_line::arguments::{self, Common};
use berkeley::internals::command_line::keys::NodeCommand;
use berkeley::internals::command_line::program;
use berkeley::internals::command_line::questions;
use berkeley::internals::command_line::signals::StopSignals;
use berkeley::internals::command_line::site::Http;
use berkeley::internals::command_line::values;
use berkeley::internals::wire::address::Address;
use berkeley::status::{FOLLOWER, Status};
use berkeley::{Credentials, Follower, FollowerOptions, WireChoice};
use clap::{CommandFactory, Parser, Subcommand};

/// Reports this machine's clock to a master and follows the time that the group agrees on.
#[derive(Debug, Parser)]
#[command(version, name = "berkeley-follower")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Where the master is: a host name or address, with or without a port; several candidates,
    /// or any one of them
    #[arg(value_name = "MASTER", default_value = "127.0.0.1:8080", value_parser = values::master)]
    masters: Vec<Address>,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    http: Http,

    /// What to speak: the best that both sides know, or the Python programs' timestamps only
    #[arg(long, value_name = "WIRE", default_value = "auto")]
    wire: WireChoice,

    /// The key of this machine: nothing is believed of a master that does not hold it too
    /// [default: no key]
    #[arg(long, value_name = "FILE", env = "BERKELEY_KEY_FILE")]
    key_file: Option<PathBuf>,
}

/// What a running follower is asked, and its machine's key.
#[derive(Debug, Subcommand)]
enum Command {
    /// Say how the followers are that run on this machine
    Status(questions::Status),
    /// Wait until the time is known on this machine, for scripts
    Wait(questions::Wait),
    /// Keep the key of this machine
    #[command(subcommand)]
    Key(NodeCommand),
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if let Some(command) = arguments.command.take() {
        return match command {
            Command::Status(status) => program::report(status.run(FOLLOWER)),
            Command::Wait(wait) => program::report(wait.run(FOLLOWER)),
            Command::Key(command) => program::command(|| command.run()),
        };
    }
    let conflict = arguments
        .common
        .conflict(arguments.wire == WireChoice::Timestamp);
    let only_told = arguments.wire == WireChoice::Timestamp && arguments.key_file.is_some();
    let unproven = only_told
        .then_some("--key-file does not go with --wire timestamp: timestamps prove nothing");
    if let Some(conflict) = conflict.or(unproven) {
        arguments::refuse(&mut Arguments::command(), conflict);
    }
    program::run(|signals| run(arguments, signals))
}

fn run(arguments: Arguments, signals: &StopSignals) -> anyhow::Result<()> {
    let common = arguments.common;
    if common.mend_clock {
        return common.steering(false).map(drop);
    }
    let record = common.record()?;
    let steered = common.steering(false)?;
    let options = FollowerOptions {
        interval: common.interval,
        wire: arguments.wire,
        name: common.name.clone(),
        credentials: arguments.key_file.map(Credentials::Node),
        rounds: common.rounds,
        simulation: common.simulation(),
        steering: steered.steering,
        drift_file: steered.drift_file,
        reference: common.reference,
        system_clock: steered.system_clock,
        record,
    };
    let follower = Follower::connect(arguments.masters, options)?;
    let observer = follower.observer();
    let status = move || Status::Follower(Box::new(observer.status()));
    let (_socket, page) = program::answer_questions(FOLLOWER, &arguments.http, status)?;
    let stopper = follower.stopper();
    signals.on_stop(move || stopper.stop());
    let events = iter::from_fn(|| follower.next_event()).map(|event| event.to_string());
    let printed = program::print(page.into_iter().chain(events));
    follower.stopper().stop();
    follower.finish()?;
    printed
}
