//! Why a master could not start, or had to end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::keys::channel::CERTIFICATE_WORD;
use crate::keys::codes::CODE_WORD;
use crate::keys::file::KeyFileError;
use crate::report::record::RecordError;
use crate::system_clock::kernel;
use crate::wire::address::Address;
use crate::wire::line::LONGEST_LINE;
use crate::wire::message::{INTERVALS, LARGEST_BURST};

/// Why a master could not start, or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasterError {
    /// The interval is shorter or longer than one may be.
    #[error("an interval of {0:?} is not one from {min:?} to {max:?}", min = INTERVALS.start(), max = INTERVALS.end())]
    Interval(Duration),
    /// No burst has so many polls.
    #[error("a burst has from 1 to {LARGEST_BURST} polls, not {0}")]
    Burst(u32),
    /// The address can't be listened on.
    #[error("cannot listen on {0}; --listen takes another address or port")]
    Listen(SocketAddr, #[source] io::Error),
    /// No more connections can be accepted.
    #[error("cannot accept connections any more")]
    Accept(#[source] io::Error),
    /// The operating system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The group's secrets can't be had.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// With the codes that keys need, a greeting would not fit into a line.
    #[error(
        "--candidates is too long for a group with keys: with all addresses, a line has {0} bytes, \
         and {longest} are left beside its codes; use shorter names",
        longest = LONGEST_LINE - CODE_WORD - CERTIFICATE_WORD
    )]
    LongCandidates(usize),
    /// Our address in the list of candidates is no name that a key can have.
    #[error("with keys, a candidate's address has 64 characters at most: {0}")]
    LongAddress(Address),
    /// The record can't be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The system's clock can't be steered.
    #[error("cannot steer the system's clock")]
    Steer(#[source] kernel::Error),
}
