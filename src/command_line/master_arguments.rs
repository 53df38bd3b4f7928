//! The command line of `berkeley-master`.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use crate::command_line::arguments::{Common, Election, Followers, Voting};
use crate::command_line::files::{self, named};
use crate::command_line::keys::{GroupCommand, GroupFlags};
use crate::command_line::remembering::Remembering;
use crate::command_line::replay::Replay;
use crate::command_line::site::Http;
use crate::command_line::tree::Tree;
use crate::command_line::{orders, questions, values};
use crate::master::options::DEFAULT_BURST;

/// Keeps the clocks of a group of machines in agreement: asks every follower for its time,
/// averages, and sends each clock its correction.
#[derive(Debug, Parser)]
#[command(version, name = "berkeley-master")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[expect(missing_docs, reason = "each part of it tells what it is")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Where followers connect; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080", value_parser = values::listen)]
    pub listen: SocketAddr,

    #[command(flatten)]
    pub common: Common,

    #[command(flatten)]
    pub http: Http,

    /// How many times each follower is asked in a round; the best answer counts
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BURST, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub burst: u32,

    /// Measure, average, print and record, but correct no clock
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub voting: Voting,

    /// Lead the group towards references by so many parts per million at most; 0 ignores them
    #[arg(long, value_name = "PPM", default_value = "50ppm", allow_hyphen_values = true, value_parser = values::slew_ppm)]
    pub reference_slew: f64,

    #[command(flatten)]
    pub election: Election,

    #[command(flatten)]
    pub tree: Tree,

    #[command(flatten)]
    pub followers: Followers,

    #[command(flatten)]
    pub remembering: Remembering,

    #[command(flatten)]
    pub keys: GroupFlags,
}

impl Arguments {
    /// What is wrong with the flags as a whole, if anything.
    #[must_use]
    pub fn conflict(&self) -> Option<String> {
        let is_reference = self.common.reference.is_some();
        let conflict = self.common.conflict(false);
        let conflict = conflict.or_else(|| self.followers.conflict());
        let conflict = conflict.or_else(|| self.tree.conflict(self.dry_run, is_reference));
        let conflict = conflict.or_else(|| self.dry_run_conflict());
        let conflict = conflict.map(str::to_owned);
        let own = self.election.named();
        let conflict = conflict.or_else(|| self.tree.wrong_parent(own, self.listen));
        conflict.or_else(|| self.file_conflict())
    }

    /// Which two flags name one file, if any do.
    fn file_conflict(&self) -> Option<String> {
        let state_file = self.remembering.path(&self.common);
        let mut files = self.common.files();
        files.extend(named(&[
            ("--state-file", state_file.as_deref()),
            ("--key-file", self.keys.key_file.as_deref()),
            ("--parent-key-file", self.tree.parent_key_file.as_deref()),
        ]));
        files::conflict(&files)
    }

    /// What a dry run does not go with, if anything.
    fn dry_run_conflict(&self) -> Option<&'static str> {
        (self.dry_run && self.common.ntp.is_served()).then_some(
            "--serve-ntp does not go with --dry-run: a group that corrects nobody has no time to \
             serve",
        )
    }
}

/// What a running master, or a record, is asked and told, and the group's keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the state of the masters that run on this machine, and of their clocks
    Status(questions::Status),
    /// Wait until the time is known on this machine, for scripts
    Wait(questions::Wait),
    /// Set the time of the whole group, in one step of all its clocks
    Set(orders::Set),
    /// Take a clock's vote away; it is corrected as before
    Drop(orders::Clock),
    /// Give a dropped clock its vote back
    Admit(orders::Clock),
    /// Show a record on the page, round by round
    Replay(Replay),
    /// Make, hand out and revoke the keys of a group
    #[command(subcommand)]
    Key(GroupCommand),
}
