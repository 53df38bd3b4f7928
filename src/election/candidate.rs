//! A candidate's life: what it does about all that it hears.
//!
//! Pure: what has happened goes in, with the time, and what is to be done comes out. The thread in
//! `master/candidate.rs` does it with sockets, the simulation with simulated ones.

use std::time::Duration;

use crate::election::rules::{Election, HEARTBEAT, SILENCE};
use crate::election::steps::GroupSteps;
use crate::election::term::{self, ImpossibleTerm, Source};
use crate::wire::candidate::{Heartbeat, Rank, Ranks, Role, Term};
use crate::wire::steps::Steps;

/// However often something changes, others are not told more often than this.
const LEAST_PAUSE: Duration = Duration::from_millis(25);

/// How long a leader that stops waits until its successor leads.
pub const HANDING_OVER: Duration = Duration::from_millis(250);

/// A connection on which another candidate is heard. One that was made later is higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link(pub u64);

/// What has happened. A term in it has to have passed [`View::check`].
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// Another candidate's heartbeat has come.
    Heard {
        /// Whose it is.
        from: Rank,
        /// What it says.
        heartbeat: Heartbeat,
        /// Where it came.
        link: Link,
    },
    /// A connection has ended on which another candidate was heard.
    Lost {
        /// Whose it was.
        from: Rank,
        /// Which it was.
        link: Link,
    },
    /// A follower knows of a leader of this term, or our own clock follows one.
    Knows(Term),
    /// Our clock has followed a correction.
    Synchronized,
    /// Our clock has taken these steps of its group.
    Took(Steps),
    /// An operator tells us, who lead, that the group is to make these.
    Ordered(Steps),
    /// Our group knows of [orders about votes](crate::wire::vote_order) up to this number.
    KnowsOrders(u32),
    /// We are about to stop, and give away the lead if we have it.
    Resign,
}

/// What is to be done about it, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Let nobody correct our clock.
    StopFollowing,
    /// Let our clock, and our group, make these steps as far as they have not.
    Step(Steps),
    /// Let all others know.
    Publish(View),
    /// Begin to hold rounds.
    TakeLead,
    /// Send our followers to whoever leads now.
    StepDown,
    /// Let this leader correct our clock.
    Follow {
        /// Who leads.
        leader: Rank,
        /// In which term.
        term: Term,
    },
    /// Tell people that someone else leads, or the same one in another term.
    LeadChanged,
    /// Tell people which of the others are there now.
    PresenceChanged(Ranks),
    /// Tell the other candidates.
    Tell {
        /// What to say.
        heartbeat: Heartbeat,
        /// Who hears us, and is heard.
        in_touch: Ranks,
        /// Who of those takes orders about votes.
        heed: Ranks,
    },
    /// Nobody has to wait for us any more.
    End,
}

/// Who leads, as a candidate knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// What the candidate does.
    pub role: Role,
    /// The highest term that it knows of.
    pub term: Term,
    /// Whether nobody has to wait for it any more.
    pub ended: bool,
    /// All in touch know of the orders about votes up to this number.
    pub orders: u32,
    /// For how long it sought a leader before it claimed the lead.
    waited: Duration,
    /// When it has started.
    began: Duration,
    /// When it has looked last.
    at: Duration,
}

impl View {
    /// What a candidate knows that has just started.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            role: Role::Seeks,
            term: 0,
            ended: false,
            orders: 0,
            waited: Duration::ZERO,
            began: now,
            at: now,
        }
    }

    /// Whether it leads, and knows it: a machine that was asleep has to look first.
    #[must_use]
    pub fn leads(&self, now: Duration) -> bool {
        self.role == Role::Leads && now.saturating_sub(self.at) < SILENCE
    }

    /// The other candidate that leads, or is about to, if there is one.
    #[must_use]
    pub fn other_leader(&self) -> Option<Rank> {
        match self.role {
            Role::Follows(leader) | Role::Misses(leader, _) | Role::Yields(leader) => Some(leader),
            Role::Leads | Role::Seeks => None,
        }
    }

    /// The lead of a candidate of this rank.
    #[must_use]
    pub fn lead(&self, rank: Rank) -> Lead {
        Lead {
            term: self.term,
            rank,
            waited: self.waited,
        }
    }

    /// Whether a term can be true that this candidate is told.
    ///
    /// # Errors
    /// [`ImpossibleTerm`] if not; see [`term`].
    pub fn check(&self, told: Term, source: Source, now: Duration) -> Result<(), ImpossibleTerm> {
        term::check(told, source, self.term, now.saturating_sub(self.began))
    }
}

/// Whose round it was, among candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    /// The leader's term.
    pub term: Term,
    /// Its rank.
    pub rank: Rank,
    /// For how long it had sought a leader before it claimed the lead.
    pub waited: Duration,
}

/// Where a candidate is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    TakingPart,
    /// It has given away the lead and waits until somebody has it, or until this moment.
    HandingOver {
        until: Duration,
    },
    Ended,
}

/// A candidate.
#[derive(Debug, Clone)]
pub struct Candidate {
    election: Election,
    phase: Phase,
    began: Duration,
    /// By rank: where each other candidate was heard last, and when.
    links: Vec<Option<(Link, Duration)>>,
    /// What the others were told last, and when.
    told: Option<(Heartbeat, Duration)>,
    /// Who corrects our clock.
    follows: Option<Rank>,
    /// Which of the others were there when people were told last.
    present: Option<Ranks>,
    steps: GroupSteps,
    /// The highest number of an order about votes that we know of.
    orders: u32,
}

impl Candidate {
    /// A candidate that has just started, as one of `candidates`.
    #[must_use]
    pub fn new(rank: Rank, candidates: usize, now: Duration) -> Self {
        Self {
            election: Election::new(rank, candidates, now),
            phase: Phase::TakingPart,
            began: now,
            links: vec![None; candidates],
            told: None,
            follows: None,
            present: None,
            steps: GroupSteps::default(),
            orders: 0,
        }
    }

    /// What others may know.
    #[must_use]
    pub fn view(&self, now: Duration) -> View {
        View {
            role: self.election.role(),
            term: self.election.term(),
            ended: self.phase == Phase::Ended,
            orders: (self.election.orders(now).1).map_or(self.orders, |it| it.min(self.orders)),
            waited: self.election.waited(),
            began: self.began,
            at: now,
        }
    }

    /// When the next step is due, if nothing happens before.
    #[must_use]
    pub fn due(&self, now: Duration) -> Duration {
        let heartbeat = self.tells_at(now);
        match self.phase {
            Phase::TakingPart => {
                let steps = [self.election.due(now), self.steps.due()];
                steps.into_iter().flatten().fold(heartbeat, Duration::min)
            }
            Phase::HandingOver { until } => heartbeat.min(until),
            Phase::Ended => Duration::MAX,
        }
    }

    /// When the others are to hear of us next.
    fn tells_at(&self, now: Duration) -> Duration {
        match self.told {
            None => now,
            Some((told, at)) if told == self.heartbeat(now) => at + HEARTBEAT,
            Some((_, at)) => at + LEAST_PAUSE,
        }
    }

    fn heartbeat(&self, now: Duration) -> Heartbeat {
        Heartbeat {
            steps: self.steps.known(),
            orders: Some(self.orders),
            ..self.election.heartbeat(now)
        }
    }

    /// Takes the next step, and says what is to be done. To be called when something has happened,
    /// and when it is [`Candidate::due`].
    #[must_use]
    pub fn step(&mut self, inputs: impl IntoIterator<Item = Input>, now: Duration) -> Vec<Action> {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        let before = (self.election.role(), self.election.term());
        for input in inputs {
            self.take(input, now);
        }
        match self.phase {
            Phase::TakingPart => self.election.act(now),
            Phase::HandingOver { until } if now >= until => self.phase = Phase::Ended,
            Phase::HandingOver { .. } | Phase::Ended => {}
        }
        let mut actions = Vec::with_capacity(4);
        self.follow_election(before, now, &mut actions);
        self.tell(now, &mut actions);
        if self.phase == Phase::Ended {
            actions.push(Action::End);
        }
        actions
    }

    fn take(&mut self, input: Input, now: Duration) {
        match input {
            Input::Heard {
                from,
                heartbeat,
                link,
            } => self.hear(from, heartbeat, link, now),
            Input::Lost { from, link } => {
                if let Some(known) = self.links.get_mut(from.0)
                    && known.take_if(|(known, _)| *known == link).is_some()
                {
                    self.election.lost(from);
                }
            }
            Input::Knows(term) => self.election.knows(term),
            Input::Synchronized => self.election.synchronized(),
            Input::Took(steps) => self.steps.took(steps),
            Input::Ordered(steps) => self.steps.order(steps, now),
            Input::KnowsOrders(number) => self.orders = self.orders.max(number),
            Input::Resign => self.resign(now),
        }
    }

    fn hear(&mut self, from: Rank, heartbeat: Heartbeat, link: Link, now: Duration) {
        let Some(known) = self.links.get_mut(from.0) else {
            return;
        };
        // A candidate that connects anew is heard there, and where it was heard before only if
        // the new connection has fallen silent.
        let later =
            |(known, at): (Link, Duration)| link < known && now.saturating_sub(at) < SILENCE;
        if known.is_some_and(later) {
            return;
        }
        *known = Some((link, now));
        self.election.heard(from, heartbeat, now);
        if let Some(steps) = heartbeat.steps {
            self.steps.hear(steps, self.election.is_synchronized());
        }
        if let Phase::HandingOver { .. } = self.phase
            && heartbeat.role == Role::Leads
        {
            self.election.succeeded_by(from);
            self.phase = Phase::Ended;
        }
    }

    fn resign(&mut self, now: Duration) {
        if self.phase == Phase::TakingPart {
            let until = now + HANDING_OVER;
            self.phase = match self.election.resign(now) {
                Some(_) => Phase::HandingOver { until },
                None => Phase::Ended,
            };
        }
    }

    /// What follows from a step in the election for the rest of the master.
    fn follow_election(&mut self, before: (Role, Term), now: Duration, actions: &mut Vec<Action>) {
        let (role, term) = (self.election.role(), self.election.term());
        let led = before.0 == Role::Leads;
        let other = match role {
            Role::Leads => None,
            Role::Follows(leader) => Some(leader),
            // The connection with the last leader may well outlive a doubt.
            Role::Misses(..) | Role::Seeks | Role::Yields(_) => self.follows,
        };
        // Before anybody else learns that we lead.
        if self.follows.is_some() && self.follows != other {
            actions.push(Action::StopFollowing);
        }
        if role == Role::Leads {
            let all_know = self.election.all_know(self.steps.known(), now);
            actions.extend(self.steps.make(all_know, now).map(Action::Step));
        } else {
            self.steps.leave_to_others();
        }
        actions.push(Action::Publish(self.view(now)));
        match role {
            Role::Leads if !led => actions.push(Action::TakeLead),
            Role::Follows(_) | Role::Misses(..) | Role::Seeks if led => {
                actions.push(Action::StepDown);
            }
            _ => {}
        }
        if let Some(leader) = other
            && self.follows != other
        {
            actions.push(Action::Follow { leader, term });
        }
        self.follows = other;
        if before != (role, term) {
            actions.push(Action::LeadChanged);
        }
        let present = self.election.touches(now);
        let settled = role != Role::Seeks && !self.election.listens(now);
        if settled && self.phase == Phase::TakingPart && self.present != Some(present) {
            self.present = Some(present);
            actions.push(Action::PresenceChanged(present));
        }
    }

    fn tell(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.phase != Phase::Ended && self.tells_at(now) <= now {
            let heartbeat = self.heartbeat(now);
            self.told = Some((heartbeat, now));
            actions.push(Action::Tell {
                heartbeat,
                in_touch: self.election.touches(now),
                heed: self.election.orders(now).0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Candidates that hear each other, and what each was to do besides telling the others.
    struct Group {
        candidates: Vec<Candidate>,
        actions: Vec<Vec<Action>>,
        stopped: Vec<bool>,
        now: Duration,
    }

    impl Group {
        /// Candidates that have been in agreement for two seconds.
        fn new(candidates: usize) -> Self {
            let new = |rank| Candidate::new(Rank(rank), candidates, Duration::ZERO);
            let mut group = Self {
                candidates: (0..candidates).map(new).collect(),
                actions: vec![Vec::new(); candidates],
                stopped: vec![false; candidates],
                now: Duration::ZERO,
            };
            group.run(SECOND * 2);
            for rank in 1..candidates {
                group.step(rank, &[Input::Synchronized]);
            }
            group.run(SECOND);
            group
        }

        /// One takes a step; all that follows from it reaches the others at once.
        fn step(&mut self, rank: usize, inputs: &[Input]) {
            let mut waiting = VecDeque::from([(rank, inputs.to_vec())]);
            while let Some((rank, inputs)) = waiting.pop_front() {
                if self.stopped[rank] {
                    continue;
                }
                for action in self.candidates[rank].step(inputs, self.now) {
                    let Action::Tell { heartbeat, .. } = action else {
                        self.actions[rank].push(action);
                        continue;
                    };
                    let heard = Input::Heard {
                        from: Rank(rank),
                        heartbeat,
                        link: Link(0),
                    };
                    let others = (0..self.candidates.len()).filter(|other| *other != rank);
                    waiting.extend(others.map(|other| (other, vec![heard])));
                }
            }
        }

        fn run(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                self.now += MILLISECOND;
                for rank in 0..self.candidates.len() {
                    if self.candidates[rank].due(self.now) <= self.now {
                        self.step(rank, &[]);
                    }
                }
            }
        }

        fn roles(&self) -> Vec<Role> {
            let role = |candidate: &Candidate| candidate.view(self.now).role;
            self.candidates.iter().map(role).collect()
        }

        /// What one was to do since this was asked last, but for publishing what has not changed.
        fn done(&mut self, rank: usize) -> Vec<Action> {
            let mut role = None;
            let mut actions = std::mem::take(&mut self.actions[rank]);
            actions.retain(|action| match action {
                Action::Publish(view) => role.replace(view.role) != Some(view.role),
                _ => true,
            });
            actions
        }

        fn ended(&self, rank: usize) -> bool {
            self.candidates[rank].view(self.now).ended
        }
    }

    use Role::{Follows, Leads, Yields};

    fn published(action: &Action, role: Role) -> bool {
        matches!(action, Action::Publish(view) if view.role == role)
    }

    #[test]
    fn a_leader_hands_over_and_ends_when_its_successor_leads() {
        let mut group = Group::new(3);
        assert_eq!(group.roles(), [Leads, Follows(Rank(0)), Follows(Rank(0))]);
        group.done(0);
        group.step(0, &[Input::Resign]);
        assert!(!group.ended(0));
        group.run(LEAST_PAUSE * 2);
        let roles = [Yields(Rank(1)), Leads, Follows(Rank(1))];
        assert_eq!(group.roles(), roles);
        assert!(group.ended(0));
        let done = group.done(0);
        assert!(published(&done[0], Yields(Rank(1))), "{done:?}");
        assert_eq!(done[1..], [Action::LeadChanged, Action::End]);
        // That was all.
        group.step(0, &[Input::Knows(100)]);
        group.run(SECOND);
        assert_eq!(group.done(0), []);
        assert_eq!(group.candidates[0].due(group.now), Duration::MAX);
    }

    #[test]
    fn a_leader_ends_though_its_successor_hangs() {
        let mut group = Group::new(2);
        group.stopped[1] = true;
        group.step(0, &[Input::Resign]);
        assert_eq!(group.roles()[0], Yields(Rank(1)));
        group.run(MILLISECOND * 249);
        assert!(!group.ended(0));
        group.run(MILLISECOND);
        assert!(group.ended(0), "it waits for ever");
        assert_eq!(group.done(0).last(), Some(&Action::End));
    }

    #[test]
    fn a_leader_says_who_has_taken_the_lead_in_its_successors_place() {
        let mut group = Group::new(3);
        group.stopped[1] = true;
        group.step(0, &[Input::Resign]);
        group.run(MILLISECOND * 200);
        assert_eq!(group.roles()[0], Yields(Rank(1)));
        let heartbeat = Heartbeat {
            role: Leads,
            ..group.candidates[2].election.heartbeat(group.now)
        };
        let heard = Input::Heard {
            from: Rank(2),
            heartbeat,
            link: Link(0),
        };
        group.step(0, &[heard]);
        assert!(group.ended(0));
        let view = group.candidates[0].view(group.now);
        assert_eq!(view.other_leader(), Some(Rank(2)));
    }

    #[test]
    fn who_does_not_lead_or_has_no_successor_ends_at_once() {
        let mut group = Group::new(2);
        group.step(1, &[Input::Resign]);
        assert!(group.ended(1));
        assert_eq!(group.roles()[1], Follows(Rank(0)));
        group.run(SECOND * 2);
        group.step(0, &[Input::Resign]);
        assert!(group.ended(0));
        // It still says that it leads, for there is nobody else.
        assert_eq!(group.roles()[0], Leads);
    }

    #[test]
    fn nobody_corrects_a_leader() {
        let mut group = Group::new(3);
        let follows = Action::Follow {
            leader: Rank(0),
            term: 1,
        };
        assert!(group.done(1).contains(&follows));
        group.stopped[0] = true;
        group.run(SECOND * 2);
        // Before it says that it leads.
        let done = group.done(1);
        let leads = done.iter().position(|action| published(action, Leads));
        let leads = leads.expect("it leads");
        assert_eq!(done[leads - 1], Action::StopFollowing, "{done:?}");
        assert_eq!(
            done[leads + 1..][..2],
            [Action::TakeLead, Action::LeadChanged]
        );
        // The other one follows another leader now, and the old leader sends its followers away.
        let done = group.done(2);
        let stops = done
            .iter()
            .filter(|action| **action == Action::StopFollowing);
        assert_eq!(stops.count(), 1, "{done:?}");
        let follows = Action::Follow {
            leader: Rank(1),
            term: 2,
        };
        assert!(done.contains(&follows), "{done:?}");
        group.done(0);
        group.stopped[0] = false;
        group.run(HEARTBEAT * 2);
        let done = group.done(0);
        assert!(
            done.contains(&Action::StepDown) && done.contains(&follows),
            "{done:?}"
        );
    }

    #[test]
    fn a_doubt_does_not_end_the_connection_with_a_leader() {
        let mut group = Group::new(3);
        group.done(2);
        let lost = Input::Lost {
            from: Rank(0),
            link: Link(0),
        };
        group.step(2, &[lost]);
        assert_eq!(group.roles()[2], Role::Misses(Rank(0), 2));
        group.run(HEARTBEAT);
        assert_eq!(group.roles()[2], Follows(Rank(0)));
        let done = group.done(2);
        let moves =
            |action: &Action| matches!(action, Action::StopFollowing | Action::Follow { .. });
        assert!(!done.iter().any(moves), "{done:?}");
    }

    #[test]
    fn heartbeats_are_regular_and_changes_are_told_soon() {
        let mut candidate = Candidate::new(Rank(0), 2, Duration::ZERO);
        let tells = |actions: Vec<Action>| {
            actions
                .iter()
                .any(|action| matches!(action, Action::Tell { .. }))
        };
        assert!(tells(candidate.step([], Duration::ZERO)));
        assert_eq!(candidate.due(MILLISECOND), HEARTBEAT);
        assert!(!tells(candidate.step([], MILLISECOND * 199)));
        assert!(tells(candidate.step([], HEARTBEAT)));
        let now = HEARTBEAT + MILLISECOND;
        assert!(!tells(candidate.step([Input::Knows(7)], now)));
        assert_eq!(candidate.due(now), HEARTBEAT + LEAST_PAUSE);
        assert!(tells(candidate.step([], HEARTBEAT + LEAST_PAUSE)));
        let next = HEARTBEAT * 2 + LEAST_PAUSE;
        assert_eq!(candidate.due(HEARTBEAT + LEAST_PAUSE), next);
    }

    #[test]
    fn a_candidate_is_heard_where_it_has_connected_last() {
        let mut candidate = Candidate::new(Rank(0), 2, Duration::ZERO);
        let heard = |term, link| Input::Heard {
            from: Rank(1),
            heartbeat: Heartbeat {
                term,
                role: Role::Seeks,
                synchronized: true,
                hears: Ranks::default(),
                steps: None,
                orders: None,
            },
            link: Link(link),
        };
        let is_heard = |candidate: &Candidate| {
            let heard = candidate.election.heartbeat(candidate.told.unwrap().1);
            heard.hears.contains(Rank(1))
        };
        let lost = |link| Input::Lost {
            from: Rank(1),
            link: Link(link),
        };
        let step = |candidate: &mut Candidate, input| {
            let now = candidate
                .told
                .map_or(Duration::ZERO, |(_, at)| at + HEARTBEAT);
            let _ = candidate.step([input], now);
        };
        step(&mut candidate, heard(1, 5));
        step(&mut candidate, heard(1, 6));
        step(&mut candidate, lost(5));
        assert!(is_heard(&candidate), "the old connection has ended");
        step(&mut candidate, lost(6));
        assert!(!is_heard(&candidate));
        // The new one is silent: the old one counts again.
        step(&mut candidate, heard(1, 6));
        step(&mut candidate, heard(1, 5));
        step(&mut candidate, lost(5));
        assert!(
            is_heard(&candidate),
            "what came on the old connection counts for nothing"
        );
        for _ in 0..6 {
            step(&mut candidate, Input::Synchronized);
        }
        step(&mut candidate, heard(1, 5));
        step(&mut candidate, lost(5));
        assert!(!is_heard(&candidate));
    }

    #[test]
    fn people_are_told_who_is_there() {
        let mut group = Group::new(3);
        let present = |ranks: &[usize]| {
            let ranks = ranks.iter().map(|rank| Rank(*rank));
            Action::PresenceChanged(ranks.collect())
        };
        let told = |group: &mut Group, rank| {
            let mut done = group.done(rank);
            done.retain(|action| matches!(action, Action::PresenceChanged(_)));
            done
        };
        assert_eq!(told(&mut group, 0), [present(&[1, 2])]);
        assert_eq!(told(&mut group, 2), [present(&[0, 1])]);
        group.stopped[1] = true;
        group.run(SECOND * 10);
        assert_eq!(told(&mut group, 0), [present(&[2])]);
        group.stopped[1] = false;
        group.run(SECOND * 2);
        assert_eq!(told(&mut group, 0), [present(&[1, 2])]);
        assert_eq!(told(&mut group, 2), [present(&[0]), present(&[0, 1])]);
    }

    #[test]
    fn what_is_believed_depends_on_how_long_it_has_been_running() {
        let candidate = Candidate::new(Rank(0), 2, SECOND);
        let check = |now| candidate.view(now).check(1 << 33, Source::Follower, now);
        assert_eq!(check(SECOND * 2), Ok(()));
        assert!(check(SECOND * 100).is_err());
    }
}
