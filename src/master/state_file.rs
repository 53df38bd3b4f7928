//! Keeps across restarts which clocks the group has (`--state-file`).
//!
//! The first line names the format, each further one a clock: the day on which it was last seen, by
//! the group's time; its name; in how many rounds it was within the window; and the mean of the
//! distances that it has voted with, in nanoseconds. The file is replaced whole or not at all.
//!
//! ```text
//! berkeley-group 1
//! 2026-11-24 db1 4711 -230
//! ```

use std::fmt::Write;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::average::acquaintances::{Acquaintances, MOST};
use crate::average::reputation::Standing;
use crate::regular_file;
use crate::span::nanoseconds;
use crate::wire::name::{LONGEST_NAME, NodeName};

/// The first line.
const HEADER: &str = "berkeley-group 1";

/// How often the file is written while the program runs.
const PERIOD: Duration = Duration::from_mins(1);

/// No line is longer, in bytes: a day, a name, two numbers.
const LONGEST_LINE: usize = 10 + LONGEST_NAME + 10 + 20 + 4;

/// No file is longer, in bytes.
const LONGEST: usize = HEADER.len() + 1 + MOST * LONGEST_LINE;

/// What is known of the group could not be kept in this file.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write --state-file {}: {error}; it has to be in a folder that exists and may be written \
     to",
    path.display()
)]
pub struct StateFileError {
    path: PathBuf,
    error: io::Error,
}

/// Where it is kept which clocks the group has.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Who was in the file when it was opened.
    found: Acquaintances,
    saved: Option<Instant>,
    failed: bool,
}

impl StateFile {
    /// The file, which need not be there yet. One that is damaged is not used, with a warning, and
    /// replaced in time.
    ///
    /// # Errors
    /// When the file could not be written.
    pub fn open(path: &Path) -> Result<Self, StateFileError> {
        regular_file::can_replace(path).map_err(|error| StateFileError {
            path: path.to_owned(),
            error,
        })?;
        let found = match read(path) {
            Ok(text) => parse(&text).unwrap_or_else(|| {
                log::warn!(
                    "{} does not hold the clocks of a group; starting without",
                    path.display()
                );
                Acquaintances::default()
            }),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    log::warn!("cannot read {}: {error}; starting without", path.display());
                }
                Acquaintances::default()
            }
        };
        Ok(Self {
            path: path.to_owned(),
            found,
            saved: None,
            failed: false,
        })
    }

    /// Who was in the file when it was opened.
    pub(crate) fn found(&self) -> &Acquaintances {
        &self.found
    }

    /// Whether it was not written within a minute.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.saved.is_none_or(|saved| now >= saved + PERIOD)
    }

    /// Writes who is remembered, if anybody is.
    pub(crate) fn save(&mut self, known: &Acquaintances, now: Instant) {
        if known.is_empty() {
            return;
        }
        self.saved = Some(now);
        let written = regular_file::replace(&self.path, &text(known));
        if let Err(error) = &written
            && !self.failed
        {
            log::warn!("cannot write {}: {error}; going on", self.path.display());
        }
        self.failed = written.is_err();
    }
}

fn text(known: &Acquaintances) -> String {
    let mut text = format!("{HEADER}\n");
    for (name, known) in known.iter() {
        let (rounds, mean) = (known.standing.rounds(), known.standing.mean());
        // Writing to a string fails only if a `Display` does.
        let _ = writeln!(text, "{} {name} {rounds} {}", known.seen, nanoseconds(mean));
    }
    text
}

/// Reads as much as such a file may have, whatever it turns out to be.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = regular_file::open(path, File::options().read(true))?;
    file.take(LONGEST as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: &str) -> Option<Acquaintances> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if text.len() > LONGEST || lines.next()? != HEADER {
        return None;
    }
    let mut found = Acquaintances::default();
    let mut count = 0;
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        let [day, name, rounds, mean] = words[..] else {
            return None;
        };
        let name: NodeName = name.parse().ok()?;
        let mean = TimeDelta::nanoseconds(mean.parse().ok()?);
        let standing = Standing::kept(rounds.parse().ok()?, mean);
        found.note(&Arc::from(name.as_str()), standing, day.parse().ok()?);
        count += 1;
    }
    // Each clock once, none of which is new, and no more than there may be.
    (found.len() == count).then_some(found)
}

/// Where a state file is, if nothing else is said, beside a drift file.
#[must_use]
pub fn beside(drift_file: &Path) -> PathBuf {
    let mut beside = drift_file.as_os_str().to_owned();
    beside.push(".group");
    beside.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;
    use std::fs;

    fn known(clocks: usize) -> Acquaintances {
        let mut known = Acquaintances::default();
        for number in 0..clocks {
            let name = Arc::from(format!("{number:x>LONGEST_NAME$}"));
            let standing = Standing::kept(u32::MAX, TimeDelta::nanoseconds(-(number as i64)));
            known.note(
                &name,
                standing,
                NaiveDate::from_ymd_opt(2026, 11, 24).unwrap(),
            );
        }
        known
    }

    #[test]
    fn who_is_remembered_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("group");
        let now = Instant::now();
        let mut file = StateFile::open(&path).unwrap();
        assert!(file.found().is_empty() && file.is_due(now));
        file.save(&Acquaintances::default(), now);
        assert!(!path.exists(), "there is nothing to keep");
        for clocks in [1, MOST] {
            file.save(&known(clocks), now);
            assert!(!file.is_due(now + PERIOD / 2) && file.is_due(now + PERIOD));
            assert_eq!(*StateFile::open(&path).unwrap().found(), known(clocks));
        }
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .starts_with("berkeley-group 1\n2026-11-24 ")
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_a_fresh_start() {
        let line = "2026-11-24 db1 100 5";
        let text = |lines: &str| format!("{HEADER}\n{lines}");
        assert_eq!(parse(&text(&format!("{line}\n"))).unwrap().len(), 1);
        assert!(parse(&text("")).unwrap().is_empty());
        for damaged in [
            String::new(),
            text(line),
            text(&format!("{line}\n\n")),
            text(&format!("{line}\n{line}\n")),
            text("2026-11-24 db1 100\n"),
            text("2026-11-24 db1 100 5 6\n"),
            text("2026-13-24 db1 100 5\n"),
            text("2026-11-24 d,b1 100 5\n"),
            text("2026-11-24 db1 -1 5\n"),
            text("2026-11-24 db1 100 x\n"),
            format!("berkeley-group 2\n{line}\n"),
            text(&format!("{line}\n").repeat(MOST + 1)),
        ] {
            assert_eq!(parse(&damaged), None, "{damaged:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("group");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(StateFile::open(&path).unwrap().found().is_empty());
    }

    #[test]
    fn a_file_that_could_not_be_written_is_an_error_at_the_start() {
        let said = StateFile::open(Path::new("/no/such/folder/group")).unwrap_err();
        let said = said.to_string();
        assert!(
            said.starts_with("cannot write --state-file /no/such/folder/group: "),
            "{said}"
        );
    }
}
