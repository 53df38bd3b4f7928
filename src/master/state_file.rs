//! Keeps across restarts which clocks the group has (`--state-file`).
//!
//! The first line names the format, each further one a clock: the day on which it was last seen, by
//! the group's time; its name; in how many rounds it was within the window; the mean of the
//! distances that it has voted with, in nanoseconds; and its machine, or `-` where that does not
//! matter. The file is replaced whole or not at all.
//!
//! ```text
//! berkeley-group 1
//! 2026-11-24 db1 4711 -230 10.0.0.7
//! ```

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::average::acquaintances::{Acquaintance, Acquaintances, MOST};
use crate::average::reputation::Standing;
use crate::kept_file::{KeptFile, KeptFileError};
use crate::span::nanoseconds;
use crate::wire::name::{LONGEST_NAME, NodeName};

/// The first line.
const HEADER: &str = "berkeley-group 1";

/// What it begins with in each version.
const NAME: &str = "berkeley-group ";

/// How often the file is written while the program runs.
const PERIOD: Duration = Duration::from_mins(1);

/// No line is longer, in bytes: a day, a name, two numbers, an IPv6 network.
const LONGEST_LINE: usize = 10 + LONGEST_NAME + 10 + 20 + 24 + 5;

/// Stands for a machine on which each clock counts.
const NO_MACHINE: &str = "-";

/// No file is longer, in bytes.
const LONGEST: usize = HEADER.len() + 1 + MOST * LONGEST_LINE;

/// Where it is kept which clocks the group has.
#[derive(Debug)]
pub struct StateFile {
    file: KeptFile,
    /// Who was in the file when it was opened.
    found: Acquaintances,
    saved: Option<Instant>,
}

impl StateFile {
    /// The file, which need not be there yet. One that is damaged is not used, with a warning, and
    /// replaced in time.
    ///
    /// # Errors
    /// When the file could not be written, or is none of a group.
    pub fn open(path: &Path) -> Result<Self, KeptFileError> {
        let (file, text) = KeptFile::open("--state-file", path, LONGEST as u64, |text| {
            text.starts_with(NAME) || HEADER.starts_with(text)
        })?;
        let found = text.as_deref().map(parse);
        if found == Some(None) {
            log::warn!(
                "{} does not hold the clocks of a group; starting without",
                path.display()
            );
        }
        let found = found.flatten().unwrap_or_default();
        Ok(Self {
            file,
            found,
            saved: None,
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

    /// Begins to write who is remembered, if anybody is.
    pub(crate) fn keep(&mut self, known: &Acquaintances, now: Instant) {
        if !known.is_empty() {
            self.saved = Some(now);
            self.file.write(text(known));
        }
    }

    /// Writes it at the end of a program.
    pub(crate) fn save(&mut self, known: &Acquaintances) {
        if !known.is_empty() {
            self.file.write_last(text(known));
        }
    }
}

fn text(known: &Acquaintances) -> String {
    let mut text = format!("{HEADER}\n");
    for (name, known) in known.iter() {
        let (rounds, mean) = (known.standing.rounds(), nanoseconds(known.standing.mean()));
        let machine = known.machine.map(|it| it.to_string());
        let machine = machine.as_deref().unwrap_or(NO_MACHINE);
        // Writing to a string fails only if a `Display` does.
        let _ = writeln!(text, "{} {name} {rounds} {mean} {machine}", known.seen);
    }
    text
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
        let [day, name, rounds, mean, machine] = words[..] else {
            return None;
        };
        let name: NodeName = name.parse().ok()?;
        let mean = TimeDelta::nanoseconds(mean.parse().ok()?);
        let machine = match machine {
            NO_MACHINE => None,
            machine => Some(machine.parse().ok()?),
        };
        let seen = Acquaintance {
            seen: day.parse().ok()?,
            standing: Standing::kept(rounds.parse().ok()?, mean),
            machine,
        };
        // How many votes a machine had is what the last run knew.
        found.note(&Arc::from(name.as_str()), seen, usize::MAX);
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
    use crate::wire::machine::Machine;
    use chrono::NaiveDate;
    use std::fs;
    use std::net::Ipv6Addr;

    fn known(clocks: usize) -> Acquaintances {
        let mut known = Acquaintances::default();
        for number in 0..clocks {
            let name = Arc::from(format!("{number:x>LONGEST_NAME$}"));
            let address = Ipv6Addr::from_bits(u128::MAX - number as u128);
            let seen = Acquaintance {
                seen: NaiveDate::from_ymd_opt(2026, 11, 24).unwrap(),
                standing: Standing::kept(u32::MAX, TimeDelta::nanoseconds(-(number as i64))),
                machine: (number % 2 == 0).then(|| Machine::of(address.into())),
            };
            known.note(&name, seen, usize::MAX);
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
        file.keep(&Acquaintances::default(), now);
        file.save(&Acquaintances::default());
        assert!(!path.exists(), "there is nothing to keep");
        for clocks in [1, MOST] {
            file.keep(&known(clocks), now);
            file.save(&known(clocks));
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
        let line = "2026-11-24 db1 100 5 10.0.0.7";
        let text = |lines: &str| format!("{HEADER}\n{lines}");
        assert_eq!(parse(&text(&format!("{line}\n"))).unwrap().len(), 1);
        assert!(parse(&text("")).unwrap().is_empty());
        for damaged in [
            String::new(),
            text(line),
            text(&format!("{line}\n\n")),
            text(&format!("{line}\n{line}\n")),
            text("2026-11-24 db1 100 5\n"),
            text("2026-11-24 db1 100 5 - 6\n"),
            text("2026-13-24 db1 100 5 -\n"),
            text("2026-11-24 d,b1 100 5 -\n"),
            text("2026-11-24 db1 -1 5 -\n"),
            text("2026-11-24 db1 100 x -\n"),
            text("2026-11-24 db1 100 5 db1\n"),
            format!("berkeley-group 2\n{line}\n"),
            text(&format!("{line}\n").repeat(MOST + 1)),
        ] {
            assert_eq!(parse(&damaged), None, "{damaged:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("group");
        for damaged in [
            &b""[..],
            b"berk",
            b"berkeley-group 1\n\xff",
            b"berkeley-group 2\n",
        ] {
            fs::write(&path, damaged).unwrap();
            assert!(StateFile::open(&path).unwrap().found().is_empty());
        }
        for other in ["berkeley-group-key 1\n", "1.5 0.2\n"] {
            fs::write(&path, other).unwrap();
            let refused = StateFile::open(&path).unwrap_err().to_string();
            assert!(refused.contains("holds something else"), "{refused}");
        }
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
