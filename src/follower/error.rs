//! Why a follower can't start, or how it failed.

use std::io;
use std::time::Duration;

use crate::keys::file::KeyFileError;
use crate::report::record::RecordError;
use crate::system_clock::kernel;
use crate::wire::message::INTERVALS;

/// Why a follower could not start, or how it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowerError {
    /// The list of masters is empty.
    #[error("no master is named")]
    NoMaster,
    /// The interval is shorter or longer than one may be.
    #[error("an interval of {0:?} is not one from {min:?} to {max:?}", min = INTERVALS.start(), max = INTERVALS.end())]
    Interval(Duration),
    /// The key can't be had.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The record can't be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The system's clock can't be steered.
    #[error("cannot steer the system's clock")]
    Steer(#[source] kernel::Error),
    /// The operating system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The follower's thread has panicked, which is a mistake in this library.
    #[error("the follower's thread has panicked")]
    Panicked,
}
