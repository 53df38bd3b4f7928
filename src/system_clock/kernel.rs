//! The operating system's clock, kept at the network's time: the hands to [`crate::system_clock::servo`]'s head.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use clock_steering::unix::{Error as KernelError, UnixClock};
use clock_steering::{Clock as _, LeapIndicator, TimeOffset};

use crate::clock::{Clock, WallClock, uptime};
use crate::discipline::network_clock::NetworkClock;
use crate::lock::lock;
use crate::rate_limit::Throttle;
use crate::span;
use crate::system_clock::servo::{Action, LARGEST_FREQUENCY_PPM, PERIOD, Seen, Steer};

/// To have been suspended for less than this, in nanoseconds, makes no difference that matters.
const SUSPENDED: i64 = 1_000_000_000;

/// The clock that is steered.
const KERNEL: UnixClock = UnixClock::CLOCK_REALTIME;

/// Why the system's clock can't be steered.
#[derive(Debug)]
pub enum Error {
    /// The program may not set clocks.
    NoPermission,
    /// The kernel refused something else.
    Kernel(KernelError),
    /// The operating system gives no more threads.
    Thread(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPermission => out.write_str(
                "--steer system needs the capability CAP_SYS_TIME: give it to the program with \
                 `setcap cap_sys_time+ep PROGRAM`, or run it by its systemd unit",
            ),
            Self::Kernel(error) => write!(out, "the kernel lets its clock not be steered: {error}"),
            Self::Thread(error) => write!(out, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<KernelError> for Error {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::NoPermission => Self::NoPermission,
            error => Self::Kernel(error),
        }
    }
}

/// The machine's oscillator: its clock as it would run if nobody steered it. What others do to
/// the clock it shares; what we do, it does not.
#[derive(Debug)]
pub struct Oscillator(Mutex<Since>);

#[derive(Debug, Clone, Copy)]
struct Since {
    at: Moment,
    /// What it showed then, in nanoseconds since the Unix epoch.
    shown: i64,
    /// The kernel's frequency from then on, in ppm: it makes both of a [`Moment`]'s clocks run
    /// faster, too, but not while the machine is suspended.
    frequency_ppm: f64,
}

/// A moment by the two clocks that differ by how long the machine was suspended.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// See [`uptime`].
    uptime: i64,
    /// Stands still while the machine is suspended.
    awake: Instant,
}

impl Moment {
    fn now() -> Self {
        Self {
            uptime: uptime(),
            awake: Instant::now(),
        }
    }

    /// Nanoseconds since an earlier moment, and for how many of them the machine was awake.
    fn since(self, earlier: Self) -> (i64, i64) {
        let awake = self.awake.saturating_duration_since(earlier.awake);
        (self.uptime - earlier.uptime, awake.as_nanos() as i64)
    }
}

impl Since {
    fn read(&self, now: Moment) -> i64 {
        let (elapsed, awake) = now.since(self.at);
        let frequency = self.frequency_ppm * 1e-6;
        // This is so little of `awake` that it does not matter how far apart the two were read.
        let gained = awake as f64 * (frequency / (1.0 + frequency));
        self.shown.saturating_add(elapsed - gained.round() as i64)
    }
}

impl Oscillator {
    fn new(frequency_ppm: f64) -> Self {
        Self(Mutex::new(Since {
            at: Moment::now(),
            shown: span::since_epoch(WallClock.read()),
            frequency_ppm,
        }))
    }

    /// The kernel runs at another frequency from now on.
    fn set_frequency(&self, frequency_ppm: f64) {
        let mut since = lock(&self.0);
        let now = Moment::now();
        *since = Since {
            at: now,
            shown: since.read(now),
            frequency_ppm,
        };
    }

    /// Somebody has set the clock.
    fn set(&self, by: TimeDelta) {
        let mut since = lock(&self.0);
        since.shown = since.shown.saturating_add(span::nanoseconds(by));
    }
}

impl Clock for Oscillator {
    fn read(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(lock(&self.0).read(Moment::now()))
    }
}

/// The right to steer the system's clock, which nobody has touched yet.
#[derive(Debug)]
pub struct SystemClock {
    oscillator: Arc<Oscillator>,
    frequency_ppm: f64,
}

impl SystemClock {
    /// Asks for the right to steer the system's clock, and changes nothing: its frequency is set
    /// to what it is.
    ///
    /// # Errors
    /// [`Error::NoPermission`] without `CAP_SYS_TIME`; [`Error::Kernel`].
    pub fn open() -> Result<Self, Error> {
        let frequency_ppm = KERNEL.get_frequency()?;
        KERNEL.set_frequency(frequency_ppm)?;
        Ok(Self {
            oscillator: Arc::new(Oscillator::new(frequency_ppm)),
            frequency_ppm,
        })
    }

    /// The raw clock to keep network time over.
    #[must_use]
    pub fn oscillator(&self) -> Arc<Oscillator> {
        Arc::clone(&self.oscillator)
    }

    /// The frequency that the kernel runs at, in ppm: what an earlier run has learned.
    #[must_use]
    pub fn frequency_ppm(&self) -> f64 {
        self.frequency_ppm
    }

    /// Keeps the system's clock at the time of `network`, which is kept over
    /// [`SystemClock::oscillator`], until what is returned is dropped.
    ///
    /// # Errors
    /// [`Error::Kernel`], [`Error::Thread`].
    pub fn follow(self, network: NetworkClock) -> Result<Following, Error> {
        // The kernel's own steering would work against ours; and nobody knows yet how wrong the
        // clock is.
        KERNEL.disable_kernel_ntp_algorithm()?;
        KERNEL.set_leap_seconds(LeapIndicator::Unknown)?;
        let (stop, stopped) = mpsc::channel();
        let hands = Hands {
            network,
            oscillator: self.oscillator,
            steer: None,
            looked: Moment::now(),
            frequency_ppm: self.frequency_ppm,
            sets: Throttle::default(),
            refusals: Throttle::default(),
            warned_of_frequency: false,
            warned_of_limit: false,
        };
        let thread = thread::Builder::new()
            .name("steering".to_owned())
            .spawn(move || hands.run(&stopped))
            .map_err(Error::Thread)?;
        Ok(Following {
            stop: StopFollowing(Arc::new(Mutex::new(Some(stop)))),
            thread: Some(thread),
        })
    }
}

/// While this lives, the system's clock follows the network. Dropping it leaves the clock at the
/// frequency that was learned, and nothing slewing.
#[derive(Debug)]
pub struct Following {
    stop: StopFollowing,
    thread: Option<JoinHandle<()>>,
}

impl Following {
    /// What ends the following from any thread, at once.
    #[must_use]
    pub fn stopper(&self) -> StopFollowing {
        self.stop.clone()
    }
}

/// Ends the following of the network by the system's clock.
#[derive(Debug, Clone)]
pub struct StopFollowing(Arc<Mutex<Option<Sender<()>>>>);

impl StopFollowing {
    /// Leaves the clock as dropping the [`Following`] does, and does not wait for it.
    pub fn stop(&self) {
        *lock(&self.0) = None;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread that looks at the clock and does what is to be done.
struct Hands {
    network: NetworkClock,
    oscillator: Arc<Oscillator>,
    steer: Option<Steer>,
    /// When the clock was last looked at.
    looked: Moment,
    frequency_ppm: f64,
    sets: Throttle,
    refusals: Throttle,
    /// These are told once.
    warned_of_frequency: bool,
    warned_of_limit: bool,
}

impl Hands {
    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = self.look() {
                if self.refusals.admit(Instant::now()).is_some() {
                    log::warn!("the system's clock could not be steered: {error}");
                }
                // What was done and what was not is seen anew.
                self.steer = None;
                self.frequency_ppm = KERNEL.get_frequency().unwrap_or(self.frequency_ppm);
            }
        }
        let (_, aim) = self.network.aim();
        if let Some(Action::SetFrequency(ppm)) = self.steer.and_then(|mut steer| steer.end(aim)) {
            let _ = KERNEL.set_frequency(ppm);
        }
    }

    fn look(&mut self) -> Result<(), KernelError> {
        let frequency_ppm = KERNEL.get_frequency()?;
        let now = Moment::now();
        let (elapsed, awake) = now.since(self.looked);
        self.looked = now;
        let seen = self.read_together(frequency_ppm);
        if elapsed - awake > SUSPENDED {
            // The frequency did not act meanwhile: after a long sleep, the clock is where somebody
            // might have set it. It is looked at as if for the first time.
            self.steer = None;
            self.frequency_ppm = frequency_ppm;
            self.oscillator.set_frequency(frequency_ppm);
        }
        let steer = self
            .steer
            .get_or_insert(Steer::new(seen.raw, seen.wall, self.frequency_ppm));
        let actions = steer.act(&seen);
        for action in actions {
            self.perform(action)?;
        }
        Ok(())
    }

    /// The oscillator and the system's clock as nearly at one moment as can be had.
    fn read_together(&self, frequency_ppm: f64) -> Seen {
        let read = |_| {
            let before = Instant::now();
            let (raw, aim) = self.network.aim();
            let wall = WallClock.read();
            let seen = Seen {
                raw,
                wall,
                frequency_ppm,
                aim,
            };
            (before.elapsed(), seen)
        };
        let all: [_; 5] = std::array::from_fn(read);
        let (_, quickest) = all.into_iter().fold(
            all[0],
            |best, next| {
                if next.0 < best.0 { next } else { best }
            },
        );
        quickest
    }

    fn perform(&mut self, action: Action) -> Result<(), KernelError> {
        match action {
            Action::WasSet(by) => {
                if self.sets.admit(Instant::now()).is_some() {
                    log::warn!(
                        "somebody has set the system's clock by {}",
                        span::signed(by)
                    );
                }
                self.oscillator.set(by);
                self.network.raw_was_set(by);
            }
            Action::ForeignFrequency(ppm) => {
                if !std::mem::replace(&mut self.warned_of_frequency, true) {
                    log::warn!(
                        "somebody has set the frequency of the system's clock to {ppm:.3} ppm: is \
                         another time daemon (chronyd, ntpd, systemd-timesyncd) running?"
                    );
                }
                self.oscillator.set_frequency(ppm);
            }
            Action::Step(by) => {
                log::info!("the system's clock is stepped by {}", span::signed(by));
                KERNEL.step_clock(offset(by))?;
                self.network.step_is_done();
            }
            Action::SetFrequency(ppm) => {
                KERNEL.set_frequency(ppm)?;
                self.oscillator.set_frequency(ppm);
            }
            Action::TooFarOff(ppm) => {
                if !std::mem::replace(&mut self.warned_of_limit, true) {
                    log::warn!(
                        "this machine's clock is off by {ppm:.0} ppm, and its frequency can be set \
                         by {LARGEST_FREQUENCY_PPM} ppm at most: it will not hold the group's time"
                    );
                }
            }
            Action::Unsynchronized => KERNEL.set_leap_seconds(LeapIndicator::Unknown)?,
            Action::State { estimated, maximum } => {
                let positive = |span: TimeDelta| span.to_std().unwrap_or_default();
                KERNEL.error_estimate_update(positive(estimated), positive(maximum))?;
                KERNEL.set_leap_seconds(LeapIndicator::NoWarning)?;
            }
        }
        Ok(())
    }
}

/// A span as the kernel wants it: whole seconds, and nanoseconds that are not negative.
fn offset(span: TimeDelta) -> TimeOffset {
    let nanoseconds = span::nanoseconds(span);
    TimeOffset {
        seconds: nanoseconds.div_euclid(1_000_000_000),
        nanos: nanoseconds.rem_euclid(1_000_000_000) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_kernel_is_told_spans_without_a_negative_part() {
        let told = |span| (offset(span).seconds, offset(span).nanos);
        assert_eq!(told(TimeDelta::milliseconds(1500)), (1, 500_000_000));
        assert_eq!(told(TimeDelta::milliseconds(-1500)), (-2, 500_000_000));
        assert_eq!(told(TimeDelta::nanoseconds(-1)), (-1, 999_999_999));
    }

    #[test]
    fn the_oscillator_is_not_moved_by_what_steers_it() {
        // An oscillator that is right, for 1000 s at 100 ppm and then for 1000 s at -300 ppm.
        let began = Moment::now();
        let first = Since {
            at: began,
            shown: 0,
            frequency_ppm: 100.0,
        };
        let then = later(began, Duration::from_millis(1_000_100), Duration::ZERO);
        assert_eq!(first.read(then), 1_000_000_000_000);
        let second = Since {
            at: then,
            shown: first.read(then),
            frequency_ppm: -300.0,
        };
        let end = later(then, Duration::from_millis(999_700), Duration::ZERO);
        assert_eq!(second.read(end), 2_000_000_000_000);
    }

    #[test]
    fn the_oscillator_goes_on_while_the_machine_is_suspended() {
        let began = Moment::now();
        let since = Since {
            at: began,
            shown: 0,
            frequency_ppm: 100.0,
        };
        // Awake for 1000 s at 100 ppm, and asleep for an hour, which the kernel counts unsteered.
        let hour = Duration::from_hours(1);
        let end = later(began, Duration::from_millis(1_000_100), hour);
        assert_eq!(since.read(end), 4_600_000_000_000);
    }

    fn later(moment: Moment, awake: Duration, asleep: Duration) -> Moment {
        Moment {
            uptime: moment.uptime + (awake + asleep).as_nanos() as i64,
            awake: moment.awake + awake,
        }
    }
}
