//! A running master: how it is started, watched and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::average::ensemble::{Ensemble, Settings};
use crate::average::round::Above;
use crate::discipline::network_clock::NetworkClock;
use crate::keys::channel::CERTIFICATE_WORD;
use crate::keys::codes::CODE_WORD;
use crate::keys::credentials::Credentials;
use crate::keys::holder::Role;
use crate::keys::ring::KeyRing;
use crate::master::acceptor::{self, Acceptor};
use crate::master::admission::Limits;
use crate::master::candidacy::Candidacy;
use crate::master::candidate::{CandidateThread, MOST_INPUTS};
use crate::master::coordinator::{Coordinator, References};
use crate::master::error::MasterError;
use crate::master::event::MasterEvent;
use crate::master::key_watch;
use crate::master::observations::Facts;
use crate::master::operator::Operator;
use crate::master::options::MasterOptions;
use crate::master::parent::Parent;
use crate::master::rhythm::Rhythm;
use crate::master::shared::{Entrance, Shared};
use crate::master::shared_votes::SharedVotes;
use crate::master::speaker::Speaker;
use crate::master::status::MasterObserver;
use crate::master::threads::spawn;
use crate::master::trust::Trust;
use crate::master::waiting::Waiting;
use crate::rate_limit::Refusals;
use crate::report::status::MasterStatus;
use crate::system_clock::following::{Following, StopFollowing};
use crate::system_clock::keeper;
use crate::wire::limits::longest_line;
use crate::wire::line::LONGEST_LINE;
use crate::wire::name::NodeName;
use crate::wire::path::GroupId;
use crate::wire::steps::Steps;

/// How often a peer on the timestamp wire is taken to report, if the interval is shorter: the
/// Python programs report every 5 s.
const TIMESTAMP_INTERVAL: Duration = Duration::from_secs(5);

/// A running master. Dropping it stops it and waits until its threads have ended, which takes
/// half a second at most.
#[derive(Debug)]
pub struct Master {
    shared: Arc<Shared>,
    events: Receiver<MasterEvent>,
    threads: Threads,
    /// Dropped last, when nobody corrects the clock any more.
    following: Option<Following>,
}

/// Those that were started.
#[derive(Debug, Default)]
struct Threads {
    acceptor: Option<JoinHandle<Result<(), MasterError>>>,
    coordinator: Option<JoinHandle<()>>,
    election: Option<JoinHandle<()>>,
    key_watch: Option<JoinHandle<()>>,
    speaker: Option<JoinHandle<()>>,
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
    /// Starts listening, and the threads. When something fails, nothing is left of it: what was
    /// started has ended again, and the port is free.
    ///
    /// # Errors
    /// [`MasterError`] says what can't be had.
    pub fn start(mut options: MasterOptions) -> Result<Self, MasterError> {
        options.check()?;
        let cannot_listen = |error| MasterError::Listen(options.listen, error);
        let listener = acceptor::listen(options.listen).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        if options.key_file.is_none() && !address.ip().to_canonical().is_loopback() {
            log::info!(
                "without a key: every machine that reaches {address} may join and has a vote; see \
                 docs/security.md"
            );
        }
        if let Some(record) = &mut options.record {
            record.begin_master(options.candidates.is_some())?;
        }
        let (trust, credentials) = trust(&options)?;
        if let Some(file) = &options.parent_key_file {
            Credentials::Node(file.clone()).key(Role::Follower, 0)?;
        }
        let system = options.system_clock.take();
        let own = keeper::network_clock(system, options.simulation, options.steering);
        let (clock, following) = own.map_err(MasterError::Steer)?;
        let _ = clock.take_steps(Steps::none(fastrand::u32(..)));
        let (inputs, heard) = mpsc::sync_channel(MOST_INPUTS);
        let candidates = options.candidates.take();
        let candidacy = candidates.map(|all| Arc::new(Candidacy::new(all, inputs)));
        let tree = place_in_tree(&mut options, &clock);
        let mut ensemble = ensemble(&options);
        if let Some(candidacy) = &candidacy {
            let own = called(&options, candidacy);
            ensemble.stand(candidacy.candidates.own(), own);
        }
        let (shared, receivers) = Shared::new(
            clock,
            Rhythm::new(options.interval, options.burst, Instant::now()),
            ensemble,
            Entrance {
                address,
                limits: limits(&options, candidacy.as_deref()),
                trust,
            },
            candidacy.clone(),
            tree,
            facts(&options, following.as_ref().is_some_and(Following::steers)),
        );
        // From here on, what is started is stopped again when this is dropped.
        let mut master = Self {
            shared: Arc::clone(&shared),
            events: receivers.events,
            threads: Threads::default(),
            following,
        };
        if shared.parent.is_some() {
            master.threads.speaker = Some(speak(&shared, &options)?);
        }
        let (alive, all_ended) = mpsc::channel();
        let coordinator = Coordinator {
            shared: Arc::clone(&shared),
            dry_run: options.dry_run,
            rounds: options.rounds,
            record: options.record,
            drift_file: options.drift_file,
            state_file: options.state_file,
            waiting: Waiting::default(),
            refusals: Refusals::default(),
            shared_votes: SharedVotes::default(),
            sets: 0,
            held: 0,
            references: References::New,
            above: Above::Nobody,
            wake: receivers.wake,
            all_ended,
        };
        let disciplines = shared.clock.disciplined();
        let run = move || {
            let _disciplines = disciplines;
            coordinator.run();
        };
        master.threads.coordinator = Some(spawn("coordinator", run)?);
        if let Some(candidacy) = candidacy {
            let candidate =
                CandidateThread::start(&shared, &candidacy, heard, options.name, credentials)?;
            master.threads.election = Some(spawn("election", move || candidate.run())?);
        }
        if let Trust::Keyed { ring, .. } = &shared.trust {
            let (shared, ring) = (Arc::clone(&shared), Arc::clone(ring));
            let watch = move || key_watch::run(&shared, &ring);
            master.threads.key_watch = Some(spawn("key file", watch)?);
        }
        let acceptor = Acceptor {
            shared,
            listener,
            alive,
        };
        master.threads.acceptor = Some(spawn("acceptor", move || acceptor.run())?);
        Ok(master)
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
    ///
    /// Events wait in a queue of 64. Whoever does not take them loses those that come when it is
    /// full: no reader can hold up the rounds.
    #[must_use]
    pub fn next_event(&self) -> Option<MasterEvent> {
        self.events.recv().ok()
    }

    /// What this master says of itself: who leads, the last round, its clocks.
    #[must_use]
    pub fn status(&self) -> MasterStatus {
        self.observer().status()
    }

    /// What asks for the status from any other thread.
    #[must_use]
    pub fn observer(&self) -> MasterObserver {
        MasterObserver(Arc::clone(&self.shared))
    }

    /// A handle that stops this master.
    #[must_use]
    pub fn stopper(&self) -> MasterStopper {
        let following = self.following.as_ref().map(Following::stopper);
        MasterStopper(Arc::clone(&self.shared), following)
    }

    /// A handle by which an operator tells this master what to do.
    #[must_use]
    pub fn operator(&self) -> Operator {
        Operator::new(&self.shared)
    }

    /// Waits until the master has ended, by itself or by its [`MasterStopper`].
    ///
    /// # Errors
    /// [`MasterError::Accept`] when it had to end because it could accept nobody any more.
    ///
    /// # Panics
    /// When one of its threads did.
    pub fn finish(mut self) -> Result<(), MasterError> {
        self.threads
            .wait()
            .expect("every thread of the master ends")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.shared.stop();
        // Nobody is left to be told of a thread that panicked.
        let _ = self.threads.wait();
    }
}

impl Threads {
    fn wait(&mut self) -> thread::Result<Result<(), MasterError>> {
        self.coordinator.take().map_or(Ok(()), JoinHandle::join)?;
        self.election.take().map_or(Ok(()), JoinHandle::join)?;
        self.key_watch.take().map_or(Ok(()), JoinHandle::join)?;
        self.speaker.take().map_or(Ok(()), JoinHandle::join)?;
        self.acceptor.take().map_or(Ok(Ok(())), JoinHandle::join)
    }
}

fn facts(options: &MasterOptions, steers_system: bool) -> Facts {
    Facts {
        name: options.name.clone().or_else(NodeName::of_this_machine),
        dry_run: options.dry_run,
        steers_system,
        started: Instant::now(),
        simulation: options.simulation,
        reference: options.reference,
    }
}

/// Starts the thread that speaks for the group to the one above.
fn speak(shared: &Arc<Shared>, options: &MasterOptions) -> Result<JoinHandle<()>, MasterError> {
    let key = options.parent_key_file.clone();
    let speaker = Speaker {
        shared: Arc::clone(shared),
        name: options.name.clone(),
        credentials: key.map(Credentials::Node),
    };
    spawn("parent", move || speaker.run())
}

/// The number of our group, and what it has above it.
fn place_in_tree(options: &mut MasterOptions, clock: &NetworkClock) -> (GroupId, Option<Parent>) {
    let (id, masters) = (
        GroupId(fastrand::u32(..)),
        std::mem::take(&mut options.parents),
    );
    let parent = (!masters.is_empty()).then(|| Parent::new(masters, clock, options.steering, id));
    (id, parent)
}

/// Whom to believe, and what a candidate proves itself with.
fn trust(options: &MasterOptions) -> Result<(Trust, Option<Credentials>), MasterError> {
    let Some(path) = &options.key_file else {
        return Ok((Trust::Everybody, None));
    };
    let ring = Arc::new(KeyRing::open(path)?);
    let trust = Trust::Keyed {
        ring: Arc::clone(&ring),
        auth: options.auth,
        serve_timestamps: options.serve_timestamps,
        weights: options.trust_weight.clone(),
    };
    let Some(candidates) = &options.candidates else {
        return Ok((trust, None));
    };
    let length = longest_line(candidates.list());
    if length + CODE_WORD + CERTIFICATE_WORD > LONGEST_LINE {
        return Err(MasterError::LongCandidates(length));
    }
    let own = &candidates.list()[candidates.own().0];
    let name = own.to_string().parse();
    let name = name.map_err(|_| MasterError::LongAddress(own.clone()))?;
    Ok((trust, Some(Credentials::Group(ring, name))))
}

fn ensemble(options: &MasterOptions) -> Ensemble {
    let settings = Settings {
        interval: options.interval,
        rules: options.rules,
        min_followers: options.min_followers,
        timestamp_patience: timestamp_patience(options.interval),
        reference_slew_ppm: options.reference_slew_ppm,
        votes_per_address: options.votes_per_address,
        max_weight: options.max_weight,
        dry_run: options.dry_run,
    };
    let found = options.state_file.as_ref().map(|file| file.found().clone());
    Ensemble::knowing(settings, found.unwrap_or_default())
}

/// What the other candidates call us while we follow them.
fn called(options: &MasterOptions, candidacy: &Candidacy) -> Option<Arc<str>> {
    if options.key_file.is_some() {
        // By what is in its key.
        let own = candidacy.candidates.at(candidacy.candidates.own())?;
        return Some(own.to_string().into());
    }
    let name = options.name.clone().or_else(NodeName::of_this_machine);
    name.map(|name| name.as_str().into())
}

fn limits(options: &MasterOptions, candidacy: Option<&Candidacy>) -> Limits {
    Limits {
        in_all: options.max_followers,
        per_address: options.max_per_address,
        candidates: candidacy.map_or_else(Vec::new, |us| us.candidates.hosts()),
    }
}

/// For how many rounds a peer on the timestamp wire may be silent: three of its own intervals.
fn timestamp_patience(interval: Duration) -> u32 {
    let theirs = 3 * TIMESTAMP_INTERVAL.max(interval).as_nanos();
    u32::try_from(theirs.div_ceil(interval.as_nanos().max(1))).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn options() -> MasterOptions {
        MasterOptions {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            ..MasterOptions::default()
        }
    }

    #[test]
    fn a_start_that_fails_leaves_nothing_behind() {
        let started = Master::start(options()).expect("a master");
        let (shared, address) = (Arc::clone(&started.shared), started.local_addr());
        // What is dropped when a start fails is a master that lacks some of its threads.
        drop(started);
        assert_eq!(Arc::strong_count(&shared), 1, "threads run on");
        TcpListener::bind(address).expect("the port is free");
    }

    #[test]
    fn what_no_master_can_keep_to_is_refused() {
        for interval in [Duration::ZERO, Duration::from_micros(9999), Duration::MAX] {
            let options = MasterOptions {
                interval,
                ..options()
            };
            let refused = Master::start(options).map(drop);
            assert!(
                matches!(refused, Err(MasterError::Interval(_))),
                "{refused:?}"
            );
        }
        for burst in [0, 65] {
            let options = MasterOptions { burst, ..options() };
            let refused = Master::start(options).map(drop);
            assert!(matches!(refused, Err(MasterError::Burst(_))), "{refused:?}");
        }
    }
}
