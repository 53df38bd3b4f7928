//! Which master a follower follows, where there may be several.
//!
//! Pure: it says where to go and whom to believe; connecting is left to the caller.

use std::time::Duration;

use crate::election::term::{self, ImpossibleTerm, Source};
use crate::wire::address::Address;
use crate::wire::candidate::{Leader, Leadership, Term};

/// Which masters there are, and the highest term that was followed.
#[derive(Debug, Clone)]
pub struct Allegiance {
    named: Vec<Address>,
    /// What the last leader told that was followed or, before there was one, the last master.
    candidates: Vec<Address>,
    /// What the master tells that has greeted; believed when a correction of it was followed.
    told: Vec<Address>,
    /// Where in the list of both to try next.
    next: usize,
    /// Who leads, as another candidate says.
    hint: Option<Address>,
    term: Term,
    /// It is told by an election of its own whom to follow, and by nobody else.
    elects: bool,
}

/// What to do about a master that has greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeted {
    /// Stay with it: it leads.
    Stay,
    /// Go to the one that leads.
    GoTo(Address),
    /// Try the others: it knows of no leader.
    Nobody,
    /// Believe nothing of what it says.
    Refuse(ImpossibleTerm),
}

impl Allegiance {
    /// A follower that was told of these masters and was in no group yet.
    ///
    /// # Panics
    /// Without any master, in [`Allegiance::next_master`].
    #[must_use]
    pub fn new(named: Vec<Address>) -> Self {
        Self {
            named,
            candidates: Vec::new(),
            told: Vec::new(),
            next: 0,
            hint: None,
            term: 0,
            elects: false,
        }
    }

    /// A candidate that follows the leader that its election tells, and knows of this term.
    #[must_use]
    pub fn to_leader(leader: Address, term: Term) -> Self {
        Self {
            elects: true,
            term,
            ..Self::new(vec![leader])
        }
    }

    /// Where to try to connect: to the leader, if somebody said who that is, or else to the next
    /// in the list.
    ///
    /// Being sent somewhere does not change whose turn comes after: who is sent again and again to
    /// a leader that it does not reach is to get to the others all the same.
    pub fn next_master(&mut self) -> Address {
        if let Some(leader) = self.hint.take() {
            return leader;
        }
        let known: Vec<_> = self.known().cloned().collect();
        let place = self.next % known.len();
        self.next = place + 1;
        known[place].clone()
    }

    /// Whether it is a candidate's.
    pub(crate) fn elects(&self) -> bool {
        self.elects
    }

    /// How many masters there are to try.
    pub(crate) fn choice(&self) -> usize {
        self.known().count()
    }

    fn known(&self) -> impl Iterator<Item = &Address> {
        let learned = self.candidates.iter();
        self.named
            .iter()
            .chain(learned.filter(|candidate| !self.named.contains(candidate)))
    }

    /// A master greets. What to do then.
    pub fn greeted(&mut self, leadership: &Leadership) -> Greeted {
        // By the limit of those that have just started: a candidate may be older than we are.
        let checked = term::check(leadership.term, Source::Master, self.term, Duration::ZERO);
        if let Err(impossible) = checked {
            return Greeted::Refuse(impossible);
        }
        if !self.elects {
            self.told.clone_from(&leadership.candidates);
            // Who follows nobody yet knows one of them only, and that one is believed.
            if self.term == 0 {
                self.candidates.clone_from(&leadership.candidates);
            }
        }
        match &leadership.leader {
            Leader::Speaker => Greeted::Stay,
            // Whoever answers at the address of a master could send us anywhere.
            Leader::Other(leader) if !self.elects && !self.known().any(|it| it == leader) => {
                Greeted::Nobody
            }
            Leader::Other(leader) => {
                self.hint = (!self.elects).then(|| leader.clone());
                Greeted::GoTo(leader.clone())
            }
            Leader::Nobody => Greeted::Nobody,
        }
    }

    /// Whether to follow the corrections of a leader that greeted with this term.
    #[must_use]
    pub fn believes(&self, term: Term) -> bool {
        term >= self.term
    }

    /// A correction was followed, of a leader that greeted with this term.
    ///
    /// A greeting alone changes nothing: whoever was greeted by a leader of a high term, and lost
    /// it before a correction came, has to follow the next one whatever its term is, and is not to
    /// pass for one that agrees with the group.
    pub fn corrected(&mut self, term: Term) {
        self.term = self.term.max(term);
        if term > 0 && !self.told.is_empty() {
            self.candidates.clone_from(&self.told);
        }
    }

    /// The highest term of a leader that was followed; 0 before the first correction.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }
}

/// No master is silent for longer, however long its interval is: it greets again in between, see
/// [`REMINDER`].
pub const LONGEST_SILENCE: Duration = Duration::from_mins(10);

/// A master that has said nothing for so long greets again.
pub const REMINDER: Duration = Duration::from_mins(4);

/// How long a leader that other candidates may replace can be silent before a follower looks for
/// another one: polls and corrections come once an interval each.
#[must_use]
pub fn patience(interval: Duration) -> Duration {
    (interval + interval / 4 + Duration::from_millis(250)).min(LONGEST_SILENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(ports: &[u16]) -> Vec<Address> {
        ports.iter().map(|port| Address::new("a", *port)).collect()
    }

    fn greeting(term: Term, leader: Leader) -> Leadership {
        Leadership {
            term,
            leader,
            candidates: masters(&[1, 2, 3]),
        }
    }

    #[test]
    fn all_masters_are_tried_in_turn() {
        let mut allegiance = Allegiance::new(masters(&[7, 1]));
        let tried = |allegiance: &mut Allegiance, count: usize| {
            let tried = (0..count).map(|_| allegiance.next_master());
            tried.collect::<Vec<_>>()
        };
        assert_eq!(tried(&mut allegiance, 3), masters(&[7, 1, 7]));
        // What it learns comes after what it was told.
        let greeted = allegiance.greeted(&greeting(1, Leader::Speaker));
        assert_eq!(greeted, Greeted::Stay);
        assert_eq!(tried(&mut allegiance, 4), masters(&[1, 2, 3, 7]));
    }

    #[test]
    fn it_goes_where_it_is_sent_and_then_on_through_the_list() {
        let mut allegiance = Allegiance::new(masters(&[1]));
        allegiance.next_master();
        let leader = Address::new("a", 3);
        for port in [2, 3, 1] {
            let greeted = allegiance.greeted(&greeting(4, Leader::Other(leader.clone())));
            assert_eq!(greeted, Greeted::GoTo(leader.clone()));
            assert_eq!(allegiance.next_master(), leader);
            assert_eq!(allegiance.next_master(), Address::new("a", port));
        }
        let greeted = allegiance.greeted(&greeting(4, Leader::Nobody));
        assert_eq!(greeted, Greeted::Nobody);
        assert_eq!(allegiance.next_master(), Address::new("a", 2));
    }

    #[test]
    fn a_master_with_an_impossible_term_is_refused_whoever_leads() {
        let mut allegiance = Allegiance::new(masters(&[7]));
        let other = Leader::Other(Address::new("a", 3));
        for leader in [Leader::Speaker, other, Leader::Nobody] {
            let greeted = allegiance.greeted(&greeting(Term::MAX, leader));
            let refused = ImpossibleTerm {
                told: Term::MAX,
                known: 0,
            };
            assert_eq!(greeted, Greeted::Refuse(refused));
            // It has learned nothing.
            assert_eq!(allegiance.next_master(), Address::new("a", 7));
            assert_eq!(allegiance.choice(), 1);
        }
        for term in [57, 5_000_000, 1 << 34] {
            let greeted = allegiance.greeted(&greeting(term, Leader::Speaker));
            assert_eq!(greeted, Greeted::Stay, "{term}");
        }
    }

    #[test]
    fn it_goes_nowhere_but_to_candidates_of_a_leader_that_it_has_followed() {
        let mut allegiance = Allegiance::new(masters(&[1]));
        allegiance.greeted(&greeting(4, Leader::Speaker));
        allegiance.corrected(4);
        // Somebody answers in the place of a master.
        let elsewhere = Address::new("evil", 9);
        let mut forged = greeting(5, Leader::Other(elsewhere.clone()));
        forged.candidates = vec![elsewhere.clone(), Address::new("evil", 8)];
        assert_eq!(allegiance.greeted(&forged), Greeted::Nobody);
        let tried: Vec<_> = (0..6).map(|_| allegiance.next_master()).collect();
        assert!(!tried.contains(&elsewhere), "{tried:?}");
        assert_eq!(allegiance.choice(), 3);
        // A leader whose corrections are followed may tell of others.
        forged.leader = Leader::Speaker;
        allegiance.greeted(&forged);
        allegiance.corrected(5);
        assert_eq!(allegiance.choice(), 3);
        let sent = allegiance.greeted(&greeting(5, Leader::Other(elsewhere.clone())));
        assert_eq!(sent, Greeted::GoTo(elsewhere));
    }

    #[test]
    fn silence_is_noticed_within_ten_minutes_whatever_the_interval() {
        assert_eq!(
            patience(Duration::from_secs(4)),
            Duration::from_millis(5250)
        );
        assert_eq!(patience(Duration::from_hours(24)), LONGEST_SILENCE);
        assert!(REMINDER * 2 < LONGEST_SILENCE);
    }

    #[test]
    fn it_believes_only_the_highest_term() {
        let mut allegiance = Allegiance::new(masters(&[1]));
        assert!(allegiance.believes(0));
        allegiance.corrected(3);
        allegiance.corrected(2);
        allegiance.greeted(&greeting(4, Leader::Speaker));
        assert!(!allegiance.believes(2) && allegiance.believes(3) && allegiance.believes(4));
        assert_eq!(allegiance.term(), 3);
    }
}
