//! Why a follower's connection ended.

use std::io;

use crate::election::term::ImpossibleTerm;
use crate::keys::codes::Forged;
use crate::measurement::sample::Impossible;
use crate::wire::connection::MESSAGE_DEADLINE;
use crate::wire::line::Malformed;
use crate::wire::reader::ReadError;
use crate::wire::timestamp::NotATimestamp;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The peer closed it.
    #[error("it closed the connection")]
    Left,
    /// The peer said goodbye.
    #[error("it says: {0}")]
    Bye(String),
    /// The network broke it, or we have closed it.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The peer sent something that does not belong there.
    #[error("it sent {0}")]
    Fault(String),
    /// The peer may not be here, for this reason.
    #[error("turned away: {0}")]
    Unwelcome(String),
    /// The peer said nothing, or not enough, for too long.
    #[error("it sent no whole message within {} s", MESSAGE_DEADLINE.as_secs())]
    Silent,
    /// We ended it.
    #[error("{0}")]
    Dismissed(&'static str),
}

impl From<NotATimestamp> for End {
    fn from(error: NotATimestamp) -> Self {
        Self::Fault(format!("what is {error}"))
    }
}

impl From<Forged> for End {
    fn from(error: Forged) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Fault(error.to_string())
    }
}

impl<E: Into<Self>> From<ReadError<E>> for End {
    fn from(error: ReadError<E>) -> Self {
        match error {
            ReadError::Broken(error) => Self::Broken(error),
            ReadError::Unfinished => Self::Silent,
            ReadError::Malformed(error) => error.into(),
        }
    }
}

impl From<Impossible> for End {
    fn from(error: Impossible) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<ImpossibleTerm> for End {
    fn from(error: ImpossibleTerm) -> Self {
        Self::Fault(error.to_string())
    }
}
