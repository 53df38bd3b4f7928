//! Keeps a clock's rate across restarts.
//!
//! The file holds one line: the network's rate against the machine's oscillator and its standard
//! deviation, both in ppm. It is replaced whole or not at all.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::clock::CRYSTAL_PPM;
use crate::discipline::line::{Rate, WANDER_PPM};
use crate::kept_file::{KeptFile, KeptFileError};

/// How often the file is written while the program runs.
const PERIOD: Duration = Duration::from_mins(1);

/// A rate that is known no better than this is not worth keeping, in ppm.
const WORTH_PPM: f64 = 5.0;

/// No drift file is longer, in bytes.
const LONGEST: u64 = 100;

/// What numbers are written with. A file with anything else is not ours, however damaged.
const OURS: &str = "0123456789+-.eE \n";

/// Where a rate is kept.
#[derive(Debug)]
pub struct DriftFile {
    file: KeptFile,
    saved: Option<Instant>,
}

impl DriftFile {
    /// The file, and the rate in it: none if there is no file yet or, with a warning, if it is
    /// damaged or the rate is more than `largest_ppm`, either way.
    ///
    /// # Errors
    /// When the file could not be written, or holds something else than numbers.
    pub fn open(path: &Path, largest_ppm: f64) -> Result<(Self, Option<Rate>), KeptFileError> {
        let (file, text) = KeptFile::open("--drift-file", path, LONGEST, |text| {
            text.len() as u64 <= LONGEST && text.chars().all(|it| OURS.contains(it))
        })?;
        let rate = text.as_deref().map(|text| parse(text, largest_ppm));
        if rate == Some(None) {
            log::warn!(
                "{} does not hold a rate of at most {largest_ppm} ppm and its error; starting without",
                path.display()
            );
        }
        let saved = None;
        Ok((Self { file, saved }, rate.flatten()))
    }

    /// Begins to save the rate, if it is worth it and was not saved within a minute.
    pub fn keep(&mut self, rate: Rate, now: Instant) {
        if self.saved.is_none_or(|saved| now >= saved + PERIOD) {
            self.saved = Some(now);
            if let Some(text) = text(rate) {
                self.file.write(text);
            }
        }
    }

    /// Saves the rate at the end of a program, if it is known well enough to be worth it.
    pub fn save(&mut self, rate: Rate) {
        if let Some(text) = text(rate) {
            self.file.write_last(text);
        }
    }
}

/// What is kept of a rate that is known well enough to be worth it.
fn text(rate: Rate) -> Option<String> {
    let worth = rate.error_ppm <= WORTH_PPM;
    worth.then(|| format!("{:.6} {:.6}\n", rate.ppm, rate.error_ppm))
}

fn parse(text: &str, largest_ppm: f64) -> Option<Rate> {
    let (ppm, error_ppm) = text.trim_end().split_once(' ')?;
    let (ppm, error_ppm): (f64, f64) = (ppm.parse().ok()?, error_ppm.parse().ok()?);
    let holds = ppm.abs() <= largest_ppm && (0.0..=CRYSTAL_PPM).contains(&error_ppm);
    holds.then_some(Rate {
        ppm,
        error_ppm: error_ppm + WANDER_PPM,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LARGEST: f64 = 500.0;

    const KNOWN: Rate = Rate {
        ppm: -12.5,
        error_ppm: 0.25,
    };

    #[test]
    fn a_rate_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drift");
        let (mut file, rate) = DriftFile::open(&path, LARGEST).unwrap();
        assert_eq!(rate, None);
        file.save(KNOWN);
        assert_eq!(fs::read_to_string(&path).unwrap(), "-12.500000 0.250000\n");
        let rate = DriftFile::open(&path, LARGEST).unwrap().1.unwrap();
        assert!((rate.ppm + 12.5).abs() < 1e-9 && (rate.error_ppm - 1.25).abs() < 1e-9);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    /// Waits until the file is written that begins so.
    fn wait_for(path: &Path, begin: &str) {
        let is_there = || fs::read_to_string(path).is_ok_and(|text| text.starts_with(begin));
        while !is_there() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_is_written_once_a_minute_and_only_with_something_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drift");
        let (mut file, _) = DriftFile::open(&path, LARGEST).unwrap();
        let now = Instant::now();
        file.save(Rate::UNKNOWN);
        assert!(!path.exists());
        file.keep(KNOWN, now);
        wait_for(&path, "-12.5");
        let other = Rate { ppm: 7.0, ..KNOWN };
        file.keep(other, now + PERIOD / 2);
        file.file.write_last(fs::read_to_string(&path).unwrap());
        assert!(fs::read_to_string(&path).unwrap().starts_with("-12.5"));
        file.keep(other, now + PERIOD);
        wait_for(&path, "7.0");
    }

    #[test]
    fn a_damaged_file_is_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drift");
        for text in ["", "12.5", "-12.50", "1 2 3", "501 1", "1 -1"] {
            fs::write(&path, text).unwrap();
            assert_eq!(DriftFile::open(&path, LARGEST).unwrap().1, None, "{text:?}");
        }
        for text in ["inf 1", "nan 1", "1 nan"] {
            assert_eq!(parse(text, LARGEST), None, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_holds_no_numbers_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("group.key");
        for text in ["berkeley-group-key 1\n", "1 x\n", &"1 ".repeat(60)] {
            fs::write(&path, text).unwrap();
            let refused = DriftFile::open(&path, LARGEST).unwrap_err().to_string();
            assert!(refused.contains("holds something else"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_file_that_could_not_be_written_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/no/such/folder/drift"), folder.path()] {
            let said = DriftFile::open(path, LARGEST).unwrap_err().to_string();
            let named = format!("cannot write --drift-file {}: ", path.display());
            assert!(said.starts_with(&named), "{said}");
        }
        let path = folder.path().join("drift");
        DriftFile::open(&path, LARGEST).unwrap();
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "a start leaves nothing behind");
    }
}
