//! What candidates tell each other, and their followers, of who leads.

use std::fmt;

use crate::wire::address::Address;
use crate::wire::steps::Steps;

/// The longest list of candidates.
pub const MOST_CANDIDATES: usize = 9;

/// How often the lead was claimed, as far as anybody knows.
pub type Term = u64;

/// The largest term that anybody has: more than three hundred years of a hundred elections a
/// second.
pub const LARGEST_TERM: Term = 999_999_999_999;

/// A place in the list of candidates, counted from 0. The lower, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub usize);

/// Some of the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ranks(u16);

impl Ranks {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(self, rank: Rank) -> bool {
        rank.0 < MOST_CANDIDATES && self.0 & (1 << rank.0) != 0
    }

    /// Each of them, the best first.
    pub fn iter(self) -> impl Iterator<Item = Rank> {
        (0..MOST_CANDIDATES)
            .map(Rank)
            .filter(move |rank| self.contains(*rank))
    }
}

impl FromIterator<Rank> for Ranks {
    fn from_iter<I: IntoIterator<Item = Rank>>(ranks: I) -> Self {
        let known = ranks.into_iter().filter(|rank| rank.0 < MOST_CANDIDATES);
        Self(known.fold(0, |all, rank| all | 1 << rank.0))
    }
}

/// What a candidate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leads,
    /// It is in touch with this leader.
    Follows(Rank),
    /// It is out of touch with this leader, which is so many candidates away: 2, if one that it
    /// is in touch with follows it.
    Misses(Rank, u8),
    /// It knows of no leader.
    Seeks,
    /// It led, is about to stop, and wants this one to lead.
    Yields(Rank),
}

/// What a candidate tells the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The term of its lead, or the highest it knows of.
    pub term: Term,
    /// What it does.
    pub role: Role,
    /// Whether its clock has followed a correction since it started.
    pub synchronized: bool,
    /// Whom it hears.
    pub hears: Ranks,
    /// The steps of its group, as far as it knows; `None` if there were none.
    pub steps: Option<Steps>,
    /// The highest number of an [order about votes](crate::wire::vote_order) that it knows of;
    /// `None` if it takes none.
    pub orders: Option<u32>,
}

/// Who leads, as a candidate greets its followers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The term of the lead, or the highest that the speaker knows of.
    pub term: Term,
    /// Who leads.
    pub leader: Leader,
    /// All who may lead.
    pub candidates: Vec<Address>,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leader {
    /// The one who speaks.
    Speaker,
    /// This one.
    Other(Address),
    /// Nobody that the speaker is in touch with.
    Nobody,
}

impl fmt::Display for Leadership {
    /// The words of a greeting, with a space before them.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, " term={}", self.term)?;
        match &self.leader {
            Leader::Speaker => out.write_str(" leader=self")?,
            Leader::Other(leader) => write!(out, " leader={leader}")?,
            Leader::Nobody => out.write_str(" leader=none")?,
        }
        let candidates: Vec<_> = self.candidates.iter().map(Address::to_string).collect();
        write!(out, " candidates={}", candidates.join(","))
    }
}
