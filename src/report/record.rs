//! Records: one CSV line for each clock and round, for programs to read.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::average::ensemble::Round;
use crate::election::candidate::Lead;
use crate::span::exact_nanoseconds;

/// The columns of a master's record.
pub const MASTER_HEADER: &str = "time,round,node,offset_ns,delay_ns,voted,correction_ns,error_ns";

/// The columns that follow where there are candidates.
pub const LEAD_HEADER: &str = ",term,rank,waited_ns";

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

/// A file that grows by some lines each round.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    file: File,
    /// How much of the file is whole lines.
    length: u64,
    failed: bool,
}

impl Record {
    /// Opens the file, or makes it. What is in it stays until [`Record::begin`]: it may be the
    /// record of a program that is running, and that this one can't run beside.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        // To append, so that a line that did not fit leaves no hole behind.
        Ok(Self {
            path: path.to_owned(),
            file: File::options().create(true).append(true).open(path)?,
            length: 0,
            failed: false,
        })
    }

    /// Empties the file and writes the header.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn begin(&mut self, header: &str) -> io::Result<()> {
        // (A device has no length to set.)
        let _ = self.file.set_len(0);
        self.append(&format!("{header}\n")).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot write {}: {error}", self.path.display()),
            )
        })
    }

    /// Writes a round of the master's, which ended at `time` by the machine's own clock.
    pub fn master(&mut self, time: DateTime<Utc>, round: &Round, lead: Option<Lead>) {
        let time = stamp(time);
        self.write(|lines| {
            for row in &round.rows {
                write!(lines, "{time},{},{},", round.number, row.name)?;
                write!(lines, "{},", Nanoseconds(Some(row.sample.offset)))?;
                write!(
                    lines,
                    "{},{},",
                    Nanoseconds(row.sample.delay),
                    row.vote.counts()
                )?;
                write!(
                    lines,
                    "{},",
                    Nanoseconds(row.correction.map(|correction| correction.offset))
                )?;
                write!(lines, "{}", Nanoseconds(Some(row.sample.error)))?;
                if let Some(Lead { term, rank, waited }) = lead {
                    write!(lines, ",{term},{},{}", rank.0, waited.as_nanos())?;
                }
                lines.push('\n');
            }
            Ok(())
        });
    }

    /// Writes a correction that a follower received.
    pub fn follower(&mut self, row: &FollowerRow) {
        let since_epoch = |time: DateTime<Utc>| Nanoseconds(Some(time - DateTime::UNIX_EPOCH));
        self.write(|lines| {
            write!(lines, "{},{},", stamp(row.time), row.round)?;
            write!(lines, "{},", Nanoseconds(Some(row.correction)))?;
            writeln!(
                lines,
                "{},{}",
                since_epoch(row.clock),
                since_epoch(row.network)
            )
        });
    }

    /// A full disk costs the lines that don't fit, not the clocks their agreement.
    fn write(&mut self, compose: impl FnOnce(&mut String) -> fmt::Result) {
        let mut lines = String::new();
        let written = compose(&mut lines)
            .map_err(io::Error::other)
            .and_then(|()| self.append(&lines));
        match &written {
            Ok(()) if self.failed => log::info!("{} is written again", self.path.display()),
            Err(error) if !self.failed => log::warn!(
                "cannot write {}: {error}; going on without the lines that don't fit",
                self.path.display()
            ),
            _ => {}
        }
        self.failed = written.is_err();
    }

    fn append(&mut self, lines: &str) -> io::Result<()> {
        let written = self.file.write_all(lines.as_bytes());
        match written {
            Ok(()) => self.length += lines.len() as u64,
            // What did fit of them may be half a line. (A device has no length to set.)
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// A span in whole nanoseconds, or nothing where it is unknown.
struct Nanoseconds(Option<TimeDelta>);

impl fmt::Display for Nanoseconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(span) => write!(out, "{}", exact_nanoseconds(span)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::consensus::{Rules, consensus};
    use crate::average::ensemble::{Row, Vote};
    use crate::measurement::sample::Sample;
    use std::sync::Arc;

    fn round() -> Round {
        let samples = [Sample::OWN, Sample::one_way(TimeDelta::microseconds(-7))];
        let outcome = consensus(&samples, &Rules::default());
        let row = |sample: Sample| Row {
            node: None,
            address: None,
            name: Arc::from("master"),
            sample,
            vote: Vote::Yes,
            correction: Some(outcome.unwrap().correct(&sample, 0.0)),
        };
        Round {
            number: 1,
            interval: 0,
            rows: samples.map(row).to_vec(),
            outcome,
            dry_run: false,
        }
    }

    #[test]
    fn a_master_writes_a_line_for_each_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.csv");
        let mut record = Record::open(&path).unwrap();
        record.begin(MASTER_HEADER).unwrap();
        record.master(DateTime::UNIX_EPOCH, &round(), None);
        let written = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(
            lines,
            [
                MASTER_HEADER,
                "1970-01-01T00:00:00.000000000Z,1,master,0,0,true,-3500,0",
                "1970-01-01T00:00:00.000000000Z,1,master,-7000,,true,3500,50000000",
            ]
        );
    }

    #[test]
    fn a_follower_writes_a_line_for_each_correction() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("follower.csv");
        std::fs::write(&path, "an older record").unwrap();
        let mut record = Record::open(&path).unwrap();
        record.begin(FOLLOWER_HEADER).unwrap();
        let row = FollowerRow {
            time: DateTime::UNIX_EPOCH,
            round: 3,
            correction: TimeDelta::nanoseconds(-5),
            clock: DateTime::from_timestamp_nanos(-1),
            network: DateTime::from_timestamp_nanos(1_700_000_000_000_000_001),
        };
        record.follower(&row);
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(
            written.ends_with("Z,3,-5,-1,1700000000000000001\n"),
            "{written}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_at_the_start() {
        assert!(Record::open(Path::new("/no/such/folder/x.csv")).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_survived() {
        let mut record = Record::open(Path::new("/dev/full")).unwrap();
        assert!(record.begin(MASTER_HEADER).is_err());
        for _ in 0..3 {
            record.master(DateTime::UNIX_EPOCH, &round(), None);
            assert!(record.failed);
        }
    }
}
