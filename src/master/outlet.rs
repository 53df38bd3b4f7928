//! Where events and warnings go, and how many of those that a peer can cause at will.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::Instant;

use crate::lock::lock;
use crate::master::event::MasterEvent;
use crate::rate_limit::Throttle;

/// Events that nobody has taken yet. A terminal that is held (Ctrl-S) must not stop the rounds,
/// so more than these are dropped.
const EVENTS: usize = 64;

/// What a master tells its user.
pub(crate) struct Outlet {
    events: Mutex<Events>,
    warnings: Mutex<Throttle>,
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

    /// Warns of what a peer can do at will, but not as often as it can do it.
    pub(crate) fn warn(&self, name: &str, message: &str) {
        let admitted = lock(&self.warnings).admit(Instant::now());
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
