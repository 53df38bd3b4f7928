//! Serves a connection on the wire that its peer speaks.

use std::convert::Infallible;
use std::net::TcpStream;

use crate::keys::holder::Role;
use crate::master::end::End;
use crate::master::peer::Peer;
use crate::master::timestamps::{self, Other};
use crate::master::trust::Stranger;
use crate::master::{candidate_link, polling, proof};
use crate::wire::connection::Connection;

/// Serves a connection until it ends.
pub(crate) fn serve(mut peer: Peer, stream: &TcpStream) {
    let served = Connection::new(stream)
        .map_err(End::from)
        .and_then(|mut connection| speak(&mut peer, &mut connection));
    let Err(end) = served;
    peer.part(&end);
}

fn speak(peer: &mut Peer, connection: &mut Connection) -> Result<Infallible, End> {
    match timestamps::serve(peer, connection)? {
        Other::Lines => {
            admit_unkeyed(peer, connection)?;
            peer.begins_to_speak_lines();
            polling::poll(peer, connection)
        }
        Other::Candidate(_) if peer.shared.trust.group().is_some() => turn_away(
            peer,
            connection,
            "candidates of this group prove a key: give it --key-file",
        ),
        Other::Candidate(opening) => candidate_link::hear(peer, connection, &opening),
        Other::Key => match proof::hear(peer, connection)? {
            Role::Follower => polling::poll(peer, connection),
            Role::Candidate => candidate_link::hear(peer, connection, &[]),
        },
    }
}

/// Lets a follower in that has no key, if those may be here.
fn admit_unkeyed(peer: &mut Peer, connection: &mut Connection) -> Result<(), End> {
    match peer.shared.trust.follower() {
        Stranger::Member => {}
        Stranger::Refused | Stranger::Told => {
            turn_away(
                peer,
                connection,
                "this group requires a key: start it with --key-file",
            )?;
        }
        Stranger::Observed | Stranger::Doubted => peer.admit_unkeyed(),
    }
    Ok(())
}

fn turn_away(
    peer: &mut Peer,
    connection: &mut Connection,
    reason: &str,
) -> Result<Infallible, End> {
    peer.say_bye(connection, reason)?;
    Err(End::Unwelcome(reason.to_owned()))
}
