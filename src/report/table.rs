//! What the programs tell, as people read it.

use std::fmt::{self, Display, Formatter};

use crate::average::ensemble::{Round, Row};
use crate::span::{signed, span};

/// A table shows no more rows than this, and how many it leaves out.
pub const ROWS: usize = 20;

impl Display for Round {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let clocks = self.rows.len();
        match &self.outcome {
            Ok(agreed) => writeln!(
                out,
                "Round {}: {} of {clocks} clocks agree, average {} ± {}",
                self.number,
                agreed.voters,
                or_zero(signed(agreed.average)),
                span(agreed.error),
            )?,
            Err(reason) => writeln!(out, "Round {} abandoned: {reason}", self.number)?,
        }
        let shown = &self.rows[..clocks.min(ROWS)];
        let width = shown.iter().map(|row| row.name.len()).max().unwrap_or(0);
        write!(out, "  {:width$}  {:>14}", "node", "offset")?;
        write!(out, "  {:>12}  vote  {:>14}", "delay", "correction")?;
        for row in shown {
            write!(out, "\n  {:width$}  {}", row.name, Columns(row))?;
        }
        if clocks > ROWS {
            write!(out, "\n  and {} more", clocks - ROWS)?;
        }
        Ok(())
    }
}

struct Columns<'a>(&'a Row);

impl Display for Columns<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self(row) = self;
        let unknown = || "-".to_owned();
        write!(
            out,
            "{:>14}  {:>12}  {:4}  {:>14}",
            or_zero(signed(row.sample.offset)),
            row.sample
                .delay
                .map_or_else(unknown, |delay| or_zero(span(delay))),
            row.vote,
            row.correction
                .map_or_else(unknown, |it| or_zero(signed(it.offset))),
        )
    }
}

/// A bare zero where a unit would say nothing.
fn or_zero(span: String) -> String {
    if span == "0 ns" { "0".to_owned() } else { span }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::consensus::{Rules, consensus};
    use crate::average::ensemble::Vote;
    use crate::measurement::sample::Sample;
    use chrono::TimeDelta;
    use std::sync::Arc;

    fn round(offsets: &[i64], rules: Rules) -> Round {
        let samples: Vec<_> = offsets
            .iter()
            .map(|minutes| Sample::one_way(TimeDelta::minutes(*minutes)))
            .collect();
        let outcome = consensus(&samples, &rules);
        let row = |sample: &Sample| Row {
            node: None,
            address: None,
            name: Arc::from("127.0.0.1:40000"),
            sample: *sample,
            vote: if outcome.is_ok() {
                Vote::Yes
            } else {
                Vote::Abandoned
            },
            correction: outcome.ok().map(|agreed| agreed.correct(sample, 0.0)),
        };
        Round {
            number: 7,
            interval: 6,
            rows: samples.iter().map(row).collect(),
            outcome,
            dry_run: false,
        }
    }

    #[test]
    fn the_worked_example_reads_well() {
        let table = round(&[0, -14, 20], Rules::default()).to_string();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "Round 7: 3 of 3 clocks agree, average +2.000 min ± 50.000 ms",
                "  node                     offset         delay  vote      correction",
                "  127.0.0.1:40000               0             -  yes       +2.000 min",
                "  127.0.0.1:40000     -14.000 min             -  yes      +16.000 min",
                "  127.0.0.1:40000     +20.000 min             -  yes      -18.000 min",
            ]
        );
    }

    #[test]
    fn an_abandoned_round_says_so_and_why() {
        let table = round(&[0, 9000, -9000], Rules::default()).to_string();
        assert!(
            table.starts_with("Round 7 abandoned: only 1 of 3 clocks lie within"),
            "{table}"
        );
        assert!(table.contains("-  -                  -"), "{table}");
    }

    #[test]
    fn a_long_table_is_cut_and_counted() {
        let table = round(&[0; 25], Rules::default()).to_string();
        assert_eq!(table.lines().count(), 2 + ROWS + 1);
        assert!(table.ends_with("  and 5 more"), "{table}");
    }
}
