//! The master's side of the timestamp wire, on which every connection begins.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::average::round::Wire;
use crate::master::end::End;
use crate::master::mailbox::Command;
use crate::master::peer::Peer;
use crate::master::trust::Stranger;
use crate::measurement::sample::Sample;
use crate::rate_limit::{Limit, Throttle};
use crate::wire::connection::{Connection, Incoming};
use crate::wire::reader::{Heard, TimestampReader};
use crate::wire::steps::Steps;
use crate::wire::timestamp::{self, Received};

/// How long a thread that listens for timestamps may leave its commands unread until its client is
/// served. What it is told to announce is the time at the moment of writing, so waiting makes it no
/// older.
const TICK: Duration = Duration::from_millis(100);

/// A client that is served is told the time by the coordinator, see `connections.rs`: its thread
/// has nothing to do but to listen.
const LISTENING: Duration = Duration::from_hours(1);

/// More reports than the shortest interval makes are of no use to anybody.
const REPORTS: Limit = Limit::per(200, Duration::from_secs(1));

/// What a peer turns out to speak that is not a client of the timestamp wire.
#[derive(Debug)]
pub(crate) enum Other {
    /// Its timestamp had a newline: it is a follower that would rather be polled.
    Lines,
    /// It opens as a candidate does; these are the first bytes.
    Candidate(Vec<u8>),
    /// It is about to prove a key.
    Key,
}

/// What has come of a peer's first message.
#[derive(Debug)]
enum Opening {
    Nothing,
    /// A timestamp as far as one can tell, or the end of its input.
    Timestamp,
    Other(Other),
}

/// The moment that some bytes came.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    /// What the network's clock showed, and which steps it had taken.
    target: DateTime<Utc>,
    steps: Option<Steps>,
    interval: u64,
}

/// What becomes of a client that has reported its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// It has not reported yet.
    Connected(Instant),
    /// It has, and was told nothing yet.
    Joined,
    /// It is told the time when a round has ended.
    Served,
    /// It counts for nothing, and is told the time at this moment and then every interval.
    Told(Instant),
}

/// Takes timestamps when they come and announces the time when a round has ended, until the peer
/// shows that it speaks something else.
// Not inlined: what it needs of the stack is given back before the rest is done, and each page that
// a peer's thread has touched once stays in memory.
#[inline(never)]
pub(crate) fn serve(peer: &mut Peer, connection: &mut Connection) -> Result<Other, End> {
    let mut reader = TimestampReader::new();
    let mut client = Client::Connected(peer.connected);
    let mut reports = Throttle::new(REPORTS);
    let stranger = peer.shared.trust.client();
    loop {
        if client == Client::Served {
            let shared = &peer.shared;
            shared
                .connections
                .announce_directly(peer.node, &shared.clock);
        }
        if obey(peer)? {
            client = Client::Served;
        }
        if let Client::Connected(at) = client {
            if at.elapsed() > peer.shared.trust.opening_deadline() {
                return Err(End::Silent);
            }
            match opening(connection)? {
                Opening::Timestamp => {}
                Opening::Other(other) => return Ok(other),
                // What is still to come need not be a timestamp.
                Opening::Nothing => continue,
            }
        }
        if let Client::Told(due) = &mut client
            && *due <= Instant::now()
        {
            *due = Instant::now() + peer.shared.rhythm().interval();
            tell_stranger(peer);
        }
        let shared = &peer.shared;
        let arrival = |at| {
            // First: a target that a round has moved since belongs to the interval before it.
            let interval = shared.ensemble().interval();
            let mark = shared.clock.mark_at(at);
            Arrival {
                target: mark.target,
                steps: mark.steps,
                interval,
            }
        };
        let patience = match client {
            Client::Served => LISTENING,
            // It is left no commands: thousands of them are not to wake for nothing.
            Client::Told(due) => due.saturating_duration_since(Instant::now()),
            Client::Connected(_) | Client::Joined => TICK,
        };
        let heard = reader.next(connection, patience, arrival)?;
        if matches!(heard, Heard::Message(_)) && reports.admit(Instant::now()).is_none() {
            return Err(End::Fault("too many reports".to_owned()));
        }
        match heard {
            // A follower's newline may come in a packet of its own, so a client is welcomed when
            // nothing more has come.
            Heard::Nothing if client == Client::Joined && !reader.newline_seen() => {
                client = welcome(peer)?;
            }
            Heard::Message(timestamp) if !reader.newline_seen() => {
                if let Stranger::Member | Stranger::Observed | Stranger::Doubted = stranger {
                    report(peer, &timestamp);
                }
                if let Client::Connected(_) = client {
                    client = Client::Joined;
                } else if client == Client::Joined && is_overdue(peer) {
                    client = welcome(peer)?;
                }
            }
            Heard::Nothing | Heard::Message(_) => {}
            // It may be us who ended its input.
            Heard::End => return Err(peer.end_if_dismissed().err().unwrap_or(End::Left)),
        }
        if reader.newline_seen() {
            // Who is told timestamps takes us for a program that knows nothing else.
            return match client {
                Client::Served => Err(End::Fault(
                    "a newline after it was told the time".to_owned(),
                )),
                _ => Ok(Other::Lines),
            };
        }
    }
}

/// What a peer opens with; it is waited for if nothing has come.
fn opening(connection: &mut Connection) -> Result<Opening, End> {
    let opening = match connection.fill(TICK)? {
        Incoming::Bytes(bytes @ [b'C', ..]) => bytes.to_vec(),
        Incoming::Bytes([b'K', ..]) => return Ok(Opening::Other(Other::Key)),
        Incoming::Bytes(_) | Incoming::End => return Ok(Opening::Timestamp),
        Incoming::Nothing => return Ok(Opening::Nothing),
    };
    connection.consume(opening.len());
    Ok(Opening::Other(Other::Candidate(opening)))
}

/// Whether a stranger to the group is still here after the time in which others have to prove a key:
/// one that reports without a pause gives no other moment to send it away.
fn is_overdue(peer: &Peer) -> bool {
    let trust = &peer.shared.trust;
    trust.client() != Stranger::Member && peer.connected.elapsed() > trust.opening_deadline()
}

/// Welcomes a client: what it is from now on.
fn welcome(peer: &Peer) -> Result<Client, End> {
    if let Some(kept) = keep_apart(peer)? {
        return Ok(kept);
    }
    if peer.shared.welcome_kept(peer.node) {
        announce(peer);
    }
    Ok(Client::Served)
}

/// What becomes of a client, which has no key, in a group that has one: none is kept apart in a
/// group without.
fn keep_apart(peer: &Peer) -> Result<Option<Client>, End> {
    match peer.shared.trust.client() {
        Stranger::Member => Ok(None),
        Stranger::Observed | Stranger::Doubted => {
            peer.admit_unkeyed();
            Ok(None)
        }
        Stranger::Told => {
            peer.shared.connections.admitted(peer.node);
            Ok(Some(Client::Told(Instant::now())))
        }
        Stranger::Refused => Err(End::Unwelcome(
            "a client of the timestamp wire has no key; --serve-timestamps tells such the time"
                .to_owned(),
        )),
    }
}

/// Tells the time to a client that counts for nothing, if it is the group's.
fn tell_stranger(peer: &Peer) {
    if peer.shared.clock.is_synchronized() {
        announce(peer);
    }
}

fn report(peer: &mut Peer, received: &Received<Arrival>) {
    let target = received.stamp.target;
    let sample = Sample::one_way(timestamp::moment(received.time, target) - target);
    let Arrival {
        interval, steps, ..
    } = received.stamp;
    peer.report(None, Wire::Timestamp, interval, steps, sample.into());
}

/// Does what the coordinator has left. Whether the time was told.
fn obey(peer: &Peer) -> Result<bool, End> {
    let mut told = false;
    while let Some(command) = peer.mailbox.take() {
        match command {
            Command::Correct { .. } | Command::Announce | Command::TellSteps
                if peer.is_member() =>
            {
                announce(peer);
                told = true;
            }
            Command::Correct { .. }
            | Command::Announce
            | Command::TellSteps
            | Command::TellPath
            | Command::StepDown => {}
            Command::Dismiss(reason) => return Err(End::Dismissed(reason)),
        }
    }
    Ok(told)
}

fn announce(peer: &Peer) {
    let shared = &peer.shared;
    shared.connections.announce(peer.node, &shared.clock);
}
