//! One follower, seen from the master: the thread that serves its connection.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use chrono::NaiveDateTime;

use crate::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::ensemble::{NodeId, Wire};

use crate::sample::Sample;
use crate::shared::Shared;
use crate::timestamp::{self, Decoder, FRACTION_WAIT, NotATimestamp, Received};

/// How long a thread that listens for timestamps may leave its commands unread. What it is told
/// to announce is the time at the moment of writing, so waiting makes it no older.
const TICK: Duration = Duration::from_millis(100);

/// What the coordinator tells a connection's thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Tell the network's time.
    Announce,
    /// Say why, and end the connection.
    Dismiss(&'static str),
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it.
    Left,
    /// The network broke it.
    Broken(io::Error),
    /// The peer sent something that is no message.
    Garbage(NotATimestamp),
    /// The peer said nothing, or not enough, for too long.
    Silent,
    /// We ended it.
    Dismissed(&'static str),
}

impl End {
    /// Whether the peer broke the rules of the wire.
    pub(crate) fn is_a_fault(&self) -> bool {
        matches!(self, Self::Garbage(_))
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => out.write_str("it closed the connection"),
            Self::Broken(error) => write!(out, "{error}"),
            Self::Garbage(error) => write!(out, "it sent what is {error}"),
            Self::Silent => write!(
                out,
                "it sent no whole message within {} s",
                MESSAGE_DEADLINE.as_secs()
            ),
            Self::Dismissed(reason) => out.write_str(reason),
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<NotATimestamp> for End {
    fn from(error: NotATimestamp) -> Self {
        Self::Garbage(error)
    }
}

/// The moment that some bytes came.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: Instant,
    /// What the network's clock showed, in local time.
    target: NaiveDateTime,
    interval: u64,
}

/// What a connection's thread knows of its follower.
pub(crate) struct Peer {
    node: NodeId,
    name: Arc<str>,
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    joined: bool,
}

impl Peer {
    pub(crate) fn new(
        node: NodeId,
        name: Arc<str>,
        commands: Receiver<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            node,
            name,
            commands,
            shared,
            joined: false,
        }
    }

    /// Serves the follower until the connection ends.
    pub(crate) fn serve(&mut self, stream: &TcpStream) {
        let Err(end) = self.listen(stream);
        self.shared.part(self.node, &self.name, self.joined, &end);
    }

    /// Timestamps come when the peer likes, announcements when a round has ended.
    fn listen(&mut self, stream: &TcpStream) -> Result<Infallible, End> {
        let mut connection = Connection::new(stream)?;
        let mut decoder = Decoder::<Arrival>::new();
        let connected = Instant::now();
        loop {
            self.obey(&mut connection)?;
            let unfinished = match decoder.began() {
                Some(arrival) => Some(arrival.at),
                None if self.joined => None,
                None => Some(connected),
            };
            if unfinished.is_some_and(|since| since.elapsed() > MESSAGE_DEADLINE) {
                return Err(End::Silent);
            }
            let wait = if decoder.may_be_complete() {
                FRACTION_WAIT
            } else {
                TICK
            };
            let bytes = match connection.read(wait)? {
                Incoming::Bytes(bytes) => bytes,
                Incoming::Nothing => &[],
                Incoming::End => return Err(End::Left),
            };
            // Before anything else is done: the clock is read when the message comes.
            let arrival = Arrival {
                at: Instant::now(),
                target: timestamp::local(self.shared.clock.mark().target),
                interval: self.shared.ensemble().interval(),
            };
            if bytes.is_empty()
                && let Some(received) = decoder.flush()?
            {
                self.report(&received);
            }
            for &byte in bytes {
                if let Some(received) = decoder.push(byte, arrival)? {
                    self.report(&received);
                }
            }
        }
    }

    fn report(&mut self, received: &Received<Arrival>) {
        if !self.joined {
            self.joined = true;
            self.shared.join(self.node, &self.name, Wire::Timestamp);
        }
        let offset = received.time - received.stamp.target;
        self.shared
            .ensemble()
            .report(self.node, received.stamp.interval, Sample::one_way(offset));
    }

    fn obey(&self, connection: &mut Connection) -> Result<(), End> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Announce) => {
                    let now = self.shared.clock.mark().target;
                    connection.write(timestamp::format(timestamp::local(now)).as_bytes())?;
                }
                Ok(Command::Dismiss(reason)) => return Err(End::Dismissed(reason)),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(End::Dismissed("stopping")),
            }
        }
    }
}
