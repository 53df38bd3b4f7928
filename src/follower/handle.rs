//! A follower as an embedder holds it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::discipline::network_clock::NetworkClock;
use crate::election::allegiance::Allegiance;
use crate::follower::connect;
use crate::follower::control::Control;
use crate::follower::error::FollowerError;
use crate::follower::event::FollowerEvent;
use crate::follower::node::Node;
use crate::follower::options::FollowerOptions;
use crate::follower::represented::Represented;
use crate::follower::status::{Facts, FollowerObserver};
use crate::keys::holder::Role;
use crate::report::status::FollowerStatus;
use crate::system_clock::following::{Following, StopFollowing};
use crate::system_clock::keeper;
use crate::wire::address::Address;
use crate::wire::candidate::Term;
use crate::wire::message::INTERVALS;

/// A running follower.
///
/// It runs until it has followed as many corrections as its options ask for, until a
/// [`FollowerStopper`] stops it, or until it is dropped: that stops it and waits for it, 0.3 s at
/// the longest. A clock that outlives its follower goes on as it went (holdover), its stated error
/// grows, and [`NetworkClock::is_disciplined`] says that nobody corrects it any more.
///
/// ```no_run
/// use berkeley::{Address, Follower, FollowerError, FollowerOptions};
///
/// # fn main() -> Result<(), FollowerError> {
/// // To be kept: the clock is corrected for as long as this lives.
/// let follower = Follower::connect([Address::new("10.0.0.1", 8080)], FollowerOptions::default())?;
/// let clock = follower.clock(); // cheap to clone, readable from any thread
/// let now = clock.now();
/// match now.error {
///     Some(error) => println!("{} ± {} ns", now.time, error.num_nanoseconds().unwrap_or(i64::MAX)),
///     None => println!("{}, this machine's own clock: no correction has come yet", now.time),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a follower that is dropped has stopped, and its clock is not corrected any more"]
pub struct Follower {
    control: Arc<Control>,
    clock: NetworkClock,
    facts: Facts,
    thread: Option<JoinHandle<()>>,
    following: Option<Following>,
}

/// Stops a follower, from any thread.
#[derive(Debug, Clone)]
pub struct FollowerStopper(Arc<Control>, Option<StopFollowing>);

impl FollowerStopper {
    /// Asks the follower to end; returns at once.
    pub fn stop(&self) {
        if let Some(following) = &self.1 {
            // Not left to the orderly end, which something may hold up.
            following.stop();
        }
        self.0.stop();
    }
}

impl Follower {
    /// Starts the follower's thread, which connects to the first of `masters` that answers, and
    /// keeps trying until one does. Network time is readable at once: until the first correction
    /// it is this machine's own.
    ///
    /// # Errors
    /// [`FollowerError::NoMaster`] when `masters` is empty, [`FollowerError::Interval`] when the
    /// interval is not one of [`INTERVALS`]; [`FollowerError::Record`], [`FollowerError::Steer`],
    /// [`FollowerError::Thread`]; [`FollowerError::Keys`] when its key can't be read.
    pub fn connect(
        masters: impl IntoIterator<Item = Address>,
        mut options: FollowerOptions,
    ) -> Result<Self, FollowerError> {
        let masters: Vec<_> = masters.into_iter().collect();
        if masters.is_empty() {
            return Err(FollowerError::NoMaster);
        }
        if !INTERVALS.contains(&options.interval) {
            return Err(FollowerError::Interval(options.interval));
        }
        if let Some(credentials) = &options.credentials {
            options.name = Some(credentials.key(Role::Follower, 0)?.holder.name);
        }
        if let Some(record) = &mut options.record {
            record.begin_follower()?;
        }
        let system = options.system_clock.take();
        let own = keeper::network_clock(system, options.simulation, options.steering);
        let (clock, following) = own.map_err(FollowerError::Steer)?;
        let steers = following.as_ref().is_some_and(Following::steers);
        let node = Node::new(Allegiance::new(masters), clock, steers, options);
        Self::start(node, following)
    }

    /// A candidate that follows the one that leads, with the clock that it leads with.
    pub(crate) fn of_leader(
        leader: Address,
        term: Term,
        clock: NetworkClock,
        options: FollowerOptions,
    ) -> Result<Self, FollowerError> {
        let allegiance = Allegiance::to_leader(leader, term);
        Self::start(Node::new(allegiance, clock, false, options), None)
    }

    /// The master of a group that follows one of `parents`, with a clock that is laid over its
    /// group's.
    pub(crate) fn of_group(
        parents: Vec<Address>,
        clock: NetworkClock,
        group: Arc<dyn Represented>,
        options: FollowerOptions,
    ) -> Result<Self, FollowerError> {
        let mut node = Node::new(Allegiance::new(parents), clock, false, options);
        node.group = Some(group);
        Self::start(node, None)
    }

    fn start(node: Node, following: Option<Following>) -> Result<Self, FollowerError> {
        let clock = node.clock.clone();
        let control = Arc::clone(&node.control);
        let steers_system = following.as_ref().is_some_and(Following::steers);
        let facts = Facts {
            name: node.name.clone(),
            steers_system,
            started: Instant::now(),
        };
        let (disciplines, ends) = (clock.disciplined(), Ends(Arc::clone(&control)));
        let run = move || {
            // Dropped in this order, by a panic too: whoever has waited for the end sees that
            // nobody corrects the clock.
            let _ends = ends;
            let _disciplines = disciplines;
            connect::run(node);
        };
        let thread = thread::Builder::new().name("follower".to_owned());
        let thread = thread.spawn(run).map_err(FollowerError::Thread)?;
        Ok(Self {
            control,
            clock,
            facts,
            thread: Some(thread),
            following,
        })
    }

    /// The network's time, for as long as this follower runs.
    #[must_use]
    pub fn clock(&self) -> NetworkClock {
        self.clock.clone()
    }

    /// Waits for something to happen; `None` when the follower has ended and all that happened was
    /// taken. Of threads that wait for events at the same time, each event goes to one.
    ///
    /// Nobody has to take events, and they hold nothing up: the latest 1024 wait to be taken, and
    /// of more the oldest are lost. For every correction, see [`FollowerOptions::record`].
    #[must_use]
    pub fn next_event(&self) -> Option<FollowerEvent> {
        self.control.next_event()
    }

    /// What has happened and was not taken yet.
    pub(crate) fn next_event_now(&self) -> Option<FollowerEvent> {
        self.control.next_event_now()
    }

    /// The term of the leader whose correction was followed last, where there are candidates.
    pub(crate) fn followed_term(&self) -> Option<Term> {
        self.control.told().followed
    }

    /// Waits until the follower has ended, by itself or by its [`FollowerStopper`].
    ///
    /// # Errors
    /// [`FollowerError::Panicked`].
    pub fn finish(mut self) -> Result<(), FollowerError> {
        self.wait_for_end()
    }

    fn wait_for_end(&mut self) -> Result<(), FollowerError> {
        if !self.control.wait_for_end() {
            // It was stopped while it looks up a name, and nobody has to wait for that.
            return Ok(());
        }
        let ended = self.thread.take().map_or(Ok(()), JoinHandle::join);
        ended.map_err(|_| FollowerError::Panicked)
    }

    /// What this follower says of itself: whom it follows, its last correction, its clock.
    #[must_use]
    pub fn status(&self) -> FollowerStatus {
        self.observer().status()
    }

    /// What asks for the status from any other thread.
    #[must_use]
    pub fn observer(&self) -> FollowerObserver {
        FollowerObserver {
            control: Arc::clone(&self.control),
            clock: self.clock.clone(),
            facts: self.facts.clone(),
        }
    }

    /// A handle that stops this follower.
    #[must_use]
    pub fn stopper(&self) -> FollowerStopper {
        let following = self.following.as_ref().map(Following::stopper);
        FollowerStopper(Arc::clone(&self.control), following)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let was_running = self.control.stop();
        if let Err(error) = self.wait_for_end() {
            log::warn!("{error}");
        }
        // It leaves the system's clock in order, and holds the network's while it lives.
        drop(self.following.take());
        if was_running && self.clock.is_shared() && !self.clock.is_disciplined() {
            log::warn!(
                "a follower was dropped: its clock, which is in use, holds over from now on"
            );
        }
    }
}

/// Says at the end of its life that the thread has ended.
struct Ends(Arc<Control>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended();
    }
}
