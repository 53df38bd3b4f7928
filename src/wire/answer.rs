//! What a follower answers to a poll: what its clock shows, and what it says of it.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::span::{nanoseconds, since_epoch};
use crate::wire::candidate::Term;
use crate::wire::line::Malformed;
use crate::wire::name::NodeName;
use crate::wire::weight::Weight;
use crate::wire::words::{Words, ppb, synchronized_word};

/// What `TIME` tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The follower's target when the question came.
    pub t2: DateTime<Utc>,
    /// The follower's target when this answer left.
    pub t3: DateTime<Utc>,
    /// The network's rate against the follower's oscillator, in ppm, if it says.
    pub rate_ppm: Option<f64>,
    /// The highest term of a leader that it has followed, if any.
    pub term: Option<Term>,
    /// Whether it knows the group's time: it has followed a correction since it started, and nobody
    /// has set it since.
    pub synchronized: bool,
    /// How far the machine's own clock is ahead of the follower's target, if it says: not with
    /// a name or a weight, for which the line would have no room.
    pub machine: Option<TimeDelta>,
    /// To what error the machine's own clock is right, if it is a reference.
    pub reference: Option<TimeDelta>,
    /// For how many clocks it stands, if it is the master of a group.
    pub weight: Option<Weight>,
    /// What the machine is called, if it says: in the first answer of a connection.
    pub name: Option<NodeName>,
}

impl Answer {
    /// Reads what follows the number of the question.
    pub(crate) fn read(words: &mut Words) -> Result<Self, Malformed> {
        Ok(Self {
            t2: DateTime::from_timestamp_nanos(words.number("time of arrival")?),
            t3: DateTime::from_timestamp_nanos(words.number("time of departure")?),
            rate_ppm: words.rate()?,
            term: words.key("term")?,
            synchronized: words.is_synchronized(),
            machine: words.span("machine")?,
            reference: words.error("reference")?,
            weight: words.key("weight")?,
            name: words.key("name")?,
        })
    }
}

impl fmt::Display for Answer {
    /// As in a line, after the number of the question.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", since_epoch(self.t2), since_epoch(self.t3))?;
        if let Some(ppm) = self.rate_ppm {
            write!(out, " rate={}", ppb(ppm))?;
        }
        if let Some(term) = self.term {
            write!(out, " term={term}")?;
        }
        out.write_str(synchronized_word(self.synchronized))?;
        if let Some(ahead) = self.machine {
            write!(out, " machine={}", nanoseconds(ahead))?;
        }
        if let Some(error) = self.reference {
            write!(out, " reference={}", nanoseconds(error))?;
        }
        if let Some(weight) = &self.weight {
            write!(out, " weight={weight}")?;
        }
        match &self.name {
            Some(name) => write!(out, " name={name}"),
            None => Ok(()),
        }
    }
}
