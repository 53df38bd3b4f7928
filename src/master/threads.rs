//! Starting a thread of the master's.

use std::thread::{self, JoinHandle};

use crate::master::error::MasterError;

/// Starts a named thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, MasterError> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(run).map_err(MasterError::Thread)
}
