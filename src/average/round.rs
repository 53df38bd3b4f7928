//! What goes into a round and what comes out of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::average::consensus::{Ballot, Consensus, NoMajority};
use crate::average::reputation::Doubt;
use crate::measurement::sample::Sample;
use crate::wire::correction::{Correction, FromAbove};

/// What the master's own clock is called in its rounds.
pub const MASTER: &str = "master";

/// One connection of a follower, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// How a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// It tells its time when it likes and applies nothing (see [`crate::wire::timestamp`]): the master
    /// keeps its correction for it.
    Timestamp,
    /// It is polled and corrects itself.
    Line,
}

impl fmt::Display for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Timestamp => "timestamp wire",
            Self::Line => "line protocol",
        })
    }
}

/// A clock as it was heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// The clock against the master's.
    pub sample: Sample,
    /// The network's rate against its oscillator, if it says.
    pub rate_ppm: Option<f64>,
    /// Whether it knows its group's time: it has followed a correction since it started, and was
    /// not set by hand since.
    pub synchronized: bool,
    /// How far the machine's own clock is ahead of the one that the node keeps, if it says.
    pub machine: Option<TimeDelta>,
    /// To what error the machine's own clock is right, if it is a reference.
    pub reference: Option<TimeDelta>,
    /// For how many clocks it stands: 1, or, where it is the clock of a whole group, as many as have
    /// voted there.
    pub weight: u32,
    /// The median of the distances of those from it.
    pub deviation: TimeDelta,
}

impl From<&Heard> for Ballot {
    fn from(heard: &Heard) -> Self {
        Self {
            sample: heard.sample,
            weight: heard.weight,
            deviation: heard.deviation,
        }
    }
}

impl From<Sample> for Heard {
    /// A clock that says nothing of itself.
    fn from(sample: Sample) -> Self {
        Self {
            sample,
            rate_ppm: None,
            synchronized: false,
            machine: None,
            reference: None,
            weight: 1,
            deviation: TimeDelta::zero(),
        }
    }
}

#[cfg(test)]
impl Heard {
    /// The master's own clock, in a group that agrees.
    pub(crate) const OWN: Self = Self {
        sample: Sample::OWN,
        rate_ppm: Some(0.0),
        synchronized: true,
        machine: None,
        reference: None,
        weight: 1,
        deviation: TimeDelta::zero(),
    };
}

/// The outcome of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Counted from 1.
    pub number: u64,
    /// The interval whose samples it averaged, see [`Ensemble::interval`](super::ensemble::Ensemble::interval).
    pub interval: u64,
    /// The master's own clock, then every follower's that gave its time.
    pub rows: Vec<Row>,
    /// Followers that gave no time in it, and counted as being where they were before: the median
    /// and the window are theirs too.
    pub absent: Vec<NodeId>,
    /// What the clocks agree on, if they do.
    pub outcome: Result<Consensus, NoMajority>,
    /// How the group is led towards references, if there are any.
    pub led: Option<Led>,
    /// What the group was told from above.
    pub above: Above,
    /// Nobody is told of the corrections.
    pub dry_run: bool,
}

/// Whether a clock has a vote in a round and, if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    /// It votes.
    Yes,
    /// It has no vote yet: it has just come, or has just started where most others agree.
    New,
    /// It is too far from the median.
    Outlier,
    /// It stays ahead of the others, or behind, whatever it is told.
    Biased,
    /// It is on the timestamp wire and can't follow a correction; others that can are a majority.
    Timestamp,
    /// An operator has taken its vote away.
    Dropped,
    /// It has no key; those that have one are a majority.
    Unkeyed,
    /// Its measurement is far worse than the others'.
    Uncertain,
    /// Other connections of the same machine have the vote.
    SameMachine,
    /// Nobody votes: the round was abandoned.
    Abandoned,
}

impl Vote {
    /// Whether it votes.
    #[must_use]
    pub fn counts(self) -> bool {
        self == Self::Yes
    }
}

impl From<Doubt> for Vote {
    /// The vote of a clock that is too much in doubt.
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::None => Self::Yes,
            Doubt::Biased(_) => Self::Biased,
            Doubt::Timestamp => Self::Timestamp,
            Doubt::New => Self::New,
            Doubt::Unkeyed => Self::Unkeyed,
            Doubt::Uncertain => Self::Uncertain,
        }
    }
}

impl fmt::Display for Vote {
    /// `yes`, or the reason in a word.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Yes => "yes",
            Self::New => "new",
            Self::Outlier => "outlier",
            Self::Biased => "biased",
            Self::Timestamp => "timestamp",
            Self::Dropped => "dropped",
            Self::Unkeyed => "unkeyed",
            Self::Uncertain => "uncertain",
            Self::SameMachine => "same machine",
            Self::Abandoned => "-",
        })
    }
}

/// What there is above a group.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Above {
    /// Nothing: the group keeps its own time.
    #[default]
    Nobody,
    /// A group that was lost: this one goes on alone, at the rate that it was given last.
    Gone,
    /// A group that moves this one.
    Moves(FromAbove),
}

impl Above {
    /// By what it moves the group.
    #[must_use]
    pub fn moves(self) -> FromAbove {
        match self {
            Self::Moves(moved) => moved,
            Self::Nobody | Self::Gone => FromAbove::default(),
        }
    }
}

/// How a group was led in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Led {
    /// How many references there are.
    pub references: usize,
    /// How many of them are followed.
    pub followed: usize,
    /// How far the median of those is ahead of the group; nothing, if there are none.
    pub ahead: TimeDelta,
    /// How much faster the group runs than its clocks do on average, in ppm.
    pub rate_ppm: f64,
}

/// What a reference shows in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// How far its machine's own clock is ahead of the group's time.
    pub ahead: TimeDelta,
    /// Whether the group is led towards it.
    pub followed: bool,
}

impl Shown {
    /// Whether it is followed, in a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        if self.followed { "followed" } else { "doubted" }
    }
}

/// One clock in a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The follower's connection; `None` is the master itself.
    pub node: Option<NodeId>,
    /// What people call it: `master`, or the follower's name, which it keeps over reconnects.
    /// Of two with one name, the second one's ends in `#2`. A peer on the timestamp wire tells no
    /// name and is called by its address.
    pub name: Arc<str>,
    /// Where it connects from; `None` for the master, and in simulations.
    pub address: Option<SocketAddr>,
    /// The clock against the master's; what the master keeps for the peer is already in it.
    pub sample: Sample,
    /// For how many clocks it counts.
    pub weight: u32,
    /// The median of the distances of those from it, where it counts for several.
    pub deviation: TimeDelta,
    /// Whether it has a vote in the average and, if not, why.
    pub vote: Vote,
    /// What it has to do to agree with the group; `None` when the round was abandoned.
    pub correction: Option<Correction>,
    /// The network's rate against its oscillator in ppm, if it says.
    pub rate_ppm: Option<f64>,
    /// What it shows, if it is a reference.
    pub reference: Option<Shown>,
}

/// What the end of an interval brings.
#[derive(Debug, Default)]
pub struct Closed {
    /// The round, if enough clocks were there to hold one.
    pub round: Option<Round>,
    /// Who was silent for too long and is no longer a member.
    pub dropped: Vec<NodeId>,
}
