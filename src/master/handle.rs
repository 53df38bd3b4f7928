//! The master: accepts followers, one thread each, and closes a round every interval.
//!
//! Threads: an acceptor; one a connection (`peer ADDRESS`, see `peer.rs`); and a coordinator,
//! which waits for the end of an interval, lets the [`Ensemble`] average, and tells each
//! connection's thread what to send. Where there are several masters, `candidate.rs` says which
//! one leads. The coordinator itself never touches a follower's socket in
//! a way that could block it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::average::consensus::Rules;
use crate::average::ensemble::{Ensemble, Round, Settings, Wire};
use crate::clock::{Clock, Simulation, SteadyClock};
use crate::discipline::correction::Steering;
use crate::discipline::drift_file::DriftFile;
use crate::discipline::network_clock::NetworkClock;
use crate::election::candidates::Candidates;
use crate::follower::handle::FollowerEvent;
use crate::master::acceptor::{self, Acceptor};
use crate::master::admission::Limits;
use crate::master::candidacy::Candidacy;
use crate::master::candidate::{Candidate, MOST_INPUTS};
use crate::master::coordinator::Coordinator;
use crate::master::polling::Rhythm;
use crate::master::shared::Shared;
use crate::rate_limit::Refusals;
use crate::report::record::{LEAD_HEADER, MASTER_HEADER, Record};
use crate::system_clock::kernel::{self, Following, StopFollowing, SystemClock};
use crate::wire::candidate::Leadership;

/// How often a peer on the timestamp wire is taken to report, if the interval is shorter: the
/// Python programs report every 5 s.
const TIMESTAMP_INTERVAL: Duration = Duration::from_secs(5);

/// How many polls a round takes of each follower, if nothing else is said.
pub const DEFAULT_BURST: u32 = 8;

/// What a master needs to know.
#[derive(Debug)]
pub struct MasterOptions {
    /// Where followers connect; port 0 picks a free one.
    pub listen: SocketAddr,
    /// From one round to the next.
    pub interval: Duration,
    /// How many polls a round takes of each follower, of which the best counts.
    pub burst: u32,
    /// Measure, average and tell, but correct nobody.
    pub dry_run: bool,
    /// The first round waits for so many followers.
    pub min_followers: usize,
    /// One more than so many connections is turned away.
    pub max_followers: usize,
    /// So is one more than so many from one address, at a time or in a second.
    pub max_per_address: usize,
    /// The masters that may lead, if this one is not the only one.
    pub candidates: Option<Candidates>,
    /// Which clocks vote.
    pub rules: Rules,
    /// How the master follows its own corrections.
    pub steering: Steering,
    /// Stop after so many rounds.
    pub rounds: Option<u64>,
    /// How wrong this machine's clock pretends to be.
    pub simulation: Simulation,
    /// The operating system's clock, if it is to follow the network.
    pub system_clock: Option<SystemClock>,
    /// Where rounds are recorded.
    pub record: Option<Record>,
    /// Where the clock's rate is kept for the next run.
    pub drift_file: Option<DriftFile>,
}

impl Default for MasterOptions {
    /// What the command line has without any flag.
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), crate::DEFAULT_PORT),
            interval: crate::DEFAULT_INTERVAL,
            burst: DEFAULT_BURST,
            dry_run: false,
            min_followers: 1,
            // A thread is four mappings, and Linux allows a process 65,530 unless told otherwise;
            // std aborts the process when it gets a stack and not its guard.
            max_followers: 16_000,
            max_per_address: 256,
            candidates: None,
            rules: Rules::default(),
            steering: Steering::default(),
            rounds: None,
            simulation: Simulation::NONE,
            system_clock: None,
            record: None,
            drift_file: None,
        }
    }
}

/// Why a master could not start, or had to end.
#[derive(Debug)]
pub enum Error {
    /// The address can't be listened on.
    Listen(SocketAddr, io::Error),
    /// No more connections can be accepted.
    Accept(io::Error),
    /// The operating system gives no more threads.
    Thread(io::Error),
    /// The record can't be written.
    Record(io::Error),
    /// The system's clock can't be steered.
    Steer(kernel::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, _) => write!(
                out,
                "cannot listen on {address}; --listen takes another address or port"
            ),
            Self::Accept(_) => out.write_str("cannot accept connections any more"),
            Self::Thread(_) => out.write_str("cannot start a thread"),
            Self::Record(_) => out.write_str("no record, which --record asks for"),
            Self::Steer(_) => out.write_str("cannot steer the system's clock"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, error)
            | Self::Accept(error)
            | Self::Thread(error)
            | Self::Record(error) => Some(error),
            Self::Steer(error) => Some(error),
        }
    }
}

/// What a master has to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum MasterEvent {
    /// A follower gave its first sign of life.
    Joined {
        /// Its address.
        name: Arc<str>,
        /// How it speaks.
        wire: Wire,
    },
    /// A follower's connection ended.
    Left {
        /// Its address.
        name: Arc<str>,
        /// Why.
        reason: String,
    },
    /// So many followers joined or left too quickly one after the other to be named.
    Withheld(u64),
    /// A round has ended and its corrections are on their way.
    Round(Round),
    /// Among candidates, the lead has changed.
    Lead(Leadership),
    /// This candidate does not lead, and this is what it hears from the one that does.
    Followed(FollowerEvent),
}

/// A running master.
#[derive(Debug)]
pub struct Master {
    shared: Arc<Shared>,
    events: Receiver<MasterEvent>,
    /// Dropped last, when nobody corrects the clock any more.
    following: Option<Following>,
    acceptor: JoinHandle<Result<(), Error>>,
    coordinator: JoinHandle<()>,
    election: Option<JoinHandle<()>>,
}

/// Stops a master, from any thread.
#[derive(Debug, Clone)]
pub struct MasterStopper(Arc<Shared>, Option<StopFollowing>);

impl MasterStopper {
    /// Asks the master to end in order; returns at once.
    pub fn stop(&self) {
        if let Some(following) = &self.1 {
            // Not left to the orderly end, which something may hold up.
            following.stop();
        }
        self.0.stop();
    }
}

impl Master {
    /// Starts listening, and the threads.
    ///
    /// # Errors
    /// [`Error::Listen`] when the address is taken or not this machine's, [`Error::Thread`].
    pub fn start(mut options: MasterOptions) -> Result<Self, Error> {
        let cannot_listen = |error| Error::Listen(options.listen, error);
        let listener = acceptor::listen(options.listen).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        if let Some(record) = &mut options.record {
            let lead = options.candidates.as_ref().map_or("", |_| LEAD_HEADER);
            let header = format!("{MASTER_HEADER}{lead}");
            record.begin(&header).map_err(Error::Record)?;
        }
        let system_clock = options.system_clock;
        let raw: Arc<dyn Clock> = match &system_clock {
            Some(system) => system.oscillator(),
            None => Arc::new(options.simulation.over(SteadyClock::start())),
        };
        let clock = NetworkClock::new(raw, options.steering);
        let following = system_clock.map(|system| system.follow(clock.clone()));
        let (inputs, heard) = mpsc::sync_channel(MOST_INPUTS);
        let candidates = options.candidates;
        let candidacy = candidates.map(|all| Arc::new(Candidacy::new(all, inputs)));
        let (shared, receivers) = Shared::new(
            clock,
            Rhythm {
                began: Instant::now(),
                interval: options.interval,
                burst: options.burst,
            },
            Ensemble::new(Settings {
                interval: options.interval,
                rules: options.rules,
                min_followers: options.min_followers,
                timestamp_patience: timestamp_patience(options.interval),
                dry_run: options.dry_run,
            }),
            address,
            Limits {
                in_all: options.max_followers,
                per_address: options.max_per_address,
                candidates: candidacy
                    .iter()
                    .flat_map(|us| us.candidates.hosts())
                    .collect(),
            },
            candidacy.clone(),
        );
        let election = candidacy.map(|candidacy| {
            let candidate = Candidate::start(&shared, &candidacy, heard)?;
            spawn("election", move || candidate.run())
        });
        let (alive, all_ended) = mpsc::channel();
        let acceptor = Acceptor {
            shared: Arc::clone(&shared),
            listener,
            alive,
        };
        let coordinator = Coordinator {
            shared: Arc::clone(&shared),
            dry_run: options.dry_run,
            rounds: options.rounds,
            record: options.record,
            drift_file: options.drift_file,
            refusals: Refusals::default(),
            sets: 0,
            wake: receivers.wake,
            all_ended,
        };
        Ok(Self {
            acceptor: spawn("acceptor", move || acceptor.run())?,
            coordinator: spawn("coordinator", move || coordinator.run())?,
            election: election.transpose()?,
            shared,
            events: receivers.events,
            following: following.transpose().map_err(Error::Steer)?,
        })
    }

    /// Where followers connect.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.address()
    }

    /// The network's time, as the master keeps it.
    #[must_use]
    pub fn clock(&self) -> NetworkClock {
        self.shared.clock.clone()
    }

    /// Waits for something to happen; `None` when the master has ended.
    #[must_use]
    pub fn next_event(&self) -> Option<MasterEvent> {
        self.events.recv().ok()
    }

    /// A handle that stops this master.
    #[must_use]
    pub fn stopper(&self) -> MasterStopper {
        let following = self.following.as_ref().map(Following::stopper);
        MasterStopper(Arc::clone(&self.shared), following)
    }

    /// Waits until the master has ended, by itself or by its [`MasterStopper`].
    ///
    /// # Errors
    /// [`Error::Accept`] when it had to end because it could accept nobody any more.
    ///
    /// # Panics
    /// When one of its threads did.
    pub fn finish(self) -> Result<(), Error> {
        self.coordinator.join().expect("the coordinator ended");
        if let Some(election) = self.election {
            election.join().expect("the election ended");
        }
        let ended = self.acceptor.join().expect("the acceptor ended");
        drop(self.following);
        ended
    }
}

pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(run).map_err(Error::Thread)
}

/// For how many rounds a peer on the timestamp wire may be silent: three of its own intervals.
fn timestamp_patience(interval: Duration) -> u32 {
    let theirs = 3 * TIMESTAMP_INTERVAL.max(interval).as_nanos();
    u32::try_from(theirs.div_ceil(interval.as_nanos().max(1))).unwrap_or(u32::MAX)
}
