//! The subcommands that ask a running program: `status` and `wait`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::TimeDelta;

use crate::command_line::asking::Ended;
use crate::command_line::{asking, runtime_folder, values};
use crate::report::status::{self as report, FOLLOWER, MASTER};
use crate::span::{nanoseconds, span};

/// `wait` lets a program have so long to answer, even at its end.
const LEAST_PATIENCE: Duration = Duration::from_millis(500);

/// How often `wait` looks.
const LOOK: Duration = Duration::from_millis(100);

/// `status`.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// The socket of the program to ask [default: all that run on this machine]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Print the whole document as JSON, see docs/status.md
    #[arg(long)]
    json: bool,
}

/// `wait`.
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// Wait until the time is known to this
    #[arg(long, overrides_with = "error", value_name = "DURATION", default_value = "1ms", allow_hyphen_values = true, value_parser = values::threshold)]
    error: TimeDelta,

    /// Give up after this
    #[arg(long, overrides_with = "timeout", value_name = "DURATION", default_value = "60s", allow_hyphen_values = true, value_parser = values::patience)]
    timeout: Duration,

    /// The socket of the program to wait for [default: those that run on this machine]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Status {
    /// Prints the status of the programs with this name.
    ///
    /// # Errors
    /// When one can't be asked; what the others said is printed all the same.
    pub fn run(self, program: &str) -> anyhow::Result<()> {
        let sockets = match self.socket {
            Some(socket) => vec![socket],
            None => asking::find(program)?,
        };
        let mut failed = Vec::new();
        let mut answered = 0;
        for socket in &sockets {
            match self::answer(socket, self.json) {
                Ok(answer) => {
                    let separator = if answered > 0 && !self.json { "\n" } else { "" };
                    print(separator, &answer)?;
                    answered += 1;
                }
                Err(error) => failed.push(error),
            }
        }
        if answered > 0 {
            failed.retain(|error| !has_ended(error));
        }
        let failed: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("{}", failed.join("; "))
    }
}

/// Whether a program has left its socket behind: where others run, that is of no interest.
fn has_ended(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Ended>().is_some()
}

/// What a program says, to be printed.
fn answer(socket: &Path, json: bool) -> anyhow::Result<Vec<u8>> {
    let document = asking::ask(socket, asking::PATIENCE)?;
    if json {
        asking::check(&document, socket)?;
        return Ok(document);
    }
    let status = asking::parse(&document, socket)?;
    Ok(format!("{status}\n").into_bytes())
}

fn print(separator: &str, answer: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let printed = (out.write_all(separator.as_bytes())).and_then(|()| out.write_all(answer));
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot write to stdout"),
    }
}

impl Wait {
    /// Waits until all programs that run on this machine know the time: those with this name or,
    /// where there are none, the others of the pair.
    ///
    /// # Errors
    /// When that takes too long; the error says what was missing.
    pub fn run(self, program: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let Err(missing) = self.look(program, deadline) else {
                return Ok(());
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(missing.context(format!(
                    "gave up after {}",
                    humantime::format_duration(self.timeout)
                )));
            }
            thread::sleep(LOOK.min(left));
        }
    }

    fn look(&self, program: &str, deadline: Instant) -> anyhow::Result<()> {
        // Who is there answers within milliseconds, however little time is left.
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.clamp(LEAST_PATIENCE, asking::PATIENCE);
        let ask = |socket: &PathBuf| asking::status(socket, patience);
        if let Some(socket) = &self.socket {
            return self.check(&ask(socket)?);
        }
        let other = if program == MASTER { FOLLOWER } else { MASTER };
        for program in [program, other] {
            let sockets = runtime_folder::status_sockets(program);
            let mut answers: Vec<_> = sockets.iter().map(ask).collect();
            answers.retain(|answer| !answer.as_ref().is_err_and(has_ended));
            if !answers.is_empty() {
                return (answers.into_iter()).try_for_each(|status| self.check(&status?));
            }
        }
        bail!("neither a {program} nor a {other} runs on this machine and answers");
    }

    fn check(&self, status: &report::Status) -> anyhow::Result<()> {
        let wanted = span(self.error);
        let Some(error) = status.clock().reading_error_ns() else {
            bail!("the time is not known yet, and was to be known to {wanted}");
        };
        if error > nanoseconds(self.error).unsigned_abs() {
            let error = TimeDelta::nanoseconds(i64::try_from(error).unwrap_or(i64::MAX));
            bail!("the time is known to {} only, not to {wanted}", span(error));
        }
        Ok(())
    }
}
