//! A follower: where it connects to, whom it believes. A candidate that does not lead is one too,
//! of exactly the leader that its election says.

use std::time::Duration;

use berkeley::internals::discipline::correction::Mark;
use berkeley::internals::election::allegiance::{Allegiance, Greeted, patience};
use berkeley::internals::wire::address::Address;
use berkeley::internals::wire::candidate::{Leader, Leadership, Term};

use super::links::Way;
use super::world::{Greeting, INTERVAL, Life, MILLISECOND, Message, Plan, SECOND, World};

/// A connection that is not accepted, or not greeted, is given up after this.
const ACCEPT_DEADLINE: i64 = 500 * MILLISECOND;
const GREETING_DEADLINE: i64 = SECOND;

/// Between attempts where nobody leads.
const PAUSE: std::ops::Range<i64> = 50 * MILLISECOND..100 * MILLISECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Idle,
    Connecting,
    /// With a leader that greeted with this term.
    Joined(Term),
}

pub struct Client {
    pub allegiance: Allegiance,
    pub stage: Stage,
    pub connection: u32,
    pub to: usize,
    heard_at: i64,
    /// What the last poll was answered with.
    pub answered: Option<(u64, Mark)>,
    /// Whom a candidate is to follow.
    wanted: Option<usize>,
    /// Sent here by another candidate.
    sent: bool,
}

impl Client {
    pub fn new(masters: &[Address]) -> Self {
        Self {
            allegiance: Allegiance::new(masters.to_vec()),
            stage: Stage::Idle,
            connection: 0,
            to: 0,
            heard_at: 0,
            answered: None,
            wanted: None,
            sent: false,
        }
    }
}

impl World {
    /// A candidate is to follow this leader from now on, which leads in this term.
    pub fn want(&mut self, candidate: usize, leader: Option<(usize, Term)>) {
        self.clients[candidate].wanted = leader.map(|(leader, _)| leader);
        if let Some((leader, term)) = leader {
            let leader = self.addresses[leader].clone();
            self.clients[candidate].allegiance = Allegiance::to_leader(leader, term);
        }
        self.leave(candidate);
        let attempt = self.clients[candidate].connection;
        if leader.is_some() {
            self.connect(candidate, attempt);
        }
    }

    fn leave(&mut self, node: usize) {
        self.close_client(node);
        let attempt = self.next_connection();
        let client = &mut self.clients[node];
        client.stage = Stage::Idle;
        client.connection = attempt;
        client.answered = None;
    }

    pub fn close_client(&mut self, node: usize) {
        let Client {
            stage,
            connection,
            to,
            ..
        } = self.clients[node];
        if stage != Stage::Idle {
            self.send(node, to, Way::Up, connection, Message::Close);
        }
    }

    /// Leaves, and tries the next one after a pause.
    fn leave_and_pause(&mut self, node: usize) {
        self.leave(node);
        let attempt = self.clients[node].connection;
        let at = self.now + self.rng.i64(PAUSE);
        self.plan(node, at, Plan::Connect(attempt));
    }

    pub fn connect(&mut self, node: usize, attempt: u32) {
        if self.clients[node].connection != attempt || self.clients[node].stage != Stage::Idle {
            return;
        }
        let to = if self.is_candidate(node) {
            let Some(wanted) = self.clients[node].wanted else {
                return;
            };
            wanted
        } else {
            let master = self.clients[node].allegiance.next_master();
            let known = self.addresses.iter().position(|known| *known == master);
            known.expect("only candidates are named")
        };
        let client = &mut self.clients[node];
        client.to = to;
        client.stage = Stage::Connecting;
        let reaches = self.links.pass_both_ways(node, to);
        let wait = match self.lives[to] {
            Life::Down { machine: false } if reaches => {
                // Refused.
                self.leave_and_pause(node);
                return;
            }
            Life::Runs | Life::Paused(_) if reaches => {
                self.send(node, to, Way::Up, attempt, Message::Open);
                GREETING_DEADLINE
            }
            _ => ACCEPT_DEADLINE,
        };
        self.plan(node, self.now + wait, Plan::GiveUp(attempt));
    }

    pub fn give_up(&mut self, node: usize, attempt: u32) {
        let client = &self.clients[node];
        if client.connection == attempt && client.stage == Stage::Connecting {
            self.leave(node);
            let attempt = self.clients[node].connection;
            self.connect(node, attempt);
        }
    }

    pub fn check_patience(&mut self, node: usize, connection: u32) {
        let client = &self.clients[node];
        if client.connection != connection {
            return;
        }
        let interval = Duration::from_nanos(INTERVAL as u64);
        let until = client.heard_at + patience(interval).as_nanos() as i64;
        if until <= self.now {
            self.leave_and_pause(node);
        } else {
            self.plan(node, until, Plan::Patience(connection));
        }
    }

    pub fn hear_master(&mut self, node: usize, connection: u32, message: &Message) {
        let now = self.now;
        let client = &mut self.clients[node];
        if client.connection != connection || client.stage == Stage::Idle {
            return;
        }
        client.heard_at = now;
        match *message {
            Message::Greeting(greeting) => self.hear_greeting(node, greeting),
            Message::Close => self.leave_and_pause(node),
            Message::Poll { n, steps } => {
                if let Some(steps) = steps {
                    self.hear_steps(node, steps);
                }
                let client = &mut self.clients[node];
                let clock = &self.clocks[node];
                let mark = clock.mark(now);
                client.answered = Some((n, mark));
                let time = Message::Time {
                    n,
                    target: mark.target,
                    rate_ppm: clock.discipline.rate().ppm,
                    term: (clock.corrections > 0).then_some(client.allegiance.term()),
                };
                let to = client.to;
                self.send(node, to, Way::Up, connection, time);
            }
            Message::Adjust {
                n,
                correction,
                cohort,
            } => {
                let Stage::Joined(term) = client.stage else {
                    return;
                };
                if let Some((asked, mark)) = client.answered
                    && asked == n
                    && client.allegiance.believes(term)
                {
                    self.apply(node, term, mark, correction, cohort);
                }
            }
            _ => {}
        }
    }

    fn hear_greeting(&mut self, node: usize, greeting: Greeting) {
        let leader = match greeting.other {
            _ if greeting.leads => Leader::Speaker,
            Some(other) => Leader::Other(self.addresses[other].clone()),
            None => Leader::Nobody,
        };
        let greeted = self.clients[node].allegiance.greeted(&Leadership {
            term: greeting.term,
            leader,
            candidates: self.addresses.clone(),
        });
        if let Greeted::Refuse(impossible) = &greeted {
            let what = format!("node {node} refuses a master: {impossible}");
            self.observer.broken(self.now, &what);
        }
        let sent = matches!(greeted, Greeted::GoTo(_));
        if greeted == Greeted::Stay {
            let client = &mut self.clients[node];
            let was = std::mem::replace(&mut client.stage, Stage::Joined(greeting.term));
            client.sent = false;
            if was == Stage::Connecting {
                let connection = client.connection;
                self.check_patience(node, connection);
            }
        } else if sent && !self.clients[node].sent && !self.is_candidate(node) {
            self.clients[node].sent = true;
            self.leave(node);
            let attempt = self.clients[node].connection;
            self.connect(node, attempt);
        } else {
            self.clients[node].sent = false;
            self.leave_and_pause(node);
        }
    }
}
