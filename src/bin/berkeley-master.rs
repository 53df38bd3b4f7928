//! `berkeley-master`: asks every clock for its time, averages, and sends each its correction.

use std::iter;
use std::process::ExitCode;

use berkeley::internals::command_line::arguments;
use berkeley::internals::command_line::master_arguments::{Arguments, Command};
use berkeley::internals::command_line::signals::StopSignals;
use berkeley::internals::command_line::{control_socket, program};
use berkeley::internals::election::candidates::Candidates;
use berkeley::status::{MASTER, Status};
use berkeley::{Master, MasterOptions};
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if let Some(command) = arguments.command.take() {
        return match command {
            Command::Status(status) => program::report(status.run(MASTER)),
            Command::Wait(wait) => program::report(wait.run(MASTER)),
            Command::Set(set) => program::report(set.run()),
            Command::Drop(clock) => program::report(clock.drop()),
            Command::Admit(clock) => program::report(clock.admit()),
            Command::Replay(replay) => program::run(|signals| replay.run(signals)),
            Command::Key(command) => program::command(|| command.run()),
        };
    }
    if let Some(conflict) = arguments.conflict() {
        arguments::refuse(&mut Arguments::command(), &conflict);
    }
    let candidates = match (arguments.election).candidates(arguments.listen, arguments.dry_run) {
        Ok(candidates) => candidates,
        Err(why) => arguments::refuse(&mut Arguments::command(), &why),
    };
    program::run(|signals| run(arguments, candidates, signals))
}

fn run(
    arguments: Arguments,
    candidates: Option<Candidates>,
    signals: &StopSignals,
) -> anyhow::Result<()> {
    let common = arguments.common;
    if common.mend_clock {
        return common.steering(false).map(drop);
    }
    let record = common.record()?;
    let steered = common.steering(arguments.dry_run)?;
    let master = Master::start(MasterOptions {
        name: common.name.clone(),
        listen: arguments.listen,
        interval: common.interval,
        min_followers: arguments.followers.min_followers as usize,
        max_followers: arguments.followers.max_followers as usize,
        max_per_address: arguments.followers.max_per_address as usize,
        votes_per_address: arguments.followers.votes_per_address as usize,
        candidates,
        parents: arguments.tree.parent,
        parent_key_file: arguments.tree.parent_key_file,
        max_weight: arguments.tree.max_weight,
        trust_weight: arguments.tree.trust_weight,
        key_file: arguments.keys.key_file,
        auth: arguments.keys.auth.unwrap_or_default(),
        serve_timestamps: arguments.keys.serve_timestamps,
        rules: arguments.voting.rules(),
        rounds: common.rounds,
        simulation: common.simulation(),
        burst: arguments.burst,
        dry_run: arguments.dry_run,
        steering: steered.steering,
        drift_file: steered.drift_file,
        state_file: arguments.remembering.open(&common, arguments.dry_run)?,
        reference: common.reference,
        reference_slew_ppm: arguments.reference_slew,
        system_clock: steered.system_clock,
        record,
    })?;
    let ntp = common.ntp.serve(master.clock())?;
    let (observer, served) = (master.observer(), ntp.status());
    let status = move || Status::Master(Box::new(observer.status())).serving(served());
    let (_socket, page) = program::answer_questions(MASTER, &arguments.http, status)?;
    let _control = control_socket::open(master.operator());
    let stopper = master.stopper();
    signals.on_stop(move || stopper.stop());
    let listening = format!("Listening on {}", master.local_addr());
    let events = iter::from_fn(|| master.next_event()).map(|event| event.to_string());
    let said = iter::once(listening).chain(page).chain(ntp.line());
    let printed = program::print(said.chain(events));
    master.stopper().stop();
    master.finish()?;
    printed
}
