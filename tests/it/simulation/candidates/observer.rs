//! What must be true at any time, as one sees it who sees all.
//!
//! A **connected part** is a connected component of the candidates that run, joined where
//! messages pass both ways.
//!
//! A **cohort** is those clocks that agree because they were corrected to one time. A round in
//! which more than half of the clocks are of one cohort, measured without delay, goes on from that
//! cohort's time, and whoever follows it is of the cohort too; any other round begins a new one.
//! Those that have missed a round count as the leader takes them to be, see [`Round::absent`].
//! Where the leader has just started and others have not, only these others are counted.
//! A cohort outlives its leader, and a partition: neither is a reason to disagree.

use std::fmt::Display;

use berkeley::internals::average::round::{NodeId, Round};
use berkeley::internals::wire::candidate::{Rank, Role, Term};
use berkeley::internals::wire::correction::Correction;
use chrono::{DateTime, TimeDelta, Utc};

use super::client::Client;
use super::clock::Clock;
use super::world::World;

/// A correction with at most this error came of measurements that were not delayed.
pub const SURE: TimeDelta = TimeDelta::milliseconds(5);

/// A clock belongs to its cohort after so many of these in a row.
pub const SURE_CORRECTIONS: u32 = 3;

/// The readings of a cohort's clocks differ by no more, with and without a leader. That leaves out
/// those that admit a larger error than [`SURE`], and those that still slew to the target.
///
/// It is what 1000 ppm make, either way, in 20 s without a leader: so wrong, for some rounds, may
/// the rate be that a clock has learned while its group met others with another time.
pub const MOST_SKEW: TimeDelta = TimeDelta::milliseconds(40);

/// No clock is moved by more while it belongs to a cohort.
pub const MOST_MOVED: TimeDelta = MOST_SKEW;

#[derive(Debug, Default)]
pub struct Observer {
    /// What was broken, and when; no more than the first few.
    pub faults: Vec<String>,
    pub worst_skew: TimeDelta,
    pub worst_moved: TimeDelta,
    /// Since when there was exactly one leader in each part at every look.
    pub settled_since: Option<i64>,
    /// How many cohorts there were.
    cohorts: u32,
    /// The readings of each cohort, from the earliest to the latest.
    spans: Vec<(u32, DateTime<Utc>, DateTime<Utc>)>,
    votes: Vec<(u32, usize)>,
}

impl Observer {
    pub fn broken(&mut self, now: i64, what: &dyn Display) {
        if self.faults.len() < 5 {
            self.faults
                .push(format!("at {:.4} s: {what}", now as f64 * 1e-9));
        }
    }

    /// Whose time a round goes on from.
    pub fn cohort_of(
        &mut self,
        rank: usize,
        round: &Round,
        clocks: &[Clock],
        clients: &[Client],
    ) -> u32 {
        self.votes.clear();
        let clock = |node: Option<NodeId>| match node {
            Some(NodeId(id)) => &clocks[(id & 0xff) as usize],
            None => &clocks[rank],
        };
        let mut synchronized = 0;
        let heard = round.rows.iter().map(|row| (row.node, row.sample.error));
        let absent = round
            .absent
            .iter()
            .map(|node| (Some(*node), TimeDelta::zero()));
        for (node, error) in heard.chain(absent) {
            // Who has left since it was measured may have been corrected elsewhere.
            let left = node.is_some_and(|NodeId(id)| {
                clients[(id & 0xff) as usize].connection != (id >> 8) as u32
            });
            let clock = clock(node);
            synchronized += usize::from(clock.corrections > 0);
            if let Some(cohort) = clock.cohort
                && !left
                && error <= SURE
                && clock.sure > 0
            {
                match self.votes.iter_mut().find(|(voted, _)| *voted == cohort) {
                    Some((_, votes)) => *votes += 1,
                    None => self.votes.push((cohort, 1)),
                }
            }
        }
        let clocks_there = round.rows.len() + round.absent.len();
        let followers = clocks_there - 1;
        let all = if clocks[rank].corrections == 0 && synchronized * 2 > followers {
            synchronized
        } else {
            clocks_there
        };
        let majority = self.votes.iter().find(|(_, votes)| votes * 2 > all);
        if let Some((cohort, _)) = majority {
            return *cohort;
        }
        self.cohorts += 1;
        self.cohorts
    }

    pub fn corrected(
        &mut self,
        now: i64,
        node: usize,
        clock: &mut Clock,
        (before, admitted): (Term, TimeDelta),
        Correction { offset, error, .. }: Correction,
        cohort: u32,
    ) {
        if clock.term < before {
            let term = clock.term;
            self.broken(
                now,
                &format_args!("node {node} followed term {before}, then {term}"),
            );
        }
        if clock.cohort != Some(cohort) {
            clock.cohort = Some(cohort);
            clock.sure = 0;
            clock.caught_up = false;
        }
        if error > SURE {
            clock.sure = 0;
            clock.caught_up = false;
            return;
        }
        if clock.sure < SURE_CORRECTIONS {
            clock.caught_up = false;
        } else if admitted <= SURE {
            self.worst_moved = self.worst_moved.max(offset.abs());
            if offset.abs() > MOST_MOVED {
                self.broken(
                    now,
                    &format_args!("node {node} of cohort {cohort} was moved by {offset}"),
                );
            }
        }
        clock.sure += 1;
    }
}

impl World {
    /// Reads one clock. It must not have run backwards.
    pub fn look_at(&mut self, node: usize) -> Option<DateTime<Utc>> {
        match self.clocks[node].read(self.now) {
            Ok(reading) => Some(reading),
            Err(by) => {
                let now = self.now;
                self.observer
                    .broken(now, &format_args!("node {node} ran backwards by {by}"));
                None
            }
        }
    }

    /// Looks at all clocks and candidates.
    pub fn look(&mut self) {
        self.observer.spans.clear();
        for node in 0..self.clocks.len() {
            if self.is_down(node) {
                continue;
            }
            let reading = self.look_at(node);
            let clock = &self.clocks[node];
            if clock.sure < SURE_CORRECTIONS || !clock.caught_up || clock.admits > SURE {
                continue;
            }
            if let (Some(reading), Some(cohort)) = (reading, clock.cohort) {
                // As if no operator had told the group anything: some make a step a little later.
                let steps = clock.discipline.steps();
                let reading = reading - steps.map_or(TimeDelta::zero(), |steps| steps.total);
                let spans = &mut self.observer.spans;
                match spans.iter_mut().find(|(known, _, _)| *known == cohort) {
                    Some((_, first, last)) => {
                        *first = reading.min(*first);
                        *last = reading.max(*last);
                    }
                    None => spans.push((cohort, reading, reading)),
                }
            }
        }
        let skews = self.observer.spans.iter();
        let skew = skews.map(|(_, first, last)| *last - *first).max();
        let skew = skew.unwrap_or_default();
        self.observer.worst_skew = self.observer.worst_skew.max(skew);
        if skew > MOST_SKEW {
            let now = self.now;
            self.observer
                .broken(now, &format_args!("a cohort's clocks were {skew} apart"));
        }
        self.observer.settled_since = if self.has_one_leader_in_each_part() {
            self.observer.settled_since.or(Some(self.now))
        } else {
            None
        };
    }

    /// Each connected part.
    pub fn parts(&self) -> impl Iterator<Item = u16> {
        let mut left = (0..self.candidates.len())
            .filter(|rank| self.runs(*rank))
            .fold(0_u16, |all, rank| all | 1 << rank);
        std::iter::from_fn(move || {
            let mut part = left & left.wrapping_neg();
            if part == 0 {
                return None;
            }
            loop {
                let grown = self.neighbours(part) & left | part;
                if grown == part {
                    left &= !part;
                    return Some(part);
                }
                part = grown;
            }
        })
    }

    fn neighbours(&self, part: u16) -> u16 {
        let among = |rank: &usize| part & (1 << *rank) != 0;
        let all = || 0..self.candidates.len();
        let touches = |one: usize| all().filter(among).any(|other| self.touch(one, other));
        all()
            .filter(|rank| touches(*rank))
            .fold(0, |all, rank| all | 1 << rank)
    }

    fn touch(&self, one: usize, other: usize) -> bool {
        one != other && self.links.pass_both_ways(one, other)
    }

    /// Each part has exactly one leader, and those in touch with it follow it.
    fn has_one_leader_in_each_part(&self) -> bool {
        self.parts().all(|part| self.leader_of(part).is_some())
    }

    /// The one leader of a part, if all of it agree on that.
    pub fn leader_of(&self, part: u16) -> Option<usize> {
        let ranks = || (0..self.candidates.len()).filter(|rank| part & (1 << *rank) != 0);
        let role = |rank: usize| self.candidates[rank].view.role;
        let mut leaders = ranks().filter(|rank| role(*rank) == Role::Leads);
        let leader = leaders.next()?;
        if leaders.next().is_some() {
            return None;
        }
        let mut touching = ranks().filter(|rank| self.touch(*rank, leader));
        touching
            .all(|rank| role(rank) == Role::Follows(Rank(leader)))
            .then_some(leader)
    }
}
