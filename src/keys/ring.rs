//! The group's secrets as a running master holds them: read again when their file has changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::keys::file::{self, KeyFileError, Version};
use crate::keys::group::GroupKeys;
use crate::lock::lock;

/// The group's secrets, and the file that they are in.
#[derive(Debug)]
pub struct KeyRing {
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    group: Arc<GroupKeys>,
    /// Which file was read last, whether it made sense or not.
    seen: Option<Version>,
}

impl KeyRing {
    /// Reads the secrets for the first time.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let (group, version) = file::read_group(path)?;
        Ok(Self {
            path: path.to_owned(),
            held: Mutex::new(Held {
                group: Arc::new(group),
                seen: Some(version),
            }),
        })
    }

    /// The secrets as they were read last.
    #[must_use]
    pub fn group(&self) -> Arc<GroupKeys> {
        Arc::clone(&lock(&self.held).group)
    }

    /// Reads the file again if it has changed. Whether it has.
    ///
    /// # Errors
    /// [`KeyFileError`], once for each change: the secrets that are held stay in use.
    pub fn refresh(&self) -> Result<bool, KeyFileError> {
        let now = file::version(&self.path);
        if lock(&self.held).seen == now {
            return Ok(false);
        }
        let read = file::read_group(&self.path);
        let mut held = lock(&self.held);
        match read {
            Ok((group, version)) => {
                held.group = Arc::new(group);
                held.seen = Some(version);
                Ok(true)
            }
            Err(error) => {
                held.seen = now;
                Err(error)
            }
        }
    }
}
