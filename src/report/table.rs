//! What the programs tell, as people read it.

use std::cmp::Reverse;
use std::fmt::{self, Display, Formatter};

use chrono::TimeDelta;

use crate::average::round::{Round, Row};
use crate::span::{signed, span};

/// A table shows no more rows than this, and how many it leaves out.
pub const ROWS: usize = 20;

impl Display for Round {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        // A clock that stands for a group counts as so many, here as among those that agree.
        let clocks: u64 = self.rows.iter().map(|row| u64::from(row.weight)).sum();
        match &self.outcome {
            Ok(agreed) => {
                let (average, error) = (or_zero(signed(agreed.average)), span(agreed.error));
                let (number, voters) = (self.number, agreed.voters);
                write!(out, "Round {number}: {voters} of {clocks} clocks agree, ")?;
                write!(out, "average {average} ± {error}")?;
                if self.dry_run {
                    out.write_str("; dry run: nobody is corrected")?;
                }
            }
            Err(reason) => write!(out, "Round {} abandoned: {reason}", self.number)?,
        }
        if let Some(led) = &self.led {
            let (ahead, ppm) = (or_zero(signed(led.ahead)), led.rate_ppm);
            write!(
                out,
                "\n  {} of {} references followed, {ahead} ahead: led at {ppm:+.3} ppm",
                led.followed, led.references
            )?;
        }
        let correction = if self.dry_run {
            "would add"
        } else {
            "correction"
        };
        let shown = shown(self);
        let names = shown.iter().map(|row| row.name.len());
        let votes = shown.iter().map(|row| row.vote.to_string().len());
        let (name, vote) = (width("node", names), width("vote", votes));
        write!(
            out,
            "\n  {:name$}  {:>14}  {:>12}",
            "node", "offset", "delay"
        )?;
        write!(out, "  {:vote$}  {correction:>14}", "vote")?;
        for row in &shown {
            let Row { sample, .. } = row;
            let offset = or_zero(signed(sample.offset));
            let delay = or_unknown(sample.delay.map(span));
            let correction = or_unknown(row.correction.map(|it| signed(it.offset)));
            write!(out, "\n  {:name$}  {offset:>14}  {delay:>12}", row.name)?;
            write!(out, "  {:vote$}  {correction:>14}", row.vote)?;
        }
        if self.rows.len() > shown.len() {
            write!(out, "\n  and {} more", self.rows.len() - shown.len())?;
        }
        Ok(())
    }
}

/// The rows that a table shows: the master's, then the clocks without a vote, then the others.
/// Where not all fit, those that are farthest from the median come first, and stay.
fn shown(round: &Round) -> Vec<&Row> {
    let rows = round.rows.iter();
    let (mut shown, mut others): (Vec<_>, Vec<_>) = rows.partition(|row| row.node.is_none());
    let places = ROWS.saturating_sub(shown.len());
    if others.len() > places && places > 0 {
        let median = median(round);
        let rank = |row: &&Row| {
            let distance = (row.sample.offset - median).abs();
            (row.vote.counts(), Reverse(distance))
        };
        // Not all of ten thousand are sorted.
        others.select_nth_unstable_by_key(places - 1, rank);
        others.truncate(places);
        others.sort_by_key(rank);
    } else {
        // All are there, and stay where they were in the last round.
        others.sort_by_key(|row| row.vote.counts());
    }
    shown.append(&mut others);
    shown
}

/// The median of the offsets; an abandoned round tells none.
fn median(round: &Round) -> TimeDelta {
    if let Ok(agreed) = &round.outcome {
        return agreed.median;
    }
    let offsets = round.rows.iter().map(|row| row.sample.offset);
    let mut offsets: Vec<_> = offsets.collect();
    let middle = offsets.len() / 2;
    let (_, median, _) = offsets.select_nth_unstable(middle);
    *median
}

/// How wide a column is.
fn width(title: &str, values: impl Iterator<Item = usize>) -> usize {
    values.fold(title.len(), usize::max)
}

fn or_unknown(span: Option<String>) -> String {
    span.map_or_else(|| "-".to_owned(), or_zero)
}

/// A bare zero where a unit would say nothing.
fn or_zero(span: String) -> String {
    if span == "0 ns" { "0".to_owned() } else { span }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::consensus::{Rules, consensus};
    use crate::average::round::{Above, NodeId, Vote};
    use crate::measurement::sample::Sample;
    use std::sync::Arc;

    fn round(offsets: &[i64], rules: Rules) -> Round {
        let samples: Vec<_> = offsets
            .iter()
            .map(|minutes| Sample::one_way(TimeDelta::minutes(*minutes)))
            .collect();
        let outcome = consensus(&samples, &rules);
        let row = |(number, sample): (usize, &Sample)| Row {
            // The first one is the master's own.
            node: (number > 0).then_some(NodeId(number as u64)),
            address: None,
            name: Arc::from("127.0.0.1:40000"),
            sample: *sample,
            weight: 1,
            deviation: TimeDelta::zero(),
            vote: if outcome.is_ok() {
                Vote::Yes
            } else {
                Vote::Abandoned
            },
            correction: outcome.ok().map(|agreed| agreed.correct(sample, 0.0)),
            rate_ppm: None,
            reference: None,
        };
        Round {
            number: 7,
            interval: 6,
            absent: Vec::new(),
            rows: samples.iter().enumerate().map(row).collect(),
            outcome,
            led: None,
            above: Above::Nobody,
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

    /// The numbers of the rows that are shown, in their order.
    fn numbers(round: &Round) -> Vec<u64> {
        let number = |row: &Row| row.node.map_or(0, |node| node.0);
        shown(round).into_iter().map(number).collect()
    }

    #[test]
    fn the_one_clock_that_is_off_is_never_left_out() {
        let mut offsets = [0; 31];
        offsets[30] = 3;
        offsets[29] = -2;
        offsets[28] = 1;
        let mut round = round(&offsets, Rules::default());
        round.rows[28].vote = Vote::New;
        round.rows[30].vote = Vote::Outlier;
        let numbers = numbers(&round);
        assert_eq!(numbers[..4], [0, 30, 28, 29]);
        assert_eq!(numbers.len(), ROWS);
        let table = round.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[1].ends_with("vote         correction"), "{table}");
        assert!(lines[3].contains("  outlier  "), "{table}");
        assert!(table.ends_with("  and 11 more"), "{table}");
    }

    #[test]
    fn in_a_short_table_clocks_without_a_vote_come_first_and_the_others_stay() {
        let mut round = round(&[0, 1, 2, 3, 4], Rules::default());
        round.rows[3].vote = Vote::Biased;
        assert_eq!(numbers(&round), [0, 3, 1, 2, 4]);
    }

    #[test]
    fn an_abandoned_round_shows_who_is_far_off() {
        let mut offsets = [0; 40];
        for (number, offset) in offsets.iter_mut().enumerate().skip(15) {
            *offset = 3000 + number as i64;
        }
        offsets[7] = -90_000;
        let round = round(&offsets, Rules::default());
        assert_eq!(numbers(&round)[..2], [0, 7]);
    }

    #[test]
    fn a_dry_run_is_not_printed_as_if_it_corrected_anybody() {
        let mut round = round(&[0, -14, 20], Rules::default());
        round.dry_run = true;
        let table = round.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert!(
            lines[0].ends_with("; dry run: nobody is corrected"),
            "{table}"
        );
        assert!(lines[1].ends_with("would add"), "{table}");
        assert!(!table.contains("correction"), "{table}");
    }
}
