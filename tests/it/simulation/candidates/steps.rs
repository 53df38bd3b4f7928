//! The steps that an operator tells a group, on their way through the simulated nodes.

use berkeley::internals::election::candidate::Input;
use berkeley::internals::wire::candidate::Role;
use berkeley::internals::wire::steps::Steps;
use chrono::TimeDelta;

use super::client::Stage;
use super::world::{Message, World};

impl World {
    /// A master that starts begins a series of its own.
    pub fn begin_steps(&mut self, rank: usize) {
        self.series += 1;
        let (now, steps) = (self.now, Steps::none(self.series));
        self.clocks[rank].take_steps(steps, now);
    }

    /// An operator tells a candidate that the group is to be stepped. Whether it leads.
    pub fn order(&mut self, rank: usize, by: TimeDelta) -> bool {
        let leads = self.runs(rank) && self.candidates[rank].view.role == Role::Leads;
        let made = self.clocks[rank].discipline.steps();
        let steps = made.and_then(|made| made.and(by)).expect("a small step");
        if leads {
            self.step(rank, Some(Input::Ordered(steps)));
        }
        leads
    }

    /// A leader makes the steps of its group, and tells all its followers at once.
    pub fn step_group(&mut self, rank: usize, steps: Steps) {
        let now = self.now;
        let by = self.clocks[rank].take_steps(steps, now);
        self.candidates[rank].ensemble.step(by);
        for client in 0..self.clients.len() {
            let session = &self.candidates[rank].sessions[client];
            if let Some(connection) = session.as_ref().map(|session| session.connection) {
                self.poll(rank, client, connection);
            }
        }
    }

    /// A node is told of the steps of its group, with a poll.
    pub fn hear_steps(&mut self, node: usize, steps: Steps) {
        let (now, client) = (self.now, &mut self.clients[node]);
        let believes = match client.stage {
            Stage::Joined(term) => client.allegiance.believes(term),
            Stage::Idle | Stage::Connecting => false,
        };
        if believes {
            let by = self.clocks[node].take_steps(steps, now);
            if let Some((_, mark)) = &mut client.answered {
                *mark = mark.stepped(by);
            }
        }
    }

    /// One poll, which tells the group's steps if its follower does not know them.
    pub fn poll(&mut self, rank: usize, client: usize, connection: u32) {
        let (now, clock) = (self.now, &self.clocks[rank]);
        let (asked, made) = (clock.target(now), clock.discipline.steps());
        let candidate = &mut self.candidates[rank];
        let interval = candidate.ensemble.interval();
        let Some(session) = &mut candidate.sessions[client] else {
            return;
        };
        session.n += 1;
        session.asked = asked;
        session.interval = interval;
        session.steps = made;
        let n = session.n;
        let untold = made.filter(|_| session.told != made);
        session.told = made;
        let poll = Message::Poll { n, steps: untold };
        self.tell_client(rank, client, connection, poll);
    }
}
