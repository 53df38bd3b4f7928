//! Candidates and followers in virtual time: nodes that start, crash and pause, and the messages
//! between them. Who leads, whom to follow, what to correct is the library's own.
//!
//! True time is in nanoseconds since the start. Nothing in the library sees it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use berkeley::internals::election::candidate::Link;
use berkeley::internals::wire::address::Address;
use berkeley::internals::wire::candidate::{Heartbeat, Term};
use berkeley::internals::wire::correction::Correction;
use berkeley::internals::wire::steps::Steps;
use chrono::{DateTime, Utc};
use fastrand::Rng;

use super::candidate::Candidate;
use super::client::Client;
use super::clock::Clock;
use super::links::{Links, Way};
use super::observer::Observer;

pub const MILLISECOND: i64 = 1_000_000;
pub const SECOND: i64 = 1000 * MILLISECOND;
pub const HOUR: i64 = 3600 * SECOND;

/// From one round to the next.
pub const INTERVAL: i64 = SECOND;

/// How often all clocks and candidates are looked at.
pub const LOOK: i64 = 100 * MILLISECOND;

/// What is sent.
#[derive(Debug, Clone)]
pub enum Message {
    Heartbeat {
        heartbeat: Heartbeat,
        link: Link,
        /// Which start of the receiver it is for.
        start: u32,
    },
    /// The connection between two candidates broke.
    Lost(Link),
    /// A follower connects.
    Open,
    Greeting(Greeting),
    Poll {
        n: u64,
        steps: Option<Steps>,
    },
    Time {
        n: u64,
        target: DateTime<Utc>,
        rate_ppm: f64,
        term: Option<Term>,
    },
    Adjust {
        n: u64,
        correction: Correction,
        cohort: u32,
    },
    /// Either end of a follower's connection closes it.
    Close,
}

/// What a candidate tells a follower of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    pub term: Term,
    pub leads: bool,
    pub other: Option<usize>,
}

/// What a node has planned.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    /// A candidate's next step in the election.
    Step(u32),
    /// The end of an interval, in the lead of this number.
    Round(u32),
    /// A burst to the follower with this connection.
    Burst { client: usize, connection: u32 },
    /// A follower's next attempt to connect.
    Connect(u32),
    /// An attempt took too long.
    GiveUp(u32),
    /// A master may have been silent for too long.
    Patience(u32),
}

#[derive(Debug, Clone)]
pub enum Event {
    Deliver {
        from: usize,
        to: usize,
        way: Way,
        connection: u32,
        message: Message,
    },
    Due {
        node: usize,
        start: u32,
        plan: Plan,
    },
}

/// What a node's process does.
#[derive(Debug)]
pub enum Life {
    Runs,
    /// It was stopped (SIGSTOP), and this waits for it.
    Paused(Vec<Event>),
    /// It is down, and so is its machine, if it answers no one who connects.
    Down {
        machine: bool,
    },
}

pub struct World {
    pub now: i64,
    pub rng: Rng,
    /// The first nodes are the candidates.
    pub candidates: Vec<Candidate>,
    /// Every node as a follower.
    pub clients: Vec<Client>,
    pub clocks: Vec<Clock>,
    pub lives: Vec<Life>,
    /// How often each node has started or stopped.
    pub starts: Vec<u32>,
    pub links: Links,
    pub observer: Observer,
    pub connections: u32,
    pub addresses: Vec<Address>,
    pub name: Arc<str>,
    /// How many series of steps were begun.
    pub series: u32,
    queue: BinaryHeap<Reverse<(i64, u64, usize)>>,
    sequence: u64,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    /// What waits until its link passes messages again.
    held: Vec<Event>,
    looks_at: i64,
}

impl World {
    /// All nodes start within a second, with raw clocks off by up to `offset`.
    pub fn new(seed: u64, candidates: usize, followers: usize, offset: i64) -> Self {
        let nodes = candidates + followers;
        let mut rng = Rng::with_seed(seed);
        let addresses: Vec<_> = (0..candidates)
            .map(|rank| Address::new("c", 1 + rank as u16))
            .collect();
        let clock = |_| {
            let offset = (symmetric(&mut rng) * offset as f64) as i64;
            Clock::new(offset, symmetric(&mut rng) * 100.0)
        };
        let mut world = Self {
            now: 0,
            clocks: (0..nodes).map(clock).collect(),
            candidates: (0..candidates)
                .map(|rank| Candidate::new(rank, candidates, nodes, Duration::ZERO))
                .collect(),
            clients: (0..nodes).map(|_| Client::new(&addresses)).collect(),
            lives: (0..nodes).map(|_| Life::Runs).collect(),
            starts: vec![0; nodes],
            links: Links::new(candidates, nodes),
            observer: Observer::default(),
            connections: 0,
            addresses,
            name: Arc::from("node"),
            series: 0,
            queue: BinaryHeap::with_capacity(1024),
            sequence: 0,
            events: Vec::with_capacity(1024),
            free: Vec::new(),
            held: Vec::new(),
            looks_at: LOOK,
            rng,
        };
        for rank in 0..candidates {
            world.begin_steps(rank);
        }
        for node in 0..nodes {
            let at = world.rng.i64(0..SECOND);
            world.begin(node, at);
        }
        world
    }

    pub fn is_candidate(&self, node: usize) -> bool {
        node < self.candidates.len()
    }

    pub fn runs(&self, node: usize) -> bool {
        matches!(self.lives[node], Life::Runs)
    }

    pub fn is_down(&self, node: usize) -> bool {
        matches!(self.lives[node], Life::Down { .. })
    }

    /// By a clock that does not jump.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now as u64)
    }

    pub fn plan(&mut self, node: usize, at: i64, plan: Plan) {
        let start = self.starts[node];
        self.schedule(at, Event::Due { node, start, plan });
    }

    pub fn send(&mut self, from: usize, to: usize, way: Way, connection: u32, message: Message) {
        let event = Event::Deliver {
            from,
            to,
            way,
            connection,
            message,
        };
        if self.links.pass(from, to) {
            let now = self.now;
            let at = self.links.arrival(&mut self.rng, now, from, to, way);
            self.schedule(at, event);
        } else {
            // It is sent again until it gets through.
            self.held.push(event);
        }
    }

    /// Links have changed: what was held back where they pass now is sent again.
    pub fn send_held(&mut self) {
        for event in std::mem::take(&mut self.held) {
            let Event::Deliver {
                from,
                to,
                way,
                connection,
                message,
            } = event
            else {
                continue;
            };
            self.send(from, to, way, connection, message);
        }
    }

    fn schedule(&mut self, at: i64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[slot] = Some(event);
        self.sequence += 1;
        self.queue
            .push(Reverse((at.max(self.now), self.sequence, slot)));
    }

    pub fn run(&mut self, time: i64) {
        self.run_until(self.now + time);
    }

    pub fn run_until(&mut self, until: i64) {
        loop {
            let next = self.queue.peek().map_or(i64::MAX, |Reverse(next)| next.0);
            if self.looks_at <= next.min(until) {
                self.now = self.looks_at;
                self.looks_at += LOOK;
                self.look();
                continue;
            }
            if next > until {
                break;
            }
            let Some(Reverse((at, _, slot))) = self.queue.pop() else {
                break;
            };
            self.now = at;
            self.free.push(slot);
            if let Some(event) = self.events[slot].take() {
                self.happen(event);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        let (Event::Deliver { to: node, .. } | Event::Due { node, .. }) = event;
        match &mut self.lives[node] {
            Life::Down { .. } => return,
            Life::Paused(waiting) => {
                waiting.push(event);
                return;
            }
            Life::Runs => {}
        }
        match event {
            Event::Due { start, .. } if start != self.starts[node] => {}
            Event::Due { plan, .. } => match plan {
                Plan::Step(planned) => self.step_is_due(node, planned),
                Plan::Round(lead) => self.round_is_due(node, lead),
                Plan::Burst { client, connection } => self.burst(node, client, connection),
                Plan::Connect(attempt) => self.connect(node, attempt),
                Plan::GiveUp(attempt) => self.give_up(node, attempt),
                Plan::Patience(connection) => self.check_patience(node, connection),
            },
            Event::Deliver {
                from,
                way,
                connection,
                message,
                ..
            } => match (way, message) {
                (_, Message::Heartbeat { start, .. }) if start != self.starts[node] => {}
                (
                    _,
                    Message::Heartbeat {
                        heartbeat, link, ..
                    },
                ) => self.hear_heartbeat(node, from, heartbeat, link),
                (_, Message::Lost(link)) => self.lose(node, from, link),
                (Way::Down, message) => self.hear_master(node, connection, &message),
                (_, message) => self.hear_client(node, from, connection, &message),
            },
        }
    }

    fn begin(&mut self, node: usize, at: i64) {
        if self.is_candidate(node) {
            self.plan(node, at, Plan::Step(0));
        } else {
            let attempt = self.clients[node].connection;
            self.plan(node, at, Plan::Connect(attempt));
        }
    }

    /// A node's process is killed, or its machine: then nobody is told.
    pub fn crash(&mut self, node: usize, machine: bool) {
        if self.is_down(node) {
            return;
        }
        if !machine {
            self.break_connections(node);
        }
        self.starts[node] += 1;
        self.lives[node] = Life::Down { machine };
    }

    /// What the operating system does for a process that ends.
    fn break_connections(&mut self, node: usize) {
        if self.is_candidate(node) {
            let lost = Message::Lost(self.link(node));
            for other in (0..self.candidates.len()).filter(|other| *other != node) {
                self.send(node, other, Way::Heartbeats, 0, lost.clone());
            }
            self.close_sessions(node, None);
        }
        self.close_client(node);
    }

    /// A node that is down starts anew; its raw clock was set by `offset` meanwhile.
    pub fn restart(&mut self, node: usize, offset: i64) {
        if !self.is_down(node) {
            return;
        }
        self.starts[node] += 1;
        self.lives[node] = Life::Runs;
        let now = self.now;
        self.clocks[node].restart(now, offset);
        self.clients[node] = Client::new(&self.addresses);
        self.clients[node].connection = self.next_connection();
        if self.is_candidate(node) {
            let (candidates, nodes) = (self.candidates.len(), self.clocks.len());
            let lead = self.candidates[node].lead;
            self.candidates[node] = Candidate::new(node, candidates, nodes, self.elapsed());
            self.candidates[node].lead = lead;
            self.begin_steps(node);
        }
        self.begin(node, now);
    }

    pub fn pause(&mut self, node: usize) {
        if self.runs(node) {
            self.lives[node] = Life::Paused(Vec::new());
        }
    }

    /// A paused node goes on. Its threads wake in any order; each finds what waited for it in
    /// the order in which it came.
    pub fn resume(&mut self, node: usize) {
        let Life::Paused(mut waiting) = std::mem::replace(&mut self.lives[node], Life::Runs) else {
            return;
        };
        let turns: [u8; 4] = std::array::from_fn(|_| self.rng.u8(..));
        waiting.sort_by_key(|event| match event {
            Event::Deliver {
                way: Way::Heartbeats,
                ..
            } => turns[0],
            Event::Due {
                plan: Plan::Step(_),
                ..
            } => turns[1],
            Event::Due {
                plan: Plan::Round(_),
                ..
            } => turns[2],
            _ => turns[3],
        });
        for event in waiting {
            let now = self.now;
            self.schedule(now, event);
        }
    }

    pub fn next_connection(&mut self) -> u32 {
        self.connections += 1;
        self.connections
    }
}

pub fn symmetric(rng: &mut Rng) -> f64 {
    2.0 * rng.f64() - 1.0
}
