//! A follower in the test's own process, whose clock can be read at any moment.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use berkeley::internals::discipline::correction::Applied;
use berkeley::internals::discipline::network_clock::NetworkClock;
use berkeley::internals::wire::address::Address;
use berkeley::{Follower, FollowerEvent, FollowerOptions, FollowerStopper};
use chrono::TimeDelta;

use crate::support::keys;
use crate::support::programs::SOON;

pub(crate) struct LocalFollower {
    pub(crate) clock: NetworkClock,
    events: Receiver<FollowerEvent>,
    stopper: FollowerStopper,
    /// When something last happened to it, for a silence that lasts is a failure.
    heard: Cell<Instant>,
}

impl LocalFollower {
    pub(crate) fn of(master: SocketAddr, mut options: FollowerOptions) -> Self {
        options.credentials = options.credentials.or_else(keys::credentials);
        let follower = Follower::connect([Address::from(master)], options).expect("a follower");
        let (clock, stopper) = (follower.clock(), follower.stopper());
        let (told, events) = mpsc::channel();
        let tell = move || {
            // The follower itself would be waited for without a deadline.
            let mut events = std::iter::from_fn(|| follower.next_event());
            let _ = events.try_for_each(|event| told.send(event));
        };
        let thread = thread::Builder::new().name("events".to_owned());
        thread.spawn(tell).expect("a thread");
        Self {
            clock,
            events,
            stopper,
            heard: Cell::new(Instant::now()),
        }
    }

    /// Waits for this time. Whether a correction came, which must not have been a step.
    pub(crate) fn was_corrected_within(&self, time: Duration) -> bool {
        let Ok(event) = self.events.recv_timeout(time) else {
            assert!(self.heard.get().elapsed() < SOON * 2, "no correction comes");
            return false;
        };
        self.heard.set(Instant::now());
        match event {
            FollowerEvent::Synchronized { made, .. } => {
                assert_ne!(made, Some(Applied::Stepped));
                true
            }
            _ => false,
        }
    }

    /// How far its clock is from where another's is to be, and how far that may be by what it states.
    pub(crate) fn away_from(&self, other: &Self) -> (TimeDelta, Option<TimeDelta>) {
        // Whatever the machine does in between makes no difference.
        let before = other.clock.mark().target;
        let own = self.clock.now();
        let after = other.clock.mark().target;
        ((before - own.time).max(own.time - after), own.error)
    }

    pub(crate) fn is_corrected(&self, mut times: usize) {
        self.heard.set(Instant::now());
        while times > 0 {
            times -= usize::from(self.was_corrected_within(SOON));
        }
    }

    /// Waits for the next connection, past the corrections of the one before.
    pub(crate) fn connects(&self) {
        while !matches!(
            self.events.recv_timeout(SOON).expect("it connects"),
            FollowerEvent::Connected(_)
        ) {}
    }
}

impl Drop for LocalFollower {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}
