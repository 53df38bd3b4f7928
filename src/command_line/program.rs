//! What both programs do from their start to their end.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::{self, ExitCode};

use anyhow::Context;

use crate::command_line::logging;
use crate::command_line::signals::StopSignals;

/// Starts the log, catches the signals, and runs a program until its end. The exit status is 0
/// after an orderly end, 1 after an error, which is printed, and 128 and the signal's number when
/// a second one did not let the end be orderly.
pub fn run(program: impl FnOnce(&StopSignals) -> anyhow::Result<()>) -> ExitCode {
    match start(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(program: impl FnOnce(&StopSignals) -> anyhow::Result<()>) -> anyhow::Result<()> {
    logging::start().context("cannot start the log")?;
    let end = |second: Option<i32>| process::exit(second.map_or(0, |signal| 128 + signal));
    let signals = StopSignals::catch(end).context("cannot catch signals")?;
    program(&signals)
}

/// Runs a command that is over at once, and prints what it returns.
pub fn command(run: impl FnOnce() -> anyhow::Result<String>) -> ExitCode {
    let printed = run().and_then(|line| print(std::iter::once(line)));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what happens, a line or a table each, until nothing more does. Whoever reads it may have
/// heard enough, as `head` has: that is no error.
///
/// # Errors
/// When stdout can't be written.
pub fn print(events: impl Iterator<Item = impl Display>) -> anyhow::Result<()> {
    let mut out = io::stdout();
    for event in events {
        match writeln!(out, "{event}") {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                log::debug!("nobody reads stdout any more: stopping");
                break;
            }
            Err(error) => return Err(error).context("cannot write to stdout"),
        }
    }
    Ok(())
}
