//! The connections that a master has, and how their threads are reached.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::average::round::NodeId;
use crate::discipline::network_clock::NetworkClock;
use crate::keys::group::{GroupKeys, Unwelcome};
use crate::keys::holder::Role;
use crate::keys::node_key::NodeKey;
use crate::lock::lock;
use crate::master::admission::{Admission, Limits, Refused};
use crate::master::mailbox::{Command, Mailbox};
use crate::master::unproven::Unproven;
use crate::wire::machine::Machine;
use crate::wire::name::NodeName;
use crate::wire::timestamp;

/// All connections, behind a lock of their own.
pub(crate) struct Connections {
    known: Mutex<Known>,
    /// Somebody has proven itself, or has ended.
    place: Condvar,
    /// A client is not told the time again before this has passed.
    apart: Duration,
}

struct Known {
    admission: Admission,
    /// Where there are keys: who has not proven one yet, and on which connection who has.
    unproven: Option<Unproven>,
    proven: HashMap<(Role, NodeName), NodeId>,
    contacts: HashMap<NodeId, Arc<Contact>>,
}

/// How to reach a connection's thread.
struct Contact {
    mailbox: Arc<Mailbox>,
    stream: Arc<TcpStream>,
    from: IpAddr,
    /// What key it has proven to hold, and when, where there are keys.
    proven: OnceLock<(NodeKey, Instant)>,
    /// For a client on the timestamp wire, the clock whose time it is told. Its thread only listens,
    /// so that thousands of clients wake nobody, and is told nothing that it need not know.
    announced: OnceLock<NetworkClock>,
    /// When a client was told the time last.
    told: Mutex<Option<Instant>>,
}

/// Two times that come at once are read as one by `client.py`, which ends of it. A program on a busy
/// machine reads so late.
const APART: Duration = Duration::from_millis(200);

/// A connection whose place was taken by another one with the same key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replaced {
    pub(crate) node: NodeId,
    pub(crate) from: IpAddr,
    /// Whether the new one comes from another machine.
    pub(crate) is_elsewhere: bool,
    /// For how long it was there.
    pub(crate) lasted: Duration,
}

impl Contact {
    /// Does what is to be done, or leaves it for the thread.
    fn deliver(&self, command: Command, apart: Duration) {
        if let (Command::Correct { .. } | Command::Announce, Some(clock)) =
            (&command, self.announced.get())
        {
            return self.announce(clock, apart);
        }
        let dismisses = matches!(command, Command::Dismiss(_));
        self.mailbox.leave(command);
        if dismisses && self.announced.get().is_some() {
            // This ends its wait, and it looks.
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    /// Whether it is told the time at this moment, which is noted.
    fn tells(&self, now: Instant, apart: Duration) -> bool {
        let mut told = lock(&self.told);
        let is_due = told.is_none_or(|last| now >= last + apart);
        if is_due {
            *told = Some(now);
        }
        is_due
    }

    /// Tells the time without waiting, if it was not told just now. A client that has not read so
    /// many of them as the socket holds is let go.
    fn announce(&self, clock: &NetworkClock, apart: Duration) {
        if !self.tells(Instant::now(), apart) {
            return;
        }
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
    /// Connections within these limits, which have to prove a key where `keyed`, of a master that
    /// holds its rounds at this interval.
    pub(crate) fn new(limits: Limits, keyed: bool, interval: Duration) -> Self {
        let known = Mutex::new(Known {
            admission: Admission::new(limits, Instant::now()),
            unproven: keyed.then(Unproven::default),
            proven: HashMap::new(),
            contacts: HashMap::new(),
        });
        Self {
            known,
            place: Condvar::new(),
            apart: APART.min(interval / 2),
        }
    }

    /// Notes a new connection, and how it is commanded, unless it is one too many. Where there are
    /// keys, this waits until there is a place for one more that has not proven anything, or somebody
    /// has to give way for it.
    pub(crate) fn register(
        &self,
        node: NodeId,
        stream: &Arc<TcpStream>,
        from: IpAddr,
    ) -> Result<Arc<Mailbox>, Refused> {
        let mut known = lock(&self.known);
        known.admission.admit(from, Instant::now())?;
        let mut known = self.wait_for_place(known);
        let mailbox = Arc::<Mailbox>::default();
        let contact = Contact {
            mailbox: Arc::clone(&mailbox),
            stream: Arc::clone(stream),
            from,
            proven: OnceLock::new(),
            announced: OnceLock::new(),
            told: Mutex::default(),
        };
        let crowded_out = known
            .unproven
            .as_mut()
            .and_then(|it| it.enter(node, from, Instant::now()));
        if let Some(contact) = crowded_out.and_then(|node| known.contacts.get(&node)) {
            let _ = contact.stream.shutdown(Shutdown::Both);
        }
        known.contacts.insert(node, Arc::new(contact));
        Ok(mailbox)
    }

    fn wait_for_place<'a>(&'a self, mut known: MutexGuard<'a, Known>) -> MutexGuard<'a, Known> {
        loop {
            let unproven = known.unproven.as_ref();
            let wait = unproven.map_or(Duration::ZERO, |it| it.wait(Instant::now()));
            if wait.is_zero() {
                return known;
            }
            let waited = self.place.wait_timeout(known, wait);
            known = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Forgets a connection.
    pub(crate) fn unregister(&self, node: NodeId) {
        let mut known = lock(&self.known);
        let Some(contact) = known.contacts.remove(&node) else {
            return;
        };
        known.admission.release(contact.from);
        if let Some(unproven) = &mut known.unproven {
            unproven.leave(node);
            self.place.notify_one();
        }
        if let Some((key, _)) = contact.proven.get() {
            let holder = (key.holder.role, key.holder.name.clone());
            if known.proven.get(&holder) == Some(&node) {
                known.proven.remove(&holder);
            }
        }
    }

    /// A connection needs no place among the unproven any more.
    pub(crate) fn admitted(&self, node: NodeId) {
        if let Some(unproven) = &mut lock(&self.known).unproven {
            unproven.leave(node);
            self.place.notify_one();
        }
    }

    /// A connection has proven what key it holds. The one before it of the same holder, which is
    /// closed: it may be one that was cut and does not know it yet.
    pub(crate) fn prove(&self, node: NodeId, key: &NodeKey) -> Option<Replaced> {
        let now = Instant::now();
        self.admitted(node);
        let mut known = lock(&self.known);
        let contact = Arc::clone(known.contacts.get(&node)?);
        let _ = contact.proven.set((key.clone(), now));
        let holder = (key.holder.role, key.holder.name.clone());
        let before = known.proven.insert(holder, node)?;
        let closed = known.contacts.get(&before)?;
        let _ = closed.stream.shutdown(Shutdown::Both);
        let since = closed.proven.get().map_or(now, |(_, since)| *since);
        Some(Replaced {
            node: before,
            from: closed.from,
            is_elsewhere: Machine::of(closed.from) != Machine::of(contact.from),
            lasted: now.saturating_duration_since(since),
        })
    }

    /// Closes the connections of those whose keys are not good for the group, and says why they are
    /// not.
    pub(crate) fn expel(&self, group: &GroupKeys) -> Vec<(NodeId, Unwelcome)> {
        let mut void = Vec::new();
        for (node, contact) in &lock(&self.known).contacts {
            let key = contact.proven.get().map(|(key, _)| key);
            if let Some(Err(why)) = key.map(|key| group.check(key)) {
                let _ = contact.stream.shutdown(Shutdown::Both);
                void.push((*node, why));
            }
        }
        void
    }

    /// From now on this connection is told the time by `clock` directly, and its thread need look
    /// into its mailbox once more only.
    pub(crate) fn announce_directly(&self, node: NodeId, clock: &NetworkClock) {
        if let Some(contact) = self.contact(node) {
            // It may have been said before.
            let _ = contact.announced.set(clock.clone());
        }
    }

    /// Tells a client of the timestamp wire the time, as [`Command::Announce`] does.
    pub(crate) fn announce(&self, node: NodeId, clock: &NetworkClock) {
        if let Some(contact) = self.contact(node) {
            contact.announce(clock, self.apart);
        }
    }

    fn contact(&self, node: NodeId) -> Option<Arc<Contact>> {
        lock(&self.known).contacts.get(&node).cloned()
    }

    /// Does something on one connection, or leaves it for its thread.
    pub(crate) fn command(&self, node: NodeId, command: Command) {
        if let Some(contact) = self.contact(node) {
            contact.deliver(command, self.apart);
        }
    }

    /// The same on every connection.
    pub(crate) fn command_all(&self, command: impl Fn() -> Command) {
        let all: Vec<_> = lock(&self.known).contacts.values().cloned().collect();
        for contact in all {
            contact.deliver(command(), self.apart);
        }
    }

    /// Ends every connection, whatever its thread is waiting for.
    pub(crate) fn close_all(&self) {
        for contact in lock(&self.known).contacts.values() {
            let _ = contact.stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::clock::SteadyClock;
    use crate::discipline::steering::Steering;

    const NODE: NodeId = NodeId(1);

    /// What a client reads that joins while a round ends: its thread welcomes it, the coordinator
    /// tells the round.
    fn read_at_once(apart: Duration) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, from) = listener.accept().unwrap();
        let limits = Limits {
            in_all: 1,
            per_address: 1,
            candidates: Vec::new(),
        };
        let mut connections = Connections::new(limits, false, Duration::ZERO);
        connections.apart = apart;
        let stream = Arc::new(stream);
        let mailbox = connections.register(NODE, &stream, from.ip());
        assert!(mailbox.is_ok());
        let clock = NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default());
        connections.announce(NODE, &clock);
        connections.announce_directly(NODE, &clock);
        connections.command(NODE, Command::Announce);
        connections.close_all();
        let mut read = String::new();
        client.read_to_string(&mut read).unwrap();
        read
    }

    #[test]
    fn a_client_that_joins_as_a_round_ends_reads_one_time_and_not_two_in_one_piece() {
        assert_eq!(read_at_once(Duration::from_hours(1)).len(), 26);
        assert_eq!(read_at_once(Duration::ZERO).len(), 52);
    }
}
