//! Keeps a clock's rate across restarts.
//!
//! The file holds one line: the network's rate against the machine's oscillator and its standard
//! deviation, both in ppm. It is replaced whole or not at all.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::CRYSTAL_PPM;
use crate::discipline::line::{Rate, WANDER_PPM};
use crate::regular_file;

/// How often the file is written while the program runs.
const PERIOD: Duration = Duration::from_mins(1);

/// A rate that is known no better than this is not worth keeping, in ppm.
const WORTH_PPM: f64 = 5.0;

/// No drift file is longer, in bytes.
const LONGEST: u64 = 100;

/// The rate could not be kept in this file.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write --drift-file {}: {error}; it has to be in a folder that exists and may be written \
     to",
    path.display()
)]
pub struct DriftFileError {
    path: PathBuf,
    error: io::Error,
}

/// Where a rate is kept.
#[derive(Debug)]
pub struct DriftFile {
    path: PathBuf,
    saved: Option<Instant>,
    failed: bool,
}

impl DriftFile {
    /// The file, and the rate in it: none if there is no file yet or, with a warning, if it is
    /// damaged or the rate is more than `largest_ppm`, either way.
    ///
    /// # Errors
    /// When the file could not be written.
    pub fn open(path: &Path, largest_ppm: f64) -> Result<(Self, Option<Rate>), DriftFileError> {
        regular_file::can_replace(path).map_err(|error| DriftFileError {
            path: path.to_owned(),
            error,
        })?;
        let rate = match read(path) {
            Ok(text) => {
                let rate = parse(&text, largest_ppm);
                if rate.is_none() {
                    log::warn!(
                        "{} does not hold a rate of at most {largest_ppm} ppm and its error; \
                         starting without",
                        path.display()
                    );
                }
                rate
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    log::warn!("cannot read {}: {error}; starting without", path.display());
                }
                None
            }
        };
        let file = Self {
            path: path.to_owned(),
            saved: None,
            failed: false,
        };
        Ok((file, rate))
    }

    /// Saves the rate, if it is worth it and was not saved within a minute.
    pub fn keep(&mut self, rate: Rate, now: Instant) {
        if self.saved.is_none_or(|saved| now >= saved + PERIOD) {
            self.saved = Some(now);
            self.save(rate);
        }
    }

    /// Saves the rate, if it is known well enough to be worth it.
    pub fn save(&mut self, rate: Rate) {
        if rate.error_ppm > WORTH_PPM {
            return;
        }
        let written = regular_file::replace(
            &self.path,
            &format!("{:.6} {:.6}\n", rate.ppm, rate.error_ppm),
        );
        if let Err(error) = &written
            && !self.failed
        {
            log::warn!("cannot write {}: {error}; going on", self.path.display());
        }
        self.failed = written.is_err();
    }
}

/// Reads a line's worth, whatever the file turns out to be.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = regular_file::open(path, File::options().read(true))?;
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
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

/// Where a drift file is written before it takes the place of the one at `path`.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    regular_file::beside(path)
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

    #[test]
    fn it_is_written_once_a_minute_and_only_with_something_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drift");
        let (mut file, _) = DriftFile::open(&path, LARGEST).unwrap();
        let now = Instant::now();
        file.save(Rate::UNKNOWN);
        assert!(!path.exists());
        file.keep(KNOWN, now);
        let other = Rate { ppm: 7.0, ..KNOWN };
        file.keep(other, now + PERIOD / 2);
        assert!(fs::read_to_string(&path).unwrap().starts_with("-12.5"));
        file.keep(other, now + PERIOD);
        assert!(fs::read_to_string(&path).unwrap().starts_with("7.0"));
    }

    #[test]
    fn a_damaged_file_is_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drift");
        for text in [
            "", "12.5", "x y\n", "1 2 3", "inf 1", "nan 1", "1 nan", "501 1", "1 -1",
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(DriftFile::open(&path, LARGEST).unwrap().1, None, "{text:?}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(DriftFile::open(&path, LARGEST).unwrap().1, None);
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

    #[test]
    fn a_folder_that_is_gone_later_does_not_end_anything() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = DriftFile::open(&folder.path().join("drift"), LARGEST).unwrap();
        drop(folder);
        file.save(KNOWN);
        assert!(file.failed);
    }
}
