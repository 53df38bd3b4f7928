//! What is printed: a row for each figure, with its goal, and which of ours miss theirs.

use anyhow::{Result, bail};

use crate::scenarios::{Row, Scenario};
use crate::virtual_hosts::Who;

/// The rows printed so far.
pub(crate) struct Table {
    /// Which column is ours, if we take part.
    ours: Option<usize>,
    missed: Vec<String>,
}

impl Table {
    pub(crate) fn begin(peers: &[(Who, &str)]) -> Self {
        print!(
            "medians of the runs, of their worst too; the least where it is % of the time\n\
             {:<68}{:>8}",
            "µs, or s where it says so", "goal"
        );
        for (_, name) in peers {
            print!("{name:>12}");
        }
        println!();
        Self {
            ours: peers.iter().position(|(who, _)| *who == Who::Berkeley),
            missed: Vec::new(),
        }
    }

    /// Prints a scenario's rows, of which each run of each peer has found all values.
    pub(crate) fn show(&mut self, scenario: &Scenario, found: &[Vec<Vec<f64>>]) {
        for (at, row) in scenario.rows.iter().enumerate() {
            let name = format!("{}: {}", scenario.name, row.what);
            let goal = goal(row);
            print!("{name:<68}{goal:>8}");
            for (peer, runs) in found.iter().enumerate() {
                let value = row.value(runs.iter().map(|run| run[at]).collect());
                // Nearly all of the time is not all of it.
                let digits = if row.least { 2 } else { 1 };
                print!("{value:>12.digits$}");
                if self.ours == Some(peer) && row.misses(value) {
                    self.missed.push(format!("{name} {value:.2} ({goal})"));
                }
            }
            println!();
        }
    }

    /// Names the figures of ours that miss their goals.
    pub(crate) fn end(self) -> Result<()> {
        if !self.missed.is_empty() {
            bail!(
                "of ours, these miss their goals: {}",
                self.missed.join("; ")
            );
        }
        Ok(())
    }
}

fn goal(row: &Row) -> String {
    let sign = if row.least { "≥" } else { "≤" };
    row.goal
        .map_or_else(String::new, |goal| format!("{sign} {goal}"))
}
