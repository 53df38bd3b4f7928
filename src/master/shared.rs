//! What the threads of a master share, and how they reach each other.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::average::ensemble::{Ensemble, NodeId, Wire};
use crate::discipline::network_clock::NetworkClock;
use crate::lock::lock;
use crate::master::admission::{Admission, Limits, Refused};
use crate::master::candidacy::{Candidacy, Input};
use crate::master::handle::MasterEvent;
use crate::master::mailbox::Mailbox;
use crate::master::peer::{Command, End};
use crate::master::polling::Rhythm;
use crate::rate_limit::Throttle;
use crate::wire::candidate::{Leadership, Term};

/// Events that nobody has taken yet. A terminal that is held (Ctrl-S) must not stop the rounds,
/// so more than these are dropped.
const EVENTS: usize = 64;

/// A new leader holds its first round after half an interval, and after this at the latest.
const FIRST_ROUND: Duration = Duration::from_secs(2);

/// How long the acceptor may take to notice that it is stopped.
const WAKING: Duration = Duration::from_millis(200);

/// What all threads of a master share. No lock here is held across input or output.
pub(crate) struct Shared {
    pub(crate) clock: NetworkClock,
    /// If there are several masters that may lead.
    pub(crate) candidacy: Option<Arc<Candidacy>>,
    rhythm: Mutex<Rhythm>,
    address: SocketAddr,
    ensemble: Mutex<Ensemble>,
    connections: Mutex<Connections>,
    events: Mutex<Outlet>,
    warnings: Mutex<Throttle>,
    stopping: AtomicBool,
    wake_coordinator: SyncSender<()>,
    /// What the acceptor will be called by, to notice that it is stopped: when that is due, the
    /// last descriptor may be the one that `accept` waits with.
    caller: Mutex<Option<Socket>>,
}

/// The connections that there are.
struct Connections {
    admission: Admission,
    contacts: HashMap<NodeId, Contact>,
}

/// How to reach a connection's thread.
struct Contact {
    mailbox: Arc<Mailbox>,
    stream: Arc<TcpStream>,
    from: IpAddr,
}

/// Where events go until the master ends.
struct Outlet {
    events: Option<SyncSender<MasterEvent>>,
    comings_and_goings: Throttle,
}

/// What [`Shared`] sends to, for those who receive it.
pub(crate) struct Receivers {
    /// Ends the coordinator's wait.
    pub(crate) wake: Receiver<()>,
    pub(crate) events: Receiver<MasterEvent>,
}

impl Shared {
    pub(crate) fn new(
        clock: NetworkClock,
        rhythm: Rhythm,
        ensemble: Ensemble,
        address: SocketAddr,
        limits: Limits,
        candidacy: Option<Arc<Candidacy>>,
    ) -> (Arc<Self>, Receivers) {
        let (wake_coordinator, wake) = mpsc::sync_channel(1);
        let (sender, events) = mpsc::sync_channel(EVENTS);
        let shared = Self {
            clock,
            candidacy,
            rhythm: Mutex::new(rhythm),
            address,
            ensemble: Mutex::new(ensemble),
            connections: Mutex::new(Connections {
                admission: Admission::new(limits, Instant::now()),
                contacts: HashMap::new(),
            }),
            events: Mutex::new(Outlet {
                events: Some(sender),
                comings_and_goings: Throttle::default(),
            }),
            warnings: Mutex::default(),
            stopping: AtomicBool::new(false),
            wake_coordinator,
            caller: Mutex::new(caller_of(address).ok()),
        };
        (Arc::new(shared), Receivers { wake, events })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn rhythm(&self) -> Rhythm {
        *lock(&self.rhythm)
    }

    pub(crate) fn ensemble(&self) -> MutexGuard<'_, Ensemble> {
        lock(&self.ensemble)
    }

    /// Notes a new connection, and how it is commanded, unless it is one too many.
    pub(crate) fn register(
        &self,
        node: NodeId,
        stream: &Arc<TcpStream>,
        from: IpAddr,
    ) -> Result<Arc<Mailbox>, Refused> {
        let mut connections = lock(&self.connections);
        connections.admission.admit(from, Instant::now())?;
        let mailbox = Arc::<Mailbox>::default();
        let contact = Contact {
            mailbox: Arc::clone(&mailbox),
            stream: Arc::clone(stream),
            from,
        };
        connections.contacts.insert(node, contact);
        Ok(mailbox)
    }

    /// Forgets a connection.
    pub(crate) fn unregister(&self, node: NodeId) {
        let mut connections = lock(&self.connections);
        if let Some(contact) = connections.contacts.remove(&node) {
            connections.admission.release(contact.from);
        }
    }

    pub(crate) fn command(&self, node: NodeId, command: Command) {
        if let Some(contact) = lock(&self.connections).contacts.get(&node) {
            contact.mailbox.leave(command);
        }
    }

    pub(crate) fn dismiss_all(&self, reason: &'static str) {
        self.command_all(|| Command::Dismiss(reason));
    }

    /// Tells the time to those that are told timestamps.
    pub(crate) fn announce(&self) {
        self.command_all(|| Command::Announce);
    }

    fn command_all(&self, command: impl Fn() -> Command) {
        for contact in lock(&self.connections).contacts.values() {
            contact.mailbox.leave(command());
        }
    }

    /// Whether this master holds rounds: always, unless another candidate leads.
    pub(crate) fn leads(&self) -> bool {
        let candidacy = self.candidacy.as_ref();
        candidacy.is_none_or(|candidacy| candidacy.leads())
    }

    /// What followers are told of who leads, where there are candidates.
    pub(crate) fn leadership(&self) -> Option<Leadership> {
        let candidacy = self.candidacy.as_ref()?;
        Some(candidacy.leadership())
    }

    /// A follower knows of a leader of this term.
    pub(crate) fn knows(&self, term: Term) {
        if let Some(candidacy) = &self.candidacy
            && term > candidacy.view().term
        {
            candidacy.input(Input::Knows(term));
        }
    }

    /// The election has made us the leader: followers come now, and are not to wait for long.
    pub(crate) fn take_lead(&self) {
        let mut rhythm = lock(&self.rhythm);
        let first_round = (rhythm.interval / 2).min(FIRST_ROUND);
        let passed = rhythm.interval.saturating_sub(first_round);
        let now = Instant::now();
        rhythm.began = now.checked_sub(passed).unwrap_or(now);
        drop(rhythm);
        self.ensemble().abandon_interval();
        let _ = self.wake_coordinator.try_send(());
    }

    /// Another candidate leads: our followers are to go there.
    pub(crate) fn step_down(&self) {
        self.command_all(|| Command::StepDown);
    }

    /// Ends every connection, whatever its thread is waiting for.
    pub(crate) fn close_all(&self) {
        for contact in lock(&self.connections).contacts.values() {
            let _ = contact.stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes a follower in and tells of it.
    pub(crate) fn join(&self, node: NodeId, name: &Arc<str>, wire: Wire) {
        self.ensemble().join(node, Arc::clone(name), wire);
        self.tell_change(MasterEvent::Joined {
            name: Arc::clone(name),
            wire,
        });
    }

    /// Lets go of a connection that has ended.
    pub(crate) fn part(&self, node: NodeId, name: &Arc<str>, joined: bool, end: &End) {
        self.unregister(node);
        self.ensemble().leave(node);
        if let End::Fault(_) = end {
            self.warn(name, &end.to_string());
        } else {
            log::debug!("{name}: {end}");
        }
        if joined {
            self.tell_change(MasterEvent::Left {
                name: Arc::clone(name),
                reason: end.to_string(),
            });
        }
    }

    /// Warns of what a peer can do at will, but not as often as it can do it.
    pub(crate) fn warn(&self, name: &str, message: &str) {
        let admitted = lock(&self.warnings).admit(Instant::now());
        match admitted {
            Some(0) => log::warn!("{name}: {message}"),
            Some(more) => log::warn!("{name}: {message} ({more} more were not logged)"),
            None => log::debug!("{name}: {message}"),
        }
    }

    /// Tells of who came or went, which a peer can do at will too.
    fn tell_change(&self, event: MasterEvent) {
        let admitted = lock(&self.events).comings_and_goings.admit(Instant::now());
        match admitted {
            None => return,
            Some(0) => {}
            Some(withheld) => self.tell(MasterEvent::Withheld(withheld)),
        }
        self.tell(event);
    }

    pub(crate) fn tell(&self, event: MasterEvent) {
        let sent = match &lock(&self.events).events {
            Some(events) => events.try_send(event),
            None => return,
        };
        if let Err(TrySendError::Full(_)) = sent {
            log::debug!("nobody takes the events; one was dropped");
        }
    }

    /// After this, whoever waits for events knows that there are no more.
    pub(crate) fn end_events(&self) {
        lock(&self.events).events = None;
    }

    /// Asks the acceptor and the coordinator to end.
    pub(crate) fn stop(&self) {
        if self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        let _ = self.wake_coordinator.try_send(());
        self.wake_acceptor();
    }

    /// The acceptor sees that it is to stop when a connection comes, so one is made.
    pub(crate) fn wake_acceptor(&self) {
        let mut here = self.address;
        match here.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => here.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => here.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let caller = lock(&self.caller).take();
        let caller = caller.map_or_else(|| caller_of(here), Ok);
        if let Err(error) = caller.and_then(|caller| caller.connect_timeout(&here.into(), WAKING)) {
            log::debug!("cannot wake the acceptor on {here}: {error}");
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

fn caller_of(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, None)
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
