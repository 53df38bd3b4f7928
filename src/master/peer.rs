//! One follower, seen from the master: the thread that serves its connection.
//!
//! Every peer opens with a timestamp. One with a newline after it comes from a follower that
//! would rather be polled (see `polling.rs`); without, the peer is served timestamps here.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::average::ensemble::{NodeId, Wire};
use crate::master::mailbox::Mailbox;
use crate::master::shared::Shared;
use crate::measurement::sample::{Impossible, Sample};
use crate::wire::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::wire::correction::Correction;
use crate::wire::line::Malformed;
use crate::wire::timestamp::{self, Decoder, FRACTION_WAIT, NotATimestamp, Received};

/// How long a thread that listens for timestamps may leave its commands unread. What it is told
/// to announce is the time at the moment of writing, so waiting makes it no older.
const TICK: Duration = Duration::from_millis(100);

/// What the coordinator tells a connection's thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Tell the follower what it must add, or, on the timestamp wire, the network's time.
    Correct {
        /// The interval that the correction follows from.
        interval: u64,
        correction: Correction,
    },
    /// Tell the network's time, on the timestamp wire.
    Announce,
    /// Say who leads and end the connection, unless it is on the timestamp wire.
    StepDown,
    /// Say why, and end the connection.
    Dismiss(&'static str),
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it.
    Left,
    /// The peer said goodbye.
    Bye(String),
    /// The network broke it.
    Broken(io::Error),
    /// The peer sent something that does not belong there.
    Fault(String),
    /// The peer said nothing, or not enough, for too long.
    Silent,
    /// We ended it.
    Dismissed(&'static str),
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => out.write_str("it closed the connection"),
            Self::Bye(reason) => write!(out, "it says: {reason}"),
            Self::Broken(error) => write!(out, "{error}"),
            Self::Fault(what) => write!(out, "it sent {what}"),
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
        Self::Fault(format!("what is {error}"))
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<Impossible> for End {
    fn from(error: Impossible) -> Self {
        Self::Fault(error.to_string())
    }
}

/// The moment that some bytes came.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: Instant,
    /// What the network's clock showed.
    target: DateTime<Utc>,
    interval: u64,
}

/// What a connection's thread knows of its follower.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) joined: bool,
}

impl Peer {
    pub(crate) fn new(
        node: NodeId,
        name: Arc<str>,
        mailbox: Arc<Mailbox>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            node,
            name,
            mailbox,
            shared,
            joined: false,
        }
    }

    /// Serves the follower until the connection ends.
    pub(crate) fn serve(&mut self, stream: &TcpStream) {
        let served = Connection::new(stream)
            .map_err(End::from)
            .and_then(|mut connection| self.listen(&mut connection));
        let Err(end) = served;
        self.shared.part(self.node, &self.name, self.joined, &end);
    }

    pub(crate) fn join(&mut self, wire: Wire) {
        self.joined = true;
        self.shared.join(self.node, &self.name, wire);
    }

    /// Timestamps come when the peer likes, announcements go out when a round has ended.
    fn listen(&mut self, connection: &mut Connection) -> Result<Infallible, End> {
        let mut decoder = Decoder::<Arrival>::new();
        let connected = Instant::now();
        loop {
            self.obey(connection)?;
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
            if bytes.first() == Some(&b'C')
                && !self.joined
                && let Some(candidacy) = self.shared.candidacy.clone()
            {
                let opening = bytes.to_vec();
                return self.hear_candidate(connection, &candidacy, &opening);
            }
            // Before anything else is done: the clock is read when the message comes.
            let arrival = Arrival {
                at: Instant::now(),
                target: self.shared.clock.mark().target,
                interval: self.shared.ensemble().interval(),
            };
            let mut received = Vec::new();
            if bytes.is_empty() {
                received.extend(decoder.flush()?);
            }
            for &byte in bytes {
                received.extend(decoder.push(byte, arrival)?);
            }
            if decoder.newline_seen() {
                return self.poll(connection);
            }
            for timestamp in received {
                self.report(&timestamp);
            }
        }
    }

    fn report(&mut self, received: &Received<Arrival>) {
        if !self.joined {
            self.join(Wire::Timestamp);
        }
        let target = received.stamp.target;
        let sample = Sample::one_way(timestamp::moment(received.time, target) - target);
        let interval = received.stamp.interval;
        self.shared
            .ensemble()
            .report(self.node, interval, sample.into());
    }

    pub(crate) fn obey(&self, connection: &mut Connection) -> Result<(), End> {
        while let Some(command) = self.mailbox.take() {
            match command {
                Command::Correct { .. } | Command::Announce if self.joined => {
                    let now = self.shared.clock.mark().target;
                    connection.write(timestamp::format(timestamp::local(now)).as_bytes())?;
                }
                Command::Correct { .. } | Command::Announce | Command::StepDown => {}
                Command::Dismiss(reason) => return Err(End::Dismissed(reason)),
            }
        }
        Ok(())
    }
}
