//! The clocks that have no vote because an operator has said so.

use std::collections::BTreeSet;
use std::sync::Arc;

/// So many clocks may be without a vote by an operator's word.
pub const MOST_DROPPED: usize = 1000;

/// The clocks that were dropped, by name: a clock keeps its name over reconnects.
#[derive(Debug, Clone, Default)]
pub struct Dropped(BTreeSet<Arc<str>>);

impl Dropped {
    /// Whether the clock of this name has no vote.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Takes the vote of the clock of this name. False if [`MOST_DROPPED`] have none already.
    pub fn drop(&mut self, name: &Arc<str>) -> bool {
        let room = self.0.len() < MOST_DROPPED || self.contains(name);
        if room {
            self.0.insert(Arc::clone(name));
        }
        room
    }

    /// Gives the vote back. Its name, if it was dropped.
    pub fn admit(&mut self, name: &str) -> Option<Arc<str>> {
        self.0.take(name)
    }
}
