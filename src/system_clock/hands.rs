//! The operating system's clock, kept at the network's time: the hands to
//! [`crate::system_clock::servo`]'s head.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use chrono::TimeDelta;
use clock_steering::{Clock, LeapIndicator};

use crate::clock::{Clock as _, Coarse, asleep, coarse};
use crate::discipline::network_clock::NetworkClock;
use crate::rate_limit::Throttle;
use crate::span;
use crate::system_clock::clockbound::ClockBound;
use crate::system_clock::kernel::{Error, KERNEL, offset, set_tick, speed, tick};
use crate::system_clock::look::Look;
use crate::system_clock::oscillator::Oscillator;
use crate::system_clock::servo::{Action, PERIOD, Seen, Steer};
use crate::system_clock::speed::{LARGEST_FREQUENCY_PPM, Speed};

/// To have been suspended for less than this, in nanoseconds, makes no difference that matters.
const SUSPENDED: i64 = 1_000_000_000;

/// The thread that looks at the clock and does what is to be done.
pub(crate) struct Hands {
    network: NetworkClock,
    oscillator: Arc<Oscillator>,
    steer: Option<Steer>,
    told: Option<ClockBound>,
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
            self.tell(coarse(), &Look::at(&self.network), &[speed]);
        }
    }
}

impl Hands {
    /// A clock that runs at this speed is to be kept at the time of `network`, and others may be
    /// told how wrong it is.
    pub(crate) fn new(
        network: NetworkClock,
        oscillator: Arc<Oscillator>,
        speed: Speed,
        told: Option<ClockBound>,
    ) -> Self {
        Self {
            network,
            oscillator,
            steer: None,
            told,
            asleep: asleep(),
            speed,
            sets: Throttle::default(),
            refusals: Throttle::default(),
            warned_of_speed: false,
            warned_of_limit: false,
        }
    }

    pub(crate) fn run(mut self, stopped: &Receiver<()>) {
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
        let as_of = coarse();
        let found = speed()?;
        let asleep = asleep();
        let slept = asleep - std::mem::replace(&mut self.asleep, asleep);
        let look = Look::at(&self.network);
        if slept > SUSPENDED {
            // The frequency did not act meanwhile: after a long sleep, the clock is where somebody
            // might have set it. It is looked at as if for the first time.
            self.begin_anew();
            self.disrupted(&look, 1);
        }
        let steer = self
            .steer
            .get_or_insert(Steer::new(look.raw, look.wall, self.speed));
        let actions = steer.act(&Seen {
            look,
            tick: found.tick,
            frequency_ppm: found.frequency_ppm,
        });
        let speed = actions.iter().find_map(Action::speed).unwrap_or(self.speed);
        for action in &actions {
            match action {
                Action::WasSet(_) => self.disrupted(&look, 1),
                // It is known where it is then.
                Action::Step(_) => self.disrupted(&look, 0),
                _ => {}
            }
        }
        // First what is true of both speeds: nobody knows how long the change of it takes.
        self.tell(as_of, &look, &[self.speed, speed]);
        for action in actions {
            self.perform(action)?;
        }
        if let Some(steer) = &mut self.steer {
            steer.has_acted(self.oscillator.read());
        }
        self.tell(as_of, &look, &[speed]);
        Ok(())
    }

    /// What is known of the clock is trusted again after so many more corrections.
    fn disrupted(&mut self, look: &Look, more: u64) {
        if let Some(told) = &mut self.told {
            let taken = look.aim.map_or(0, |aim| aim.corrections);
            told.disrupted(taken + more);
        }
    }

    fn tell(&mut self, as_of: Coarse, look: &Look, speeds: &[Speed]) {
        if let Some(told) = &mut self.told {
            told.tell(as_of, look, speeds);
        }
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
