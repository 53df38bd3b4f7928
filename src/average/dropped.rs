//! The clocks that have no vote because an operator has said so.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::average::round::MASTER;
use crate::wire::candidate::Rank;
use crate::wire::vote_order::{Stamp, VoteOrder};

/// So many clocks may be without a vote by an operator's word. As many that were admitted again are
/// remembered, so that no candidate which was away takes their vote anew.
pub const MOST_DROPPED: usize = 1000;

/// What an operator has said of each clock, by name: a clock keeps its name over reconnects.
#[derive(Debug, Clone)]
pub struct Dropped {
    /// The master that is told it, among candidates.
    rank: Rank,
    /// What the other candidates call the master's own clock.
    own: Option<Arc<str>>,
    last: BTreeMap<Arc<str>, Last>,
    /// How often this has changed.
    changes: u64,
}

/// The last word on a clock, and with which change it came.
#[derive(Debug, Clone, Copy)]
struct Last {
    stamp: Stamp,
    change: u64,
}

impl Default for Dropped {
    /// What a master knows that has just started, and is alone.
    fn default() -> Self {
        Self::of_candidate(Rank(0), None)
    }
}

impl Dropped {
    /// What a candidate knows that has just started. Its own clock, which is `master` here, is
    /// called `own` by the others.
    #[must_use]
    pub fn of_candidate(rank: Rank, own: Option<Arc<str>>) -> Self {
        Self {
            rank,
            own,
            last: BTreeMap::new(),
            changes: 0,
        }
    }

    /// What all candidates call a clock.
    fn called<'a>(&'a self, name: &'a str) -> &'a str {
        match &self.own {
            Some(own) if name == MASTER => own,
            _ => name,
        }
    }

    /// Whether the master's own clock is called so by other candidates.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        self.own.as_deref() == Some(name)
    }

    /// Whether the clock of this name has no vote.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let last = self.last.get(self.called(name));
        last.is_some_and(|last| last.stamp.drops)
    }

    /// The highest number of an order that is known; 0 if there was none.
    #[must_use]
    pub fn number(&self) -> u32 {
        let numbers = self.last.values().map(|last| last.stamp.number);
        numbers.max().unwrap_or(0)
    }

    /// Takes the vote of the clock of this name. False if [`MOST_DROPPED`] have none already.
    pub fn drop(&mut self, name: &str) -> bool {
        self.contains(name) || self.order(name, true)
    }

    /// Gives the vote back. False if it was not taken.
    pub fn admit(&mut self, name: &str) -> bool {
        self.contains(name) && self.order(name, false)
    }

    fn order(&mut self, name: &str, drops: bool) -> bool {
        let name = Arc::from(self.called(name));
        let stamp = Stamp {
            number: self.number().saturating_add(1),
            rank: self.rank,
            drops,
        };
        self.hear(&VoteOrder { name, stamp })
    }

    /// Another candidate passes on what it was told. Whether that is news.
    pub fn hear(&mut self, order: &VoteOrder) -> bool {
        let VoteOrder { name, stamp } = order;
        let known = self.last.get(name);
        let is_late = known.is_some_and(|last| last.stamp >= *stamp);
        if is_late || stamp.drops && !self.contains(name) && self.count(true) >= MOST_DROPPED {
            return false;
        }
        self.changes += 1;
        let last = Last {
            stamp: *stamp,
            change: self.changes,
        };
        self.last.insert(Arc::clone(name), last);
        if self.count(false) > MOST_DROPPED {
            self.forget_first_admitted();
        }
        true
    }

    fn count(&self, drops: bool) -> usize {
        let stamps = self.last.values().map(|last| last.stamp);
        stamps.filter(|stamp| stamp.drops == drops).count()
    }

    fn forget_first_admitted(&mut self) {
        let admitted = self.last.iter().filter(|(_, last)| !last.stamp.drops);
        let first = admitted.min_by_key(|(_, last)| last.stamp);
        if let Some(name) = first.map(|(name, _)| Arc::clone(name)) {
            self.last.remove(&name);
        }
    }

    /// The last words that came after the first `known` changes, in their sequence, `most` at most;
    /// and how many changes who hears them knows.
    #[must_use]
    pub fn after(&self, known: u64, most: usize) -> (Vec<VoteOrder>, u64) {
        let news = self.last.iter().filter(|(_, last)| last.change > known);
        let mut news: Vec<_> = news
            .map(|(name, last)| (last.change, name, last.stamp))
            .collect();
        news.sort_unstable_by_key(|(change, ..)| *change);
        news.truncate(most);
        let known = news.last().map_or(known, |(change, ..)| *change);
        let order = |(_, name, stamp): (u64, &Arc<str>, Stamp)| VoteOrder {
            name: Arc::clone(name),
            stamp,
        };
        (news.into_iter().map(order).collect(), known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(rank: usize) -> Dropped {
        Dropped::of_candidate(Rank(rank), Some(Arc::from(format!("m{rank}"))))
    }

    /// Lets one candidate tell another all that is new to it, by so many at a time.
    fn tell(from: &Dropped, to: &mut Dropped, most: usize) {
        let mut known = 0;
        loop {
            let (orders, now) = from.after(known, most);
            if orders.is_empty() {
                return;
            }
            for order in &orders {
                to.hear(order);
            }
            known = now;
        }
    }

    fn without_vote(candidate: &Dropped) -> Vec<&str> {
        let dropped = candidate.last.iter().filter(|(_, last)| last.stamp.drops);
        dropped.map(|(name, _)| &**name).collect()
    }

    #[test]
    fn the_next_leader_knows_who_was_dropped_and_the_last_word_holds() {
        let (mut one, mut other) = (candidate(0), candidate(1));
        assert!(one.drop("a") && one.drop("b") && one.admit("b"));
        tell(&one, &mut other, 1);
        assert_eq!(without_vote(&other), ["a"]);
        assert_eq!(other.number(), 3);
        assert!(other.admit("a") && other.drop("c"));
        // One that was away, or has an old word still to tell, changes nothing.
        tell(&one, &mut other, 9);
        tell(&other, &mut one, 9);
        assert_eq!(without_vote(&one), ["c"]);
        assert_eq!(without_vote(&other), ["c"]);
        let mut restarted = candidate(0);
        tell(&other, &mut restarted, 9);
        assert!(restarted.admit("c"));
        tell(&restarted, &mut other, 9);
        assert!(without_vote(&other).is_empty(), "its numbers go on");
    }

    #[test]
    fn the_masters_own_clock_is_the_same_clock_elsewhere() {
        let (mut one, mut other) = (candidate(0), candidate(1));
        assert!(one.drop(MASTER) && one.contains(MASTER));
        tell(&one, &mut other, 9);
        assert!(other.contains("m0") && !other.contains(MASTER));
        assert!(one.is_own("m0") && one.admit("m0") && !one.contains(MASTER));
        let mut alone = Dropped::default();
        assert!(alone.drop(MASTER) && alone.contains(MASTER));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut dropped = candidate(0);
        for clock in 0..MOST_DROPPED {
            assert!(dropped.drop(&format!("c{clock}")));
        }
        assert!(!dropped.drop("one more") && dropped.drop("c7"));
        for clock in 0..3 * MOST_DROPPED {
            dropped.admit(&format!("c{clock}"));
            dropped.drop(&format!("d{clock}"));
            dropped.admit(&format!("d{clock}"));
            assert!(dropped.last.len() <= 2 * MOST_DROPPED);
        }
        let number = dropped.number();
        let stamp = Stamp {
            number: u32::MAX,
            rank: Rank(1),
            drops: true,
        };
        let name = Arc::from("x");
        assert!(dropped.hear(&VoteOrder { name, stamp }) && number < u32::MAX);
        assert!(!dropped.admit("x"), "no number is left, and nothing panics");
    }

    proptest! {
        /// Orders that were given on two sides of a cut, which are told in any sequence.
        #[test]
        fn conflicting_orders_have_one_outcome(
            orders in prop::collection::vec((0..2_usize, 0..4_u8, any::<bool>()), 0..20),
            first in 0..2_usize,
        ) {
            let mut sides = [candidate(0), candidate(1)];
            for (side, clock, drops) in orders {
                let name = format!("c{clock}");
                if drops { sides[side].drop(&name); } else { sides[side].admit(&name); }
            }
            let mut third = candidate(2);
            tell(&sides[first], &mut third, 3);
            tell(&sides[1 - first], &mut third, 3);
            let [mut one, mut other] = sides;
            tell(&one, &mut other, 2);
            tell(&other, &mut one, 2);
            prop_assert_eq!(without_vote(&one), without_vote(&other));
            prop_assert_eq!(without_vote(&one), without_vote(&third));
        }
    }
}
