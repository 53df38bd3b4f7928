//! The command line of `berkeley-follower`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::command_line::arguments::Common;
use crate::command_line::files::{self, named};
use crate::command_line::keys::NodeCommand;
use crate::command_line::site::Http;
use crate::command_line::{questions, values};
use crate::follower::options::WireChoice;
use crate::wire::address::Address;

/// Reports this machine's clock to a master and follows the time that the group agrees on.
#[derive(Debug, Parser)]
#[command(version, name = "berkeley-follower")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[expect(missing_docs, reason = "each part of it tells what it is")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Where the master is: a host name or address, with or without a port; several candidates,
    /// or any one of them
    #[arg(value_name = "MASTER", default_value = "127.0.0.1:8080", value_parser = values::master)]
    pub masters: Vec<Address>,

    #[command(flatten)]
    pub common: Common,

    #[command(flatten)]
    pub http: Http,

    /// What to speak: the best that both sides know, or the Python programs' timestamps only
    #[arg(long, value_name = "WIRE", default_value = "auto")]
    pub wire: WireChoice,

    /// The key of this machine: nothing is believed of a master that does not hold it too
    /// [default: no key]
    #[arg(long, value_name = "FILE", env = "BERKELEY_KEY_FILE")]
    pub key_file: Option<PathBuf>,
}

impl Arguments {
    /// Which two flags name one file, if any do.
    #[must_use]
    pub fn file_conflict(&self) -> Option<String> {
        let mut files = self.common.files();
        files.extend(named(&[("--key-file", self.key_file.as_deref())]));
        files::conflict(&files)
    }
}

/// What a running follower is asked, and its machine's key.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the state of the followers that run on this machine
    Status(questions::Status),
    /// Wait until the time is known on this machine, for scripts
    Wait(questions::Wait),
    /// Keep the key of this machine
    #[command(subcommand)]
    Key(NodeCommand),
}
