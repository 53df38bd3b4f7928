//! Which of the candidates leads.
//!
//! Candidates know each other from a list that all have in the same order; a candidate's place
//! in it is its *rank*. Each sends the others a heartbeat every [`HEARTBEAT`], which says what it
//! does and whom it hears. Two candidates are in touch when each hears the other.
//!
//! A leader carries a *term* that only grows. A candidate that is in touch with no leader, and
//! with nobody who knows of one, claims the next term, the first of those in touch at once and each
//! further one [`TURN`] later, so that the first alive in the list normally wins without a contest.
//! When two leaders meet, the higher term wins, then the better rank.
//!
//! Who is out of touch with the leader, but not with all others, tells on how far away the leader
//! is: or else leaders at the two ends of a chain of candidates would outbid each other for ever,
//! as each learns of the other's term and not of the other. The distance is what ends a rumour:
//! those that tell each other of a leader that is gone put it further away each time, until it is
//! further than any chain is long.
//!
//! There is no quorum: on both sides of a partition somebody has to keep that side's clocks
//! together, and agreement is not endangered by two leaders whose clocks cannot meet anyway.
//!
//! Pure: time is passed in, as what has passed since any one moment by a clock that does not jump.

use std::time::Duration;

use crate::wire::candidate::{Heartbeat, LARGEST_TERM, Rank, Ranks, Role, Term};
use crate::wire::steps::Steps;

/// How often a candidate sends its heartbeat, if nothing changes.
pub const HEARTBEAT: Duration = Duration::from_millis(200);

/// A candidate that was not heard for this long is gone.
pub const SILENCE: Duration = Duration::from_secs(1);

/// By how much longer a candidate waits than the one before it, until it claims the lead.
pub const TURN: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy)]
struct Heard {
    heartbeat: Heartbeat,
    at: Duration,
}

/// A candidate's view of the election.
#[derive(Debug, Clone)]
pub struct Election {
    rank: Rank,
    /// By rank; there is nothing at our own.
    heard: Vec<Option<Heard>>,
    term: Term,
    role: Role,
    synchronized: bool,
    /// Since when we seek.
    since: Duration,
    /// Before this moment we don't know enough to claim anything.
    listens_until: Duration,
    acted: Duration,
    /// For how long we sought before we claimed the lead that we have.
    waited: Duration,
}

impl Election {
    /// A candidate that has just started, as one of `candidates`.
    #[must_use]
    pub fn new(rank: Rank, candidates: usize, now: Duration) -> Self {
        Self {
            rank,
            heard: vec![None; candidates],
            term: 0,
            role: Role::Seeks,
            synchronized: false,
            since: now,
            listens_until: now + SILENCE,
            acted: now,
            waited: Duration::ZERO,
        }
    }

    /// The highest term that is known: that of the lead, for a leader.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// What we do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// For how long we sought a leader before we claimed the lead.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Notes what another candidate tells.
    pub fn heard(&mut self, from: Rank, heartbeat: Heartbeat, now: Duration) {
        if from != self.rank
            && let Some(heard) = self.heard.get_mut(from.0)
        {
            *heard = Some(Heard { heartbeat, at: now });
        }
    }

    /// The connection with another candidate broke.
    pub fn lost(&mut self, other: Rank) {
        if let Some(heard) = self.heard.get_mut(other.0) {
            *heard = None;
        }
    }

    /// A follower knows of a leader of this term.
    pub fn knows(&mut self, term: Term) {
        if term > self.term {
            self.raise_term(term.saturating_add(u64::from(self.role == Role::Leads)));
        }
    }

    fn raise_term(&mut self, term: Term) {
        self.term = self.term.max(term.min(LARGEST_TERM));
    }

    /// Our clock has followed a correction.
    pub fn synchronized(&mut self) {
        self.synchronized = true;
    }

    /// Whether our clock has followed a correction.
    #[must_use]
    pub fn is_synchronized(&self) -> bool {
        self.synchronized
    }

    /// What to tell the others.
    #[must_use]
    pub fn heartbeat(&self, now: Duration) -> Heartbeat {
        let hears = (0..self.heard.len()).map(Rank);
        Heartbeat {
            term: self.term,
            role: self.role,
            synchronized: self.synchronized,
            hears: hears
                .filter(|rank| self.hears(*rank, now).is_some())
                .collect(),
            steps: None,
            orders: None,
        }
    }

    /// Gives the lead, if we have it, to the first candidate that can take it: for good, so no
    /// [`Election::act`] may follow. Who that is, if anybody.
    pub fn resign(&mut self, now: Duration) -> Option<Rank> {
        let able = |(rank, heartbeat): (Rank, Heartbeat)| {
            (heartbeat.role == Role::Follows(self.rank) && heartbeat.synchronized).then_some(rank)
        };
        let successor = match self.role {
            Role::Leads => self.in_touch(now).find_map(able),
            _ => None,
        };
        if let Some(successor) = successor {
            self.role = Role::Yields(successor);
        }
        successor
    }

    /// Somebody has taken the lead that we have given away, not always the one it was meant for.
    pub fn succeeded_by(&mut self, leader: Rank) {
        self.role = Role::Yields(leader);
    }

    /// Takes the step that is due, if any; to be called whenever something was heard, when it is
    /// [`Election::due`], and every [`HEARTBEAT`].
    pub fn act(&mut self, now: Duration) {
        if now.saturating_sub(self.acted) > SILENCE {
            // We were asleep, and nobody knows what has happened meanwhile.
            self.heard.fill(None);
            self.listens_until = now + SILENCE;
            self.seek(now);
        }
        self.acted = now;
        let ours = (self.role == Role::Leads).then_some((self.term, self.rank));
        match self.best_leader(now) {
            Some((theirs, away)) if ours.is_none_or(|ours| wins(theirs, ours)) => {
                let (term, leader) = theirs;
                self.raise_term(term);
                self.role = match away {
                    1 => Role::Follows(leader),
                    away => Role::Misses(leader, away),
                };
            }
            _ if ours.is_some() => self.outbid(now),
            _ => self.claim(now),
        }
    }

    fn seek(&mut self, now: Duration) {
        if self.role != Role::Seeks {
            self.role = Role::Seeks;
            self.since = now;
        }
    }

    /// A leader's term is higher than any that others know, or else they would not follow.
    fn outbid(&mut self, now: Duration) {
        let highest = self
            .in_touch(now)
            .map(|(_, heartbeat)| heartbeat.term)
            .max();
        if let Some(term) = highest {
            self.knows(term);
        }
    }

    fn claim(&mut self, now: Duration) {
        self.seek(now);
        let asked = |(_, heartbeat): (Rank, Heartbeat)| heartbeat.role == Role::Yields(self.rank);
        if self.in_touch(now).any(asked) || now >= self.claims_at(now) {
            let known = self.in_touch(now).map(|(_, heartbeat)| heartbeat.term);
            let highest = known.fold(self.term, Term::max);
            self.waited = now.saturating_sub(self.since);
            self.raise_term(highest.saturating_add(1));
            self.role = Role::Leads;
        }
    }

    /// When we claim the lead, if we go on seeking and nothing happens before.
    fn claims_at(&self, now: Duration) -> Duration {
        // Clocks that agree with the group go first, then those that are first in the list.
        let before_us = |(rank, heartbeat): (Rank, Heartbeat)| {
            (!heartbeat.synchronized, rank) < (!self.synchronized, self.rank)
        };
        let ahead = self.in_touch(now).filter(|other| before_us(*other)).count();
        self.listens_until.max(self.since) + TURN * ahead as u32
    }

    /// When a step is due, if nothing is heard before and none has to be taken at once.
    #[must_use]
    pub fn due(&self, now: Duration) -> Option<Duration> {
        (self.role == Role::Seeks).then(|| self.claims_at(now))
    }

    /// The best leader besides us that those in touch know of, and how far away it is.
    fn best_leader(&self, now: Duration) -> Option<((Term, Rank), u8)> {
        let better = |one, other| if wins(other, one) { other } else { one };
        let best = self.known(now).map(|(lead, _)| lead).reduce(better)?;
        // However high a term the one who is nearest knows of, it knows best where the leader is.
        let same = self.known(now).filter(|((_, leader), _)| *leader == best.1);
        same.map(|(_, away)| (best, away))
            .min_by_key(|(_, away)| *away)
    }

    /// The leaders besides us that those in touch know of, and how far away each is.
    fn known(&self, now: Duration) -> impl Iterator<Item = ((Term, Rank), u8)> {
        let farthest = self.heard.len().saturating_sub(1);
        self.in_touch(now).filter_map(move |(rank, heartbeat)| {
            let (leader, away) = match heartbeat.role {
                Role::Leads => (rank, 1),
                Role::Follows(leader) => (leader, 2),
                Role::Misses(leader, away) => (leader, away.saturating_add(1)),
                Role::Seeks | Role::Yields(_) => return None,
            };
            let listed = leader.0 < self.heard.len() && leader != self.rank;
            let known = listed && usize::from(away) <= farthest;
            known.then_some(((heartbeat.term, leader), away))
        })
    }

    /// Whether it is too early to know who is there: we have just started, or were asleep.
    #[must_use]
    pub fn listens(&self, now: Duration) -> bool {
        now < self.listens_until
    }

    /// Whether all that are in touch tell that they know of these steps of the group.
    #[must_use]
    pub fn all_know(&self, steps: Option<Steps>, now: Duration) -> bool {
        self.in_touch(now)
            .all(|(_, heartbeat)| heartbeat.steps == steps)
    }

    /// Who in touch takes orders about votes, and the highest number that all of those know of; `None`
    /// if nobody does.
    #[must_use]
    pub fn orders(&self, now: Duration) -> (Ranks, Option<u32>) {
        let heed = || {
            let all = self.in_touch(now);
            all.filter_map(|(rank, heartbeat)| Some((rank, heartbeat.orders?)))
        };
        let known = heed().map(|(_, orders)| orders).min();
        (heed().map(|(rank, _)| rank).collect(), known)
    }

    /// Whom we hear and are heard by.
    #[must_use]
    pub fn touches(&self, now: Duration) -> Ranks {
        self.in_touch(now).map(|(rank, _)| rank).collect()
    }

    /// What those tell that hear us, and that we hear.
    fn in_touch(&self, now: Duration) -> impl Iterator<Item = (Rank, Heartbeat)> {
        let heard = (0..self.heard.len()).map(Rank);
        heard.filter_map(move |rank| {
            let heartbeat = self.hears(rank, now)?;
            heartbeat
                .hears
                .contains(self.rank)
                .then_some((rank, heartbeat))
        })
    }

    fn hears(&self, rank: Rank, now: Duration) -> Option<Heartbeat> {
        let heard = self.heard.get(rank.0).copied().flatten()?;
        (now.saturating_sub(heard.at) < SILENCE).then_some(heard.heartbeat)
    }
}

/// Whether one leader wins over another.
fn wins(one: (Term, Rank), other: (Term, Rank)) -> bool {
    one.0 > other.0 || (one.0 == other.0 && one.1 < other.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Candidates that all hear each other, but for those that are down.
    struct Group {
        candidates: Vec<Election>,
        down: Vec<bool>,
        /// Each hears its neighbours in the list only.
        chain: bool,
        now: Duration,
    }

    impl Group {
        fn new(candidates: usize) -> Self {
            let new = |rank| Election::new(Rank(rank), candidates, Duration::ZERO);
            Self {
                candidates: (0..candidates).map(new).collect(),
                down: vec![false; candidates],
                chain: false,
                now: Duration::ZERO,
            }
        }

        /// All that are up act and tell each other of it, every 10 ms.
        fn run(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                self.now += Duration::from_millis(10);
                for rank in (0..self.candidates.len()).filter(|rank| !self.down[*rank]) {
                    self.candidates[rank].act(self.now);
                    let heartbeat = self.candidates[rank].heartbeat(self.now);
                    let hears = |other: &usize| !self.chain || other.abs_diff(rank) == 1;
                    for other in (0..self.candidates.len()).filter(hears) {
                        self.candidates[other].heard(Rank(rank), heartbeat, self.now);
                    }
                }
            }
        }

        fn roles(&self) -> Vec<Role> {
            self.candidates.iter().map(Election::role).collect()
        }

        fn terms(&self) -> Vec<Term> {
            self.candidates.iter().map(Election::term).collect()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    use Role::{Follows, Leads, Misses, Seeks};

    #[test]
    fn the_first_in_the_list_leads_once_all_have_listened() {
        let mut group = Group::new(3);
        group.run(HEARTBEAT * 4);
        assert_eq!(group.roles(), [Seeks, Seeks, Seeks]);
        group.run(HEARTBEAT * 2);
        assert_eq!(group.roles(), [Leads, Follows(Rank(0)), Follows(Rank(0))]);
        assert_eq!(group.terms(), [1, 1, 1]);
    }

    #[test]
    fn the_next_one_leads_when_the_leader_is_silent_and_a_leader_that_returns_follows() {
        let mut group = Group::new(3);
        group.run(SECOND * 2);
        group.down[0] = true;
        group.run(HEARTBEAT * 4);
        assert_eq!(group.roles(), [Leads, Follows(Rank(0)), Follows(Rank(0))]);
        group.run(HEARTBEAT + TURN);
        assert_eq!(group.roles(), [Leads, Leads, Follows(Rank(1))]);
        // It was stopped, and goes on.
        group.run(SECOND);
        group.down[0] = false;
        group.run(HEARTBEAT);
        assert_eq!(group.roles(), [Follows(Rank(1)), Leads, Follows(Rank(1))]);
        // It starts anew.
        group.candidates[0] = Election::new(Rank(0), 3, group.now);
        group.run(SECOND * 3);
        assert_eq!(group.roles(), [Follows(Rank(1)), Leads, Follows(Rank(1))]);
        assert_eq!(group.terms(), [2, 2, 2]);
    }

    #[test]
    fn whose_connection_breaks_is_gone_at_once() {
        let mut group = Group::new(3);
        group.run(SECOND * 2);
        group.down[0] = true;
        group.candidates[1].lost(Rank(0));
        group.candidates[2].lost(Rank(0));
        group.run(TURN);
        assert_eq!(group.roles()[1..], [Leads, Follows(Rank(1))]);
    }

    #[test]
    fn of_two_leaders_the_higher_term_wins_and_then_the_better_rank() {
        for (ours, theirs, winner) in [(1, 2, 1), (2, 1, 0), (2, 2, 0)] {
            let mut group = Group::new(2);
            for (candidate, term) in group.candidates.iter_mut().zip([ours, theirs]) {
                candidate.knows(term - 1);
                candidate.act(SECOND);
                assert_eq!((candidate.role(), candidate.term()), (Leads, term));
            }
            group.now = SECOND;
            group.run(HEARTBEAT);
            let leads = group.roles().iter().position(|role| *role == Leads);
            assert_eq!(leads, Some(winner), "terms {ours} and {theirs}");
            assert_eq!(group.roles()[1 - winner], Follows(Rank(winner)));
        }
    }

    #[test]
    fn a_leader_outbids_the_terms_that_others_know() {
        let mut group = Group::new(2);
        group.run(SECOND * 2);
        group.candidates[0].knows(7);
        assert_eq!(group.candidates[0].term(), 8, "a follower knows of 7");
        group.candidates[1].knows(20);
        group.run(HEARTBEAT);
        assert_eq!(group.terms(), [21, 21], "another candidate knows of 20");
        assert_eq!(group.roles(), [Leads, Follows(Rank(0))]);
        group.candidates[0].knows(Term::MAX);
        assert_eq!(group.candidates[0].term(), LARGEST_TERM);
    }

    #[test]
    fn a_clock_that_has_just_started_waits_for_those_that_agree() {
        let mut group = Group::new(3);
        group.candidates[2].synchronized();
        group.run(SECOND * 2);
        assert_eq!(group.roles(), [Follows(Rank(2)), Follows(Rank(2)), Leads]);
    }

    #[test]
    fn a_leader_that_is_told_to_stop_hands_over_at_once() {
        let mut group = Group::new(3);
        group.run(SECOND * 2);
        group.candidates[2].synchronized();
        group.run(HEARTBEAT);
        assert_eq!(group.candidates[0].resign(group.now), Some(Rank(2)));
        group.down[0] = true;
        let last = group.candidates[0].heartbeat(group.now);
        for other in [1, 2] {
            group.candidates[other].heard(Rank(0), last, group.now);
        }
        group.run(Duration::from_millis(20));
        assert_eq!(group.roles()[1..], [Follows(Rank(2)), Leads]);
        assert_eq!(group.candidates[1].clone().resign(group.now), None);
    }

    #[test]
    fn who_hears_but_is_not_heard_is_not_in_touch() {
        let mut election = Election::new(Rank(1), 2, Duration::ZERO);
        let mut heartbeat = Heartbeat {
            term: 5,
            role: Leads,
            synchronized: true,
            hears: Ranks::default(),
            steps: None,
            orders: None,
        };
        election.heard(Rank(0), heartbeat, SECOND);
        election.act(SECOND);
        assert_eq!(election.role(), Leads, "nobody in touch leads");
        heartbeat.hears = [Rank(1)].into_iter().collect();
        election.heard(Rank(0), heartbeat, SECOND);
        election.act(SECOND);
        assert_eq!(election.role(), Follows(Rank(0)));
    }

    #[test]
    fn nobody_claims_who_is_in_touch_with_one_who_knows_of_a_leader() {
        for (role, known) in [
            (Follows(Rank(0)), Misses(Rank(0), 2)),
            (Misses(Rank(0), 2), Misses(Rank(0), 3)),
        ] {
            let mut election = Election::new(Rank(1), 4, Duration::ZERO);
            for count in 0..20 {
                let now = HEARTBEAT * count;
                let heartbeat = Heartbeat {
                    term: 3,
                    role,
                    synchronized: true,
                    hears: [Rank(0), Rank(1)].into_iter().collect(),
                    steps: None,
                    orders: None,
                };
                election.heard(Rank(2), heartbeat, now);
                election.act(now);
                assert_eq!(election.role(), known);
            }
        }
    }

    #[test]
    fn a_leader_that_is_not_in_the_list_is_none() {
        let mut election = Election::new(Rank(1), 3, Duration::ZERO);
        let heartbeat = Heartbeat {
            term: 3,
            role: Follows(Rank(5)),
            synchronized: true,
            hears: [Rank(1)].into_iter().collect(),
            steps: None,
            orders: None,
        };
        election.heard(Rank(0), heartbeat, SECOND);
        election.act(SECOND);
        assert_eq!(election.role(), Seeks);
    }

    #[test]
    fn a_chain_has_one_leader_and_finds_another_one_when_that_is_gone() {
        let mut group = Group::new(4);
        group.chain = true;
        group.run(SECOND * 3);
        let led = [
            Leads,
            Follows(Rank(0)),
            Misses(Rank(0), 2),
            Misses(Rank(0), 3),
        ];
        assert_eq!(group.roles(), led);
        group.down[0] = true;
        group.run(SECOND * 3);
        assert_eq!(
            group.roles()[1..],
            [Leads, Follows(Rank(1)), Misses(Rank(1), 2)]
        );
        group.down[0] = false;
        let term = group.candidates[1].term();
        group.run(SECOND * 3);
        assert_eq!(group.roles()[..2], [Follows(Rank(1)), Leads]);
        assert_eq!(group.terms(), [term; 4]);
    }
}
