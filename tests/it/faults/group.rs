//! A master with healthy followers, and what they notice while something fails beside them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::span;
use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;

use crate::support::programs::{Program, SOON};
use crate::support::records::{Moment, apart, moments};

/// Between rounds. Short, for the tests to be; long enough for a busy machine to hold each round.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// What a fault may cost those that are healthy. On an idle machine it is no round and some 20 µs;
/// one that runs other tests meanwhile may pause for long enough to lose a round by itself.
pub(crate) const LIMIT: Limit = Limit {
    missed: 1,
    skew: TimeDelta::milliseconds(5),
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) missed: i64,
    pub(crate) skew: TimeDelta,
}

pub(crate) struct Group {
    pub(crate) master: Program,
    followers: Vec<Healthy>,
    address: SocketAddr,
    interval: Duration,
    _folder: TempDir,
}

struct Healthy {
    program: Program,
    record: PathBuf,
}

/// What the healthy followers noticed since a watch began.
#[derive(Debug)]
pub(crate) struct Noticed {
    /// Rounds that one of them missed: the most of any.
    pub(crate) missed: i64,
    /// The farthest that two of them were apart at any moment.
    pub(crate) skew: TimeDelta,
}

/// A look at the healthy followers from some moment on.
pub(crate) struct Watch<'a> {
    group: &'a Group,
    began: DateTime<Utc>,
    before: Vec<usize>,
}

impl Group {
    pub(crate) fn new(followers: usize) -> Self {
        let interval = humantime::format_duration(INTERVAL).to_string();
        let master = Program::master(&["--interval", &interval]);
        Self::of(master, followers, INTERVAL)
    }

    /// Followers of the given master, all of which have been corrected three times.
    pub(crate) fn of(master: Program, followers: usize, interval: Duration) -> Self {
        let address = master.address();
        Self::at(master, (0..followers).map(|_| address), interval)
    }

    /// Followers of the given master at each of these addresses, all of which have been corrected
    /// three times.
    pub(crate) fn at(
        master: Program,
        addresses: impl Iterator<Item = SocketAddr>,
        interval: Duration,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut last = None;
        let follower = |(number, address): (usize, SocketAddr)| {
            last = Some(address);
            let record = folder.path().join(format!("follower {number}.csv"));
            let path = record.to_str().expect("a name");
            let program = Program::follower(address, &["--record", path]);
            Healthy { program, record }
        };
        let followers = (1..).zip(addresses).map(follower).collect();
        let address = last.expect("a follower");
        let group = Self {
            master,
            followers,
            address,
            interval,
            _folder: folder,
        };
        group.watch().rounds(3);
        group
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn watch(&self) -> Watch<'_> {
        let before = self.records().iter().map(Vec::len).collect();
        Watch {
            group: self,
            began: WallClock.read(),
            before,
        }
    }

    /// Waits for the orderly end of the master; how long it took.
    #[track_caller]
    pub(crate) fn ends_within(mut self, patience: Duration) -> Duration {
        let began = Instant::now();
        let status = self.master.ends_within(patience);
        assert_eq!(status.code(), Some(0), "it ended with {status}");
        began.elapsed()
    }

    fn records(&self) -> Vec<Vec<Moment>> {
        let records = self.followers.iter();
        records.map(|healthy| moments(&healthy.record)).collect()
    }
}

impl Watch<'_> {
    /// Waits until all of them were corrected so many times.
    pub(crate) fn rounds(&self, count: usize) {
        let deadline = Instant::now() + SOON + self.group.interval * 3 * count as u32;
        let behind = || {
            let records = self.group.records();
            let mut counts = records.iter().zip(&self.before);
            counts.position(|(record, before)| record.len() < before + count)
        };
        while let Some(number) = behind() {
            assert!(
                Instant::now() < deadline,
                "no {count} rounds came:\n{}",
                self.group.followers[number].program.transcript()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The corrections of each of them since it began.
    pub(crate) fn corrections(&self) -> Vec<Vec<Moment>> {
        let records = self.group.records().into_iter().zip(&self.before);
        records
            .map(|(mut record, before)| record.split_off(*before))
            .collect()
    }

    pub(crate) fn noticed(&self) -> Noticed {
        let said = self.group.master.transcript();
        assert!(!said.contains("panicked"), "{said}");
        for healthy in &self.group.followers {
            let said = healthy.program.transcript();
            assert!(!said.contains("lost"), "{said}");
        }
        let records = self.group.records();
        let since = |(record, before): (&Vec<Moment>, &usize)| {
            // The last one before, too: the first gap begins with it.
            record[before.saturating_sub(1)..].to_vec()
        };
        let records: Vec<_> = records.iter().zip(&self.before).map(since).collect();
        let missed = records.iter().map(|record| self.missed(record)).max();
        Noticed {
            missed: missed.expect("a healthy follower"),
            skew: *apart(&records, self.began, WallClock.read())
                .last()
                .expect("a moment"),
        }
    }

    /// How many rounds less there were than there was time for.
    fn missed(&self, record: &[Moment]) -> i64 {
        let (Some(first), Some(last)) = (record.first(), record.last()) else {
            return i64::MAX;
        };
        let rounds = |span: TimeDelta| {
            let span = span.to_std().unwrap_or_default();
            span.as_secs_f64() / self.group.interval.as_secs_f64()
        };
        let held = record.len() as i64 - 1;
        let due = rounds(last.clock - first.clock).round() as i64;
        // One that is due now may still come, even to a busy machine.
        let overdue = rounds(WallClock.read() - last.time) - 1.5;
        (due - held).max(0) + overdue.max(0.0).ceil() as i64
    }
}

impl Noticed {
    /// Prints a row of the table in `docs/reliability.md`, and fails where the limit is exceeded.
    #[track_caller]
    pub(crate) fn row(&self, fault: &str, limit: Limit) {
        row(
            fault,
            &format!(
                "healthy followers missed {} rounds, skew {}",
                self.missed,
                span::span(self.skew)
            ),
            &format!("{} round, {}", limit.missed, span::span(limit.skew)),
            self.missed <= limit.missed && self.skew <= limit.skew,
        );
    }
}

/// Prints a row of the table in `docs/reliability.md`, and fails where the limit is exceeded.
#[track_caller]
pub(crate) fn row(fault: &str, noticed: &str, limit: &str, kept: bool) {
    println!("fault | {fault} | {noticed} | limit: {limit}");
    assert!(kept, "{fault}: {noticed}, where the limit is {limit}");
}

/// Waits for something that has to come soon.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON * 2;
    while !there() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(10));
    }
}
