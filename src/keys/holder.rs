//! Who holds a key.

use std::fmt;
use std::str::FromStr;

use crate::wire::name::NodeName;

/// Which of a group's secrets a key was derived from, counted from 1.
pub type Generation = u32;

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Being polled and corrected.
    Follower,
    /// Taking part in the election.
    Candidate,
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Follower => "follower",
            Self::Candidate => "candidate",
        })
    }
}

/// Not `follower` or `candidate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "follower" => Ok(Self::Follower),
            "candidate" => Ok(Self::Candidate),
            _ => Err(NotARole),
        }
    }
}

/// Who holds a key: no two keys of a generation have the same role and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    /// What the key is good for.
    pub role: Role,
    /// What the machine is called.
    pub name: NodeName,
    /// Which of the group's secrets the key was derived from.
    pub generation: Generation,
}

impl fmt::Display for Holder {
    /// As it stands in labels, openings and files; no part has a space in it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.role, self.name, self.generation)
    }
}

impl Holder {
    /// Reads what [`Display`](fmt::Display) writes, from the words of a line.
    pub(crate) fn of<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        Some(Self {
            role: words.next()?.parse().ok()?,
            name: words.next()?.parse().ok()?,
            generation: words.next()?.parse().ok()?,
        })
    }
}
