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
    /// Until the master has ended.
    events: Mutex<Option<SyncSender<MasterEvent>>>,
    changes: Mutex<Told>,
    warnings: Mutex<Told>,
}

/// How often it was told what peers can cause at will.
struct Told {
    /// Each thing of each peer may go on for ever: a machine whose key was revoked comes back every
    /// few seconds, and two that have one key take each other's place.
    each: Conditions,
    /// There is no end to what peers can invent.
    all: Throttle,
}

impl Outlet {
    pub(crate) fn new() -> (Self, Receiver<MasterEvent>) {
        let (sender, events) = mpsc::sync_channel(EVENTS);
        let outlet = Self {
            events: Mutex::new(Some(sender)),
            changes: Mutex::new(Told::new(Limit::COMINGS_AND_GOINGS, Limit::PEER)),
            warnings: Mutex::new(Told::new(Limit::LASTING, Limit::FLOOD)),
        };
        (outlet, events)
    }

    /// Tells an event, unless the queue is full.
    pub(crate) fn tell(&self, event: MasterEvent) {
        let sent = match &*lock(&self.events) {
            Some(events) => events.try_send(event),
            None => return,
        };
        if let Err(TrySendError::Full(_)) = sent {
            log::debug!("nobody takes the events; one was dropped");
        }
    }

    /// Tells of who came or went, but not as often as a peer can do that.
    pub(crate) fn tell_change(&self, event: MasterEvent) {
        let what = match &event {
            MasterEvent::Joined { name, .. } | MasterEvent::Left { name, .. } => name.to_string(),
            other => other.to_string(),
        };
        match lock(&self.changes).admit(what, Instant::now()) {
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
        let condition = condition(what, name);
        let admitted = lock(&self.warnings).admit(condition, Instant::now());
        match admitted {
            Some(0) => log::warn!("{name}: {message}"),
            Some(more) => log::warn!("{name}: {message} ({more} more were not logged)"),
            None => log::debug!("{name}: {message}"),
        }
    }

    /// After this, whoever waits for events knows that there are no more.
    pub(crate) fn close(&self) {
        *lock(&self.events) = None;
    }
}

impl Told {
    fn new(each: Limit, all: Limit) -> Self {
        Self {
            each: Conditions::new(each),
            all: Throttle::new(all),
        }
    }

    /// Whether this may be told now and, if so, how much was withheld before.
    fn admit(&mut self, what: String, now: Instant) -> Option<u64> {
        let same = self.each.admit(what, now)?;
        self.all.admit(now).map(|others| same + others)
    }
}

/// What is warned of, of this peer. One that has no name has another port each time.
fn condition(what: &str, name: &str) -> String {
    let address = name.parse::<SocketAddr>().map(|it| it.ip().to_string());
    let name = address.as_deref().unwrap_or(name);
    format!("{name}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_a_peer_does_again_and_again_is_warned_of_once_in_a_while() {
        let (outlet, began) = (Outlet::new().0, Instant::now());
        let mut warnings = lock(&outlet.warnings);
        let mut told = Vec::new();
        for second in (0..3600).step_by(3) {
            let now = began + Duration::from_secs(second);
            // Its port is another one each time.
            let revoked = condition("revoked", &format!("10.0.0.9:{second}"));
            told.extend(
                warnings
                    .admit(revoked, now)
                    .map(|withheld| (second, withheld)),
            );
        }
        assert_eq!(told[..3], [(0, 0), (60, 19), (660, 199)]);
        assert_eq!(told.len(), 7);
        // Another peer's is news, and what one invents is limited all the same.
        let now = began + Duration::from_hours(1);
        let mut admits = |what: &str| warnings.admit(condition(what, "10.0.0.8:1"), now).is_some();
        assert!(admits("revoked"));
        let invented = (0..1000).filter(|it| admits(&it.to_string()));
        assert_eq!(invented.count(), 19);
    }

    #[test]
    fn who_comes_and_goes_without_end_is_told_of_once_in_a_while_and_others_at_once() {
        let (outlet, began) = (Outlet::new().0, Instant::now());
        let mut changes = lock(&outlet.changes);
        let mut admits = |name: &str, second| {
            let now = began + Duration::from_secs(second);
            changes.admit(name.to_owned(), now).is_some()
        };
        // Two machines that have one key: each comes when the other goes.
        let told = (0..86_400).filter(|&second| admits("db1", second)).count();
        assert!((1440..=1460).contains(&told), "{told} lines a day");
        // Nobody else's first five visits within a minute are withheld meanwhile.
        assert!((0..10).all(|visit| admits("db2", 86_400 + visit)));
        assert!(!admits("db2", 86_410));
        assert!(admits("db2", 86_480), "it was away for a minute");
    }

    #[test]
    fn who_joins_is_named_while_another_comes_and_goes() {
        let (outlet, events) = Outlet::new();
        let left = |name: &str| MasterEvent::Left {
            name: name.into(),
            reason: "it takes the place of another".to_owned(),
        };
        for _ in 0..1000 {
            outlet.tell_change(left("db1"));
        }
        outlet.tell_change(left("db2"));
        let told: Vec<_> = events.try_iter().collect();
        assert_eq!(told[..10], vec![left("db1"); 10]);
        assert_eq!(told[10..], [left("db2")]);
    }
}
