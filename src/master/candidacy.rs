//! What the threads of a candidate share: who leads, as the election has it.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::time::Duration;

use crate::average::ensemble::NodeId;
use crate::clock::uptime;
use crate::election::candidates::Candidates;
use crate::election::rules::SILENCE;
use crate::lock::lock;
use crate::report::record::Lead;
use crate::wire::candidate::{Heartbeat, Leader, Leadership, Rank, Role, Term};

/// How long a leader that stops waits until its successor leads.
const HANDING_OVER: Duration = Duration::from_millis(250);

/// What the election is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// Another candidate said this, on this connection.
    Heard(Rank, Heartbeat, NodeId),
    /// This connection with another candidate ended.
    Lost(Rank, NodeId),
    /// A follower knows of a leader of this term.
    Knows(Term),
    /// We are about to stop. The channel is dropped when another candidate leads, or none can.
    Resign(Sender<()>),
}

/// The election's time. A machine that was asleep has to notice, so its sleep counts.
pub(crate) fn now() -> Duration {
    Duration::from_nanos(uptime().unsigned_abs())
}

/// Who leads, as this candidate knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) role: Role,
    pub(crate) term: Term,
    /// For how long the lead was sought before it was claimed.
    pub(crate) waited: Duration,
    /// When the election has looked last, by [`now`].
    pub(crate) at: Duration,
}

/// What a candidate is besides a master.
#[derive(Debug)]
pub(crate) struct Candidacy {
    pub(crate) candidates: Candidates,
    view: Mutex<View>,
    inputs: SyncSender<Input>,
}

impl Candidacy {
    pub(crate) fn new(candidates: Candidates, inputs: SyncSender<Input>) -> Self {
        Self {
            candidates,
            view: Mutex::new(View {
                role: Role::Seeks,
                term: 0,
                waited: Duration::ZERO,
                at: now(),
            }),
            inputs,
        }
    }

    pub(crate) fn view(&self) -> View {
        *lock(&self.view)
    }

    pub(crate) fn publish(&self, view: View) {
        *lock(&self.view) = view;
    }

    /// Whether we lead, and know it: a machine that was asleep finds out first.
    pub(crate) fn leads(&self) -> bool {
        let view = self.view();
        view.role == Role::Leads && now().saturating_sub(view.at) < SILENCE
    }

    /// Our lead, for the record.
    pub(crate) fn lead(&self) -> Lead {
        let View { term, waited, .. } = self.view();
        Lead {
            term,
            rank: self.candidates.own(),
            waited,
        }
    }

    /// What followers are told.
    pub(crate) fn leadership(&self) -> Leadership {
        let view = self.view();
        let leader = match view.role {
            Role::Leads => Some(Leader::Speaker),
            Role::Follows(rank) | Role::Misses(rank, _) | Role::Yields(rank) => {
                self.candidates.at(rank).cloned().map(Leader::Other)
            }
            Role::Seeks => None,
        };
        Leadership {
            term: view.term,
            leader: leader.unwrap_or(Leader::Nobody),
            candidates: self.candidates.list().to_vec(),
        }
    }

    /// Tells the election. What anybody can tell is left out where it can't keep up.
    pub(crate) fn input(&self, input: Input) {
        // At the end there is nobody to tell any more.
        let _ = match input {
            Input::Heard(..) | Input::Knows(_) => self.inputs.try_send(input).is_ok(),
            Input::Lost(..) | Input::Resign(_) => self.inputs.send(input).is_ok(),
        };
    }

    /// Gives the lead to another candidate, if we have it and one can take it.
    pub(crate) fn hand_over(&self) {
        let (done, handed_over) = mpsc::channel();
        self.input(Input::Resign(done));
        let _ = handed_over.recv_timeout(HANDING_OVER);
    }
}
