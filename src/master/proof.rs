//! Lets a peer prove whose key it holds.

use std::time::Instant;

use crate::keys::channel::Channel;
use crate::keys::code::Code;
use crate::keys::handshake::{self, Called};
use crate::keys::holder::Role;
use crate::keys::node_key::NodeKey;
use crate::master::end::End;
use crate::master::peer::Peer;
use crate::master::trust::PROOF_DEADLINE;
use crate::wire::connection::Connection;
use crate::wire::reader::{Heard, LineReader};

/// What a peer with a key is told that calls on a master without one.
const NO_KEY: &str =
    "this master has no key: give it --key-file, or start the other program without";

/// Takes the opening of a peer that has a key, and its proof. What it has proven to be good for.
// Not inlined: what it needs of the stack is given back before the rest is done, and each page that
// a peer's thread has touched once stays in memory.
#[inline(never)]
pub(crate) fn hear(peer: &mut Peer, connection: &mut Connection) -> Result<Role, End> {
    let proven = prove(peer, connection);
    if let Err(End::Unwelcome(reason)) = &proven {
        let _ = peer.say_bye(connection, reason);
    }
    proven
}

fn prove(peer: &mut Peer, connection: &mut Connection) -> Result<Role, End> {
    let deadline = peer.connected + PROOF_DEADLINE;
    let mut reader = LineReader::default();
    let opening = line(&mut reader, connection, deadline)?.to_owned();
    let Some(group) = peer.shared.trust.group() else {
        return Err(End::Unwelcome(NO_KEY.to_owned()));
    };
    let unwelcome = |error: &dyn std::fmt::Display| End::Unwelcome(error.to_string());
    let holder = handshake::claimed(&opening).map_err(|error| unwelcome(&error))?;
    let secret = group.welcome(&holder).map_err(|error| unwelcome(&error))?;
    let nonce = Code::random().map_err(|error| End::Broken(error.into()))?;
    let (called, answer) = Called::answer(&secret, &opening, nonce);
    connection.write(format!("{answer}\n").as_bytes())?;
    let proof = line(&mut reader, connection, deadline)?;
    let codes = called
        .proven(proof)
        .map_err(|error| unwelcome(&format!("{holder} was claimed, and {error}")))?;
    peer.channel = Channel::Keyed(Box::new(codes));
    let key = NodeKey { holder, secret };
    peer.prove(key.clone());
    // The file may have changed since the key was looked up.
    let group = peer.shared.trust.group().unwrap_or(group);
    group.check(&key).map_err(|error| unwelcome(&error))?;
    Ok(key.holder.role)
}

/// The next line, which has to be whole in time.
fn line<'r>(
    reader: &'r mut LineReader,
    connection: &mut Connection,
    deadline: Instant,
) -> Result<&'r str, End> {
    let left = deadline.saturating_duration_since(Instant::now());
    match reader.next(connection, left, |_| ())? {
        Heard::Message((line, ())) => Ok(line),
        Heard::Nothing => Err(End::Silent),
        Heard::End => Err(End::Left),
    }
}
