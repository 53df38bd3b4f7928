//! The master's flags on groups above and below its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::command_line::values;
use crate::wire::address::Address;
use crate::wire::name::NodeName;
use crate::wire::weight::LARGEST_WEIGHT;

/// The master's flags on groups above and below its own.
#[derive(Debug, clap::Args)]
pub struct Tree {
    /// The masters of the group above this one, of which one is followed: A:8080,B:8080
    /// [default: none, the group keeps its own time]
    #[arg(long, value_name = "ADDR,...", value_delimiter = ',', value_parser = values::candidate)]
    pub parent: Vec<Address>,

    /// The key of this master in the group above, as `berkeley-follower key install` keeps it
    #[arg(long, value_name = "FILE", requires = "parent")]
    pub parent_key_file: Option<PathBuf>,

    /// Count the master of a group below this one as so many clocks at most, whatever it says
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(LARGEST_WEIGHT)))]
    pub max_weight: u32,

    /// Count these masters of groups below, which prove their names with keys, as many clocks as
    /// have voted there
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        requires = "key_file"
    )]
    pub trust_weight: Vec<NodeName>,
}

impl Tree {
    /// Which flags don't go together, if any.
    #[must_use]
    pub fn conflict(&self, dry_run: bool, is_reference: bool) -> Option<&'static str> {
        if self.parent.is_empty() {
            None
        } else if dry_run {
            Some(
                "--dry-run does not go with --parent: what comes from above could not be handed down",
            )
        } else if is_reference {
            Some(
                "--reference does not go with --parent: the group at the top leads all groups; give \
                 --reference to a master or follower there",
            )
        } else {
            None
        }
    }

    /// What is wrong with the masters above this one, if the flags alone tell it: `own` are the
    /// candidates of its group, and `listen` is where it listens. What else leads back to this group
    /// is found when it is reached.
    #[must_use]
    pub fn wrong_parent(&self, own: &[Address], listen: SocketAddr) -> Option<String> {
        let wrong = |(place, parent): (usize, &Address)| {
            if self.parent[..place].contains(parent) {
                Some(format!(
                    "--parent names {parent} twice; name each master above this one once"
                ))
            } else if own.contains(parent) {
                Some(format!(
                    "--parent {parent} is one of --candidates, so of this group itself; name \
                     masters of the group above with --parent"
                ))
            } else if parent.is_surely(listen) {
                Some(format!(
                    "--parent {parent} is where this master itself listens (--listen {listen}); \
                     name masters of the group above with --parent, or let this one listen elsewhere"
                ))
            } else {
                None
            }
        };
        self.parent.iter().enumerate().find_map(wrong)
    }
}
