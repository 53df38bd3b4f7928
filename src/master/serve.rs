//! Serves a connection on the wire that its peer speaks.

use std::convert::Infallible;
use std::net::TcpStream;

use crate::master::end::End;
use crate::master::peer::Peer;
use crate::master::timestamps::{self, Other};
use crate::master::{candidate_link, polling};
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
        Other::Lines => polling::poll(peer, connection),
        Other::Candidate(opening) => candidate_link::hear(peer, connection, &opening),
    }
}
