//! Proves a key on a connection that was made, and has the other end prove it too.

use std::io;
use std::time::Instant;

use crate::keys::channel::Channel;
use crate::keys::code::Code;
use crate::keys::file::KeyFileError;
use crate::keys::handshake::{Caller, NotProven};
use crate::keys::node_key::NodeKey;
use crate::wire::connection::{Connection, Incoming};
use crate::wire::line::Malformed;
use crate::wire::reader::{Heard, LineReader, ReadError};

/// Why nothing was proven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    /// There is no key to prove anything with.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The network broke the connection, or the other end has ended it.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// The other end has not proven anything.
    #[error(transparent)]
    NotProven(#[from] NotProven),
}

/// Opens with a key, and takes the answer until the deadline.
pub(crate) fn prove(
    connection: &mut Connection,
    key: &NodeKey,
    deadline: Instant,
) -> Result<Channel, ProofError> {
    let nonce = Code::random().map_err(io::Error::from)?;
    let caller = Caller::new(key, nonce);
    connection.write(format!("{}\n", caller.opening()).as_bytes())?;
    let left = || deadline.saturating_duration_since(Instant::now());
    // Looked at before it is taken for a line: `server.py` tells the time, and ends no line.
    match connection.fill(left())? {
        Incoming::Bytes([first, ..]) if !first.is_ascii_uppercase() => {
            return Err(NotProven::Unkeyed.into());
        }
        _ => {}
    }
    let mut reader = LineReader::default();
    let answer = match reader.next(connection, left(), |_| ()) {
        Ok(Heard::Message((line, ()))) => line,
        Ok(Heard::Nothing) | Err(ReadError::Unfinished) => return Err(silent().into()),
        Ok(Heard::End) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        Err(ReadError::Broken(error)) => return Err(error.into()),
        Err(ReadError::<Malformed>::Malformed(_)) => return Err(NotProven::Unkeyed.into()),
    };
    let (proof, codes) = caller.prove(answer)?;
    connection.write(format!("{proof}\n").as_bytes())?;
    Ok(Channel::Keyed(Box::new(codes)))
}

fn silent() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "it accepts, and does not answer to a key",
    )
}
