//! What another candidate says on the connection that it has opened.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crate::election::candidate::Link;
use crate::election::rules::HEARTBEAT;
use crate::master::candidacy::Candidacy;
use crate::master::end::End;
use crate::master::peer::Peer;
use crate::wire::candidate::{Heartbeat, Rank};
use crate::wire::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::wire::line::LineDecoder;
use crate::wire::message::Message;

/// Whoever tells us more often than this in a second does not mean well.
const HEARTBEATS_PER_SECOND: u32 = 100;

/// The same of orders about votes: up to twenty come with a heartbeat.
const ORDERS_PER_SECOND: u32 = 1000;

/// What a candidate is told that calls on a master without an election.
const NO_CANDIDATE: &str = "this master was started without --candidates";

/// Listens to another candidate until the connection ends; `opening` is the beginning of what it
/// says.
pub(crate) fn hear(
    peer: &mut Peer,
    connection: &mut Connection,
    opening: &[u8],
) -> Result<Infallible, End> {
    let Some(candidacy) = peer.shared.candidacy.clone() else {
        peer.say_bye(connection, NO_CANDIDATE)?;
        return Err(End::Dismissed(NO_CANDIDATE));
    };
    let candidacy = &*candidacy;
    let mut dialogue = Dialogue {
        decoder: LineDecoder::default(),
        from: None,
        orders: 0,
    };
    let Err(end) = hear_heartbeats(peer, connection, candidacy, &mut dialogue, opening);
    if let End::Fault(reason) = &end {
        let _ = peer.say_bye(connection, &format!("you sent {reason}"));
    }
    if let Some(from) = dialogue.from {
        candidacy.lost(from, Link(peer.node.0));
    }
    Err(end)
}

fn hear_heartbeats(
    peer: &mut Peer,
    connection: &mut Connection,
    candidacy: &Candidacy,
    dialogue: &mut Dialogue,
    opening: &[u8],
) -> Result<Infallible, End> {
    let mut bytes = opening.to_vec();
    let mut heard = Instant::now();
    let (mut second, mut heartbeats) = (Instant::now(), 0);
    loop {
        if second.elapsed() > Duration::from_secs(1) {
            (second, heartbeats) = (Instant::now(), 0);
            dialogue.orders = 0;
        }
        for (from, heartbeat) in dialogue.hear(peer, candidacy, &bytes)? {
            heard = Instant::now();
            heartbeats += 1;
            if heartbeats > HEARTBEATS_PER_SECOND {
                return Err(End::Fault("too many CANDIDATE lines".to_owned()));
            }
            candidacy.heard(from, heartbeat, Link(peer.node.0))?;
        }
        if heard.elapsed() > MESSAGE_DEADLINE {
            return Err(End::Silent);
        }
        bytes = match connection.read(HEARTBEAT)? {
            Incoming::Bytes(bytes) => bytes.to_vec(),
            Incoming::Nothing => Vec::new(),
            Incoming::End => return Err(End::Left),
        };
        peer.end_if_dismissed()?;
    }
}

/// What one connection with another candidate has said so far.
struct Dialogue {
    decoder: LineDecoder,
    from: Option<Rank>,
    /// How many orders about votes have come in this second.
    orders: u32,
}

impl Dialogue {
    fn hear(
        &mut self,
        peer: &mut Peer,
        candidacy: &Candidacy,
        bytes: &[u8],
    ) -> Result<Vec<(Rank, Heartbeat)>, End> {
        let mut heartbeats = Vec::new();
        for &byte in bytes {
            let Some(line) = self.decoder.push(byte)? else {
                continue;
            };
            match Message::parse(peer.channel.open(line)?)? {
                Message::Candidate {
                    rank,
                    address,
                    heartbeat,
                } if self.from.is_none_or(|from| from == rank) => {
                    let known = candidacy.candidates.at(rank) == Some(&address);
                    if !known || rank == candidacy.candidates.own() {
                        return Err(End::Fault(format!(
                            "CANDIDATE {} {address}, which is not so in the --candidates here; \
                             give all masters the same list",
                            rank.0
                        )));
                    }
                    let proven = peer.holder().map(|holder| holder.name.as_str());
                    if proven.is_some_and(|proven| proven != address.to_string()) {
                        return Err(End::Fault(format!(
                            "CANDIDATE of {address} with another's key"
                        )));
                    }
                    self.from = Some(rank);
                    heartbeats.push((rank, heartbeat));
                }
                Message::Vote(order) if self.from.is_some() => {
                    self.orders += 1;
                    if self.orders > ORDERS_PER_SECOND {
                        return Err(End::Fault("too many orders about votes".to_owned()));
                    }
                    peer.shared.hear_order(&order, candidacy);
                }
                Message::Bye { reason } => return Err(End::Bye(reason)),
                _ => return Err(End::Fault(format!("{line:?} where CANDIDATE was to come"))),
            }
        }
        Ok(heartbeats)
    }
}
