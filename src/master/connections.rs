//! The connections that a master has, and how their threads are reached.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::average::round::NodeId;
use crate::lock::lock;
use crate::master::admission::{Admission, Limits, Refused};
use crate::master::mailbox::{Command, Mailbox};

/// All connections, behind a lock of their own.
pub(crate) struct Connections(Mutex<Known>);

struct Known {
    admission: Admission,
    contacts: HashMap<NodeId, Contact>,
}

/// How to reach a connection's thread.
struct Contact {
    mailbox: Arc<Mailbox>,
    stream: Arc<TcpStream>,
    from: IpAddr,
}

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
        };
        known.contacts.insert(node, contact);
        Ok(mailbox)
    }

    /// Forgets a connection.
    pub(crate) fn unregister(&self, node: NodeId) {
        let mut known = lock(&self.0);
        if let Some(contact) = known.contacts.remove(&node) {
            known.admission.release(contact.from);
        }
    }

    /// Leaves something to do for one connection's thread.
    pub(crate) fn command(&self, node: NodeId, command: Command) {
        if let Some(contact) = lock(&self.0).contacts.get(&node) {
            contact.mailbox.leave(command);
        }
    }

    /// Leaves the same for every connection's thread.
    pub(crate) fn command_all(&self, command: impl Fn() -> Command) {
        for contact in lock(&self.0).contacts.values() {
            contact.mailbox.leave(command());
        }
    }

    /// Ends every connection, whatever its thread is waiting for.
    pub(crate) fn close_all(&self) {
        for contact in lock(&self.0).contacts.values() {
            let _ = contact.stream.shutdown(Shutdown::Both);
        }
    }
}
