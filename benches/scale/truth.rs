//! How wrong the offsets are that a master measured.
//!
//! Its record tells each offset, against the master's own clock; the followers know how far they
//! were ahead of this machine's clock. What is missing is how far the master was ahead of it, and
//! that follows from the record too: the master begins at this machine's clock, and from then on
//! moves by its own corrections and in no other way. So the library's [`Discipline`] is led
//! through the same corrections as the master's was.
//!
//! The corrections that the followers were told would not do by themselves: they are relative to
//! the average, from which an error that all offsets have in common cancels.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use berkeley::internals::discipline::correction::Discipline;
use berkeley::internals::discipline::steering::Steering;
use berkeley::internals::report::record::MASTER_HEADER;
use berkeley::internals::wire::correction::Correction;
use chrono::{DateTime, TimeDelta, Utc};

use crate::INTERVAL;
use crate::load::{Load, Told, microseconds};

/// What came of the comparison.
pub struct Compared {
    /// How many rounds there were.
    pub rounds: u64,
    /// How many polls led to them.
    pub polls: u64,
    /// One for each follower that was corrected in a round, in µs, without sign and in order.
    pub errors: Vec<f64>,
}

/// A line of the record.
struct Row<'a> {
    time: DateTime<Utc>,
    round: u64,
    address: &'a str,
    offset: TimeDelta,
    votes: bool,
    correction: Option<TimeDelta>,
    error: TimeDelta,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let span = |text: &str| text.parse().ok().map(TimeDelta::nanoseconds);
        let mut columns = line.split(',');
        let mut next = || columns.next();
        let time = next()?.parse().ok()?;
        let round = next()?.parse().ok()?;
        let _name = next()?;
        let address = next()?;
        let offset = span(next()?)?;
        let _delay = next()?;
        let votes = next()? == "yes";
        Some(Self {
            time,
            round,
            address,
            offset,
            votes,
            correction: span(next()?),
            error: span(next()?)?,
        })
    }
}

/// Compares the rounds that a record has from `times` with what the followers know.
pub fn compare(record: &str, load: &Load, times: &Range<DateTime<Utc>>) -> Result<Compared> {
    let mut lines = record.lines();
    ensure!(
        lines
            .next()
            .is_some_and(|line| line.starts_with(MASTER_HEADER)),
        "the record's columns are others"
    );
    let rows = lines.map(|line| Row::parse(line).with_context(|| format!("recorded: {line}")));
    let rows: Vec<_> = rows.collect::<Result<_>>()?;
    let mut told: HashMap<String, &[Told]> = HashMap::new();
    for follower in &load.followers {
        let address = follower.address.context("a follower is not connected")?;
        told.insert(address.to_string(), &follower.told);
    }
    let mut compared = Compared {
        rounds: 0,
        polls: 0,
        errors: Vec::new(),
    };
    let interval = TimeDelta::from_std(INTERVAL)?;
    let began = rows.first().context("no round was recorded")?.time;
    let mut master = Discipline::new(Steering::default(), began);
    for round in rows.chunk_by(|one, next| one.round == next.round) {
        let (own, followers) = round.split_first().context("an empty round")?;
        let counts = times.contains(&own.time);
        compared.rounds += u64::from(counts);
        for row in followers {
            let told = told.get(row.address).context("an unknown follower")?;
            // It followed from the last burst before the round. (What was told is not quite what
            // was recorded: the master allows for what it has learned in the round.)
            let before = told.partition_point(|told| told.time < own.time);
            let last = told[..before].last();
            let Some(first) = last.filter(|told| told.time > own.time - interval) else {
                continue;
            };
            let master_ahead = master.target(first.time) - first.time;
            let truth = first.ahead - master_ahead;
            if counts {
                compared.polls += first.polls;
                compared.errors.push(microseconds(row.offset - truth).abs());
            }
        }
        if let Some(offset) = own.correction {
            let errors: Vec<_> = round
                .iter()
                .filter(|row| row.votes)
                .map(|row| row.error)
                .collect();
            let error = errors.iter().sum::<TimeDelta>() / errors.len() as i32;
            let mark = master.mark(own.time);
            // None of our followers tells a rate, so there is none that all have in common.
            let correction = Correction {
                offset,
                error,
                ..Correction::default()
            };
            master.correct(mark, correction, own.time)?;
        }
    }
    compared.errors.sort_by(f64::total_cmp);
    Ok(compared)
}
