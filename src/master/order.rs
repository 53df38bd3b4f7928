//! What an operator tells a running master, and what comes of it.

use std::fmt;
use std::net::SocketAddr;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::average::told::Untold;
use crate::span::{signed, span};
use crate::wire::address::Address;
use crate::wire::steps::LARGEST_STEP;
use crate::wire::timestamp;

/// What an operator tells a running master.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Step the group by this much.
    SetBy(TimeDelta),
    /// Step the group to this local time of the master.
    SetTo(NaiveDateTime),
    /// Step the group to this moment.
    SetAt(DateTime<Utc>),
    /// Step the group to the time that the machine's own clock shows on which this node runs, which
    /// is given by its name or its address.
    SetFrom(String),
    /// Let the clock with this name or address have no vote, and correct it as before.
    Drop(String),
    /// Let it vote again.
    Admit(String),
}

impl fmt::Display for Order {
    /// As people type it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetBy(by) => write!(out, "set {}", signed(*by)),
            Self::SetTo(time) => write!(out, "set {}", timestamp::format(*time)),
            Self::SetAt(time) => write!(out, "set {}Z", timestamp::format(time.naive_utc())),
            Self::SetFrom(clock) => write!(out, "set --from {clock}"),
            Self::Drop(clock) => write!(out, "drop {clock}"),
            Self::Admit(clock) => write!(out, "admit {clock}"),
        }
    }
}

/// What a master has done that it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// Every clock of the group makes this step, or has made it.
    Stepped {
        /// What it adds.
        by: TimeDelta,
        /// How many steps the group has made, with this one.
        number: u32,
    },
    /// The clock of this name has no vote.
    Dropped(String),
    /// It may vote.
    Admitted(String),
}

impl fmt::Display for Done {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stepped { by, number } => {
                write!(
                    out,
                    "the group is stepped by {} (step {number})",
                    signed(*by)
                )
            }
            Self::Dropped(name) => write!(out, "{name} has no vote, and is corrected as before"),
            Self::Admitted(name) => write!(out, "{name} may vote again"),
        }
    }
}

/// Why a master does not do what it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Another candidate leads.
    #[error("this candidate does not lead; {0} does: tell that one")]
    Elsewhere(Address),
    /// No candidate leads.
    #[error("no candidate leads at the moment; try again in a few seconds")]
    NoLeader,
    /// It corrects nobody.
    #[error("this master was started with --dry-run, and corrects nobody")]
    DryRun,
    /// The group gets its time from the one above it.
    #[error("this group gets its time from {0}: tell the master at the top")]
    Above(SocketAddr),
    /// It is no step.
    #[error("the group's time is that already")]
    Nothing,
    /// No clock goes so far.
    #[error(
        "a step of {} is too large: a step, and all of them together, are at most {}, and lead to a \
         year from 1678 to 2261", signed(*.0), span(LARGEST_STEP)
    )]
    TooLarge(TimeDelta),
    /// The lead was lost before the step was made, or it takes too long.
    #[error(
        "it is not sure whether the step was made, for the lead has changed: ask the leader for its \
         status"
    )]
    Unsure,
    /// What it says of a clock.
    #[error(transparent)]
    Clock(#[from] Untold),
}
