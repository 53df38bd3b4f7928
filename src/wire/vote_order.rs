//! An operator's word on whether a clock has a vote, as candidates tell it to each other.
//!
//! The candidate that is told it gives it a number, one more than the highest that it knows of. Of
//! two orders about one clock the later holds, whoever hears of them in whatever sequence: so all
//! candidates come to the same, after a cut of the network too.

use std::fmt;
use std::sync::Arc;

use crate::wire::candidate::Rank;
use crate::wire::name::LONGEST_NAME;

/// The longest name in an order, in characters: a name, and `#` with a number that sets the clock
/// apart from others of that name.
pub const LONGEST: usize = LONGEST_NAME + 11;

/// When an order was given. A later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// How many orders were known, with this one, where it was given.
    pub number: u32,
    /// Which candidate it was given to.
    pub rank: Rank,
    /// Whether it takes the vote away.
    pub drops: bool,
}

/// An operator's word on whether a clock has a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteOrder {
    /// What the clock is called.
    pub name: Arc<str>,
    /// When it was given, and what it says.
    pub stamp: Stamp,
}

impl VoteOrder {
    /// Whether a clock can be called so.
    #[must_use]
    pub fn allows(name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b",\"'".contains(&byte);
        (1..=LONGEST).contains(&name.len()) && name.bytes().all(allowed)
    }
}

impl fmt::Display for VoteOrder {
    /// As people type it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.stamp.drops { "drop" } else { "admit" };
        write!(out, "{order} {}", self.name)
    }
}
