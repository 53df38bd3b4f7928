//! Who reaches whom, and how long a message takes.

use fastrand::Rng;

use super::world::{MILLISECOND, SECOND};

/// The least time a message takes, and what waiting adds to it on average.
const LEAST: i64 = MILLISECOND / 5;
const WAITING: f64 = 0.2e6;

/// What waiting adds at most where messages are delayed.
pub const LONGEST_DELAY: i64 = 2 * SECOND;

/// Each is a connection of its own, and keeps its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What candidates tell each other.
    Heartbeats,
    /// From a follower to a candidate.
    Up,
    /// From a candidate to a follower.
    Down,
}

/// The links between each node and each candidate. The first nodes are the candidates.
pub struct Links {
    candidates: usize,
    /// The candidates that each node's messages reach.
    reached: Vec<u16>,
    /// The candidates whose messages reach each node that is no candidate.
    heard: Vec<u16>,
    /// Whose messages are delayed.
    pub slow: Vec<bool>,
    /// When the last message of each way arrives.
    last: Vec<i64>,
}

impl Links {
    pub fn new(candidates: usize, nodes: usize) -> Self {
        Self {
            candidates,
            reached: vec![u16::MAX; nodes],
            heard: vec![u16::MAX; nodes],
            slow: vec![false; nodes],
            last: vec![0; nodes * candidates * 3],
        }
    }

    /// Whether messages pass. One of the two is a candidate.
    pub fn pass(&self, from: usize, to: usize) -> bool {
        if to < self.candidates {
            self.reached[from] & (1 << to) != 0
        } else {
            self.heard[to] & (1 << from) != 0
        }
    }

    pub fn pass_both_ways(&self, one: usize, other: usize) -> bool {
        self.pass(one, other) && self.pass(other, one)
    }

    pub fn set(&mut self, from: usize, to: usize, passes: bool) {
        let (row, bit) = if to < self.candidates {
            (&mut self.reached[from], 1 << to)
        } else {
            (&mut self.heard[to], 1 << from)
        };
        *row = if passes { *row | bit } else { *row & !bit };
    }

    pub fn heal(&mut self) {
        self.reached.fill(u16::MAX);
        self.heard.fill(u16::MAX);
    }

    /// When a message that leaves now arrives: not before the one sent before it.
    pub fn arrival(&mut self, rng: &mut Rng, now: i64, from: usize, to: usize, way: Way) -> i64 {
        let slot = match way {
            Way::Heartbeats => (from * self.candidates + to) * 3,
            Way::Up => (from * self.candidates + to) * 3 + 1,
            Way::Down => (to * self.candidates + from) * 3 + 2,
        };
        let mut delay = LEAST + (-(1.0 - rng.f64()).ln() * WAITING) as i64;
        if self.slow[from] || self.slow[to] {
            delay += rng.i64(0..LONGEST_DELAY);
        }
        let arrival = (now + delay).max(self.last[slot] + 1);
        self.last[slot] = arrival;
        arrival
    }
}
