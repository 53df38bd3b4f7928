//! The master's side of the timestamp wire, on which every connection begins.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::average::round::Wire;
use crate::master::end::End;
use crate::master::mailbox::Command;
use crate::master::peer::Peer;
use crate::measurement::sample::Sample;
use crate::wire::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::wire::timestamp::{self, Decoder, FRACTION_WAIT, Received};

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
    at: Instant,
    /// What the network's clock showed.
    target: DateTime<Utc>,
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
    let mut decoder = Decoder::<Arrival>::new();
    let mut client = Client::Connected(Instant::now());
    loop {
        if obey(peer, connection)? {
            client = Client::Served;
        }
        let unfinished = match (decoder.began(), client) {
            (Some(arrival), _) => Some(arrival.at),
            (None, Client::Connected(at)) => Some(at),
            (None, _) => None,
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
        if bytes.first() == Some(&b'C') && !peer.is_member() {
            return Ok(Other::Candidate(bytes.to_vec()));
        }
        // Before anything else is done: the clock is read when the message comes.
        let arrival = Arrival {
            at: Instant::now(),
            target: peer.shared.clock.mark().target,
            interval: peer.shared.ensemble().interval(),
        };
        let mut received = Vec::new();
        if bytes.is_empty() {
            received.extend(decoder.flush()?);
        }
        for &byte in bytes {
            received.extend(decoder.push(byte, arrival)?);
        }
        if decoder.newline_seen() {
            return Ok(Other::Lines);
        }
        // A follower's newline may come in a packet of its own, so a client is welcomed when
        // nothing more has come.
        if bytes.is_empty() && client == Client::Joined {
            if peer.shared.welcome_kept(peer.node) {
                announce(peer, connection)?;
            }
            client = Client::Served;
        }
        for timestamp in &received {
            report(peer, timestamp);
            if let Client::Connected(_) = client {
                client = Client::Joined;
            }
        }
    }
}

fn report(peer: &mut Peer, received: &Received<Arrival>) {
    let target = received.stamp.target;
    let sample = Sample::one_way(timestamp::moment(received.time, target) - target);
    peer.report(
        None,
        Wire::Timestamp,
        received.stamp.interval,
        sample.into(),
    );
}

/// Does what the coordinator has left. Whether the time was told.
fn obey(peer: &Peer, connection: &mut Connection) -> Result<bool, End> {
    let mut told = false;
    while let Some(command) = peer.mailbox.take() {
        match command {
            Command::Correct { .. } | Command::Announce if peer.is_member() => {
                announce(peer, connection)?;
                told = true;
            }
            Command::Correct { .. } | Command::Announce | Command::StepDown => {}
            Command::Dismiss(reason) => return Err(End::Dismissed(reason)),
        }
    }
    Ok(told)
}

fn announce(peer: &Peer, connection: &mut Connection) -> Result<(), End> {
    let now = peer.shared.clock.mark().target;
    Ok(connection.write(timestamp::format(timestamp::local(now)).as_bytes())?)
}
