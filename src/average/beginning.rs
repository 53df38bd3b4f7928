//! How a master has come to lead its group.
//!
//! Whoever takes a group over, after an election, knows neither how far each clock has moved the
//! group with its votes nor what rate each has told before: that is in the memory of the last
//! leader. Other candidates could tell, and an evil one would tell lies. So for some rounds
//! the new leader does without: the group's time is the median of its clocks, which no minority moves
//! beyond what the others differ by, and its rate is held by the one oscillator that the leader
//! knows for certain, its own.

use crate::average::reputation::PROBATION;

/// For so many rounds a new leader holds the group's rate by its own oscillator.
const OWN_ROUNDS: u32 = 200;

/// How a master has come to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beginning {
    /// It has begun the group, or has found one after a restart.
    #[default]
    Founded,
    /// It has taken over a group that it followed, and has held so many rounds since.
    Inherited(u32),
}

impl Beginning {
    /// Notes a round.
    pub fn note(&mut self) {
        if let Self::Inherited(rounds) = self {
            *rounds = rounds.saturating_add(1);
        }
    }

    /// Whether it can't know yet which clocks deserve their votes.
    #[must_use]
    pub fn knows_no_reputations(self) -> bool {
        matches!(self, Self::Inherited(rounds) if rounds < PROBATION)
    }

    /// Whether it can't know yet what rates the clocks have told before.
    #[must_use]
    pub fn knows_no_rates(self) -> bool {
        matches!(self, Self::Inherited(rounds) if rounds < OWN_ROUNDS)
    }
}
