//! The flags and the commands that have to do with keys.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::keys::auth::Auth;
use crate::keys::file::{self, GROUP_FILE, LONGEST_FILE, NODE_FILE};
use crate::keys::group::GroupKeys;
use crate::keys::holder::Role;
use crate::keys::node_key::NodeKey;
use crate::keys::secret::Secret;
use crate::wire::name::NodeName;

/// The longest input that may hold the key of a node, in bytes.
const LONGEST_LINE: u64 = 4096;

/// The master's flags on keys.
#[derive(Debug, Args)]
pub struct GroupFlags {
    /// The secrets of the group: who holds no key of it is turned away, see --auth [default: no keys]
    #[arg(long, value_name = "FILE", env = "BERKELEY_KEY_FILE")]
    pub key_file: Option<PathBuf>,

    /// What becomes of followers without a key: they are turned away, they vote where those with a
    /// key are no majority, or they are served and named in the log [default: require]
    #[arg(long, value_name = "MODE", requires = "key_file")]
    pub auth: Option<Auth>,

    /// Tell the time to clients of the timestamp wire, which can have no key and count for nothing
    #[arg(long, requires = "key_file")]
    pub serve_timestamps: bool,
}

/// Which file of secrets a command is about.
#[derive(Debug, Args)]
pub struct GroupFile {
    /// The secrets of the group
    #[arg(long, value_name = "FILE", default_value = GROUP_FILE, env = "BERKELEY_KEY_FILE")]
    key_file: PathBuf,
}

/// What is done with the secrets of a group.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make the secret of a new group; each candidate needs a copy of the file
    New {
        /// Where they are.
        #[command(flatten)]
        file: GroupFile,
    },
    /// Take a copy of the secrets from the input, on another candidate, and keep it
    Install {
        /// Where they are.
        #[command(flatten)]
        file: GroupFile,
    },
    /// Print the key of one follower, a line for `berkeley-follower key install`
    Node {
        /// What the follower is called
        name: NodeName,
        /// Where they are.
        #[command(flatten)]
        file: GroupFile,
    },
    /// Make all keys of one follower void; copy the file to each candidate then
    Revoke {
        /// What the follower is called
        name: NodeName,
        /// Where they are.
        #[command(flatten)]
        file: GroupFile,
    },
    /// Make a new secret; keys of the old one and of the new one are good until --finish
    Rotate {
        /// Take the old secret out of use
        #[arg(long)]
        finish: bool,
        /// Where they are.
        #[command(flatten)]
        file: GroupFile,
    },
}

/// What is done with the key of a machine.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Take the line that `berkeley-master key node NAME` prints from the input, and keep it
    Install {
        /// Where the key is kept
        #[arg(long, value_name = "FILE", default_value = NODE_FILE, env = "BERKELEY_KEY_FILE")]
        key_file: PathBuf,
    },
}

impl GroupCommand {
    /// Does it, and returns what is printed.
    ///
    /// # Errors
    /// A sentence on the file, the name or the generation that is wrong.
    pub fn run(self) -> anyhow::Result<String> {
        match self {
            Self::New { file } => make(&file.key_file),
            Self::Install { file } => install(&file.key_file),
            Self::Node { name, file } => print(&file.key_file, name),
            Self::Revoke { name, file } => {
                let path = &file.key_file;
                change(path, |group| Ok(group.revoke(name.clone())?))?;
                Ok(format!("Revoked the key of {name}. {}", copy(path)))
            }
            Self::Rotate { finish, file } => {
                let path = &file.key_file;
                if finish {
                    let generation = change(path, |group| Ok(group.finish_rotation()?))?;
                    let copy = copy(path);
                    return Ok(format!(
                        "Only generation {generation} is in use now. {copy}"
                    ));
                }
                let secret = new_secret()?;
                let generation = change(path, |group| Ok(group.rotate(secret)?))?;
                let copy = copy(path);
                Ok(format!(
                    "Began generation {generation}. {copy} Then install new keys on all followers."
                ))
            }
        }
    }
}

fn make(path: &Path) -> anyhow::Result<String> {
    file::create(path, &GroupKeys::new(new_secret()?).text())?;
    let path = path.display();
    Ok(format!(
        "Made {path}. Copy it to every candidate, and nowhere else."
    ))
}

fn install(path: &Path) -> anyhow::Result<String> {
    let group = GroupKeys::parse(&input(LONGEST_FILE)?);
    let group = group.context("the input is no copy of a group's key file")?;
    file::install(path, &group.text())?;
    let generations: Vec<_> = group.generations().collect();
    Ok(format!(
        "Installed the group's key file in {}; generations in use: {generations:?}",
        path.display()
    ))
}

fn print(path: &Path, name: NodeName) -> anyhow::Result<String> {
    let (group, _) = file::read_group(path)?;
    ensure!(
        !group.has_revoked(&name),
        "the key of {name} was revoked: take another name, or begin a new generation with \
         `berkeley-master key rotate`"
    );
    Ok(group.node(Role::Follower, name, None).line())
}

fn new_secret() -> anyhow::Result<Secret> {
    Secret::random().context("the operating system has no random numbers")
}

/// Changes the secrets in a file; what comes of it.
fn change<T>(
    path: &Path,
    change: impl FnOnce(&mut GroupKeys) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (mut group, _) = file::read_group(path)?;
    let changed = change(&mut group)?;
    file::replace(path, &group.text())?;
    Ok(changed)
}

fn copy(path: &Path) -> String {
    format!("Copy {} to the other candidates.", path.display())
}

/// What stands in the input, up to so many bytes.
fn input(longest: u64) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = io::stdin().take(longest).read_to_string(&mut text);
    read.context("cannot read the key from the input")?;
    Ok(text)
}

impl NodeCommand {
    /// Does it, and returns what is printed.
    ///
    /// # Errors
    /// A sentence on the line or the file that is wrong.
    pub fn run(self) -> anyhow::Result<String> {
        let Self::Install { key_file } = self;
        let line = input(LONGEST_LINE)?;
        let key: NodeKey = line.parse().context("the input holds no key")?;
        ensure!(
            key.holder.role == Role::Follower,
            "the input holds the key of a {}, not of a follower",
            key.holder.role
        );
        file::install(&key_file, &format!("{}\n", key.line()))?;
        let (holder, path) = (&key.holder, key_file.display());
        let (name, generation) = (&holder.name, holder.generation);
        Ok(format!(
            "Installed the key of {name}, generation {generation}, in {path}"
        ))
    }
}
