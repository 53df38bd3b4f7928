//! The master's side of the timestamp wire, on which every connection begins.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::average::round::Wire;
use crate::master::end::End;
use crate::master::mailbox::Command;
use crate::master::peer::Peer;
use crate::measurement::sample::Sample;
use crate::wire::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::wire::reader::{Heard, TimestampReader};
use crate::wire::steps::Steps;
use crate::wire::timestamp::{self, Received};

/// How long a thread that listens for timestamps may leave its commands unread. What it is told
/// to announce is the time at the moment of writing, so waiting makes it no older.
const TICK: Duration = Duration::from_millis(100);

/// What a peer turns out to speak that is not a client of the timestamp wire.
#[derive(Debug)]
pub(crate) enum Other {
    /// Its timestamp had a newline: it is a follower that would rather be polled.
    Lines,
    /// It opens as a candidate does; these are the first bytes.
    Candidate(Vec<u8>),
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
}

/// Takes timestamps when they come and announces the time when a round has ended, until the peer
/// shows that it speaks something else.
pub(crate) fn serve(peer: &mut Peer, connection: &mut Connection) -> Result<Other, End> {
    let mut reader = TimestampReader::new();
    let mut client = Client::Connected(Instant::now());
    loop {
        if obey(peer, connection)? {
            client = Client::Served;
        }
        if let Client::Connected(at) = client {
            if at.elapsed() > MESSAGE_DEADLINE {
                return Err(End::Silent);
            }
            if let Some(opening) = opening_of_a_candidate(connection)? {
                return Ok(Other::Candidate(opening));
            }
        }
        let shared = &peer.shared;
        let arrival = || {
            let mark = shared.clock.mark();
            Arrival {
                target: mark.target,
                steps: mark.steps,
                interval: shared.ensemble().interval(),
            }
        };
        match reader.next(connection, TICK, arrival)? {
            // A follower's newline may come in a packet of its own, so a client is welcomed when
            // nothing more has come.
            Heard::Nothing if client == Client::Joined && !reader.newline_seen() => {
                if peer.shared.welcome_kept(peer.node) {
                    announce(peer, connection)?;
                }
                client = Client::Served;
            }
            Heard::Message(timestamp) if !reader.newline_seen() => {
                report(peer, &timestamp);
                if let Client::Connected(_) = client {
                    client = Client::Joined;
                }
            }
            Heard::Nothing | Heard::Message(_) => {}
            Heard::End => return Err(End::Left),
        }
        if reader.newline_seen() {
            return Ok(Other::Lines);
        }
    }
}

/// What has come, if it is what a candidate opens with; it is waited for if nothing has come.
fn opening_of_a_candidate(connection: &mut Connection) -> Result<Option<Vec<u8>>, End> {
    let opening = match connection.fill(TICK)? {
        Incoming::Bytes(bytes) if bytes.first() == Some(&b'C') => bytes.to_vec(),
        _ => return Ok(None),
    };
    connection.consume(opening.len());
    Ok(Some(opening))
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
fn obey(peer: &Peer, connection: &mut Connection) -> Result<bool, End> {
    let mut told = false;
    while let Some(command) = peer.mailbox.take() {
        match command {
            Command::Correct { .. } | Command::Announce | Command::TellSteps
                if peer.is_member() =>
            {
                announce(peer, connection)?;
                told = true;
            }
            Command::Correct { .. }
            | Command::Announce
            | Command::TellSteps
            | Command::StepDown => {}
            Command::Dismiss(reason) => return Err(End::Dismissed(reason)),
        }
    }
    Ok(told)
}

fn announce(peer: &Peer, connection: &mut Connection) -> Result<(), End> {
    let now = peer.shared.clock.mark().target;
    Ok(connection.write(timestamp::format(timestamp::local(now)).as_bytes())?)
}
