//! The follower: reports its clock to a master, and hears what the network's time is.
//!
//! One thread connects, speaks, and connects again when the connection is lost.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{NaiveDateTime, TimeDelta};

use crate::address::Address;
use crate::clock::{Clock, SimulatedClock, Simulation, WallClock};
use crate::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::record::{FollowerRow, Record};
use crate::timestamp::{self, Decoder, FRACTION_WAIT, NotATimestamp};

/// The pause after a first failed attempt to connect; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long one attempt to connect may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// Events that nobody has taken yet; more than these are dropped.
const EVENTS: usize = 1024;

/// Which wire a follower speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WireChoice {
    /// The best that both sides know.
    #[default]
    Auto,
    /// The Python programs' timestamps, whatever the master knows.
    Timestamp,
}

/// What a follower needs to know besides where its master is.
#[derive(Debug, Default)]
pub struct Options {
    /// From one report to the next, on the timestamp wire; zero means
    /// [`DEFAULT_INTERVAL`](crate::DEFAULT_INTERVAL).
    pub interval: Duration,
    /// Which wire to speak.
    pub wire: WireChoice,
    /// Stop after so many corrections.
    pub rounds: Option<u64>,
    /// How wrong this machine's clock pretends to be.
    pub simulation: Option<Simulation>,
    /// Where corrections are recorded.
    pub record: Option<Record>,
}

/// What a follower has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It has reached a master.
    Connected(SocketAddr),
    /// A correction has come.
    Synchronized {
        /// The network's time, in local time.
        time: NaiveDateTime,
        /// What this node's clock must add to show it.
        correction: TimeDelta,
    },
}

/// A running follower.
#[derive(Debug)]
pub struct Follower {
    control: Arc<Control>,
    events: Receiver<Event>,
}

/// Stops a follower, from any thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Control>);

impl Stopper {
    /// Asks the follower to end; returns at once.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// What the follower's thread shares with those who stop it.
#[derive(Debug, Default)]
struct Control {
    stopping: AtomicBool,
    /// The connection of the moment: closing it ends any wait for it.
    stream: Mutex<Option<Arc<TcpStream>>>,
    /// Ends any other wait.
    wake: Mutex<Option<SyncSender<()>>>,
}

impl Control {
    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(stream) = &*lock(&self.stream) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        *lock(&self.wake) = None;
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No lock is held across anything that panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Follower {
    /// Starts the follower's thread, which connects to `master` and keeps trying until it does.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(master: Address, options: Options) -> io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(0);
        let (events, taken) = mpsc::sync_channel(EVENTS);
        let control = Arc::new(Control {
            wake: Mutex::new(Some(wake)),
            ..Control::default()
        });
        let worker = Worker {
            control: Arc::clone(&control),
            master,
            clock: options
                .simulation
                .unwrap_or(Simulation::NONE)
                .over(WallClock),
            interval: if options.interval.is_zero() {
                crate::DEFAULT_INTERVAL
            } else {
                options.interval
            },
            wire: options.wire,
            rounds: options.rounds,
            received: 0,
            record: options.record,
            events,
            woken,
        };
        thread::Builder::new()
            .name("follower".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            control,
            events: taken,
        })
    }

    /// Waits for something to happen; `None` when the follower has ended.
    #[must_use]
    pub fn next_event(&self) -> Option<Event> {
        loop {
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Disconnected) => return None,
                // Looking up a name can't be interrupted; nobody has to wait for it.
                Err(RecvTimeoutError::Timeout) if self.control.is_stopping() => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// A handle that stops this follower.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.control))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// Why a session with a master ended.
enum End {
    /// All corrections that were asked for have come, or somebody stopped us.
    Done,
    /// The connection is of no more use.
    Lost(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<NotATimestamp> for End {
    fn from(error: NotATimestamp) -> Self {
        Self::Lost(format!("it sent what is {error}"))
    }
}

/// The follower's thread.
struct Worker {
    control: Arc<Control>,
    master: Address,
    clock: SimulatedClock<WallClock>,
    interval: Duration,
    wire: WireChoice,
    rounds: Option<u64>,
    received: u64,
    record: Option<Record>,
    events: SyncSender<Event>,
    woken: Receiver<()>,
}

impl Worker {
    fn run(mut self) {
        while let Some(stream) = self.connect() {
            let stream = Arc::new(stream);
            *lock(&self.control.stream) = Some(Arc::clone(&stream));
            let end = self.session(&stream);
            *lock(&self.control.stream) = None;
            let _ = stream.shutdown(Shutdown::Both);
            match end {
                _ if self.control.is_stopping() => return,
                End::Done => return,
                End::Lost(reason) => log::warn!("lost {}: {reason}; connecting again", self.master),
            }
            // A master that ends every connection at once is not to be called in a tight loop.
            if !self.pause(FIRST_PAUSE) {
                return;
            }
        }
    }

    /// Tries until a master answers; `None` when the follower was stopped meanwhile.
    fn connect(&self) -> Option<TcpStream> {
        let mut pause = FIRST_PAUSE;
        let mut said = false;
        while !self.control.is_stopping() {
            match self.attempt() {
                Ok(stream) => return Some(stream),
                Err(error) if said => log::debug!("cannot reach {}: {error}", self.master),
                Err(error) => {
                    log::warn!(
                        "cannot reach a master at {}: {error}; trying until it answers",
                        self.master
                    );
                    said = true;
                }
            }
            if !self.pause(pause) {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        None
    }

    fn attempt(&self) -> io::Result<TcpStream> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.master.look_up()? {
            match TcpStream::connect_timeout(&address, CONNECT_DEADLINE) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Waits for half to all of `longest`, so that followers that lost their master at one moment
    /// don't all come back at one moment. False when the follower was stopped.
    fn pause(&self, longest: Duration) -> bool {
        let pause = longest.mul_f64(0.5 + 0.5 * fastrand::f64());
        self.woken.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
    }

    fn session(&mut self, stream: &TcpStream) -> End {
        match self.speak_timestamps(stream) {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    /// Reports our clock every interval, and takes what comes for the network's time.
    fn speak_timestamps(&mut self, stream: &TcpStream) -> Result<(), End> {
        let mut connection = Connection::new(stream)?;
        let mut decoder = Decoder::new();
        self.tell(Event::Connected(stream.peer_addr()?));
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            if now >= due {
                connection.write(self.report().as_bytes())?;
                // Counted from now: a report that is late must not be followed by an early one.
                due = now + self.interval;
            }
            let mut wait = due.saturating_duration_since(Instant::now());
            if decoder.may_be_complete() {
                wait = wait.min(FRACTION_WAIT);
            }
            let bytes = match connection.read(wait)? {
                Incoming::Bytes(bytes) => bytes,
                Incoming::Nothing => &[],
                Incoming::End => return Err(End::Lost("it closed the connection".to_owned())),
            };
            let arrival = (Instant::now(), timestamp::local(self.clock.read()));
            let mut heard = Vec::new();
            for &byte in bytes {
                heard.extend(decoder.push(byte, arrival)?);
            }
            if bytes.is_empty() {
                heard.extend(decoder.flush()?);
            }
            for received in heard {
                self.synchronized(received.time, received.time - received.stamp.1);
                if self.rounds.is_some_and(|rounds| self.received >= rounds) {
                    return Ok(());
                }
            }
            if decoder
                .began()
                .is_some_and(|(at, _)| at.elapsed() > MESSAGE_DEADLINE)
            {
                return Err(End::Lost(
                    "it began a message and did not end it".to_owned(),
                ));
            }
        }
    }

    fn report(&self) -> String {
        let mut report = timestamp::format(timestamp::local(self.clock.read()));
        if self.wire == WireChoice::Auto {
            // The sign that we would rather speak lines.
            report.push('\n');
        }
        report
    }

    fn synchronized(&mut self, time: NaiveDateTime, correction: TimeDelta) {
        self.received += 1;
        let clock = self.clock.read();
        if let Some(record) = &mut self.record {
            let row = FollowerRow {
                round: self.received,
                correction,
                clock,
                network: clock + correction,
            };
            record.follower(WallClock.read(), &row);
        }
        self.tell(Event::Synchronized { time, correction });
    }

    fn tell(&self, event: Event) {
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            log::debug!("nobody takes the events; one was dropped");
        }
    }
}
