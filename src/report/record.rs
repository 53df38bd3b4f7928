//! Records: one CSV line for each clock and round, for programs to read. No field holds a comma:
//! names can't, see [`NodeName`](crate::wire::name::NodeName).

use std::fmt::{self, Display, Formatter, Write as _};
use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::average::round::{Above, Round, Shown};
use crate::election::candidate::Lead;
pub use crate::report::writer::RecordError;
use crate::report::writer::{Header, Writer};
use crate::span::exact_nanoseconds;

/// The first columns of a master's record.
pub const MASTER_HEADER: &str =
    "time,round,node,address,offset_ns,delay_ns,vote,correction_ns,error_ns";

/// A master alone.
const ALONE: Header = Header {
    columns: "time,round,node,address,offset_ns,delay_ns,vote,correction_ns,error_ns,rate_ppm,\
              reference,reference_ns,led_ppm,clocks,deviation_ns,above_ns",
    first: MASTER_HEADER,
};

/// One of several candidates.
const CANDIDATE: Header = Header {
    columns: "time,round,node,address,offset_ns,delay_ns,vote,correction_ns,error_ns,term,rank,\
              waited_ns,rate_ppm,reference,reference_ns,led_ppm,clocks,deviation_ns,above_ns",
    first: "time,round,node,address,offset_ns,delay_ns,vote,correction_ns,error_ns,term,rank,\
            waited_ns",
};

/// How many columns an order leaves empty at the end.
const NOTHING: &str = ",,,,,,,";

/// The columns of a follower's record.
pub const FOLLOWER_HEADER: &str = "time,round,correction_ns,clock_ns,network_ns";

/// A correction as a follower records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerRow {
    /// The machine's own clock at the moment that `clock` and `network` were read.
    pub time: DateTime<Utc>,
    /// Corrections so far, this one included.
    pub round: u64,
    /// What the correction adds.
    pub correction: TimeDelta,
    /// The node's own clock, uncorrected.
    pub clock: DateTime<Utc>,
    /// The network's time at the same moment, as an application sees it.
    pub network: DateTime<Utc>,
}

/// What an operator has told a master, as it records it: in the column of the clock's name, `#`,
/// which no name has, and who told it; in that of the vote, the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRow {
    /// Who it was. No comma is in it, nor in the order.
    pub who: String,
    /// What was told.
    pub order: String,
    /// By how much the group was stepped, if it was.
    pub by: Option<TimeDelta>,
}

/// A file that grows by some lines each round. Dropping it waits a fifth of a second, at most, for
/// the last of them to be written.
#[derive(Debug)]
pub struct Record(Writer);

impl Record {
    /// Opens the file, or makes it. What is in it stays as it is until the record is begun.
    ///
    /// A file that does not open within a second is written to when it does. No link is followed.
    ///
    /// # Errors
    /// When the file can't be written, or is something else than a regular file.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        Writer::open(path).map(Self)
    }

    /// Goes on with the record of a master, after its last whole line, or begins one in a file that
    /// is empty. The record of an older release goes on with the columns that it has.
    ///
    /// # Errors
    /// When the file holds something else, or can't be read or written.
    pub fn begin_master(&mut self, is_candidate: bool) -> Result<(), RecordError> {
        self.0.begin(if is_candidate { CANDIDATE } else { ALONE })
    }

    /// The same for the record of a follower.
    ///
    /// # Errors
    /// When the file holds something else, or can't be read or written.
    pub fn begin_follower(&mut self) -> Result<(), RecordError> {
        self.0.begin(Header {
            columns: FOLLOWER_HEADER,
            first: FOLLOWER_HEADER,
        })
    }

    /// Writes a round of the master's, which ended at `time` by the machine's own clock.
    pub fn master(&mut self, time: DateTime<Utc>, round: &Round, lead: Option<Lead>) {
        let rows = MasterRows { time, round, lead };
        self.0.append(rows.to_string());
    }

    /// Writes what an operator has told the master after this round.
    pub fn order(&mut self, time: DateTime<Utc>, round: u64, told: &ToldRow, lead: Option<Lead>) {
        let time = stamp(time);
        let by = OrNothing(told.by.map(exact_nanoseconds));
        let mut row = format!("{time},{round},#{},,,,{},{by},", told.who, told.order);
        write_lead(&mut row, lead);
        row.push_str(NOTHING);
        row.push('\n');
        self.0.append(row);
    }

    /// Writes a correction that a follower received.
    pub fn follower(&mut self, row: &FollowerRow) {
        self.0.append(row.to_string());
    }
}

/// A round as lines.
struct MasterRows<'a> {
    time: DateTime<Utc>,
    round: &'a Round,
    lead: Option<Lead>,
}

impl Display for MasterRows<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let time = stamp(self.time);
        let above = match self.round.above {
            Above::Moves(moved) => Some(exact_nanoseconds(moved.shift)),
            Above::Nobody | Above::Gone => None,
        };
        for row in &self.round.rows {
            write!(out, "{time},{},{}", self.round.number, row.name)?;
            write!(out, ",{}", OrNothing(row.address))?;
            write!(out, ",{}", exact_nanoseconds(row.sample.offset))?;
            write!(
                out,
                ",{}",
                OrNothing(row.sample.delay.map(exact_nanoseconds))
            )?;
            write!(out, ",{}", row.vote)?;
            let correction = row.correction.map(|it| exact_nanoseconds(it.offset));
            write!(out, ",{}", OrNothing(correction))?;
            write!(out, ",{}", exact_nanoseconds(row.sample.error))?;
            let mut lead = String::new();
            write_lead(&mut lead, self.lead);
            write!(out, "{lead},{}", OrNothing(row.rate_ppm.map(ppm)))?;
            write!(out, ",{}", OrNothing(row.reference.map(Shown::word)))?;
            let ahead = row.reference.map(|it| exact_nanoseconds(it.ahead));
            let rate = self.round.led.map(|led| ppm(led.rate_ppm));
            write!(out, ",{},{}", OrNothing(ahead), OrNothing(rate))?;
            write!(out, ",{}", row.weight)?;
            write!(out, ",{}", exact_nanoseconds(row.deviation))?;
            writeln!(out, ",{}", OrNothing(above))?;
        }
        Ok(())
    }
}

/// The columns of a master that is one of several candidates.
fn write_lead(row: &mut String, lead: Option<Lead>) {
    if let Some(Lead { term, rank, waited }) = lead {
        // Writing to a string fails only if a `Display` does.
        let _ = write!(row, ",{term},{},{}", rank.0, waited.as_nanos());
    }
}

impl Display for FollowerRow {
    /// The line, with its newline.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let since_epoch = |time| exact_nanoseconds(time - DateTime::UNIX_EPOCH);
        writeln!(
            out,
            "{},{},{},{},{}",
            stamp(self.time),
            self.round,
            exact_nanoseconds(self.correction),
            since_epoch(self.clock),
            since_epoch(self.network)
        )
    }
}

/// A rate to the ppb, as the line protocol tells it.
fn ppm(rate_ppm: f64) -> String {
    format!("{rate_ppm:.3}")
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// A value, or an empty field where it is unknown.
struct OrNothing<T>(Option<T>);

impl<T: Display> Display for OrNothing<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => Ok(()),
            Some(value) => write!(out, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::consensus::{Rules, consensus};
    use crate::average::round::{Led, Row, Vote};
    use crate::measurement::sample::Sample;
    use crate::wire::candidate::Rank;
    use crate::wire::correction::FromAbove;
    use std::sync::Arc;
    use std::time::Duration;

    fn round() -> Round {
        let samples = [Sample::OWN, Sample::one_way(TimeDelta::microseconds(-7))];
        let outcome = consensus(&samples, &Rules::default());
        let row = |sample: Sample| Row {
            node: None,
            address: None,
            name: Arc::from("master"),
            sample,
            weight: 1,
            deviation: TimeDelta::zero(),
            vote: Vote::Yes,
            correction: Some(outcome.unwrap().correct(&sample, 0.0)),
            rate_ppm: Some(-1.5),
            reference: None,
        };
        let mut rows = samples.map(row);
        rows[1] = Row {
            address: Some("10.0.0.1:4000".parse().unwrap()),
            name: Arc::from("db1"),
            vote: Vote::New,
            weight: 40,
            deviation: TimeDelta::nanoseconds(70),
            rate_ppm: None,
            reference: Some(Shown {
                ahead: TimeDelta::nanoseconds(-40),
                followed: true,
            }),
            ..rows[1].clone()
        };
        Round {
            number: 1,
            interval: 0,
            absent: Vec::new(),
            rows: rows.to_vec(),
            outcome,
            led: Some(Led {
                references: 1,
                followed: 1,
                ahead: TimeDelta::nanoseconds(-40),
                rate_ppm: 0.25,
            }),
            above: Above::Moves(FromAbove {
                shift: TimeDelta::nanoseconds(-9),
                ..FromAbove::default()
            }),
            dry_run: false,
        }
    }

    #[test]
    fn a_master_writes_a_line_for_each_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.csv");
        let mut record = Record::open(&path).unwrap();
        record.begin_master(false).unwrap();
        record.master(DateTime::UNIX_EPOCH, &round(), None);
        drop(record);
        let written = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(
            lines,
            [
                ALONE.columns,
                "1970-01-01T00:00:00.000000000Z,1,master,,0,0,yes,-3500,0,-1.500,,,0.250,1,0,-9",
                "1970-01-01T00:00:00.000000000Z,1,db1,10.0.0.1:4000,-7000,,new,3500,50000000,,\
                 followed,-40,0.250,40,70,-9",
            ]
        );
        assert_eq!(columns(lines[0]), columns(lines[1]));
    }

    fn columns(line: &str) -> usize {
        line.split(',').count()
    }

    #[test]
    fn a_follower_writes_a_line_for_each_correction() {
        let row = FollowerRow {
            time: DateTime::UNIX_EPOCH,
            round: 3,
            correction: TimeDelta::nanoseconds(-5),
            clock: DateTime::from_timestamp_nanos(-1),
            network: DateTime::from_timestamp_nanos(1_700_000_000_000_000_001),
        };
        let expected = "1970-01-01T00:00:00.000000000Z,3,-5,-1,1700000000000000001\n";
        assert_eq!(row.to_string(), expected);
        assert_eq!(columns(expected), columns(FOLLOWER_HEADER));
    }

    #[test]
    fn a_candidate_writes_whose_round_it_was() {
        let lead = Lead {
            term: 7,
            rank: Rank(1),
            waited: Duration::from_millis(2),
        };
        let rows = MasterRows {
            time: DateTime::UNIX_EPOCH,
            round: &round(),
            lead: Some(lead),
        };
        for line in rows.to_string().lines() {
            assert!(line.contains("0,7,1,2000000,"), "{line}");
            assert_eq!(columns(line), columns(CANDIDATE.columns));
        }
    }

    #[test]
    fn what_an_operator_told_has_as_many_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.csv");
        let mut record = Record::open(&path).unwrap();
        record.begin_master(false).unwrap();
        let told = ToldRow {
            who: "root".to_owned(),
            order: "drop db1".to_owned(),
            by: None,
        };
        record.order(DateTime::UNIX_EPOCH, 7, &told, None);
        drop(record);
        let written = std::fs::read_to_string(&path).unwrap();
        let line = "1970-01-01T00:00:00.000000000Z,7,#root,,,,drop db1,,,,,,,,,\n";
        assert_eq!(written, format!("{}\n{line}", ALONE.columns));
        assert_eq!(columns(line), columns(ALONE.columns));
    }
}
