//! The thread of the follower that speaks for our group to the one above it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use crate::discipline::correction::OutOfRange;
use crate::election::ancestry::Ancestry;
use crate::follower::event::FollowerEvent;
use crate::follower::handle::Follower;
use crate::follower::options::FollowerOptions;
use crate::follower::represented::Represented;
use crate::keys::credentials::Credentials;
use crate::master::candidacy::now;
use crate::master::event::MasterEvent;
use crate::master::shared::Shared;
use crate::wire::name::NodeName;
use crate::wire::path::Path;
use crate::wire::steps::Steps;
use crate::wire::weight::Weight;

/// The pause after a follower that could not be started.
const PAUSE: Duration = Duration::from_secs(5);

/// Speaks for the group, whenever this master leads it.
pub(crate) struct Speaker {
    pub(crate) shared: Arc<Shared>,
    /// What this machine is called, if it is not its host name.
    pub(crate) name: Option<NodeName>,
    /// What it proves itself with to the group above.
    pub(crate) credentials: Option<Credentials>,
}

impl Speaker {
    /// Runs until the master ends.
    pub(crate) fn run(&self) {
        let Some(parent) = &self.shared.parent else {
            return;
        };
        while parent.wait() {
            let options = FollowerOptions {
                name: self.name.clone(),
                credentials: self.credentials.clone(),
                ..FollowerOptions::default()
            };
            let group: Arc<dyn Represented> = Arc::clone(&self.shared) as _;
            let clock = parent.clock.clone();
            match Follower::of_group(parent.masters.clone(), clock, group, options) {
                Ok(follower) if parent.runs(&follower) => self.listen(&follower),
                Ok(_) => {}
                Err(error) => {
                    log::warn!("cannot follow the group above: {error}");
                    std::thread::sleep(PAUSE);
                }
            }
            parent.ended();
        }
    }

    /// Tells of a parent when it has told the time. One that is below us is tried again and again, in
    /// case that changes, and is no news.
    fn listen(&self, follower: &Follower) {
        let mut reached = None;
        while let Some(event) = follower.next_event() {
            match event {
                FollowerEvent::Connected(address) => reached = Some(address),
                FollowerEvent::Synchronized { .. } => {
                    self.shared.news_from_above();
                    if let Some(address) = reached.take() {
                        self.shared.outlet.tell(MasterEvent::Above(Some(address)));
                    }
                }
                FollowerEvent::Stepped { .. } => {}
            }
        }
    }
}

impl Represented for Shared {
    fn weight(&self) -> Weight {
        let stands = self.ensemble().stands();
        Weight {
            clocks: stands.weight,
            deviation: stands.deviation,
        }
    }

    fn rate_ppm(&self) -> f64 {
        let stands = self.ensemble().stands();
        let pending = self.parent.as_ref().map(|it| it.clock.to_hand_down());
        let below_ppm = stands.rate_ppm.unwrap_or_else(|| self.clock.rate().ppm);
        below_ppm + pending.map_or(0.0, |pending| pending.rate_ppm)
    }

    fn knows_the_time(&self) -> bool {
        self.clock.knows_the_time()
    }

    fn is_asked(&self) -> bool {
        let in_doubt = self.clock.is_synchronized() && !self.clock.knows_the_time();
        !in_doubt || self.ensemble().present().0 == 0
    }

    fn take_steps(&self, steps: Steps) -> Result<TimeDelta, OutOfRange> {
        let take = || self.take_steps(steps);
        match &self.parent {
            Some(parent) => parent.clock.step_below(take),
            None => take(),
        }
    }

    fn hear(&self, above: &Path) -> Result<(), String> {
        let heard = self.change_ancestry(|ancestry| ancestry.hear(above, now()));
        let Some((parent, Err(unfit))) = self.parent.as_ref().zip(heard) else {
            return Ok(());
        };
        parent.refuse();
        self.news_from_above();
        Err(unfit.to_string())
    }

    fn left(&self) {
        self.change_ancestry(Ancestry::leave);
    }
}
