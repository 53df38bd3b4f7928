//! Where events and warnings go, and how many of those that a peer can cause at will.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::Instant;

use crate::lock::lock;
use crate::master::event::MasterEvent;
use crate::rate_limit::{Conditions, Limit, Throttle};

/// Events that nobody has taken yet. A terminal that is held (Ctrl-S) must not stop the rounds,
/// so more than these are dropped.
const EVENTS: usize = 64;

/// What a master tells its user.
pub(crate) struct Outlet {
    events: Mutex<Events>,
    warnings: Mutex<Warnings>,
}

/// What was warned of.
struct Warnings {
    /// Each thing of each peer may go on for ever: a machine whose key was revoked comes back every
    /// few seconds.
    each: Conditions,
    /// There is no end to what peers can invent.
    all: Throttle,
}

struct Events {
    /// Until the master has ended.
    sender: Option<SyncSender<MasterEvent>>,
    comings_and_goings: Throttle,
}

impl Outlet {
    pub(crate) fn new() -> (Self, Receiver<MasterEvent>) {
        let (sender, events) = mpsc::sync_channel(EVENTS);
        let outlet = Self {
            events: Mutex::new(Events {
                sender: Some(sender),
                comings_and_goings: Throttle::default(),
            }),
            warnings: Mutex::default(),
        };
        (outlet, events)
    }

    /// Tells an event, unless the queue is full.
    pub(crate) fn tell(&self, event: MasterEvent) {
        let sent = match &lock(&self.events).sender {
            Some(events) => events.try_send(event),
            None => return,
        };
        if let Err(TrySendError::Full(_)) = sent {
            log::debug!("nobody takes the events; one was dropped");
        }
    }

    /// Tells of who came or went, but not as often as a peer can do that.
    pub(crate) fn tell_change(&self, event: MasterEvent) {
        let admitted = lock(&self.events).comings_and_goings.admit(Instant::now());
        match admitted {
            None => return,
            Some(0) => {}
            Some(withheld) => self.tell(MasterEvent::Withheld(withheld)),
        }
        self.tell(event);
    }

    /// Warns of what a peer can do at will, but not as often as it can do it, and of the same thing
    /// once in a while only.
    pub(crate) fn warn(&self, name: &str, message: &str) {
        self.warn_of(message, name, message);
    }

    /// The same, where the message has something in it that changes each time: `what` does not.
    pub(crate) fn warn_of(&self, what: &str, name: &str, message: &str) {
        let admitted = lock(&self.warnings).admit(what, name, Instant::now());
        match admitted {
            Some(0) => log::warn!("{name}: {message}"),
            Some(more) => log::warn!("{name}: {message} ({more} more were not logged)"),
            None => log::debug!("{name}: {message}"),
        }
    }

    /// After this, whoever waits for events knows that there are no more.
    pub(crate) fn close(&self) {
        lock(&self.events).sender = None;
    }
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            each: Conditions::default(),
            all: Throttle::new(Limit::FLOOD),
        }
    }
}

impl Warnings {
    /// Whether it may be said of this peer now and, if so, how many warnings were withheld before.
    fn admit(&mut self, what: &str, name: &str, now: Instant) -> Option<u64> {
        // A peer that has no name has another port each time.
        let address = name.parse::<SocketAddr>().map(|it| it.ip().to_string());
        let name = address.as_deref().unwrap_or(name);
        let same = self.each.admit(format!("{name}: {what}"), now)?;
        self.all.admit(now).map(|others| same + others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_a_peer_does_again_and_again_is_told_once_in_a_while() {
        let (mut warnings, began) = (Warnings::default(), Instant::now());
        let mut told = Vec::new();
        for second in (0..3600).step_by(3) {
            let now = began + Duration::from_secs(second);
            // Its port is another one each time.
            let revoked = warnings.admit("revoked", &format!("10.0.0.9:{second}"), now);
            told.extend(revoked.map(|withheld| (second, withheld)));
        }
        assert_eq!(told[..3], [(0, 0), (60, 19), (660, 199)]);
        assert_eq!(told.len(), 7);
        // Another peer's is news, and what one invents is limited all the same.
        let now = began + Duration::from_hours(1);
        let admits =
            |warnings: &mut Warnings, what: &str| warnings.admit(what, "10.0.0.8:1", now).is_some();
        assert!(admits(&mut warnings, "revoked"));
        let invented = (0..1000).filter(|it| admits(&mut warnings, &it.to_string()));
        assert_eq!(invented.count(), 19);
    }
}
