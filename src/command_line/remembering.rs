//! The master's flag on what it remembers of its group.

use std::path::PathBuf;

use crate::command_line::arguments::Common;
use crate::kept_file::KeptFileError;
use crate::master::state_file::{self, StateFile};

/// The master's flag on what it remembers of its group.
#[derive(Debug, clap::Args)]
pub struct Remembering {
    /// Keep in FILE which clocks the group has, for the next start
    /// [default: the name of the drift file and .group, if there is a drift file]
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,
}

impl Remembering {
    /// Where it is kept, if it is.
    pub(crate) fn path(&self, common: &Common) -> Option<PathBuf> {
        let beside = || common.drift_file().map(state_file::beside);
        self.state_file.clone().or_else(beside)
    }

    /// The file, if there is to be one: a dry run neither has nor changes any.
    ///
    /// # Errors
    /// When the file could not be written, or holds something else.
    pub fn open(&self, common: &Common, dry_run: bool) -> Result<Option<StateFile>, KeptFileError> {
        let path = self.path(common).filter(|_| !dry_run);
        path.as_deref().map(StateFile::open).transpose()
    }
}
