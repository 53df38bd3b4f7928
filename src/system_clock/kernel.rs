//! The operating system's clock, kept at the network's time: the hands to
//! [`crate::system_clock::servo`]'s head.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use chrono::TimeDelta;
use clock_steering::unix::{Error as KernelError, UnixClock};
use clock_steering::{Clock, LeapIndicator, TimeOffset};
#[cfg(target_os = "linux")]
use rtime_clock::adjtime::{Timex, adjtimex};

use crate::clock::{Clock as _, WallClock, asleep};
use crate::discipline::network_clock::NetworkClock;
use crate::lock::lock;
use crate::rate_limit::Throttle;
use crate::span;
use crate::system_clock::oscillator::Oscillator;
use crate::system_clock::servo::{Action, PERIOD, Seen, Steer};
use crate::system_clock::speed::{LARGEST_FREQUENCY_PPM, Speed};

/// To have been suspended for less than this, in nanoseconds, makes no difference that matters.
const SUSPENDED: i64 = 1_000_000_000;

/// A frequency this far from the one that was learned is another one, in ppm.
const OTHER_PPM: f64 = 10.0;

/// How often two clocks are read to have them at one moment: of these, the quickest counts.
const TRIES: usize = 9;

/// The clock that is steered.
const KERNEL: UnixClock = UnixClock::CLOCK_REALTIME;

/// Why the system's clock can't be steered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program may not set clocks.
    #[error(
        "--steer system needs the capability CAP_SYS_TIME: give it to the program with \
         `setcap cap_sys_time+ep PROGRAM`, or run it by its systemd unit"
    )]
    NoPermission,
    /// The kernel refused something else.
    #[error("the kernel lets its clock not be steered: {0}")]
    Kernel(KernelError),
    /// The kernel refused to tell or to set the tick.
    #[error("the kernel lets the tick of its clock not be set: {0}")]
    Tick(io::Error),
    /// Only Linux has a clock that can be steered so, and one beside it that nobody steers.
    #[error("--steer system is for Linux only: leave it out, and read the network's time instead")]
    OtherSystem,
    /// The operating system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl From<KernelError> for Error {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::NoPermission => Self::NoPermission,
            error => Self::Kernel(error),
        }
    }
}

/// What the kernel says of its clock.
#[cfg(target_os = "linux")]
fn told() -> Result<libc::timex, Error> {
    let mut told = Timex::new();
    adjtimex(&mut told).map_err(Error::Tick)?;
    Ok(told.0)
}

/// The kernel's tick, in µs.
#[cfg(target_os = "linux")]
fn tick() -> Result<i32, Error> {
    Ok(told()?.tick as i32)
}

/// Whether the kernel takes its clock for synchronized.
#[cfg(target_os = "linux")]
fn is_synchronized() -> Result<bool, Error> {
    Ok(told()?.status & libc::STA_UNSYNC == 0)
}

/// Sets the kernel's tick, in µs.
#[cfg(target_os = "linux")]
fn set_tick(tick: i32) -> Result<(), Error> {
    let mut timex = Timex::new();
    timex.0.modes = libc::ADJ_TICK;
    timex.0.tick = tick.into();
    adjtimex(&mut timex).map_err(Error::Tick)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn tick() -> Result<i32, Error> {
    Err(Error::OtherSystem)
}

#[cfg(not(target_os = "linux"))]
fn is_synchronized() -> Result<bool, Error> {
    Err(Error::OtherSystem)
}

#[cfg(not(target_os = "linux"))]
fn set_tick(_tick: i32) -> Result<(), Error> {
    Err(Error::OtherSystem)
}

fn speed() -> Result<Speed, Error> {
    Ok(Speed::of_its_own(tick()?, KERNEL.get_frequency()?))
}

/// The right to steer the system's clock, which nobody has touched yet.
#[derive(Debug)]
pub struct SystemClock {
    oscillator: Arc<Oscillator>,
    speed: Speed,
    synchronized: bool,
}

impl SystemClock {
    /// Asks for the right to steer the system's clock. It changes nothing, but for what a program
    /// has left slewing that could not end in order: that is said, and mended.
    ///
    /// # Errors
    /// [`Error::NoPermission`] without `CAP_SYS_TIME`; [`Error::Kernel`]; [`Error::Tick`].
    pub fn open() -> Result<Self, Error> {
        let mut speed = speed()?;
        if let Some(mended) = speed.mended() {
            log::warn!(
                "the system's clock was left slewing, with {speed}, by a program that was killed: \
                 now it has {mended}"
            );
            set_tick(mended.tick)?;
            // Nobody knows how far it went wrong meanwhile.
            KERNEL.set_leap_seconds(LeapIndicator::Unknown)?;
            speed = mended;
        }
        KERNEL.set_frequency(speed.frequency_ppm)?;
        Ok(Self {
            oscillator: Arc::new(Oscillator::new(speed)),
            speed,
            synchronized: is_synchronized()?,
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
        self.speed.frequency_ppm
    }

    /// Whether the clock is still as the last program has left it that had synchronized it: nobody
    /// has set it since, the machine was not started anew, and at most nine hours have passed. (The
    /// kernel forgets it when any of these happens: the error that it was told grows by 500 ppm,
    /// and at 16 s it takes its clock for wrong.)
    #[must_use]
    pub fn is_synchronized(&self) -> bool {
        self.synchronized
    }

    /// Gives the clock the frequency that an earlier run has learned, unless it has one near to
    /// that: the kernel forgets it in a reboot, and a program that is killed leaves that of a slew.
    ///
    /// # Errors
    /// [`Error::NoPermission`], [`Error::Kernel`].
    pub fn restore_frequency(&mut self, learned_ppm: f64) -> Result<(), Error> {
        let learned = self.speed.with_frequency(learned_ppm);
        if (learned.frequency_ppm - self.speed.frequency_ppm).abs() < OTHER_PPM {
            return Ok(());
        }
        log::info!(
            "the system's clock had {}, and now has {learned}",
            self.speed
        );
        KERNEL.set_frequency(learned.frequency_ppm)?;
        self.speed = learned;
        self.oscillator.has_speed(learned);
        Ok(())
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
            asleep: asleep(),
            speed: self.speed,
            sets: Throttle::default(),
            refusals: Throttle::default(),
            warned_of_speed: false,
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

/// While this lives, the system's clock follows the network. Dropping it leaves the clock at its
/// own tick and the frequency that was learned, and nothing slewing.
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
    /// For how long the machine had been suspended when the clock was last looked at.
    asleep: i64,
    /// The speed that the clock was given last.
    speed: Speed,
    sets: Throttle,
    refusals: Throttle,
    /// These are told once.
    warned_of_speed: bool,
    warned_of_limit: bool,
}

impl Drop for Hands {
    /// Even if a mistake of ours ends the thread, the clock is not left slewing.
    fn drop(&mut self) {
        let (_, aim) = self.network.aim();
        let left = self.steer.zip(tick().ok());
        if let Some(speed) = left.and_then(|(steer, tick)| steer.end(tick, aim)) {
            let _ = set_tick(speed.tick);
            let _ = KERNEL.set_frequency(speed.frequency_ppm);
        }
    }
}

impl Hands {
    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = self.look() {
                if self.refusals.admit(Instant::now()).is_some() {
                    log::warn!("the system's clock could not be steered: {error}");
                }
                // What was done and what was not is seen anew.
                self.begin_anew();
            }
        }
    }

    /// Takes the clock as it is found, except for a slew of ours.
    fn begin_anew(&mut self) {
        self.steer = None;
        if let Ok(found) = speed() {
            let own_tick = if found.tick == self.speed.tick {
                self.speed.own_tick
            } else {
                found.tick
            };
            self.speed = Speed { own_tick, ..found };
        }
        self.oscillator.has_speed(self.speed);
    }

    fn look(&mut self) -> Result<(), Error> {
        let found = speed()?;
        let asleep = asleep();
        let slept = asleep - std::mem::replace(&mut self.asleep, asleep);
        let seen = self.read_together(found);
        if slept > SUSPENDED {
            // The frequency did not act meanwhile: after a long sleep, the clock is where somebody
            // might have set it. It is looked at as if for the first time.
            self.begin_anew();
        }
        let steer = self
            .steer
            .get_or_insert(Steer::new(seen.raw, seen.wall, self.speed));
        let actions = steer.act(&seen);
        for action in actions {
            self.perform(action)?;
        }
        Ok(())
    }

    /// The oscillator and the system's clock as nearly at one moment as can be had.
    fn read_together(&self, found: Speed) -> Seen {
        let read = |_| {
            let before = WallClock.read();
            let (raw, aim) = self.network.aim();
            let took = WallClock.read() - before;
            let seen = Seen {
                raw,
                wall: before + took / 2,
                tick: found.tick,
                frequency_ppm: found.frequency_ppm,
                aim,
            };
            (took, seen)
        };
        let all: [_; TRIES] = std::array::from_fn(read);
        let quicker = |best: (TimeDelta, Seen), next: (TimeDelta, Seen)| {
            if next.0 < best.0 { next } else { best }
        };
        all.into_iter().fold(all[0], quicker).1
    }

    fn perform(&mut self, action: Action) -> Result<(), Error> {
        match action {
            Action::WasSet(by) => {
                if self.sets.admit(Instant::now()).is_some() {
                    log::warn!(
                        "somebody has set the system's clock by {}",
                        span::signed(by)
                    );
                }
                self.oscillator.was_set(by);
                self.network.raw_was_set(by);
            }
            Action::ForeignSpeed(speed) => {
                if !std::mem::replace(&mut self.warned_of_speed, true) {
                    log::warn!(
                        "somebody has given the system's clock {speed}: is another time daemon \
                         (chronyd, ntpd, systemd-timesyncd) running?"
                    );
                }
                self.speed = speed;
                self.oscillator.has_speed(speed);
            }
            Action::Step(by) => {
                log::info!("the system's clock is stepped by {}", span::signed(by));
                KERNEL.step_clock(offset(by))?;
                self.network.step_is_done();
            }
            Action::SetSpeed(speed) => self.set_speed(speed)?,
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

    fn set_speed(&mut self, speed: Speed) -> Result<(), Error> {
        if speed.tick != self.speed.tick {
            set_tick(speed.tick)?;
        }
        self.speed = speed;
        KERNEL.set_frequency(speed.frequency_ppm)?;
        self.oscillator.has_speed(speed);
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

    #[test]
    fn the_kernel_is_told_spans_without_a_negative_part() {
        let told = |span| (offset(span).seconds, offset(span).nanos);
        assert_eq!(told(TimeDelta::milliseconds(1500)), (1, 500_000_000));
        assert_eq!(told(TimeDelta::milliseconds(-1500)), (-2, 500_000_000));
        assert_eq!(told(TimeDelta::nanoseconds(-1)), (-1, 999_999_999));
    }
}
