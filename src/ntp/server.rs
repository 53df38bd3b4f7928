//! A thread that answers NTP's questions with the time of a network clock.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::discipline::network_clock::NetworkClock;
use crate::ntp::answer::{LARGEST_MAX_ERROR, NtpOptions, STRATA, UNSYNCHRONIZED, answer, kiss};
use crate::ntp::limit::{Limiter, Verdict};
use crate::ntp::packet::{LONGEST_QUESTION, Question};
use crate::ntp::socket::{Received, Socket, Waker};
use crate::report::status::{NtpCounters, NtpStatus};

/// How long to wait when nothing can be received at the moment.
const PAUSE: Duration = Duration::from_millis(100);

/// Below this a port needs the right to take it.
const PRIVILEGED: u16 = 1024;

/// Why the time can't be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NtpServerError {
    /// The stratum is none that a server without a reference clock may have.
    #[error("a stratum is from {min} to {max}, not {0}", min = STRATA.start(), max = STRATA.end())]
    Stratum(u8),
    /// No client would take such a time.
    #[error("a largest error is more than 0 and at most 16 s, not {} ms", .0.num_milliseconds())]
    MaxError(TimeDelta),
    /// The program may not take a port below 1024.
    #[error(
        "cannot serve NTP at {0}: a port below 1024 needs the capability CAP_NET_BIND_SERVICE: give \
         it to the program with `setcap cap_net_bind_service+ep PROGRAM`, or by its systemd unit; \
         or take another port with --serve-ntp=ADDRESS:PORT"
    )]
    NoPermission(SocketAddr),
    /// Somebody else has the port.
    #[error(
        "cannot serve NTP at {0}, where another server is: stop it (chronyd, ntpd), or take another \
         address with --serve-ntp=ADDRESS:PORT"
    )]
    InUse(SocketAddr),
    /// The address can't be had for another reason.
    #[error("cannot serve NTP at {0}; --serve-ntp=ADDRESS:PORT takes another address")]
    Listen(SocketAddr, #[source] io::Error),
    /// The operating system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl NtpServerError {
    fn of(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied if address.port() < PRIVILEGED => {
                Self::NoPermission(address)
            }
            ErrorKind::AddrInUse => Self::InUse(address),
            _ => Self::Listen(address, error),
        }
    }
}

/// A server of a clock's time over NTP. Dropping it stops it.
///
/// Whoever speaks NTP, version 3 or 4, is told the clock's reading and how wrong it may be, and is
/// told not to take it while nobody can tell. No question needs the group, so the server goes on in
/// holdover, with an error that grows.
///
/// ```no_run
/// use berkeley::{Address, Follower, FollowerOptions, NtpOptions, NtpServer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let master = Address::new("10.0.0.1", 8080);
/// let follower = Follower::connect([master], FollowerOptions::default())?;
/// let server = NtpServer::start(follower.clock(), NtpOptions::default())?; // at port 123
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a server that is dropped has stopped"]
pub struct NtpServer {
    observer: NtpObserver,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// Asks an NTP server for its status, from any thread, for as long as it likes.
#[derive(Debug, Clone)]
pub struct NtpObserver {
    clock: NetworkClock,
    options: NtpOptions,
    counters: Arc<Counters>,
}

/// What is counted since the start.
#[derive(Debug, Default)]
struct Counters {
    answered: AtomicU64,
    unsynchronized: AtomicU64,
    limited: AtomicU64,
    malformed: AtomicU64,
}

impl NtpServer {
    /// Takes the port and starts the thread that answers.
    ///
    /// # Errors
    /// [`NtpServerError`] says what can't be had.
    pub fn start(clock: NetworkClock, mut options: NtpOptions) -> Result<Self, NtpServerError> {
        if !STRATA.contains(&options.stratum) {
            return Err(NtpServerError::Stratum(options.stratum));
        }
        if options.max_error <= TimeDelta::zero() || options.max_error > LARGEST_MAX_ERROR {
            return Err(NtpServerError::MaxError(options.max_error));
        }
        let cannot = |error| NtpServerError::of(options.listen, error);
        let socket = Socket::bind(options.listen).map_err(cannot)?;
        options.listen = socket.local_addr().map_err(cannot)?;
        let observer = NtpObserver {
            clock,
            options,
            counters: Arc::default(),
        };
        let (stop, waker) = (Arc::<AtomicBool>::default(), socket.waker());
        let serving = Serving {
            socket,
            served: observer.clone(),
            limiter: Limiter::new(Instant::now()),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new().name("ntp".to_owned());
        let thread = thread.spawn(move || serving.run());
        Ok(Self {
            observer,
            stop,
            waker,
            thread: Some(thread.map_err(NtpServerError::Thread)?),
        })
    }

    /// Where clients ask.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.observer.options.listen
    }

    /// What asks for the status from any thread.
    #[must_use]
    pub fn observer(&self) -> NtpObserver {
        self.observer.clone()
    }
}

impl Drop for NtpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            log::warn!("the thread that serves NTP has panicked");
        }
    }
}

impl NtpObserver {
    /// What the server says of itself now.
    #[must_use]
    pub fn status(&self) -> NtpStatus {
        let error = self.clock.now().error;
        let synchronized = error.is_some_and(|error| error <= self.options.max_error);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        NtpStatus {
            listen: self.options.listen.to_string(),
            stratum: if synchronized {
                self.options.stratum
            } else {
                UNSYNCHRONIZED
            },
            counters: NtpCounters {
                answered: count(&counters.answered),
                unsynchronized: count(&counters.unsynchronized),
                limited: count(&counters.limited),
                malformed: count(&counters.malformed),
            },
        }
    }
}

/// The thread that answers.
struct Serving {
    socket: Socket,
    served: NtpObserver,
    limiter: Limiter,
    stop: Arc<AtomicBool>,
}

impl Serving {
    fn run(mut self) {
        // One byte more than a question has, to see what is too long.
        let mut bytes = [0; LONGEST_QUESTION + 1];
        while !self.stop.load(Ordering::SeqCst) {
            match self.socket.receive(&mut bytes) {
                Ok(Some(received)) => self.answer(&bytes[..received.length], &received),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    log::debug!("no question over NTP could be received: {error}");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], received: &Received) {
        let NtpObserver {
            clock,
            options,
            counters,
        } = &self.served;
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let Some(question) = Question::parse(bytes) else {
            count(&counters.malformed);
            return;
        };
        let verdict = self.limiter.admit(received.from.ip(), Instant::now());
        if verdict != Verdict::Answer {
            count(&counters.limited);
        }
        if verdict == Verdict::Silence {
            return;
        }
        // The clock is read last.
        let told = clock.told(received.arrived);
        let answer = match verdict {
            Verdict::Kiss => kiss(&question, &told, options),
            _ => answer(&question, &told, options),
        };
        let sent = self.socket.answer(received, &answer.bytes());
        match (verdict, answer.synchronized) {
            (Verdict::Answer, true) => count(&counters.answered),
            (Verdict::Answer, false) => count(&counters.unsynchronized),
            _ => 0,
        };
        if let Err(error) = sent {
            log::debug!("no answer over NTP to {}: {error}", received.from);
        }
    }
}
