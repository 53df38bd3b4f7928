//! `berkeley-follower`: reports this machine's clock to a master and follows the network's time.

use std::iter;
use std::process::ExitCode;

use berkeley::internals::command_line::arguments;
use berkeley::internals::command_line::follower_arguments::{Arguments, Command};
use berkeley::internals::command_line::program;
use berkeley::internals::command_line::signals::StopSignals;
use berkeley::status::{FOLLOWER, Status};
use berkeley::{Credentials, Follower, FollowerOptions, WireChoice};
use clap::{CommandFactory, Parser};

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
    let conflict = conflict.or(unproven).map(str::to_owned);
    if let Some(conflict) = conflict.or_else(|| arguments.file_conflict()) {
        arguments::refuse(&mut Arguments::command(), &conflict);
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
    let ntp = common.ntp.serve(follower.clock())?;
    let (observer, served) = (follower.observer(), ntp.status());
    let status = move || Status::Follower(Box::new(observer.status())).serving(served());
    let (_socket, page) = program::answer_questions(FOLLOWER, &arguments.http, status)?;
    let stopper = follower.stopper();
    signals.on_stop(move || stopper.stop());
    let events = iter::from_fn(|| follower.next_event()).map(|event| event.to_string());
    let said = page.into_iter().chain(ntp.line());
    let printed = program::print(said.chain(events));
    follower.stopper().stop();
    follower.finish()?;
    printed
}
