//! What a master has to tell, and how people read it.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::average::round::{Round, Wire};
use crate::follower::event::FollowerEvent;
use crate::span::signed;
use crate::wire::candidate::{Leader, Leadership};

/// What a master has to tell.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MasterEvent {
    /// A follower gave its first sign of life.
    Joined {
        /// What it is called: see [`Row::name`](crate::average::round::Row::name).
        name: Arc<str>,
        /// Where it connects from.
        address: SocketAddr,
        /// How it speaks.
        wire: Wire,
    },
    /// A follower's connection ended.
    Left {
        /// What it was called.
        name: Arc<str>,
        /// Why.
        reason: String,
    },
    /// The first round waits for more followers than have joined.
    Waiting {
        /// How many have joined.
        present: usize,
        /// How many it waits for.
        wanted: usize,
    },
    /// So many times since it was told last, followers joined or left too often to be named.
    Withheld(u64),
    /// A round has ended and its corrections are on their way.
    Round(Box<Round>),
    /// The group has made a step that an operator has told.
    Stepped {
        /// What every clock has added.
        by: TimeDelta,
        /// How many steps there were, with this one.
        number: u32,
    },
    /// An operator has told this master something, which it has done.
    Told {
        /// Who it was.
        who: String,
        /// What, and what came of it.
        order: String,
    },
    /// The group above has told its time, from this address, or was lost.
    Above(Option<SocketAddr>),
    /// Among candidates, the lead has changed.
    Lead(Leadership),
    /// This candidate does not lead, and this is what it hears from the one that does.
    Followed(FollowerEvent),
}

impl Display for MasterEvent {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined {
                name,
                address,
                wire,
            } => write!(out, "Follower joined: {name} ({address}, {wire})"),
            Self::Left { name, reason } => write!(out, "Follower left: {name} ({reason})"),
            Self::Waiting { present, wanted } => write!(
                out,
                "Waiting for followers: {present} of {wanted} are here (--min-followers {wanted})"
            ),
            Self::Withheld(count) => write!(out, "({count} more joined or left)"),
            Self::Round(round) => write!(out, "{round}"),
            Self::Stepped { by, number } => {
                write!(out, "Group stepped by {} (step {number})", signed(*by))
            }
            Self::Told { who, order } => write!(out, "{who} told: {order}"),
            Self::Above(Some(master)) => write!(out, "Below the group of {master}"),
            Self::Above(None) => write!(out, "No group above: going on alone"),
            Self::Lead(Leadership { term, leader, .. }) => match leader {
                Leader::Speaker => write!(out, "Leading, in term {term}"),
                Leader::Other(leader) => write!(out, "Following {leader}, in term {term}"),
                Leader::Nobody => write!(out, "No leader: holding over"),
            },
            Self::Followed(event) => write!(out, "{event}"),
        }
    }
}
