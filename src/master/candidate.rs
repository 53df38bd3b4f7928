//! The thread of the election (`election`): what has happened goes into the candidate, which says
//! what is to be done, and that is done here.
//!
//! What the other candidates tell comes in like any connection, see `candidate_link.rs`; what we
//! tell them goes out through a thread for each of them, see `teller.rs`.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::election::candidate::{Action, Candidate, Input};
use crate::election::term::Source;
use crate::follower::handle::Follower;
use crate::follower::options::FollowerOptions;
use crate::keys::credentials::Credentials;
use crate::master::candidacy::{Candidacy, now};
use crate::master::error::MasterError;
use crate::master::event::MasterEvent;
use crate::master::shared::Shared;
use crate::master::teller::{Tell, Teller};
use crate::master::threads::spawn;
use crate::rate_limit::{Limit, Throttle};
use crate::wire::address::Address;
use crate::wire::candidate::{Leader, Leadership, Rank, Ranks, Role, Term};
use crate::wire::name::NodeName;
use crate::wire::steps::Steps;

/// So many things may have happened that the election has not heard of yet.
pub(crate) const MOST_INPUTS: usize = 1024;

/// No operator tells more steps than this, and followers make no more.
const STEPS: Limit = Limit::per(20, Duration::from_secs(10));

/// The election's thread, and what it acts with.
pub(crate) struct CandidateThread {
    shared: Arc<Shared>,
    candidacy: Arc<Candidacy>,
    inputs: Receiver<Input>,
    candidate: Candidate,
    tellers: Vec<Sender<Tell>>,
    follower: Option<Follower>,
    /// What this machine is called, if it is not its host name.
    name: Option<NodeName>,
    /// What it proves itself with, to other candidates and to the leader that it follows.
    credentials: Option<Credentials>,
    news: News,
    steps: Throttle,
}

/// What people have still to be told.
#[derive(Default)]
struct News {
    lead: bool,
    /// Who led when they were told last.
    told: Option<Leadership>,
    present: Option<Ranks>,
    /// Another candidate can cause news as often as it likes.
    limit: Throttle,
}

impl CandidateThread {
    /// A candidate that has still to be run; the threads that tell the others have started.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        candidacy: &Arc<Candidacy>,
        inputs: Receiver<Input>,
        name: Option<NodeName>,
        credentials: Option<Credentials>,
    ) -> Result<Self, MasterError> {
        let candidates = &candidacy.candidates;
        let mut tellers = Vec::new();
        for (rank, address) in candidates.others() {
            let (tells, told) = mpsc::channel();
            let teller = Teller::new(shared, candidates, rank, address, credentials.clone());
            spawn(&format!("to {address}"), move || teller.run(&told))?;
            tellers.push(tells);
        }
        Ok(Self {
            candidate: Candidate::new(candidates.own(), candidates.list().len(), now()),
            shared: Arc::clone(shared),
            candidacy: Arc::clone(candidacy),
            inputs,
            tellers,
            follower: None,
            name,
            credentials,
            news: News::default(),
            steps: Throttle::new(STEPS),
        })
    }

    /// Takes part in the election until the master has resigned.
    pub(crate) fn run(mut self) {
        loop {
            let first = match self.inputs.recv_timeout(self.wait()) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let synchronized = self.shared.clock.is_synchronized();
            let orders = self.shared.ensemble().dropped().number();
            // No more than there can be, or who tells us faster than we listen would hold us up.
            let inputs = (first.into_iter())
                .chain(self.inputs.try_iter().take(MOST_INPUTS))
                .chain(synchronized.then_some(Input::Synchronized))
                .chain(self.shared.clock.steps().map(Input::Took))
                .chain(self.followed_term().map(Input::Knows))
                .chain([Input::KnowsOrders(orders)]);
            for action in self.candidate.step(inputs, now()) {
                if action == Action::End {
                    return;
                }
                self.perform(action);
            }
            self.tell_news();
            self.tell_what_we_follow();
        }
    }

    /// The term that our clock follows. A leader that has raised its own may have told its
    /// followers of it, and us only as one of them.
    fn followed_term(&self) -> Option<Term> {
        let term = self.follower.as_ref()?.followed_term()?;
        let told = self.candidacy.view().check(term, Source::Candidate, now());
        told.is_ok().then_some(term)
    }

    /// How long to wait for something to happen.
    fn wait(&self) -> Duration {
        let now = now();
        self.candidate.due(now).saturating_sub(now)
    }

    fn perform(&mut self, action: Action) {
        match action {
            // To drop a follower stops it, and waits until it has ended.
            Action::StopFollowing => self.follower = None,
            Action::Step(steps) => self.step_group(steps),
            Action::Publish(view) => self.candidacy.publish(view),
            Action::TakeLead => self.shared.take_lead(),
            Action::StepDown => self.shared.step_down(),
            Action::Follow { leader, term } => self.follow(leader, term),
            Action::LeadChanged => {
                self.shared.observations.lead_changed();
                self.news.lead = true;
            }
            Action::PresenceChanged(present) => {
                self.shared.observations.presence_changed(present);
                self.news.present = Some(present);
            }
            Action::Tell {
                heartbeat,
                in_touch,
                heed,
            } => {
                for teller in &self.tellers {
                    // It lives as long as we do.
                    let _ = teller.send(Tell {
                        heartbeat,
                        in_touch,
                        heed,
                    });
                }
            }
            Action::End => {}
        }
    }

    fn step_group(&mut self, steps: Steps) {
        if self.steps.admit(Instant::now()).is_none() {
            let refused = "the group is not stepped: another candidate tells of too many steps";
            self.shared.outlet.warn("election", refused);
            return;
        }
        match self.shared.take_steps(steps) {
            Ok(_) => self.candidacy.wake(),
            Err(error) => {
                let refused = format!("the group is not stepped: {error}");
                self.shared.outlet.warn("election", &refused);
            }
        }
    }

    fn follow(&mut self, leader: Rank, term: Term) {
        let Some(address) = self.candidacy.candidates.at(leader) else {
            return;
        };
        let clock = self.shared.clock.clone();
        let facts = &self.shared.observations.facts;
        let options = FollowerOptions {
            name: self.name.clone(),
            credentials: self.credentials.clone(),
            simulation: facts.simulation,
            reference: facts.reference,
            ..FollowerOptions::default()
        };
        match Follower::of_leader(address.clone(), term, clock, options) {
            Ok(follower) => self.follower = Some(follower),
            Err(error) => log::warn!("cannot follow {address}: {error}"),
        }
    }

    fn tell_what_we_follow(&self) {
        if let Some(follower) = &self.follower {
            while let Some(event) = follower.next_event_now() {
                self.shared.observations.followed(&event);
                self.shared.outlet.tell(MasterEvent::Followed(event));
            }
        }
    }

    fn tell_news(&mut self) {
        let any = self.news.lead || self.news.present.is_some();
        if !any || self.news.limit.admit(Instant::now()).is_none() {
            return;
        }
        if std::mem::take(&mut self.news.lead) {
            self.log_lead();
            self.tell_lead();
        }
        if let Some(present) = self.news.present.take() {
            self.log_presence(present);
        }
    }

    fn tell_lead(&mut self) {
        let mut leadership = self.candidacy.leadership();
        match self.candidacy.view().role {
            // It is told to followers, who may reach it; we don't.
            Role::Misses(..) => leadership.leader = Leader::Nobody,
            Role::Yields(_) => return,
            Role::Leads | Role::Follows(_) | Role::Seeks => {}
        }
        // Seeking and missing a leader are one thing to people, and are told once.
        if self.news.told.as_ref() != Some(&leadership) {
            self.shared
                .outlet
                .tell(MasterEvent::Lead(leadership.clone()));
            self.news.told = Some(leadership);
        }
    }

    fn log_lead(&self) {
        let candidates = &self.candidacy.candidates;
        let view = self.candidacy.view();
        let lead = self.candidacy.lead();
        let does = match view.role {
            Role::Leads => format!("leads, after a wait of {} ms", lead.waited.as_millis()),
            Role::Follows(leader) => format!("follows {}", self.address(leader)),
            Role::Misses(leader, away) => {
                format!(
                    "does not reach {}, which is {away} away",
                    self.address(leader)
                )
            }
            Role::Seeks => "seeks a leader".to_owned(),
            Role::Yields(successor) => format!("hands over to {}", self.address(successor)),
        };
        log::info!(
            "term {}: {}, rank {} of {}, {does}",
            lead.term,
            self.address(lead.rank),
            lead.rank.0,
            candidates.list().len(),
        );
    }

    fn log_presence(&self, present: Ranks) {
        let candidates = &self.candidacy.candidates;
        let missing = candidates
            .others()
            .filter(|(rank, _)| !present.contains(*rank));
        let missing: Vec<_> = missing.map(|(_, address)| address.to_string()).collect();
        let all = candidates.list().len();
        let here = all - missing.len();
        match &missing[..] {
            [] => log::info!("{here} of {all} candidates present"),
            missing => {
                let missing = missing.join(", ");
                log::info!("{here} of {all} candidates present, missing: {missing}");
            }
        }
    }

    fn address(&self, rank: Rank) -> String {
        let address = self.candidacy.candidates.at(rank);
        address.map_or_else(String::new, Address::to_string)
    }
}
