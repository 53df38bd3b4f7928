//! The operating system's clock, and who keeps it with the network: this program, or chronyd.

use std::path::Path;
use std::sync::Arc;

use clock_steering::{Clock as _, LeapIndicator};

use crate::clock::{Clock, Simulation, SteadyClock};
use crate::discipline::network_clock::NetworkClock;
use crate::discipline::steering::Steering;
use crate::system_clock::chronyd::ChronySocket;
use crate::system_clock::clockbound::ClockBound;
use crate::system_clock::following::Following;
use crate::system_clock::hands::Hands;
use crate::system_clock::kernel::{Error, KERNEL, is_synchronized, set_tick, speed};
use crate::system_clock::oscillator::Oscillator;
use crate::system_clock::speed::Speed;

/// A frequency this far from the one that was learned is another one, in ppm.
const OTHER_PPM: f64 = 10.0;

/// The network's time, as a program begins to keep it: over the oscillator of the system's clock, if
/// that is to follow, which it does until [`Following`] is dropped; or else over this machine's clock,
/// which may pretend to be wrong.
///
/// # Errors
/// [`Error::Kernel`], [`Error::Thread`].
pub(crate) fn network_clock(
    system: Option<SystemClock>,
    simulation: Simulation,
    steering: Steering,
) -> Result<(NetworkClock, Option<Following>), Error> {
    let raw: Arc<dyn Clock> = match &system {
        Some(system) => system.oscillator(),
        None => Arc::new(simulation.over(SteadyClock::start())),
    };
    let clock = NetworkClock::new(raw, steering);
    let following = system.map(|system| system.follow(clock.clone()));
    Ok((clock, following.transpose()?))
}

/// The system's clock, which is to follow the network and which nobody has touched yet.
#[derive(Debug)]
pub struct SystemClock {
    oscillator: Arc<Oscillator>,
    speed: Speed,
    /// Whether the last program has left it synchronized.
    synchronized: bool,
    keeper: Keeper,
}

/// Who makes it follow.
#[derive(Debug)]
enum Keeper {
    /// We do, and may tell others how wrong it is.
    Us(Option<ClockBound>),
    /// chronyd does, which we tell the network's time.
    Chronyd(ChronySocket),
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
            keeper: Keeper::Us(None),
        })
    }

    /// The system's clock that a chronyd on this machine keeps, whose configuration has
    /// `refclock SOCK PATH`: it is sent a sample for each correction. chronyd need not run yet.
    ///
    /// # Errors
    /// [`Error::ChronySocket`] when no socket can have that path.
    pub fn kept_by_chronyd(path: &Path) -> Result<Self, Error> {
        let socket = ChronySocket::new(path).map_err(|error| Error::ChronySocket {
            path: path.to_owned(),
            error,
        })?;
        // What chronyd does to the clock has no part in the network's time, which would else be
        // moved by what it is to correct.
        let speed = Speed::NOMINAL;
        Ok(Self {
            oscillator: Arc::new(Oscillator::new(speed)),
            speed,
            synchronized: false,
            keeper: Keeper::Chronyd(socket),
        })
    }

    /// The same, of which ClockBound's clients are told how wrong it may be. Of a clock that chronyd
    /// keeps we don't know that, and tell nobody.
    #[must_use]
    pub fn telling(mut self, clients: ClockBound) -> Self {
        if let Keeper::Us(told) = &mut self.keeper {
            *told = Some(clients);
        }
        self
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
    /// and at 16 s it takes its clock for wrong.) Of a clock that chronyd keeps this is not known.
    #[must_use]
    pub fn is_synchronized(&self) -> bool {
        self.synchronized
    }

    /// Gives the clock the frequency that an earlier run has learned, unless it has one near to
    /// that: the kernel forgets it in a reboot, and a program that is killed leaves that of a slew.
    /// What chronyd keeps is left alone.
    ///
    /// # Errors
    /// [`Error::NoPermission`], [`Error::Kernel`].
    pub fn restore_frequency(&mut self, learned_ppm: f64) -> Result<(), Error> {
        let learned = self.speed.with_frequency(learned_ppm);
        let is_near = (learned.frequency_ppm - self.speed.frequency_ppm).abs() < OTHER_PPM;
        if is_near || matches!(self.keeper, Keeper::Chronyd(_)) {
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
        let told = match self.keeper {
            Keeper::Us(told) => told,
            Keeper::Chronyd(socket) => {
                let run = move |stopped: &_| socket.run(&network, stopped);
                return Following::start("chronyd", false, run).map_err(Error::Thread);
            }
        };
        // The kernel's own steering would work against ours; and nobody knows yet how wrong the
        // clock is.
        KERNEL.disable_kernel_ntp_algorithm()?;
        KERNEL.set_leap_seconds(LeapIndicator::Unknown)?;
        let hands = Hands::new(network, self.oscillator, self.speed, told);
        let run = move |stopped: &_| hands.run(stopped);
        Following::start("steering", true, run).map_err(Error::Thread)
    }
}
