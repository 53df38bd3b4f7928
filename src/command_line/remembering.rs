//! The master's flag on what it remembers of its group.

use std::path::PathBuf;

use crate::command_line::arguments::{Common, resolved};
use crate::master::state_file::{self, StateFile, StateFileError};
use crate::regular_file;

/// The master's flag on what it remembers of its group.
#[derive(Debug, clap::Args)]
pub struct Remembering {
    /// Keep in FILE which clocks the group has, for the next start
    /// [default: the name of the drift file and .group, if there is a drift file]
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,
}

impl Remembering {
    fn path(&self, common: &Common) -> Option<PathBuf> {
        let beside = || common.drift_file().map(state_file::beside);
        self.state_file.clone().or_else(beside)
    }

    /// Which flags don't go together, if any.
    #[must_use]
    pub fn conflict(&self, common: &Common) -> Option<&'static str> {
        let path = self.path(common)?;
        let with_new = |path| [resolved(path), resolved(&regular_file::beside(path))];
        let others = [common.record_file(), common.drift_file()];
        let others: Vec<_> = others.into_iter().flatten().flat_map(with_new).collect();
        let ours = with_new(&path);
        ours.iter().any(|path| others.contains(path)).then_some(
            "--state-file names a file that --record or --drift-file writes: give each a file of its \
             own",
        )
    }

    /// The file, if there is to be one: a dry run neither has nor changes any.
    ///
    /// # Errors
    /// When the file could not be written.
    pub fn open(
        &self,
        common: &Common,
        dry_run: bool,
    ) -> Result<Option<StateFile>, StateFileError> {
        let path = self.path(common).filter(|_| !dry_run);
        path.as_deref().map(StateFile::open).transpose()
    }
}
