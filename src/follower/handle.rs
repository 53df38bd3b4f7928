//! The follower: answers a master's polls and follows its corrections.
//!
//! One thread connects, speaks, and connects again when the connection is lost. What it learns
//! is in a [`NetworkClock`] that any other thread may read.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{NaiveDateTime, TimeDelta};

use crate::clock::{Clock, SimulatedClock, Simulation, SteadyClock, WallClock};
use crate::discipline::correction::{Applied, Steering};
use crate::discipline::drift_file::DriftFile;
use crate::discipline::network_clock::NetworkClock;
use crate::election::allegiance::Allegiance;
use crate::follower::lines::End;
use crate::lock::lock;
use crate::rate_limit::Refusals;
use crate::report::record::{FOLLOWER_HEADER, Record};
use crate::system_clock::kernel::{Following, StopFollowing, SystemClock};
use crate::wire::address::Address;
use crate::wire::candidate::Term;

/// The pause after a first failed attempt to connect; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long one attempt to connect may take, and how long if there are other masters to try.
const CONNECT_DEADLINE: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(500)];

/// How long a follower that was stopped has to say goodbye. Looking up a name can't be
/// interrupted, and nobody has to wait for it.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Events that nobody has taken yet; more than these are dropped.
const EVENTS: usize = 1024;

/// Which wire a follower speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum WireChoice {
    /// The best that both sides know.
    #[default]
    Auto,
    /// The Python programs' timestamps, whatever the master knows.
    Timestamp,
}

/// What a follower needs to know besides where its masters are.
#[derive(Debug)]
pub struct FollowerOptions {
    /// From one report to the next, on the timestamp wire.
    pub interval: Duration,
    /// Which wire to speak.
    pub wire: WireChoice,
    /// How to follow corrections.
    pub steering: Steering,
    /// Stop after so many corrections.
    pub rounds: Option<u64>,
    /// How wrong this machine's clock pretends to be.
    pub simulation: Simulation,
    /// The operating system's clock, if it is to follow the network.
    pub system_clock: Option<SystemClock>,
    /// Where corrections are recorded.
    pub record: Option<Record>,
    /// Where the clock's rate is kept for the next run.
    pub drift_file: Option<DriftFile>,
}

impl Default for FollowerOptions {
    /// What the command line has without any flag.
    fn default() -> Self {
        Self {
            interval: crate::wire::message::DEFAULT_INTERVAL,
            wire: WireChoice::default(),
            steering: Steering::default(),
            rounds: None,
            simulation: Simulation::NONE,
            system_clock: None,
            record: None,
            drift_file: None,
        }
    }
}

/// What a follower has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerEvent {
    /// It has reached a master.
    Connected(SocketAddr),
    /// A correction has come.
    Synchronized {
        /// The network's time, in local time.
        time: NaiveDateTime,
        /// What this node's clock must add to show it.
        correction: TimeDelta,
        /// How wrong the correction may be; unknown on the timestamp wire.
        error: Option<TimeDelta>,
        /// What was done; on the timestamp wire, nothing.
        made: Option<Applied>,
    },
}

/// A running follower.
///
/// ```no_run
/// use berkeley::{Address, Follower, FollowerOptions};
///
/// # fn main() -> std::io::Result<()> {
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
pub struct Follower {
    control: Arc<Control>,
    clock: NetworkClock,
    events: Receiver<FollowerEvent>,
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

/// What the follower's thread shares with those who stop it.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stopping: AtomicBool,
    /// The connection of the moment: ending its input ends any wait for it.
    stream: Mutex<Option<Arc<TcpStream>>>,
    /// Ends any other wait.
    wake: Mutex<Option<SyncSender<()>>>,
}

impl Control {
    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(stream) = &*lock(&self.stream) {
            let _ = stream.shutdown(Shutdown::Read);
        }
        *lock(&self.wake) = None;
    }
}

impl Follower {
    /// Starts the follower's thread, which connects to the first of `masters` that answers, and
    /// keeps trying until one does. Network time is readable at once: until the first correction
    /// it is this machine's own.
    ///
    /// # Errors
    /// When `masters` is empty, the record can't be written, the system's clock can't be steered,
    /// or the operating system gives no thread.
    pub fn connect(
        masters: impl IntoIterator<Item = Address>,
        mut options: FollowerOptions,
    ) -> io::Result<Self> {
        let masters: Vec<_> = masters.into_iter().collect();
        if masters.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no master is named",
            ));
        }
        if let Some(record) = &mut options.record {
            record.begin(FOLLOWER_HEADER).map_err(io::Error::other)?;
        }
        let system_clock = options.system_clock.take();
        let raw: Arc<dyn Clock> = match &system_clock {
            Some(system) => system.oscillator(),
            None => Arc::new(options.simulation.over(SteadyClock::start())),
        };
        let clock = NetworkClock::new(raw, options.steering);
        let following = system_clock.map(|system| system.follow(clock.clone()));
        let following = following.transpose().map_err(io::Error::other)?;
        Self::start(Allegiance::new(masters), clock, following, options)
    }

    /// A candidate that follows the one that leads, with the clock that it leads with.
    pub(crate) fn of_leader(leader: Address, term: Term, clock: NetworkClock) -> io::Result<Self> {
        let allegiance = Allegiance::to_leader(leader, term);
        Self::start(allegiance, clock, None, FollowerOptions::default())
    }

    fn start(
        allegiance: Allegiance,
        clock: NetworkClock,
        following: Option<Following>,
        options: FollowerOptions,
    ) -> io::Result<Self> {
        let (worker, control, events) =
            Worker::new(allegiance, clock.clone(), following.is_some(), options);
        let thread = thread::Builder::new()
            .name("follower".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            control,
            clock,
            events,
            thread: Some(thread),
            following,
        })
    }

    /// The network's time.
    #[must_use]
    pub fn clock(&self) -> NetworkClock {
        self.clock.clone()
    }

    /// Waits for something to happen; `None` when the follower has ended.
    #[must_use]
    pub fn next_event(&self) -> Option<FollowerEvent> {
        loop {
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.control.stopping.load(Ordering::SeqCst) => {
                    return self.events.recv_timeout(LAST_WORDS).ok();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// What has happened and was not taken yet.
    pub(crate) fn next_event_now(&self) -> Option<FollowerEvent> {
        self.events.try_recv().ok()
    }

    /// Stops the follower, if it has not ended, and says how it ended.
    ///
    /// # Errors
    /// When its thread has panicked, which would be a mistake in this library.
    pub fn finish(mut self) -> io::Result<()> {
        self.control.stop();
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let until = Instant::now() + LAST_WORDS;
        while !thread.is_finished() {
            if Instant::now() > until {
                // It looks up a name, and nobody has to wait for that.
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let panicked = |_| io::Error::other("its thread has panicked");
        thread.join().map_err(panicked)
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
        self.control.stop();
    }
}

/// The follower's thread.
pub(crate) struct Worker {
    control: Arc<Control>,
    pub(crate) allegiance: Allegiance,
    pub(crate) steers_system: bool,
    pub(crate) options: FollowerOptions,
    /// The machine's own clock, which is told on the timestamp wire.
    pub(crate) wall: SimulatedClock<WallClock>,
    pub(crate) clock: NetworkClock,
    /// Where it is connected to, if that was not told yet.
    pub(crate) connected: Option<SocketAddr>,
    pub(crate) received: u64,
    /// A second's beginning, and how many corrections came in it.
    pub(crate) this_second: (Instant, u32),
    pub(crate) refusals: Refusals,
    events: SyncSender<FollowerEvent>,
    woken: Receiver<()>,
}

impl Worker {
    /// A worker, what stops it, and what it tells.
    pub(crate) fn new(
        allegiance: Allegiance,
        clock: NetworkClock,
        steers_system: bool,
        options: FollowerOptions,
    ) -> (Self, Arc<Control>, Receiver<FollowerEvent>) {
        let (wake, woken) = mpsc::sync_channel(0);
        let (events, taken) = mpsc::sync_channel(EVENTS);
        let control = Arc::new(Control {
            wake: Mutex::new(Some(wake)),
            ..Control::default()
        });
        let worker = Self {
            control: Arc::clone(&control),
            steers_system,
            allegiance,
            wall: options.simulation.over(WallClock),
            clock,
            options,
            connected: None,
            received: 0,
            this_second: (Instant::now(), 0),
            refusals: Refusals::default(),
            events,
            woken,
        };
        (worker, control, taken)
    }

    fn run(mut self) {
        self.connect_and_speak();
        let rate = self.clock.rate();
        if let Some(file) = &mut self.options.drift_file {
            file.save(rate);
        }
    }

    fn connect_and_speak(&mut self) {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        while !self.is_stopping() {
            let master = self.allegiance.next_master();
            let before = self.received;
            let end = self.speak_with(&master);
            if matches!(end, End::Done) || self.is_stopping() {
                return;
            }
            // A master that ends connections without a correction may do so for ever.
            if self.received > before {
                pause = FIRST_PAUSE;
                tries = 0;
            }
            self.log_end(&master, &end, tries);
            tries += 1;
            // All of them are tried before a pause.
            if tries % self.allegiance.choice() == 0 {
                if !self.pause(pause) {
                    return;
                }
                // A leader is found within seconds, and the one that was elected is there.
                if !matches!(end, End::Elsewhere(_)) && !self.allegiance.elects() {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Says once that there is no master, whatever is tried after that.
    fn log_end(&self, master: &Address, end: &End, tries: usize) {
        let several = self.allegiance.choice() > 1;
        match end {
            End::Elsewhere(_) => log::debug!("{master}: {end}"),
            _ if self.allegiance.elects() => log::debug!("lost the leader {master}: {end}"),
            End::Unreachable(_) if tries < self.allegiance.choice() && self.received == 0 => {
                log::warn!("cannot reach a master at {master}: {end}; trying until one answers");
            }
            End::Unreachable(_) => log::debug!("cannot reach {master}: {end}"),
            _ if tries > 0 => log::debug!("lost {master}: {end}"),
            _ if several => {
                log::warn!("lost {master}: {end}; holding over until a leader is found");
            }
            _ => log::warn!("lost {master}: {end}; connecting again until it lasts"),
        }
    }

    /// Connects to a master and speaks with it as long as that is of use.
    fn speak_with(&mut self, master: &Address) -> End {
        let several = usize::from(self.allegiance.choice() > 1);
        let stream = match master.connect(CONNECT_DEADLINE[several]) {
            Ok(stream) => Arc::new(stream),
            Err(error) => return End::Unreachable(error),
        };
        *lock(&self.control.stream) = Some(Arc::clone(&stream));
        let end = if self.is_stopping() {
            // Stopped before there was a connection to close.
            End::Done
        } else {
            self.session(&stream)
        };
        *lock(&self.control.stream) = None;
        let _ = stream.shutdown(Shutdown::Both);
        end
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.control.stopping.load(Ordering::SeqCst)
    }

    /// Waits for half to all of `longest`, so that followers that lost their master at one moment
    /// don't all come back at one moment. False when the follower was stopped.
    fn pause(&self, longest: Duration) -> bool {
        let pause = longest.mul_f64(0.5 + 0.5 * fastrand::f64());
        self.woken.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
    }

    pub(crate) fn tell(&self, event: FollowerEvent) {
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            log::debug!("nobody takes the events; one was dropped");
        }
    }
}
