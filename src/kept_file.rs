//! Files that a program keeps for its next start: small texts, read once and replaced whole in time.
//!
//! A slip on the command line must not cost anybody a file: what holds something else is never
//! replaced. A disk that hangs must not hold anybody up: each text is written by a thread that ends
//! then, and no second one is begun before.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::regular_file;

/// How long the end of a program waits for a text to be written.
const PATIENCE: Duration = Duration::from_millis(200);

/// Nothing can be kept in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptFileError {
    /// It could not be written.
    #[error(
        "cannot write {flag} {}: {error}; it has to be in a folder that exists and may be written to",
        path.display()
    )]
    Write {
        /// What has named it.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// It can't be read, so it may hold anything.
    #[error("cannot read {flag} {}: {error}", path.display())]
    Read {
        /// What has named it.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// It holds something else.
    #[error(
        "{flag} {} holds something else, which would be overwritten: name another file, or remove \
         this one",
        path.display()
    )]
    Foreign {
        /// What has named it.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
    },
}

/// A file that is kept for the next start.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    /// What becomes of the text that is being written.
    writing: Option<Receiver<io::Result<()>>>,
    failed: bool,
}

impl KeptFile {
    /// The file that a flag names, and what the last run has kept in it, up to `longest` bytes and one
    /// more; no text if there is no file yet. `is_ours` tells what may be replaced by its text, which
    /// may be damaged.
    ///
    /// # Errors
    /// [`KeptFileError`].
    pub(crate) fn open(
        flag: &'static str,
        path: &Path,
        longest: u64,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<(Self, Option<String>), KeptFileError> {
        let file = Self {
            path: path.to_owned(),
            writing: None,
            failed: false,
        };
        let path = file.path.clone();
        if let Err(error) = regular_file::can_replace(&path) {
            return Err(KeptFileError::Write { flag, path, error });
        }
        match read(&path, longest) {
            Ok(text) if is_ours(&text) => Ok((file, Some(text))),
            Ok(_) => Err(KeptFileError::Foreign { flag, path }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((file, None)),
            Err(error) => Err(KeptFileError::Read { flag, path, error }),
        }
    }

    /// Begins to write a text in the place of the last one, unless that is still being written.
    pub(crate) fn write(&mut self, text: String) {
        self.settle(Duration::ZERO);
        if self.writing.is_some() {
            return;
        }
        let (done, writing) = mpsc::sync_channel(1);
        let path = self.path.clone();
        let write = move || {
            // Nobody may wait for it any more.
            let _ = done.send(regular_file::replace(&path, &text));
        };
        let thread = thread::Builder::new().name("kept file".to_owned());
        match thread.spawn(write) {
            Ok(_) => self.writing = Some(writing),
            Err(error) => self.note(&Err(error)),
        }
    }

    /// The same at the end of a program, which waits for it, but not for long.
    pub(crate) fn write_last(&mut self, text: String) {
        self.settle(PATIENCE);
        self.write(text);
        self.settle(PATIENCE);
    }

    /// Waits for so long until nothing is being written.
    fn settle(&mut self, patience: Duration) {
        let Some(writing) = &self.writing else {
            return;
        };
        match writing.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(written) => self.note(&written),
            Err(RecvTimeoutError::Disconnected) => self.writing = None,
        }
    }

    fn note(&mut self, written: &io::Result<()>) {
        self.writing = None;
        if let Err(error) = written
            && !self.failed
        {
            log::warn!("cannot write {}: {error}; going on", self.path.display());
        }
        self.failed = written.is_err();
    }
}

fn read(path: &Path, longest: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = regular_file::open(path, File::options().read(true))?;
    file.take(longest + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_not_ours_or_can_not_be_read_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let open = || {
            let ours = |text: &str| text.starts_with("ours");
            KeptFile::open("--drift-file", &path, 9, ours).map(|(_, text)| text)
        };
        assert!(matches!(open(), Ok(None)));
        fs::write(&path, "ours, and some more").unwrap();
        assert_eq!(open().unwrap().as_deref(), Some("ours, and "));
        fs::write(&path, b"theirs\xff").unwrap();
        let refused = open().unwrap_err().to_string();
        let named = format!("--drift-file {} holds something else", path.display());
        assert!(refused.starts_with(&named), "{refused}");
        #[cfg(unix)]
        {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/null", &path).unwrap();
            let refused = open().unwrap_err().to_string();
            assert!(
                refused.starts_with("cannot read --drift-file "),
                "{refused}"
            );
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_text_is_written_beside_the_program_and_the_last_one_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let (mut file, _) = KeptFile::open("--drift-file", &path, 9, |_| true).unwrap();
        for number in 0..100 {
            file.write(number.to_string());
        }
        file.write_last("last".to_owned());
        assert_eq!(fs::read_to_string(&path).unwrap(), "last");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // Nothing is written while a text may still be.
        let (hangs, writing) = mpsc::sync_channel(1);
        file.writing = Some(writing);
        file.write("more".to_owned());
        drop(hangs);
        file.write_last("again".to_owned());
        assert_eq!(fs::read_to_string(&path).unwrap(), "again");
        drop(folder);
        file.write_last("nowhere".to_owned());
        assert!(file.failed);
    }
}
