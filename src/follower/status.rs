//! What a running follower says of itself.

use std::sync::Arc;
use std::time::Instant;

use crate::discipline::network_clock::NetworkClock;
use crate::follower::control::Control;
use crate::report::status::{FOLLOWER, FollowerCounters, FollowerStatus, VERSION, clock};
use crate::wire::name::NodeName;

/// How a follower was started.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) name: Option<NodeName>,
    pub(crate) steers_system: bool,
    pub(crate) started: Instant,
}

/// Asks a follower for its status, from any thread, for as long as it likes.
#[derive(Debug, Clone)]
pub struct FollowerObserver {
    pub(crate) control: Arc<Control>,
    pub(crate) clock: NetworkClock,
    pub(crate) facts: Facts,
}

impl FollowerObserver {
    /// What the follower says of itself now.
    #[must_use]
    pub fn status(&self) -> FollowerStatus {
        let (told, facts) = (self.control.told(), &self.facts);
        let now = Instant::now();
        let alone = told.lost.map(|at| now.saturating_duration_since(at));
        let holdover = alone.map(|alone| alone.as_secs_f64());
        FollowerStatus {
            version: VERSION,
            program: FOLLOWER.to_owned(),
            process: clock::process(&self.clock, facts.name.as_ref(), facts.started),
            master: told.master.map(|master| master.to_string()),
            term: told.term,
            clock: clock::clock(&self.clock, holdover, told.steps, facts.steers_system),
            correction: told.correction(now),
            counters: FollowerCounters {
                connections: told.connections,
                corrections: told.corrections,
            },
            ntp: None,
        }
    }
}
