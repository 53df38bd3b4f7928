//! The group above ours: what the threads of a master share of it.
//!
//! A follower inside the master speaks for the group, with a clock that is laid over the group's own
//! (see [`above`](crate::discipline::above)). It runs while this master leads. What it is told goes
//! down with the rounds.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::average::round::Above;
use crate::discipline::network_clock::{NetworkClock, Target};
use crate::discipline::steering::Steering;
use crate::election::ancestry::Ancestry;
use crate::follower::handle::{Follower, FollowerStopper};
use crate::follower::observations::Told;
use crate::follower::status::FollowerObserver;
use crate::lock::lock;
use crate::wire::address::Address;
use crate::wire::path::{GroupId, Path};

/// A new group holds its first round so long after it was due, unless it hears from above.
const PATIENCE: Duration = Duration::from_secs(3);

/// The life of the follower that speaks for the group.
#[derive(Debug)]
enum Phase {
    /// Another candidate leads, or the group's clocks are still to be gathered.
    Unwanted,
    /// It is to be started.
    Wanted,
    /// It runs.
    Following(FollowerStopper, FollowerObserver),
    /// The master ends.
    Ended,
}

/// Whether there is a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// It has told nothing yet.
    Never,
    /// It is there.
    Present,
    /// It was lost.
    Lost,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When a new group has told the parent what its clocks agree on.
    asked: Option<Instant>,
    /// How often a master above was reached and let go of.
    refusals: usize,
    touch: Touch,
}

/// What the threads of a master share of the group above theirs.
#[derive(Debug)]
pub(crate) struct Parent {
    /// Its masters, as they were named.
    pub(crate) masters: Vec<Address>,
    /// Our group's clock, as the group above sees it.
    pub(crate) clock: NetworkClock,
    ancestry: Mutex<Ancestry>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Parent {
    /// What a group has above it whose own clock is `group`.
    pub(crate) fn new(
        masters: Vec<Address>,
        group: &NetworkClock,
        steering: Steering,
        id: GroupId,
    ) -> Self {
        let over = Arc::new(Target(group.clone()));
        Self {
            masters,
            clock: NetworkClock::new(over, steering),
            ancestry: Mutex::new(Ancestry::new(id)),
            state: Mutex::new(State {
                phase: Phase::Unwanted,
                asked: None,
                refusals: 0,
                touch: Touch::Never,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets the follower run.
    pub(crate) fn follow(&self) {
        let mut state = self.state();
        if let Phase::Unwanted = state.phase {
            state.phase = Phase::Wanted;
            self.changed.notify_all();
        }
    }

    /// Ends the follower: another candidate leads.
    pub(crate) fn leave(&self) {
        self.enter(Phase::Unwanted);
    }

    /// Ends the follower and its thread.
    pub(crate) fn end(&self) {
        self.enter(Phase::Ended);
    }

    /// Ends the follower, and lets another one run.
    pub(crate) fn start_anew(&self) {
        self.leave();
        self.follow();
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        if let Phase::Ended = state.phase {
            return;
        }
        state.asked = None;
        let before = std::mem::replace(&mut state.phase, phase);
        drop(state);
        if let Phase::Following(stopper, _) = before {
            stopper.stop();
        }
        self.changed.notify_all();
    }

    /// Waits until the follower is to run. False if the master ends.
    pub(crate) fn wait(&self) -> bool {
        let state = self.state();
        let waits = |state: &mut State| matches!(state.phase, Phase::Unwanted);
        let waited = self.changed.wait_while(state, waits);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        !matches!(state.phase, Phase::Ended)
    }

    /// The follower runs. False if it is to end again.
    pub(crate) fn runs(&self, follower: &Follower) -> bool {
        let mut state = self.state();
        let wanted = matches!(state.phase, Phase::Wanted);
        if wanted {
            state.phase = Phase::Following(follower.stopper(), follower.observer());
        }
        wanted
    }

    /// The follower has ended.
    pub(crate) fn ended(&self) {
        let mut state = self.state();
        if let Phase::Following(..) = state.phase {
            state.phase = Phase::Wanted;
        }
    }

    /// What the follower was told.
    pub(crate) fn told(&self) -> Told {
        match &self.state().phase {
            Phase::Following(_, observer) => observer.control.told(),
            _ => Told::default(),
        }
    }

    /// Whether a parent has told the group's time, and still does.
    pub(crate) fn is_present(&self) -> bool {
        let told = self.told();
        told.master.is_some() && told.corrections > 0
    }

    /// Whether a first round that is due at `now`, of clocks that belong to no group yet, has to wait for
    /// what the parent says. What its clocks agree on is told to the parent first.
    pub(crate) fn is_waited_for(
        &self,
        now: Instant,
        preview: impl FnOnce() -> Option<TimeDelta>,
    ) -> bool {
        let asked = self.state().asked;
        let Some(asked) = asked else {
            if let Some(own) = preview() {
                self.clock.expect(own);
            }
            self.state().asked = Some(now);
            self.follow();
            return true;
        };
        // They are tried in turn.
        let tried_all = self.state().refusals >= self.masters.len();
        now < asked + PATIENCE && !tried_all && !self.clock.is_synchronized()
    }

    /// A master above can't be followed. A first round does not wait for it.
    pub(crate) fn refuse(&self) {
        self.state().refusals += 1;
    }

    /// When a first round that waits for the parent waits no longer.
    pub(crate) fn patience(&self) -> Option<Instant> {
        self.state().asked.map(|asked| asked + PATIENCE)
    }

    /// What there is above the group in a round that ends now.
    pub(crate) fn above(&self) -> Above {
        let present = self.is_present();
        let mut state = self.state();
        let before = state.touch;
        if present {
            state.touch = Touch::Present;
        } else if before == Touch::Present {
            state.touch = Touch::Lost;
        }
        drop(state);
        match (before, present) {
            (Touch::Never, false) => Above::Nobody,
            (Touch::Lost, false) => Above::Gone,
            // What had come before the parent was lost has still to go down.
            _ => Above::Moves(self.clock.to_hand_down()),
        }
    }

    /// From the top to our group.
    pub(crate) fn path(&self) -> Path {
        lock(&self.ancestry).path().clone()
    }

    /// Lets what is known of the groups above change. What comes of it, and whether our path has
    /// changed.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Ancestry) -> T) -> (T, bool) {
        let mut ancestry = lock(&self.ancestry);
        let before = ancestry.path().clone();
        let outcome = change(&mut ancestry);
        (outcome, *ancestry.path() != before)
    }
}
