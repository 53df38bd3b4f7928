//! What a master remembers for whoever asks it how it is: nothing here is needed to hold a round.
//!
//! It has a lock of its own, which is held for as long as it takes to copy what is asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use chrono::TimeDelta;

use crate::average::round::{Heard, NodeId, Round, Wire};
use crate::clock::Simulation;
use crate::follower::event::FollowerEvent;
use crate::follower::observations::Told;
use crate::keys::holder::Generation;
use crate::lock::lock;
use crate::measurement::sample::Sample;
use crate::report::status::MasterCounters;
use crate::span::nanoseconds;
use crate::wire::candidate::Ranks;
use crate::wire::name::NodeName;

/// How a master was started.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) name: Option<NodeName>,
    pub(crate) dry_run: bool,
    pub(crate) steers_system: bool,
    pub(crate) started: Instant,
    /// How wrong this machine's clock pretends to be.
    pub(crate) simulation: Simulation,
    /// To what error this machine's own clock is right, if it is a reference.
    pub(crate) reference: Option<TimeDelta>,
}

/// An answer to a poll, small enough to be kept of each of ten thousand followers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) offset_ns: i64,
    pub(crate) delay_ns: i64,
}

impl From<&Sample> for Answer {
    fn from(sample: &Sample) -> Self {
        Self {
            offset_ns: nanoseconds(sample.offset),
            delay_ns: sample.delay.map_or(0, nanoseconds),
        }
    }
}

/// A follower, as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Follower {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    pub(crate) wire: Wire,
    /// The generation of the key that it has proven, where there are keys.
    pub(crate) generation: Option<Generation>,
    /// What it gave last, and when.
    pub(crate) heard: Option<(Heard, Instant)>,
    /// The answers of its last burst.
    pub(crate) burst: Arc<[Answer]>,
    pub(crate) reach: Reach,
    /// Whether it gave its time since the last round.
    fresh: bool,
}

/// In which of the last rounds a clock gave its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reach {
    bits: u8,
    rounds: u32,
}

impl Reach {
    fn note(&mut self, reached: bool) {
        self.bits = self.bits << 1 | u8::from(reached);
        self.rounds = (self.rounds + 1).min(u8::BITS);
    }
}

impl std::fmt::Display for Reach {
    /// A digit for each round, the last one at the right.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (0..self.rounds)
            .rev()
            .try_for_each(|round| write!(out, "{}", self.bits >> round & 1))
    }
}

/// What was seen until now.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Shared with whoever looks at them, so that to copy all of them takes no time.
    pub(crate) followers: BTreeMap<NodeId, Arc<Follower>>,
    /// The master's own, which is always reached.
    pub(crate) own_reach: Reach,
    /// The last round, and when it ended.
    pub(crate) round: Option<(Arc<Round>, Instant)>,
    /// What the leader told this master, where it follows one.
    pub(crate) told: Told,
    pub(crate) steps: u64,
    /// Since when this master leads, follows or seeks as it does.
    pub(crate) lead_since: Instant,
    /// The other candidates that are here.
    pub(crate) present: Ranks,
    pub(crate) counters: MasterCounters,
}

/// What a master remembers for whoever asks.
#[derive(Debug)]
pub(crate) struct Observations {
    pub(crate) facts: Facts,
    seen: Mutex<Seen>,
}

impl Observations {
    pub(crate) fn new(facts: Facts) -> Self {
        let seen = Seen {
            followers: BTreeMap::new(),
            own_reach: Reach::default(),
            round: None,
            told: Told::default(),
            steps: 0,
            lead_since: facts.started,
            present: Ranks::default(),
            counters: MasterCounters::default(),
        };
        Self {
            facts,
            seen: Mutex::new(seen),
        }
    }

    /// All that was seen, copied.
    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// A connection was taken in, or turned away.
    pub(crate) fn connection(&self, admitted: bool) {
        let counters = &mut lock(&self.seen).counters;
        if admitted {
            counters.connections += 1;
        } else {
            counters.refusals += 1;
        }
    }

    pub(crate) fn join(
        &self,
        node: NodeId,
        name: &Arc<str>,
        address: SocketAddr,
        wire: Wire,
        generation: Option<Generation>,
    ) {
        let follower = Follower {
            name: Arc::clone(name),
            address,
            wire,
            generation,
            heard: None,
            burst: Arc::default(),
            reach: Reach::default(),
            fresh: false,
        };
        let follower = Arc::new(follower);
        lock(&self.seen).followers.insert(node, follower);
    }

    pub(crate) fn part(&self, node: NodeId) {
        lock(&self.seen).followers.remove(&node);
    }

    /// A follower gave its time.
    pub(crate) fn heard(&self, node: NodeId, heard: Heard) {
        if let Some(follower) = lock(&self.seen).followers.get_mut(&node) {
            let follower = Arc::make_mut(follower);
            follower.heard = Some((heard, Instant::now()));
            follower.fresh = true;
        }
    }

    /// A burst has ended, with these answers.
    pub(crate) fn burst(&self, node: NodeId, answers: Vec<Answer>) {
        let answers = answers.into();
        if let Some(follower) = lock(&self.seen).followers.get_mut(&node) {
            Arc::make_mut(follower).burst = answers;
        }
    }

    /// An interval has ended, with a round if enough clocks were there. Before the first round,
    /// nobody was due.
    pub(crate) fn interval_ended(&self, round: Option<&Round>) {
        let round = round.map(|round| Arc::new(round.clone()));
        let mut seen = lock(&self.seen);
        if round.is_none() && seen.round.is_none() {
            return;
        }
        seen.own_reach.note(true);
        for follower in seen.followers.values_mut() {
            let follower = Arc::make_mut(follower);
            follower.reach.note(follower.fresh);
            follower.fresh = false;
        }
        if let Some(round) = round {
            match round.outcome {
                Ok(_) => seen.counters.rounds_held += 1,
                Err(_) => seen.counters.rounds_abandoned += 1,
            }
            seen.round = Some((round, Instant::now()));
        }
    }

    /// The master's own clock was stepped.
    pub(crate) fn stepped(&self) {
        lock(&self.seen).steps += 1;
    }

    pub(crate) fn lead_changed(&self) {
        let mut seen = lock(&self.seen);
        seen.lead_since = Instant::now();
        seen.counters.lead_changes += 1;
    }

    pub(crate) fn presence_changed(&self, present: Ranks) {
        lock(&self.seen).present = present;
    }

    /// The leader has told something, where this master follows one.
    pub(crate) fn followed(&self, event: &FollowerEvent) {
        lock(&self.seen).told.note(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reach_is_that_of_the_last_eight_rounds() {
        let mut reach = Reach::default();
        assert_eq!(reach.to_string(), "");
        reach.note(true);
        reach.note(false);
        assert_eq!(reach.to_string(), "10");
        (0..7).for_each(|_| reach.note(true));
        assert_eq!(reach.to_string(), "01111111");
        reach.note(true);
        assert_eq!(reach.to_string(), "11111111");
    }
}
