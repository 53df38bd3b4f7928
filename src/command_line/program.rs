//! What both programs do from their start to their end.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::{self, ExitCode};
use std::sync::Arc;

use anyhow::Context;

use crate::command_line::logging;
use crate::command_line::service;
use crate::command_line::signals::StopSignals;
use crate::command_line::site::{Http, Source};
use crate::command_line::status_socket::{self, StatusSocket};
use crate::report::document::Document;
use crate::report::status::Status;

/// Starts the log, catches the signals, and runs a program until its end. The exit status is 0
/// after an orderly end, 1 after an error, which is printed, and 128 and the signal's number when
/// a second one did not let the end be orderly.
pub fn run(program: impl FnOnce(&StopSignals) -> anyhow::Result<()>) -> ExitCode {
    report(start(program))
}

/// The exit status of what has come to this end; an error is printed.
#[must_use]
pub fn report(end: anyhow::Result<()>) -> ExitCode {
    match end {
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
    report(run().and_then(|line| print(std::iter::once(line))))
}

/// Gives the status of this process to whoever asks for it, at its socket and over HTTP, until what
/// is returned is dropped, and tells systemd of it. With it comes what to tell people.
///
/// # Errors
/// When HTTP was asked for and can't be had, or there is no thread for systemd.
pub fn answer_questions(
    program: &str,
    http: &Http,
    status: impl Fn() -> Status + Send + Sync + 'static,
) -> anyhow::Result<(Option<StatusSocket>, Option<String>)> {
    let status: Source = Arc::new(status);
    let source = Arc::clone(&status);
    let json = Arc::new(Document::new(move || {
        // Nothing in it could fail to be written as JSON.
        let mut json = serde_json::to_vec(&source()).unwrap_or_default();
        json.push(b'\n');
        json
    }));
    let told = http.serve(&json, &status)?;
    let socket = status_socket::open(program, &json);
    service::tell(&status).context("cannot start the thread that tells systemd")?;
    Ok((socket, told))
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
