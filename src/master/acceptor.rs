//! Takes connections in, each with a thread of its own.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::average::round::NodeId;
use crate::master::error::MasterError;
use crate::master::peer::Peer;
use crate::master::serve::serve;
use crate::master::shared::Shared;
use crate::wire::address::canonical;
use crate::wire::machine::Machine;

/// How many connections may wait to be accepted: std's 128 overflows when a large group joins,
/// and each overflow costs its victim a second.
const BACKLOG: i32 = 4096;

/// A connection's thread needs little; ten thousand of them need little each.
const PEER_STACK: usize = 128 * 1024;

/// How long to wait when the process has no descriptors left.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// Want of descriptors is over when there was none for so long.
const STARVATION_OVER: Duration = Duration::from_secs(10);

pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // So that a master can be restarted while its old connections linger.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What an error of `accept` says about the connections to come.
#[derive(Debug, PartialEq, Eq)]
enum AcceptError {
    /// Nothing: a peer gave up before it was accepted.
    Peer,
    /// They have to wait: the process or the machine has no descriptors or memory left.
    OutOfResources,
    /// There will be none.
    Fatal,
}

fn sort(error: &io::Error) -> AcceptError {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            AcceptError::OutOfResources
        }
        Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT) => {
            AcceptError::Fatal
        }
        _ => AcceptError::Peer,
    }
}

pub(crate) struct Acceptor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listener: TcpListener,
    /// A copy goes to each connection's thread: when all copies are gone, so are the threads.
    pub(crate) alive: Sender<()>,
}

impl Acceptor {
    /// Accepts until the master is stopped, or nothing can be accepted any more.
    pub(crate) fn run(self) -> Result<(), MasterError> {
        let mut starved: Option<Instant> = None;
        let mut connections = 0;
        loop {
            let accepted = self.listener.accept();
            if self.shared.is_stopping() {
                return Ok(());
            }
            let error = match accepted {
                Ok((stream, address)) => {
                    connections += 1;
                    self.admit(NodeId(connections), stream, address);
                    continue;
                }
                Err(error) => error,
            };
            match sort(&error) {
                AcceptError::Peer => log::debug!("a connection was not accepted: {error}"),
                AcceptError::OutOfResources => {
                    // Said again when it was over for a while: one that leaves lets one in, and
                    // a peer can have that as often as it likes.
                    if starved.is_none_or(|last| last.elapsed() > STARVATION_OVER) {
                        log::warn!(
                            "cannot accept more connections: {error}; trying again \
                             (ulimit -n raises the number of descriptors)"
                        );
                    }
                    starved = Some(Instant::now());
                    thread::sleep(DESCRIPTOR_PAUSE);
                }
                AcceptError::Fatal => {
                    self.shared.stop();
                    return Err(MasterError::Accept(error));
                }
            }
        }
    }

    fn admit(&self, node: NodeId, stream: TcpStream, address: SocketAddr) {
        let address = canonical(address);
        let name = address.to_string();
        let stream = Arc::new(stream);
        let mailbox = match self
            .shared
            .connections
            .register(node, &stream, address.ip())
        {
            Ok(mailbox) => mailbox,
            Err(refused) => return self.turn_away(&stream, &name, &refused.to_string()),
        };
        self.shared.observations.connection(true);
        // Without an address of ours the connection is over.
        let here = stream.local_addr().unwrap_or(self.shared.address());
        let machine = Machine::at_other_end(address, here);
        let peer = Peer::new(node, address, machine, mailbox, Arc::clone(&self.shared));
        let alive = self.alive.clone();
        let connection = Arc::clone(&stream);
        let thread = thread::Builder::new()
            .name(format!("peer {name}"))
            .stack_size(PEER_STACK)
            .spawn(move || {
                serve(peer, &connection);
                let _ = connection.shutdown(Shutdown::Both);
                drop(alive);
            });
        if let Err(error) = thread {
            self.shared.connections.unregister(node);
            self.turn_away(
                &stream,
                &name,
                &format!("the master has no thread left: {error}"),
            );
        }
    }

    fn turn_away(&self, mut stream: &TcpStream, name: &str, reason: &str) {
        self.shared.observations.connection(false);
        // The socket's buffer is empty, so this neither waits nor is cut short.
        let _ = stream.write(format!("BYE {reason}\n").as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        self.shared
            .outlet
            .warn(name, &format!("turned away: {reason}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_that_stays_ends_the_loop() {
        for (number, sorted) in [
            (libc::ECONNABORTED, AcceptError::Peer),
            (libc::EINTR, AcceptError::Peer),
            (libc::EPROTO, AcceptError::Peer),
            (libc::EMFILE, AcceptError::OutOfResources),
            (libc::EBADF, AcceptError::Fatal),
        ] {
            assert_eq!(
                sort(&io::Error::from_raw_os_error(number)),
                sorted,
                "{number}"
            );
        }
        assert_eq!(sort(&io::Error::other("?")), AcceptError::Peer);
    }
}
