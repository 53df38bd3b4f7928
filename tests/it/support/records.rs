//! Records, read back.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::programs::SOON;
use chrono::{DateTime, TimeDelta, Utc};

/// The whole lines of a record, its header included, when there are so many.
#[track_caller]
pub(crate) fn lines(path: &Path, count: usize) -> Vec<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let record = fs::read_to_string(path).unwrap_or_default();
        let lines = record.split_inclusive('\n');
        let whole = lines.filter_map(|line| line.strip_suffix('\n'));
        let whole: Vec<_> = whole.map(str::to_owned).collect();
        if whole.len() >= count {
            return whole;
        }
        assert!(Instant::now() < deadline, "not {count} lines: {record}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A moment of a follower's record: what three clocks showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The machine's wall clock.
    pub(crate) time: DateTime<Utc>,
    /// The follower's own, which nobody steers.
    pub(crate) clock: DateTime<Utc>,
    pub(crate) network: DateTime<Utc>,
}

impl Moment {
    /// How far network time is ahead of the machine's wall clock.
    pub(crate) fn ahead(&self) -> TimeDelta {
        self.network - self.time
    }

    /// How far network time is ahead of the follower's own clock.
    pub(crate) fn ahead_of_own(&self) -> TimeDelta {
        self.network - self.clock
    }
}

/// The moments of a record, as far as its lines are whole: it may be growing.
pub(crate) fn moments(path: &Path) -> Vec<Moment> {
    // It may not have been made yet.
    let record = fs::read_to_string(path).unwrap_or_default();
    let lines = record.split_inclusive('\n').skip(1);
    let whole = lines.filter_map(|line| line.strip_suffix('\n'));
    let moment = |line: &str| {
        let columns: Vec<_> = line.split(',').collect();
        let shown = |column: usize| {
            DateTime::from_timestamp_nanos(columns[column].parse().expect("a number"))
        };
        Moment {
            time: columns[0].parse().expect("a time"),
            clock: shown(3),
            network: shown(4),
        }
    };
    whole.map(moment).collect()
}

/// Network time ahead of the machine's wall clock at any moment between the first and the last.
pub(crate) fn ahead_at(moments: &[Moment], time: DateTime<Utc>) -> Option<TimeDelta> {
    let pair = moments
        .windows(2)
        .find(|pair| pair[0].time <= time && time <= pair[1].time)?;
    let nanoseconds = |span: TimeDelta| span.num_nanoseconds().expect("a short span") as f64;
    let part = nanoseconds(time - pair[0].time) / nanoseconds(pair[1].time - pair[0].time);
    let gained = nanoseconds(pair[1].ahead() - pair[0].ahead()) * part;
    Some(pair[0].ahead() + TimeDelta::nanoseconds(gained as i64))
}

/// How far apart the clocks of these records were at each moment of a correction between two times,
/// as far as all of them cover it: the shortest distance first.
#[track_caller]
pub(crate) fn apart(
    records: &[Vec<Moment>],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Vec<TimeDelta> {
    let times = records.iter().flatten().map(|moment| moment.time);
    let apart = times
        .filter(|time| from <= *time && *time <= to)
        .filter_map(|time| {
            let there: Option<Vec<_>> = records.iter().map(|r| ahead_at(r, time)).collect();
            let there = there?;
            Some(*there.iter().max()? - *there.iter().min()?)
        });
    let mut apart: Vec<_> = apart.collect();
    assert!(!apart.is_empty(), "no moment that all records cover");
    apart.sort_unstable();
    apart
}
