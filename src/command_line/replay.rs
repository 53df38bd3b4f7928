//! `replay`: a record, shown on the page.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use anyhow::Context;

use crate::average::consensus::Rules;
use crate::command_line::arguments::Voting;
use crate::command_line::signals::StopSignals;
use crate::command_line::{program, site, values};
use crate::report::http::Content;
use crate::report::replay::Replay as Rounds;

/// `replay`.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// What --record has written
    file: PathBuf,

    /// Where to show it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081", value_parser = values::http)]
    http: SocketAddr,

    #[command(flatten)]
    voting: Voting,
}

impl Replay {
    /// Shows the record until a signal comes.
    ///
    /// # Errors
    /// When it is no record, or the address can't be listened on.
    pub fn run(self, signals: &StopSignals) -> anyhow::Result<()> {
        let told = show(&self.file, self.http, self.voting.rules())?;
        program::print(std::iter::once(told))?;
        let (stop, stopped) = mpsc::channel();
        signals.on_stop(move || stop.send(()).unwrap_or_default());
        stopped.recv().context("cannot wait for a signal")
    }
}

/// Shows a record, whose rounds were held by these rules, from threads of its own. What to tell
/// people.
///
/// # Errors
/// When it is no record, or the address can't be listened on.
pub fn show(file: &Path, address: SocketAddr, rules: Rules) -> anyhow::Result<String> {
    let rounds = Rounds::open(file, rules)?;
    let site = move |path: &str, query: &str| match path {
        "/" => Some(page()),
        "/replay.json" => {
            let rounds = format!("{{\"rounds\":{}}}\n", rounds.rounds());
            Some(site::json(rounds.into_bytes().into()))
        }
        "/status.json" => round(&rounds, query),
        _ => None,
    };
    site::open(address, Arc::new(site))
}

/// The page, which asks for rounds and not for what is now.
fn page() -> Content {
    let page = site::page();
    let text = String::from_utf8_lossy(&page.bytes);
    let text = text.replacen("<html", "<html data-replay=\"yes\"", 1);
    Content {
        bytes: text.into_bytes().into(),
        ..page
    }
}

fn round(rounds: &Rounds, query: &str) -> Option<Content> {
    let number = query.strip_prefix("round=").unwrap_or("0");
    let status = rounds.status(number.parse().ok()?)?;
    let json = serde_json::to_vec(&status).ok()?;
    Some(site::json(json.into()))
}
