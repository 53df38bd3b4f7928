//! What a follower has to tell.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use chrono::{NaiveDateTime, TimeDelta};

use crate::discipline::correction::Applied;
use crate::span::{signed, span};
use crate::wire::timestamp;

/// What a follower has to tell. Its `Display` is the line that `berkeley-follower` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowerEvent {
    /// It has reached a master.
    Connected(SocketAddr),
    /// A correction has come.
    #[non_exhaustive]
    Synchronized {
        /// The network's time, in local time.
        time: NaiveDateTime,
        /// What this node's clock must add to show it.
        correction: TimeDelta,
        /// How wrong the correction may be; unknown on the timestamp wire.
        error: Option<TimeDelta>,
        /// What was done; on the timestamp wire, nothing.
        made: Option<Applied>,
    },
    /// It has made a step of the whole group, which an operator has told.
    #[non_exhaustive]
    Stepped {
        /// What its clock has added.
        by: TimeDelta,
        /// How many steps the group has made, with this one.
        number: u32,
    },
}

impl Display for FollowerEvent {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected(address) => write!(out, "Connected to {address}"),
            Self::Stepped { by, number } => {
                write!(
                    out,
                    "Stepped with the group by {} (step {number})",
                    signed(*by)
                )
            }
            Self::Synchronized {
                time,
                correction,
                error,
                made,
            } => {
                write!(out, "Synchronized time: {}", timestamp::format(*time))?;
                write!(out, "  correction {}", signed(*correction))?;
                if let Some(error) = error {
                    write!(out, " ± {}", span(*error))?;
                }
                match made {
                    Some(Applied::Stepped) => out.write_str(", stepped"),
                    Some(Applied::Outdated) => out.write_str(", too late"),
                    Some(Applied::Refused) => out.write_str(", refused"),
                    _ => Ok(()),
                }
            }
        }
    }
}
