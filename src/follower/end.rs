//! Why a connection with a master ended.

use std::fmt;
use std::io;

use crate::discipline::correction::OutOfRange;
use crate::keys::codes::Forged;
use crate::keys::prove::ProofError;
use crate::wire::line::Malformed;
use crate::wire::reader::ReadError;
use crate::wire::timestamp::NotATimestamp;

/// Why a session with a master ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All corrections that were asked for have come, or the follower was stopped.
    Done,
    /// The connection is of no more use.
    Lost(String),
    /// The master broke the rules, and is told so where there are words for it.
    Fault(String),
    /// The master has not proven that it holds our key, so nothing of it was believed.
    Unproven(String),
    /// Another master leads, or none does.
    Elsewhere(String),
    /// There was no connection.
    Unreachable(io::Error),
}

impl End {
    /// The master has ended the connection.
    pub(crate) fn closed() -> Self {
        Self::Lost("it closed the connection".to_owned())
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<ReadError<NotATimestamp>> for End {
    fn from(error: ReadError<NotATimestamp>) -> Self {
        match error {
            ReadError::Malformed(error) => Self::Fault(format!("what is {error}")),
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<ReadError<Malformed>> for End {
    fn from(error: ReadError<Malformed>) -> Self {
        match error {
            ReadError::Malformed(error) => error.into(),
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<Forged> for End {
    fn from(error: Forged) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<ProofError> for End {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::NotProven(error) => Self::Unproven(error.to_string()),
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<OutOfRange> for End {
    fn from(error: OutOfRange) -> Self {
        Self::Fault(error.to_string())
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => out.write_str("done"),
            Self::Lost(reason) | Self::Elsewhere(reason) | Self::Unproven(reason) => {
                out.write_str(reason)
            }
            Self::Unreachable(error) => write!(out, "{error}"),
            Self::Fault(reason) => write!(out, "it sent {reason}"),
        }
    }
}
