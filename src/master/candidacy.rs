//! What the threads of a candidate share: who leads, as the election has it.

use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::clock::uptime;
use crate::election::candidate::{HANDING_OVER, Input, Lead, Link, View};
use crate::election::candidates::Candidates;
use crate::election::rules::SILENCE;
use crate::election::term::{ImpossibleTerm, Source};
use crate::lock::lock;
use crate::wire::candidate::{Heartbeat, Leader, Leadership, Rank, Role, Term};
use crate::wire::steps::Steps;

/// How long an order may take until it is carried out.
const ORDERED: Duration = Duration::from_secs(3);

/// The others have so long to hear of an order about votes.
const PASSED_ON: Duration = SILENCE;

/// The election's time. A machine that was asleep has to notice, so its sleep counts.
pub(crate) fn now() -> Duration {
    Duration::from_nanos(uptime().unsigned_abs())
}

/// What a candidate is besides a master.
#[derive(Debug)]
pub(crate) struct Candidacy {
    pub(crate) candidates: Candidates,
    /// What the election has published last.
    view: Mutex<View>,
    published: Condvar,
    inputs: SyncSender<Input>,
}

impl Candidacy {
    pub(crate) fn new(candidates: Candidates, inputs: SyncSender<Input>) -> Self {
        Self {
            candidates,
            view: Mutex::new(View::new(now())),
            published: Condvar::new(),
            inputs,
        }
    }

    pub(crate) fn view(&self) -> View {
        *lock(&self.view)
    }

    /// What the election has come to, for all other threads.
    pub(crate) fn publish(&self, view: View) {
        *lock(&self.view) = view;
        self.published.notify_all();
    }

    /// Whether we lead, and know it: a machine that was asleep finds out first.
    pub(crate) fn leads(&self) -> bool {
        self.view().leads(now())
    }

    /// Our lead, for the record.
    pub(crate) fn lead(&self) -> Lead {
        self.view().lead(self.candidates.own())
    }

    /// What followers are told.
    pub(crate) fn leadership(&self) -> Leadership {
        let view = self.view();
        let other = view
            .other_leader()
            .and_then(|rank| self.candidates.at(rank));
        let leader = match (view.role, other) {
            (Role::Leads, _) => Leader::Speaker,
            (_, Some(leader)) => Leader::Other(leader.clone()),
            (_, None) => Leader::Nobody,
        };
        Leadership {
            term: view.term,
            leader,
            candidates: self.candidates.list().to_vec(),
        }
    }

    /// Another candidate's heartbeat has come on this connection. The election does not hear of it
    /// where it can't keep up: there will be others.
    pub(crate) fn heard(
        &self,
        from: Rank,
        heartbeat: Heartbeat,
        link: Link,
    ) -> Result<(), ImpossibleTerm> {
        let view = self.view();
        view.check(heartbeat.term, Source::Candidate, now())?;
        let heard = Input::Heard {
            from,
            heartbeat,
            link,
        };
        let _ = self.inputs.try_send(heard);
        Ok(())
    }

    /// A connection has ended on which another candidate was heard.
    pub(crate) fn lost(&self, from: Rank, link: Link) {
        let _ = self.inputs.send(Input::Lost { from, link });
    }

    /// A follower knows of a leader of this term.
    pub(crate) fn knows(&self, term: Term) -> Result<(), ImpossibleTerm> {
        let view = self.view();
        view.check(term, Source::Follower, now())?;
        if term > view.term {
            let _ = self.inputs.try_send(Input::Knows(term));
        }
        Ok(())
    }

    /// Lets the group make these steps, if we lead, once the other candidates know of them. Whether
    /// they were made, when that was waited for: `made` tells.
    pub(crate) fn order(&self, steps: Steps, made: impl Fn() -> bool) -> bool {
        if self.inputs.send(Input::Ordered(steps)).is_err() {
            return false;
        }
        let view = lock(&self.view);
        let waiting = |_: &mut View| !made();
        let waited = self.published.wait_timeout_while(view, ORDERED, waiting);
        drop(waited);
        made()
    }

    /// The same, and nobody waits for it.
    pub(crate) fn propose(&self, steps: Steps) {
        let _ = self.inputs.send(Input::Ordered(steps));
    }

    /// Our group knows of orders about votes up to this number: the others are to hear of them.
    pub(crate) fn know_orders(&self, number: u32) {
        let _ = self.inputs.try_send(Input::KnowsOrders(number));
    }

    /// Waits until all in touch know of the orders about votes up to this number, a second at most:
    /// whoever leads next keeps to them.
    pub(crate) fn pass_on(&self, number: u32) {
        self.know_orders(number);
        let view = lock(&self.view);
        let waiting = |view: &mut View| view.orders < number;
        drop((self.published).wait_timeout_while(view, PASSED_ON, waiting));
    }

    /// A step that was ordered is made.
    pub(crate) fn wake(&self) {
        // Whoever waits looks with the view locked, so it either has seen it or is woken.
        drop(lock(&self.view));
        self.published.notify_all();
    }

    /// Gives the lead to another candidate, if we have it and one can take it.
    pub(crate) fn hand_over(&self) {
        let _ = self.inputs.send(Input::Resign);
        // The election ends by itself in time, unless it is held up.
        let limit = HANDING_OVER * 2;
        let view = lock(&self.view);
        let _ = self
            .published
            .wait_timeout_while(view, limit, |view| !view.ended);
    }
}
