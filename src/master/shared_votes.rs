//! Says that connections share a vote, for whom that surprises.

use std::time::{Duration, Instant};

use crate::average::round::{Round, Vote};
use crate::rate_limit::{Limit, Throttle};

/// How often it is told, at most.
const TOLD: Limit = Limit::per(1, Duration::from_hours(24));

/// Tells of the votes that connections share.
pub(crate) struct SharedVotes(Throttle);

impl Default for SharedVotes {
    fn default() -> Self {
        Self(Throttle::new(TOLD))
    }
}

impl SharedVotes {
    /// Tells that the first round waits for others.
    pub(crate) fn tell_waiting(&mut self) {
        if self.0.admit(Instant::now()).is_some() {
            log::warn!(
                "there are enough followers for --min-followers, but several connect from one \
                 address and count as one: waiting for others; raise --votes-per-address if these \
                 are different machines"
            );
        }
    }

    /// Tells it, if there are such in this round and it was not told today.
    pub(crate) fn tell(&mut self, round: &Round) {
        let shares = round.rows.iter().find(|it| it.vote == Vote::SameMachine);
        let Some(address) = shares.and_then(|row| row.address) else {
            return;
        };
        if self.0.admit(Instant::now()).is_some() {
            log::warn!(
                "several clocks connect from {}: they share a vote (`same machine` in the table) \
                 and are corrected all the same; if these are different machines behind one \
                 address, or in one IPv6 network, raise --votes-per-address",
                address.ip()
            );
        }
    }
}
