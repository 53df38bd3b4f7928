//! A bad network on demand: a TCP relay that a test puts between two programs, and tells at any
//! moment what to do with the bytes of either direction.
//!
//! It loses nothing and reorders nothing, for TCP doesn't: what a silent link holds back arrives
//! when it is healed, as it does when the packets of a real one are sent again.

#![allow(
    dead_code,
    reason = "each test binary uses a part of this module, and is warned of the rest"
)]

mod pump;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// Which way bytes go: to the program that was called, or to the one that called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toward {
    Server,
    Client,
}

pub(crate) const BOTH: [Toward; 2] = [Toward::Server, Toward::Client];

/// What becomes of the bytes that go one way. New values count for what comes from then on, and
/// `silent` for what has come already, too.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Link {
    /// Everything comes so much later.
    pub(crate) delay: Duration,
    /// Everything comes later by a random time up to this, too.
    pub(crate) jitter: Duration,
    /// What is read at once comes later still, by this time, with this probability.
    pub(crate) late: Option<(f64, Duration)>,
    /// One byte each time, and no more.
    pub(crate) drip: Option<Duration>,
    /// Nothing comes, not even an end, and nothing is read, so that the sender's buffers fill.
    pub(crate) silent: bool,
}

impl Link {
    /// A link that hands on everything at once.
    pub(crate) const CLEAR: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        late: None,
        drip: None,
        silent: false,
    };
    const SILENT: Self = Self {
        silent: true,
        ..Self::CLEAR
    };

    pub(crate) fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::CLEAR
        }
    }
}

/// What awaits a program that calls while the relay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callers {
    /// It is connected to the server.
    Served,
    /// Its `connect` gets no answer, as where nobody is.
    Hang,
    /// It is connected, and reset at once.
    Reset,
}

/// A running relay, which ends with its connections when it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the relay's threads share.
struct Shared {
    listener: TcpListener,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    server: SocketAddr,
    links: [Link; 2],
    callers: Callers,
    /// The relay's own calls, which keep its queue full while callers hang.
    stoppers: HashSet<SocketAddr>,
    queue: Vec<TcpStream>,
    /// The acceptor holds a connection back until callers are served again.
    parked: bool,
    pairs: Vec<Pair>,
    connections: u64,
    seed: u64,
    ended: bool,
}

/// A connection: the stream to who called, and the one to who was called.
#[derive(Clone)]
struct Pair {
    client: Arc<TcpStream>,
    server: Arc<TcpStream>,
    /// Whether one of the two directions has ended.
    half: Arc<AtomicBool>,
}

impl Pair {
    fn shutdown(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Relay {
    /// A relay to `server`, on a port of its own. All that is random in it comes from `seed`.
    pub(crate) fn new(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a socket");
        let shared = Arc::new(Shared {
            listener,
            state: Mutex::new(State {
                server,
                links: [Link::CLEAR; 2],
                callers: Callers::Served,
                stoppers: HashSet::new(),
                queue: Vec::new(),
                parked: false,
                pairs: Vec::new(),
                connections: 0,
                seed,
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let acceptor = Arc::clone(&shared);
        start("relay", move || acceptor.accept());
        Self { address, shared }
    }

    /// A relay where nothing is random.
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self::new(server, 0)
    }

    /// Where to call, to reach the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where new connections lead to from now on.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        self.shared.lock().server = server;
    }

    /// What becomes of the bytes that go one way, in all connections.
    pub(crate) fn set(&self, toward: Toward, link: Link) {
        self.shared.change(|state| *state.link(toward) = link);
    }

    /// Nothing comes through that way any more, and nobody is told. As no connection is made
    /// without packets both ways, who calls from now on hangs.
    pub(crate) fn silence(&self, toward: &[Toward]) {
        for &toward in toward {
            self.set(toward, Link::SILENT);
        }
        self.callers(Callers::Hang);
    }

    /// Everything comes through again, both ways, and callers are served.
    pub(crate) fn heal(&self) {
        for toward in BOTH {
            self.set(toward, Link::CLEAR);
        }
        self.callers(Callers::Served);
    }

    /// Closes all connections, both ends of each. Who calls again is served.
    pub(crate) fn cut(&self) {
        for pair in self.shared.lock().pairs.drain(..) {
            pair.shutdown();
        }
    }

    /// Tells the one end of all connections that the other sends no more; the other direction
    /// goes on.
    pub(crate) fn half_close(&self, toward: Toward) {
        for pair in &self.shared.lock().pairs {
            let stream = match toward {
                Toward::Server => &pair.server,
                Toward::Client => &pair.client,
            };
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// What awaits those who call from now on.
    pub(crate) fn callers(&self, callers: Callers) {
        let before = self.shared.lock().callers;
        self.shared.change(|state| state.callers = callers);
        if callers == Callers::Hang && before != Callers::Hang {
            self.shared.fill_queue(self.address);
        }
        if callers != Callers::Hang {
            self.shared.lock().queue.clear();
            let _ = SockRef::from(&self.shared.listener).listen(128);
        }
    }

    /// How many connections were made to the server until now. One that is not counted yet can't
    /// be cut.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.lock().connections
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.change(|state| state.ended = true);
        self.cut();
        // Ends the acceptor's wait.
        let _ = SockRef::from(&self.shared.listener).shutdown(Shutdown::Both);
    }
}

impl State {
    fn link(&mut self, toward: Toward) -> &mut Link {
        &mut self.links[usize::from(toward == Toward::Client)]
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of the relay panics")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `ready`, or the relay's end. Whether it was not the end.
    fn wait_until(&self, ready: impl Fn(&mut State) -> bool) -> bool {
        let waiting = |state: &mut State| !state.ended && !ready(state);
        let state = self.changed.wait_while(self.lock(), waiting);
        !state.expect("no thread of the relay panics").ended
    }

    /// Fills the queue of those that wait to be accepted: the kernel then drops the packets of
    /// whoever calls, who waits as if nobody was there.
    fn fill_queue(&self, address: SocketAddr) {
        SockRef::from(&self.listener)
            .listen(0)
            .expect("a shorter queue");
        // The acceptor waits with the first of these in its hand, and only then do the next ones
        // stay in the queue; the one that hangs finds it full.
        self.call(address);
        if self.wait_until(|state| state.parked) {
            while self.call(address) {}
        }
    }

    /// A call of the relay's own. Whether it was answered.
    fn call(&self, address: SocketAddr) -> bool {
        // Locked, so that the acceptor knows it for one of these.
        let mut state = self.lock();
        let called = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        let Ok(stream) = called else {
            return false;
        };
        state.stoppers.extend(stream.local_addr());
        state.queue.push(stream);
        true
    }

    fn accept(self: Arc<Self>) {
        loop {
            let accepted = self.listener.accept();
            if self.lock().ended {
                return;
            }
            let Ok((client, from)) = accepted else {
                continue;
            };
            self.change(|state| state.parked = state.callers == Callers::Hang);
            let goes_on = self.wait_until(|state| state.callers != Callers::Hang);
            let mut state = self.lock();
            state.parked = false;
            if !goes_on {
                return;
            }
            let (server, callers) = (state.server, state.callers);
            if state.stoppers.remove(&from) {
                continue;
            }
            drop(state);
            if callers == Callers::Reset {
                let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                continue;
            }
            // Who is not there can't be connected to: the caller sees an end.
            if let Ok(server) = TcpStream::connect(server) {
                self.connect(client, server).expect("sockets");
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let pair = Pair {
            client: Arc::new(client),
            server: Arc::new(server),
            half: Arc::default(),
        };
        let mut state = self.lock();
        state.connections += 1;
        state.pairs.push(pair.clone());
        let seed = state.seed.wrapping_add(state.connections << 1);
        drop(state);
        pump::start(self, &pair, Toward::Server, seed);
        pump::start(self, &pair, Toward::Client, seed + 1);
        Ok(())
    }

    /// Forgets a connection when both of its directions have ended.
    fn direction_ended(&self, pair: &Pair) {
        if !pair.half.swap(true, Ordering::SeqCst) {
            return;
        }
        let same = |other: &Pair| Arc::ptr_eq(&other.client, &pair.client);
        self.lock().pairs.retain(|other| !same(other));
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.stack_size(64 * 1024).spawn(run).expect("a thread");
}
