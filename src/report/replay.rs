//! A master's record, read again: each round as the document that the master would have given.
//!
//! A record holds what was measured and decided, so the median and the window are worked out anew.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;

use crate::average::consensus::{Ballot, Consensus, NoMajority, Rules, consensus_of};
use crate::average::round::Vote;
use crate::measurement::sample::Sample;
use crate::report::record::MASTER_HEADER;
use crate::report::status::{
    ClockStatus, GroupClock, LeadStatus, MASTER, MasterCounters, MasterStatus, ProcessStatus,
    ReferenceStatus, RoundStatus, VERSION,
};
use crate::span::nanoseconds;
use crate::wire::weight::LARGEST_WEIGHT;

/// No line of a record is longer.
const LONGEST_LINE: u64 = 1024;

/// No round of a record is longer, in bytes: sixteen thousand clocks.
const LONGEST_ROUND: u64 = 16_000 * LONGEST_LINE;

/// Why a record can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file can't be read.
    #[error("cannot read the record {0}")]
    Read(PathBuf, #[source] io::Error),
    /// It is something else.
    #[error(
        "{0} is no record of a master: its first line is not {MASTER_HEADER}; berkeley-master --record writes one"
    )]
    Header(PathBuf),
    /// A line is none of a record.
    #[error("line {1} of {0} is no line of a record")]
    Line(PathBuf, u64),
    /// A round is longer than any that a master holds.
    #[error("{0} is no record of a master: the round before line {1} has too many clocks")]
    Round(PathBuf, u64),
    /// There is no round in it.
    #[error("the record {0} holds no round yet")]
    Empty(PathBuf),
}

/// A record whose rounds can be looked at in any order.
#[derive(Debug)]
pub struct Replay {
    file: File,
    /// Where each round begins, and where the last one ends.
    begins: Vec<u64>,
    columns: Columns,
    rules: Rules,
}

/// Where those columns are that not every record has.
#[derive(Debug, Clone, Copy)]
struct Columns {
    term: Option<usize>,
    rate_ppm: Option<usize>,
    reference: Option<usize>,
    reference_ns: Option<usize>,
    led_ppm: Option<usize>,
    clocks: Option<usize>,
    deviation_ns: Option<usize>,
    above_ns: Option<usize>,
}

impl Columns {
    fn of(header: &str) -> Self {
        let place = |wanted: &str| header.split(',').position(|column| column == wanted);
        Self {
            term: place("term"),
            rate_ppm: place("rate_ppm"),
            reference: place("reference"),
            reference_ns: place("reference_ns"),
            led_ppm: place("led_ppm"),
            clocks: place("clocks"),
            deviation_ns: place("deviation_ns"),
            above_ns: place("above_ns"),
        }
    }
}

impl Replay {
    /// Opens a record, whose rounds were held by these rules.
    ///
    /// # Errors
    /// [`ReplayError`] says what is wrong with it.
    pub fn open(path: &Path, rules: Rules) -> Result<Self, ReplayError> {
        let cannot_read = |error| ReplayError::Read(path.to_owned(), error);
        let file = File::open(path).map_err(cannot_read)?;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        let mut next = |line: &mut Vec<u8>| -> io::Result<u64> {
            line.clear();
            let limited = &mut io::Read::take(&mut reader, LONGEST_LINE);
            limited.read_until(b'\n', line).map(|length| length as u64)
        };
        let mut at = next(&mut line).map_err(cannot_read)?;
        let header = str::from_utf8(&line).ok().map(str::trim_ascii_end);
        let header = header.filter(|header| header.starts_with(MASTER_HEADER));
        let Some(columns) = header.filter(|_| line.ends_with(b"\n")).map(Columns::of) else {
            return Err(ReplayError::Header(path.to_owned()));
        };
        let (mut begins, mut round) = (Vec::new(), Vec::new());
        for number in 2.. {
            let length = next(&mut line).map_err(cannot_read)?;
            // The last line may still be being written.
            if length == 0 || (!line.ends_with(b"\n") && length < LONGEST_LINE) {
                break;
            }
            let text = str::from_utf8(&line).ok();
            if text.is_some_and(is_order) {
                at += length;
                continue;
            }
            let Some(row) = text.and_then(|text| Row::parse(text, &columns)) else {
                return Err(ReplayError::Line(path.to_owned(), number));
            };
            let key = format!("{} {}", row.time, row.round).into_bytes();
            if round != key {
                begins.push(at);
                round = key;
            }
            at += length;
            if begins
                .last()
                .is_some_and(|begin| at - begin > LONGEST_ROUND)
            {
                return Err(ReplayError::Round(path.to_owned(), number));
            }
        }
        if begins.is_empty() {
            return Err(ReplayError::Empty(path.to_owned()));
        }
        begins.push(at);
        Ok(Self {
            file,
            begins,
            columns,
            rules,
        })
    }

    /// How many rounds it holds; at least one.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.begins.len() - 1
    }

    /// What the master would have said after a round, counted from 0; `None` where there is none.
    #[must_use]
    pub fn status(&self, round: usize) -> Option<MasterStatus> {
        let (begin, end) = (self.begins.get(round)?, self.begins.get(round + 1)?);
        let mut text = vec![0; usize::try_from(end - begin).ok()?];
        self.file.read_exact_at(&mut text, *begin).ok()?;
        let text = String::from_utf8(text).ok()?;
        let lines = text.lines().filter(|line| !is_order(line));
        let rows = lines.map(|line| Row::parse(line, &self.columns));
        let rows: Option<Vec<Row>> = rows.collect();
        status(&rows?, &self.rules)
    }
}

/// Whether a line tells what an operator has said, after a round.
fn is_order(line: &str) -> bool {
    line.split(',')
        .nth(2)
        .is_some_and(|name| name.starts_with('#'))
}

/// A line of a record.
#[derive(Debug)]
struct Row<'a> {
    time: &'a str,
    round: u64,
    name: &'a str,
    address: Option<&'a str>,
    ballot: Ballot,
    vote: &'a str,
    correction_ns: Option<i64>,
    /// How much of it came from the group above.
    above_ns: Option<i64>,
    term: Option<u64>,
    rate_ppm: Option<f64>,
    reference: Option<ReferenceStatus>,
    led_ppm: Option<f64>,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str, columns: &Columns) -> Option<Self> {
        // A spreadsheet or an editor may have left its line ends.
        let fields: Vec<&str> = line.trim_end_matches(['\n', '\r']).split(',').collect();
        let [
            time,
            round,
            name,
            address,
            offset,
            delay,
            vote,
            correction,
            error,
            ..,
        ] = fields[..]
        else {
            return None;
        };
        let number = |text: &str| text.parse::<i64>().ok();
        let later = |place: Option<usize>| fields.get(place?).copied();
        let rate = |place| {
            later(place)?
                .parse()
                .ok()
                .filter(|ppm: &f64| ppm.is_finite())
        };
        let ahead_ns = later(columns.reference_ns).and_then(number);
        let sample = Sample {
            offset: TimeDelta::nanoseconds(number(offset)?),
            delay: number(delay).map(TimeDelta::nanoseconds),
            error: TimeDelta::nanoseconds(number(error)?),
        };
        let clocks = later(columns.clocks).and_then(|clocks| clocks.parse().ok());
        let deviation_ns = later(columns.deviation_ns).and_then(number);
        Some(Self {
            time,
            round: round.parse().ok()?,
            name,
            address: Some(address).filter(|address| !address.is_empty()),
            ballot: Ballot {
                sample,
                weight: clocks.unwrap_or(1).clamp(1, LARGEST_WEIGHT),
                deviation: TimeDelta::nanoseconds(deviation_ns.unwrap_or(0).max(0)),
            },
            vote,
            correction_ns: number(correction),
            above_ns: later(columns.above_ns).and_then(number),
            term: later(columns.term).and_then(|term| term.parse().ok()),
            rate_ppm: rate(columns.rate_ppm),
            reference: ahead_ns.map(|ahead_ns| ReferenceStatus {
                followed: later(columns.reference) == Some("followed"),
                ahead_ns,
            }),
            led_ppm: rate(columns.led_ppm),
        })
    }

    fn votes(&self) -> bool {
        self.vote == "yes"
    }

    /// Whether it was asked for agreement.
    fn counts(&self) -> bool {
        let never_asked = [Vote::Dropped, Vote::SameMachine];
        !never_asked.iter().any(|vote| vote.to_string() == self.vote)
    }

    fn clock(&self, agreed: Option<&Consensus>) -> GroupClock {
        let weight = agreed.filter(|_| self.votes());
        let sample = &self.ballot.sample;
        GroupClock {
            name: self.name.to_owned(),
            address: self.address.map(str::to_owned),
            offset_ns: Some(nanoseconds(sample.offset)),
            error_ns: Some(nanoseconds(sample.error)),
            delay_ns: sample.delay.map(nanoseconds),
            clocks: Some(self.ballot.weight),
            correction_ns: self.correction_ns,
            rate_ppm: self.rate_ppm,
            reference: self.reference.clone(),
            vote: Some(match self.vote {
                "-" => "abandoned".to_owned(),
                vote => vote.to_owned(),
            }),
            weight: Some(weight.map_or(0.0, |agreed| agreed.part(sample))),
            ..GroupClock::default()
        }
    }
}

fn status(rows: &[Row], rules: &Rules) -> Option<MasterStatus> {
    // The first row is the master's own.
    let own = rows.first()?;
    let asked = rows.iter().filter(|row| row.counts());
    let asked: Vec<Ballot> = asked.map(|row| row.ballot).collect();
    let agreed = consensus_of(&asked, rules);
    let voters = rows.iter().filter(|row| row.votes());
    let voting = agreed.map(|agreed| agreed.among(voters.map(|row| row.ballot)));
    Some(MasterStatus {
        version: VERSION,
        program: MASTER.to_owned(),
        process: ProcessStatus {
            id: 0,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            name: None,
            time: own.time.to_owned(),
            uptime_s: 0.0,
        },
        listen: String::new(),
        interval_s: 0.0,
        dry_run: false,
        keys: None,
        clock: ClockStatus::unread(own.correction_ns.is_some()),
        lead: LeadStatus {
            role: "leads".to_owned(),
            leader: None,
            term: own.term,
            since_s: 0.0,
            candidates: Vec::new(),
        },
        tree: None,
        round: Some(round(rows, voting)),
        correction: None,
        clocks: rows
            .iter()
            .map(|row| row.clock(voting.as_ref().ok()))
            .collect(),
        counters: MasterCounters::default(),
        ntp: None,
    })
}

fn round(rows: &[Row], voting: Result<Consensus, NoMajority>) -> RoundStatus {
    let own = &rows[0];
    let references = || rows.iter().filter_map(|row| row.reference.as_ref());
    let followed = references().filter(|it| it.followed);
    let mut ahead: Vec<_> = followed.map(|it| it.ahead_ns).collect();
    ahead.sort_unstable();
    let agreed = voting.ok().filter(|_| own.correction_ns.is_some());
    let abandoned = match voting {
        Err(refused) => Some(refused.to_string()),
        Ok(_) if agreed.is_none() => Some("no majority agreed".to_owned()),
        Ok(_) => None,
    };
    RoundStatus {
        number: own.round,
        ago_s: 0.0,
        clocks: rows.len(),
        votes: rows.iter().filter(|row| row.votes()).count(),
        abandoned,
        // The master's offset is 0, so its correction is the average, and what came from above.
        average_ns: (own.correction_ns.filter(|_| agreed.is_some()))
            .map(|correction| correction.saturating_sub(own.above_ns.unwrap_or(0))),
        error_ns: agreed.map(|agreed| nanoseconds(agreed.error)),
        median_ns: agreed.map(|agreed| nanoseconds(agreed.median)),
        window_ns: agreed.map(|agreed| nanoseconds(agreed.window)),
        references: references().count(),
        references_followed: ahead.len(),
        // As the master has led the group: by their median.
        reference_ahead_ns: ahead.get(ahead.len() / 2).copied(),
        led_ppm: own.led_ppm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const MINUTE: i64 = 60_000_000_000;

    fn record(lines: &str) -> Result<Replay, ReplayError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.csv");
        fs::write(&path, format!("{MASTER_HEADER}\n{lines}")).unwrap();
        Replay::open(&path, Rules::default())
    }

    #[test]
    fn what_an_operator_told_is_no_round_and_a_dropped_clock_is_not_asked() {
        let replay = record(
            "2026-11-24T14:00:00Z,1,#root,,,,admit slow,,\n\
             2026-11-24T14:00:01Z,1,master,,0,,yes,0,10\n\
             2026-11-24T14:00:01Z,1,slow,127.0.0.1:1,1000,20,yes,-500,10\n\
             2026-11-24T14:00:01Z,1,fast,127.0.0.1:2,7000,20,dropped,-7000,10\n\
             2026-11-24T14:00:02Z,1,#root,,,,set +90s,90000000000,\n\
             2026-11-24T14:00:03Z,2,master,,0,,yes,0,10\n\
             2026-11-24T14:00:03Z,2,slow,127.0.0.1:1,0,20,yes,0,10\n",
        );
        let replay = replay.unwrap();
        assert_eq!(replay.rounds(), 2);
        let first = replay.status(0).unwrap();
        assert_eq!(first.clocks.len(), 3);
        assert_eq!(first.round.unwrap().median_ns, Some(500));
        assert_eq!(replay.status(1).unwrap().clocks.len(), 2);
    }

    #[test]
    fn rates_and_references_are_what_they_were_with_candidates_or_without() {
        let rows = "\
            2026-11-24T14:00:01Z,1,master,,0,,yes,0,10LEAD,-1.250,,,12.500\r\n\
            2026-11-24T14:00:01Z,1,gps,10.0.0.1:1,1000,20,yes,-500,10LEAD,3.000,followed,-40,12.500\r\n\
            2026-11-24T14:00:01Z,1,radio,10.0.0.2:1,7000,20,new,-7000,10LEAD,,doubted,3600,12.500\r\n";
        for (header, lead, term) in [("", "", None), (",term,rank,waited_ns", ",7,0,5", Some(7))] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("record.csv");
            let later = ",rate_ppm,reference,reference_ns,led_ppm";
            let rows = rows.replace("LEAD", lead);
            fs::write(&path, format!("{MASTER_HEADER}{header}{later}\r\n{rows}")).unwrap();
            let status = Replay::open(&path, Rules::default()).unwrap().status(0);
            let status = status.unwrap();
            assert_eq!(status.lead.term, term);
            let rates: Vec<_> = status.clocks.iter().map(|clock| clock.rate_ppm).collect();
            assert_eq!(rates, [Some(-1.25), Some(3.0), None]);
            let shown = |clock: usize| status.clocks[clock].reference.as_ref();
            let shown = |clock| shown(clock).map(|it| (it.followed, it.ahead_ns));
            assert_eq!((shown(0), shown(1)), (None, Some((true, -40))));
            assert_eq!(shown(2), Some((false, 3600)));
            let round = status.round.as_ref().unwrap();
            assert_eq!((round.references, round.references_followed), (2, 1));
            assert_eq!(round.reference_ahead_ns, Some(-40));
            assert_eq!(round.led_ppm, Some(12.5));
        }
    }

    #[test]
    fn the_clock_of_a_group_counts_for_all_of_them_and_what_came_from_above_is_no_average() {
        let later = ",rate_ppm,reference,reference_ns,led_ppm,clocks,deviation_ns,above_ns";
        // The last one is taken to be no nearer to the median than half of its clocks are.
        let rows = "\
            2026-11-24T14:00:01Z,1,master,,0,,yes,3000300,10,,,,,1,0,300\n\
            2026-11-24T14:00:01Z,1,db1,10.0.0.1:1,1000000,20,yes,2000300,10,,,,,1,0,300\n\
            2026-11-24T14:00:01Z,1,deck,10.0.0.2:1,4000000,20,yes,-999700,10,,,,,5,500000,300\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.csv");
        fs::write(&path, format!("{MASTER_HEADER}{later}\n{rows}")).unwrap();
        let status = Replay::open(&path, Rules::default()).unwrap().status(0);
        let status = status.unwrap();
        let counts: Vec<_> = status.clocks.iter().map(|clock| clock.clocks).collect();
        assert_eq!(counts, [Some(1), Some(1), Some(5)]);
        let round = status.round.unwrap();
        assert_eq!(round.median_ns, Some(4_000_000));
        assert_eq!(round.average_ns, Some(3_000_000));
        assert_eq!(round.window_ns, Some(500_000 * 44_478 / 10_000));
    }

    #[test]
    fn the_worked_example_is_what_it_was() {
        let line = |round: u64, name: &str, offset: i64, correction: i64| {
            let address = if name == "master" { "" } else { "127.0.0.1:1" };
            let (offset, correction) = (offset * MINUTE, correction * MINUTE);
            format!(
                "2026-11-24T14:00:0{round}Z,{round},{name},{address},{offset},20,yes,{correction},10\n"
            )
        };
        let clocks = [("master", 0, 2), ("slow", -14, 16), ("fast", 20, -18)];
        let first = clocks.map(|(name, offset, correction)| line(1, name, offset, correction));
        let second = clocks.map(|(name, _, _)| line(2, name, 0, 0));
        let half_a_line = "2026-11-24T14:00:03Z,3,mas";
        let replay = record(&(first.concat() + &second.concat() + half_a_line)).unwrap();
        assert_eq!(replay.rounds(), 2);
        let status = replay.status(0).unwrap();
        let round = status.round.unwrap();
        assert_eq!((round.number, round.clocks, round.votes), (1, 3, 3));
        assert_eq!(round.average_ns, Some(2 * MINUTE));
        assert_eq!(round.median_ns, Some(0));
        assert_eq!(status.clocks[1].correction_ns, Some(16 * MINUTE));
        assert_eq!(replay.status(1).unwrap().round.unwrap().average_ns, Some(0));
        assert!(replay.status(2).is_none());
    }

    #[test]
    fn no_record_that_is_read_panics() {
        let numbers = ["", "0", "-1", "9223372036854775807", "-9223372036854775808"];
        let mut lines = Vec::new();
        for (place, number) in numbers.iter().cycle().take(40).enumerate() {
            let other = numbers[(place * 7 + 3) % numbers.len()];
            let vote = ["yes", "-", "outlier", "dropped"][place % 4];
            let number = if number.is_empty() { "5" } else { number };
            let error = if other.is_empty() { "-7" } else { other };
            let round = place / 4;
            lines.push(format!(
                "t,{round},n{place},a,{number},{other},{vote},{other},{error},{number},followed,{number},x\n"
            ));
        }
        let replay = record(&lines.concat()).unwrap();
        for round in 0..replay.rounds() {
            let _ = replay.status(round);
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert!(matches!(record(""), Err(ReplayError::Empty(_))));
        for line in ["a\n", "t,1,a,,x,,yes,,1\n", "\0\n"] {
            assert!(matches!(record(line), Err(ReplayError::Line(_, 2))));
        }
        let row = format!("t,1,{},,0,,yes,0,1\n", "a".repeat(900));
        let endless = row.repeat(20_000);
        assert!(matches!(record(&endless), Err(ReplayError::Round(..))));
        let long = "x".repeat(3000) + "\n";
        assert!(matches!(record(&long), Err(ReplayError::Line(_, 2))));
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other.csv");
        fs::write(&other, "time,round,correction_ns\n").unwrap();
        let refused = Replay::open(&other, Rules::default());
        assert!(matches!(refused, Err(ReplayError::Header(_))));
    }
}
