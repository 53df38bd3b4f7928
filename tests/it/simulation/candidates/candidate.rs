//! A candidate: the library's own, whose actions are performed on simulated nodes, and the rounds
//! that it holds while it leads.

use std::sync::Arc;
use std::time::Duration;

use berkeley::internals::average::ensemble::{Ensemble, Settings};
use berkeley::internals::average::round::{Heard, NodeId, Round, Wire};
use berkeley::internals::election::candidate::{self, Action, Input, Link, View};
use berkeley::internals::election::term::Source;
use berkeley::internals::measurement::sample::Sample;
use berkeley::internals::wire::candidate::{Heartbeat, Rank, Role, Term};
use berkeley::internals::wire::correction::Correction;
use berkeley::internals::wire::steps::Steps;
use chrono::{DateTime, Utc};

use super::client::Stage;
use super::links::Way;
use super::world::{Greeting, INTERVAL, Message, Plan, World};

/// Bursts begin in this part of the interval.
const BEGIN: (f64, f64) = (0.05, 0.70);

/// A follower's connection, as its leader sees it.
pub struct Session {
    pub connection: u32,
    pub n: u64,
    pub asked: DateTime<Utc>,
    /// The interval in which the poll left.
    pub interval: u64,
    /// The interval that the last answer belongs to.
    measured: Option<u64>,
    /// The group's steps that it was told last, and those that our clock had made at the last poll.
    pub told: Option<Steps>,
    pub steps: Option<Steps>,
}

pub struct Candidate {
    life: candidate::Candidate,
    /// What all that is not the election knows of it.
    pub view: View,
    /// The number of the plan for its next step.
    planned: u32,
    pub ensemble: Ensemble,
    /// By node.
    pub sessions: Vec<Option<Session>>,
    /// How often this candidate took the lead, and when it did last.
    pub lead: u32,
    began: i64,
}

fn settings() -> Settings {
    Settings {
        interval: Duration::from_nanos(INTERVAL as u64),
        ..Settings::default()
    }
}

fn node_id(connection: u32, client: usize) -> NodeId {
    NodeId(u64::from(connection) << 8 | client as u64)
}

impl Candidate {
    pub fn new(rank: usize, candidates: usize, nodes: usize, now: Duration) -> Self {
        Self {
            life: candidate::Candidate::new(Rank(rank), candidates, now),
            view: View::new(now),
            planned: 0,
            ensemble: Ensemble::new(settings()),
            sessions: (0..nodes).map(|_| None).collect(),
            lead: 0,
            began: 0,
        }
    }

    fn greeting(&self) -> Greeting {
        Greeting {
            term: self.view.term,
            leads: self.view.role == Role::Leads,
            other: self.view.other_leader().map(|leader| leader.0),
        }
    }
}

impl World {
    pub fn step_is_due(&mut self, rank: usize, planned: u32) {
        if self.candidates[rank].planned == planned {
            self.step(rank, None);
        }
    }

    pub fn hear_heartbeat(&mut self, rank: usize, from: usize, heartbeat: Heartbeat, link: Link) {
        let (now, view) = (self.elapsed(), self.candidates[rank].view);
        if let Err(impossible) = view.check(heartbeat.term, Source::Candidate, now) {
            let what = format!("candidate {rank} refuses candidate {from}: {impossible}");
            self.observer.broken(self.now, &what);
            return;
        }
        let from = Rank(from);
        self.step(
            rank,
            Some(Input::Heard {
                from,
                heartbeat,
                link,
            }),
        );
    }

    pub fn lose(&mut self, rank: usize, other: usize, link: Link) {
        let from = Rank(other);
        self.step(rank, Some(Input::Lost { from, link }));
    }

    /// A leader is told to stop. It hands over, and ends; whether there is a successor.
    pub fn stop_in_order(&mut self, rank: usize) -> bool {
        self.step(rank, Some(Input::Resign));
        matches!(self.candidates[rank].view.role, Role::Yields(_))
    }

    /// A candidate takes a step, and does what follows from it.
    pub fn step(&mut self, rank: usize, input: Option<Input>) {
        let now = self.elapsed();
        let synchronized = self.clocks[rank].corrections > 0;
        let inputs = input
            .into_iter()
            .chain(synchronized.then_some(Input::Synchronized))
            .chain(self.clocks[rank].discipline.steps().map(Input::Took))
            .chain(self.followed_term(rank).map(Input::Knows));
        let candidate = &mut self.candidates[rank];
        let actions = candidate.life.step(inputs, now);
        candidate.planned += 1;
        let (due, planned) = (candidate.life.due(now), candidate.planned);
        for action in actions {
            self.perform(rank, action);
        }
        if self.runs(rank) {
            self.plan(rank, due.as_nanos() as i64, Plan::Step(planned));
        }
    }

    /// The term that a candidate's clock follows, while it does not lead.
    fn followed_term(&self, rank: usize) -> Option<Term> {
        let client = &self.clients[rank];
        let joined = matches!(client.stage, Stage::Joined(_));
        joined.then(|| client.allegiance.term())
    }

    fn perform(&mut self, rank: usize, action: Action) {
        match action {
            Action::StopFollowing => self.want(rank, None),
            Action::Step(steps) => self.step_group(rank, steps),
            Action::Publish(view) => {
                let before = std::mem::replace(&mut self.candidates[rank].view, view);
                if (before.role, view.role) == (Role::Leads, Role::Leads)
                    && before.term != view.term
                {
                    self.greet_all(rank);
                }
            }
            Action::TakeLead => self.take_lead(rank),
            Action::StepDown => self.say_goodbye(rank),
            Action::Follow { leader, term } => self.want(rank, Some((leader.0, term))),
            Action::LeadChanged | Action::PresenceChanged(_) => {}
            Action::Tell { heartbeat, .. } => self.tell_others(rank, heartbeat),
            Action::End => {
                self.say_goodbye(rank);
                self.crash(rank, false);
            }
        }
    }

    fn tell_others(&mut self, rank: usize, heartbeat: Heartbeat) {
        let link = self.link(rank);
        for other in (0..self.candidates.len()).filter(|other| *other != rank) {
            let start = self.starts[other];
            let message = Message::Heartbeat {
                heartbeat,
                link,
                start,
            };
            self.send(rank, other, Way::Heartbeats, 0, message);
        }
    }

    /// The connections that a candidate has made since it started.
    pub fn link(&self, rank: usize) -> Link {
        Link(u64::from(self.starts[rank]))
    }

    /// Ends the connections of a candidate's followers, and sends them where it knows of a leader.
    fn say_goodbye(&mut self, rank: usize) {
        let greeting = self.candidates[rank].greeting();
        self.close_sessions(rank, Some(greeting));
    }

    /// A candidate is told by a follower of this term. Whether it goes on listening to it.
    pub fn hear_term(&mut self, rank: usize, term: Term) -> bool {
        let (now, view) = (self.elapsed(), self.candidates[rank].view);
        if view.check(term, Source::Follower, now).is_err() {
            return false;
        }
        if term > view.term {
            self.step(rank, Some(Input::Knows(term)));
        }
        true
    }

    fn take_lead(&mut self, rank: usize) {
        let candidate = &mut self.candidates[rank];
        candidate.ensemble = Ensemble::new(settings());
        let inherits = self.clocks[rank].discipline.knows_the_time();
        candidate.ensemble.begin_to_lead(inherits);
        candidate.lead += 1;
        candidate.began = self.now - INTERVAL / 2;
        let (lead, round_at) = (candidate.lead, self.now + INTERVAL / 2);
        self.plan(rank, round_at, Plan::Round(lead));
    }

    fn greet_all(&mut self, rank: usize) {
        let greeting = self.candidates[rank].greeting();
        for client in 0..self.clients.len() {
            if let Some(session) = &self.candidates[rank].sessions[client] {
                let connection = session.connection;
                self.tell_client(rank, client, connection, Message::Greeting(greeting));
            }
        }
    }

    /// A candidate ends the connections of its followers, with a last word if there is one.
    pub fn close_sessions(&mut self, rank: usize, last: Option<Greeting>) {
        for client in 0..self.clients.len() {
            if let Some(session) = self.candidates[rank].sessions[client].take() {
                let connection = session.connection;
                if let Some(greeting) = last {
                    self.tell_client(rank, client, connection, Message::Greeting(greeting));
                }
                self.tell_client(rank, client, connection, Message::Close);
            }
        }
    }

    pub fn tell_client(&mut self, rank: usize, client: usize, connection: u32, message: Message) {
        self.send(rank, client, Way::Down, connection, message);
    }

    pub fn hear_client(&mut self, rank: usize, client: usize, connection: u32, message: &Message) {
        let open = &self.candidates[rank].sessions[client];
        let known = open.as_ref().map(|session| session.connection);
        match *message {
            Message::Open if known.is_none_or(|known| known < connection) => {
                self.greet(rank, client, connection);
            }
            Message::Time {
                n,
                target,
                rate_ppm,
                term,
            } if known == Some(connection) => {
                self.hear_time(rank, client, n, target, rate_ppm, term);
            }
            Message::Close if known == Some(connection) => {
                let candidate = &mut self.candidates[rank];
                candidate.sessions[client] = None;
                candidate.ensemble.leave(node_id(connection, client));
            }
            _ => {}
        }
    }

    fn greet(&mut self, rank: usize, client: usize, connection: u32) {
        let greeting = self.candidates[rank].greeting();
        self.tell_client(rank, client, connection, Message::Greeting(greeting));
        if !greeting.leads {
            self.tell_client(rank, client, connection, Message::Close);
            return;
        }
        let name = Arc::clone(&self.name);
        let candidate = &mut self.candidates[rank];
        let id = node_id(connection, client);
        candidate.ensemble.join(id, &name, None, Wire::Line);
        candidate.sessions[client] = Some(Session {
            connection,
            n: 0,
            asked: DateTime::default(),
            interval: 0,
            measured: None,
            told: None,
            steps: None,
        });
        self.burst(rank, client, connection);
    }

    /// A burst of one poll.
    pub fn burst(&mut self, rank: usize, client: usize, connection: u32) {
        let now = self.now;
        let candidate = &self.candidates[rank];
        let session = candidate.sessions[client].as_ref();
        if session.is_none_or(|session| session.connection != connection) {
            return;
        }
        let spread = (client as f64 * 0.618_034).fract();
        let part = BEGIN.0 + (BEGIN.1 - BEGIN.0) * spread;
        let phase = candidate.began + (part * INTERVAL as f64) as i64;
        let due = now + INTERVAL - (now - phase).rem_euclid(INTERVAL);
        self.poll(rank, client, connection);
        self.plan(rank, due, Plan::Burst { client, connection });
    }

    fn hear_time(
        &mut self,
        rank: usize,
        client: usize,
        n: u64,
        target: DateTime<Utc>,
        rate_ppm: f64,
        term: Option<Term>,
    ) {
        let answered = self.clocks[rank].target(self.now);
        let made = self.clocks[rank].discipline.steps();
        let candidate = &mut self.candidates[rank];
        let interval = candidate.ensemble.interval();
        if let Some(session) = &mut candidate.sessions[client]
            && (session.n, session.interval) == (n, interval)
            && session.steps == made
        {
            session.measured = Some(interval);
            let id = node_id(session.connection, client);
            match Sample::round_trip(session.asked, target, target, answered) {
                Ok(sample) => {
                    let heard = Heard {
                        rate_ppm: Some(rate_ppm),
                        synchronized: term.is_some(),
                        ..Heard::from(sample)
                    };
                    candidate.ensemble.report(id, interval, heard);
                }
                Err(impossible) => self.observer.broken(self.now, &impossible),
            }
        }
        if let Some(term) = term
            && !self.hear_term(rank, term)
        {
            let what = format!("candidate {rank} refuses node {client}: term {term}");
            self.observer.broken(self.now, &what);
        }
    }

    pub fn round_is_due(&mut self, rank: usize, lead: u32) {
        let (now, candidate) = (self.elapsed(), &self.candidates[rank]);
        if candidate.lead != lead || candidate.view.role != Role::Leads {
            return;
        }
        // Whoever was asleep may have been replaced meanwhile.
        if candidate.view.leads(now) {
            self.close_round(rank);
        }
        // A pause does not shift the rhythm: the bursts keep to it too.
        let late = (self.now - self.candidates[rank].began).rem_euclid(INTERVAL);
        self.plan(rank, self.now + INTERVAL - late, Plan::Round(lead));
    }

    fn close_round(&mut self, rank: usize) {
        let own = Heard {
            rate_ppm: Some(self.clocks[rank].discipline.rate().ppm),
            synchronized: self.clocks[rank].corrections > 0,
            ..Heard::from(Sample::OWN)
        };
        let closed = self.candidates[rank].ensemble.close_round(own);
        for NodeId(id) in closed.dropped {
            let (client, connection) = ((id & 0xff) as usize, (id >> 8) as u32);
            let session = &mut self.candidates[rank].sessions[client];
            if session
                .take_if(|open| open.connection == connection)
                .is_some()
            {
                self.tell_client(rank, client, connection, Message::Close);
            }
        }
        if let Some(round) = closed.round {
            self.correct_all(rank, &round);
        }
    }

    fn correct_all(&mut self, rank: usize, round: &Round) {
        if round.outcome.is_err() {
            return;
        }
        let cohort = self
            .observer
            .cohort_of(rank, round, &self.clocks, &self.clients);
        let term = self.candidates[rank].view.term;
        for row in &round.rows {
            let Some(correction) = row.correction else {
                continue;
            };
            let Some(NodeId(id)) = row.node else {
                let mark = self.clocks[rank].mark(self.now);
                self.apply(rank, term, mark, correction, cohort);
                continue;
            };
            let (client, connection) = ((id & 0xff) as usize, (id >> 8) as u32);
            let Some(session) = &self.candidates[rank].sessions[client] else {
                continue;
            };
            if session.connection == connection && session.measured == Some(round.interval) {
                let adjust = Message::Adjust {
                    n: session.n,
                    correction,
                    cohort,
                };
                self.tell_client(rank, client, connection, adjust);
            }
        }
    }

    /// A node's clock follows a correction of this term.
    pub fn apply(
        &mut self,
        node: usize,
        term: Term,
        mark: berkeley::internals::discipline::correction::Mark,
        correction: Correction,
        cohort: u32,
    ) {
        let now = self.now;
        self.look_at(node);
        let clock = &mut self.clocks[node];
        let before = (clock.term, clock.admits);
        clock.correct(mark, correction, now);
        clock.term = term;
        self.clients[node].allegiance.corrected(term);
        self.observer
            .corrected(now, node, clock, before, correction, cohort);
        self.look_at(node);
    }
}
