//! What there is to see of a tree.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::super::network::SECOND;
use super::group::{Group, Plan, Scenario, depth};

/// Skews of a tree, in nanoseconds, at four moments of each interval.
#[derive(Debug, Default)]
pub struct Measured {
    pub clocks: usize,
    /// Between any two clocks.
    pub all: Vec<i64>,
    /// Between the masters of a group and of the one above it.
    pub to_parent: Vec<i64>,
    /// The same of those that have held a round since the one above has.
    pub up_to_date: Vec<i64>,
    /// Between the masters of two groups below one.
    pub neighbours: Vec<i64>,
    /// After how many nanoseconds all clocks were within a millisecond for good.
    pub agreed: i64,
}

impl Measured {
    /// Of so many intervals after some first ones.
    pub fn of(plan: &Plan, first: usize, then: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let scenario = Scenario {
            offset: SECOND / 2,
            ..Scenario::default()
        };
        let mut group = Group::new(plan, scenario, &mut rng);
        let mut measured = Self::default();
        group.readings(0, &mut |_, _| measured.clocks += 1);
        let quarter = scenario.interval / 4;
        for look in 1..=4 * (first + then) as i64 {
            group.advance(look * quarter);
            let skew = group.skew().num_nanoseconds().unwrap();
            if skew > 1_000_000 && look <= 4 * first as i64 {
                measured.agreed = (look + 1) * quarter;
            }
            if look > 4 * first as i64 {
                measured.all.push(skew);
                measured.look(&group, depth(plan));
            }
        }
        measured
    }

    fn look(&mut self, top: &Group, deepest: usize) {
        let now = top.now;
        let at = |group: &Group| group.master.discipline.target(group.master.raw(now));
        let mut siblings: Vec<(usize, DateTime<Utc>)> = Vec::new();
        top.each(0, &mut |depth, parent, group| {
            let Some(parent) = parent else { return };
            let apart = nanoseconds((at(group) - at(parent)).abs());
            self.to_parent.push(apart);
            if group.is_up_to_date(parent) {
                self.up_to_date.push(apart);
            }
            if depth == deepest {
                siblings.push((std::ptr::from_ref(parent) as usize, at(group)));
            }
        });
        for pair in siblings.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            self.neighbours
                .push(nanoseconds((pair[0].1 - pair[1].1).abs()));
        }
    }
}

/// Groups of five below each other, each with another one beside it.
pub fn chain(depth: usize) -> Plan {
    let beside = Plan::tree(4, &[]);
    (0..depth).fold(Plan::tree(4, &[]), |below, _| Plan {
        members: 4,
        children: vec![below, beside.clone()],
    })
}

/// The median, or another part of all, in µs.
pub fn part(values: &mut [i64], part: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_unstable();
    let place = ((values.len() - 1) as f64 * part) as usize;
    values[place] as f64 * 1e-3
}

fn nanoseconds(span: TimeDelta) -> i64 {
    span.num_nanoseconds().unwrap()
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = |values: &[i64]| part(&mut values.to_vec(), 0.5);
        write!(
            out,
            "{:>8} {:>11.1} {:>12.1} {:>11.1} {:>11.1} {:>10.1}",
            self.clocks,
            median(&self.all),
            median(&self.to_parent),
            median(&self.up_to_date),
            median(&self.neighbours),
            self.agreed as f64 * 1e-9
        )
    }
}
