//! The connections that a master has, and how their threads are reached.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use socket2::SockRef;

use crate::average::round::NodeId;
use crate::discipline::network_clock::NetworkClock;
use crate::lock::lock;
use crate::master::admission::{Admission, Limits, Refused};
use crate::master::mailbox::{Command, Mailbox};
use crate::wire::timestamp;

/// All connections, behind a lock of their own.
pub(crate) struct Connections(Mutex<Known>);

struct Known {
    admission: Admission,
    contacts: HashMap<NodeId, Arc<Contact>>,
}

/// How to reach a connection's thread.
struct Contact {
    mailbox: Arc<Mailbox>,
    stream: Arc<TcpStream>,
    from: IpAddr,
    /// For a client on the timestamp wire, the clock whose time it is told. Its thread only listens,
    /// so that thousands of clients wake nobody, and is told nothing that it need not know.
    announced: OnceLock<NetworkClock>,
}

impl Contact {
    /// Does what is to be done, or leaves it for the thread.
    fn deliver(&self, command: Command) {
        if let (Command::Correct { .. } | Command::Announce, Some(clock)) =
            (&command, self.announced.get())
        {
            return self.announce(clock);
        }
        let dismisses = matches!(command, Command::Dismiss(_));
        self.mailbox.leave(command);
        if dismisses && self.announced.get().is_some() {
            // This ends its wait, and it looks.
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    /// Tells the time without waiting. A client that has not read so many of them as the socket
    /// holds is let go.
    fn announce(&self, clock: &NetworkClock) {
        let text = timestamp::format(timestamp::local(clock.mark().target));
        let socket = SockRef::from(&*self.stream);
        let sent = socket.send_with_flags(text.as_bytes(), DONT_WAIT);
        if !sent.is_ok_and(|length| length == text.len()) {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(unix)]
const DONT_WAIT: libc::c_int = libc::MSG_DONTWAIT;
/// Elsewhere the time-out of the socket bounds the wait.
#[cfg(not(unix))]
const DONT_WAIT: i32 = 0;

impl Connections {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Mutex::new(Known {
            admission: Admission::new(limits, Instant::now()),
            contacts: HashMap::new(),
        }))
    }

    /// Notes a new connection, and how it is commanded, unless it is one too many.
    pub(crate) fn register(
        &self,
        node: NodeId,
        stream: &Arc<TcpStream>,
        from: IpAddr,
    ) -> Result<Arc<Mailbox>, Refused> {
        let mut known = lock(&self.0);
        known.admission.admit(from, Instant::now())?;
        let mailbox = Arc::<Mailbox>::default();
        let contact = Contact {
            mailbox: Arc::clone(&mailbox),
            stream: Arc::clone(stream),
            from,
            announced: OnceLock::new(),
        };
        known.contacts.insert(node, Arc::new(contact));
        Ok(mailbox)
    }

    /// Forgets a connection.
    pub(crate) fn unregister(&self, node: NodeId) {
        let mut known = lock(&self.0);
        if let Some(contact) = known.contacts.remove(&node) {
            known.admission.release(contact.from);
        }
    }

    /// From now on this connection is told the time by `clock` directly, and its thread need look
    /// into its mailbox once more only.
    pub(crate) fn announce_directly(&self, node: NodeId, clock: &NetworkClock) {
        if let Some(contact) = self.contact(node) {
            // It may have been said before.
            let _ = contact.announced.set(clock.clone());
        }
    }

    fn contact(&self, node: NodeId) -> Option<Arc<Contact>> {
        lock(&self.0).contacts.get(&node).cloned()
    }

    /// Does something on one connection, or leaves it for its thread.
    pub(crate) fn command(&self, node: NodeId, command: Command) {
        if let Some(contact) = self.contact(node) {
            contact.deliver(command);
        }
    }

    /// The same on every connection.
    pub(crate) fn command_all(&self, command: impl Fn() -> Command) {
        let all: Vec<_> = lock(&self.0).contacts.values().cloned().collect();
        for contact in all {
            contact.deliver(command());
        }
    }

    /// Ends every connection, whatever its thread is waiting for.
    pub(crate) fn close_all(&self) {
        for contact in lock(&self.0).contacts.values() {
            let _ = contact.stream.shutdown(Shutdown::Both);
        }
    }
}
