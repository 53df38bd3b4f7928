//! Which terms can be true.
//!
//! A term counts elections, and whoever hears of a higher one takes it over: a candidate that
//! starts after all of them have died knows of none, and learns the term from its followers. If
//! any number were believed, one lie would wear the terms out, and after it any stale leader
//! would pass for a new one. So nothing is believed that is far above what elections can lead to.
//!
//! Three things keep a liar from more than that, one who goes to the very limit:
//! - The limit does not depend on what is known already. With a limit above that, two lies, each
//!   within it, would lead the group to a term that nobody believes who starts later.
//! - Whoever has just started, and was told of no term yet, believes twice as much as the others:
//!   what a liar makes a running group believe, it believes as well.
//! - What followers tell goes on in heartbeats, and what is in heartbeats goes on in greetings.
//!   Each is believed four times as much as the one before: what was let in there is not refused
//!   here.
//!
//! All limits grow with time, as fast as a group can hold elections, so that nobody who tells the
//! truth is refused for long.

use std::time::Duration;

use crate::wire::candidate::Term;

/// More elections than can go on in a second: candidates wait for each other, see
/// [`TURN`](crate::election::rules::TURN).
const ELECTIONS_PER_SECOND: u64 = 10;

/// More elections than a group has held, if nobody lies: so many in every second of 13 years. In
/// truth it takes the end of a leader to hold one.
const ELECTIONS: Term = 1 << 32;

/// Who tells a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A follower, with its time; anybody can be one.
    Follower,
    /// Another candidate, with its heartbeat.
    Candidate,
    /// A master, with its greeting.
    Master,
}

impl Source {
    const fn limit(self) -> Term {
        match self {
            Self::Follower => ELECTIONS,
            Self::Candidate => 4 * ELECTIONS,
            Self::Master => 16 * ELECTIONS,
        }
    }
}

/// What somebody knows that is told a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The highest term it knows of.
    pub term: Term,
    /// Whether it was told one since it started.
    pub told: bool,
    /// For how long it has been running.
    pub running: Duration,
}

/// A term that no elections can have led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("term {told}, to which no elections can have led; the highest known here is {known}")]
pub struct ImpossibleTerm {
    /// The term that was told.
    pub told: Term,
    /// The highest that is known.
    pub known: Term,
}

/// Whether a term can be true that `source` tells somebody who knows this.
///
/// # Errors
/// [`ImpossibleTerm`] if not: it must not be taken over, and whoever tells it must not be listened
/// to.
pub fn check(told: Term, source: Source, known: Known) -> Result<(), ImpossibleTerm> {
    let new = known.running.as_secs().saturating_mul(ELECTIONS_PER_SECOND);
    let old = source.limit() * if known.told { 1 } else { 2 };
    if told <= old.saturating_add(new).max(known.term) {
        Ok(())
    } else {
        Err(ImpossibleTerm {
            told,
            known: known.term,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::candidate::LARGEST_TERM;
    use proptest::prelude::*;

    const SOURCES: [Source; 3] = [Source::Follower, Source::Candidate, Source::Master];
    const YEAR: Duration = Duration::from_hours(365 * 24);

    /// One that has been running for a year.
    fn runs(term: Term) -> Known {
        Known {
            term,
            told: true,
            running: YEAR,
        }
    }

    const STARTS: Known = Known {
        term: 0,
        told: false,
        running: Duration::ZERO,
    };

    #[test]
    fn any_term_that_a_group_can_have_is_believed() {
        for source in SOURCES {
            for term in [0, 1, 57, 5_000_000, 100 * 3600 * 24 * 365] {
                assert_eq!(check(term, source, STARTS), Ok(()), "{term}");
                assert_eq!(check(term, source, runs(3)), Ok(()), "{term}");
            }
        }
    }

    #[test]
    fn no_term_is_believed_that_would_wear_them_out() {
        for source in SOURCES {
            for told in [Term::MAX, Term::MAX / 2, 1 << 40, LARGEST_TERM] {
                for known in [STARTS, runs(1), runs(57), runs(5_000_000)] {
                    let refused = check(told, source, known).unwrap_err();
                    assert_eq!((refused.told, refused.known), (told, known.term));
                }
            }
        }
    }

    #[test]
    fn what_is_known_is_never_refused() {
        for term in [7, 1 << 40, Term::MAX] {
            for source in SOURCES {
                assert_eq!(check(term, source, runs(term)), Ok(()));
            }
        }
    }

    #[test]
    fn the_error_names_the_term() {
        let error = check(Term::MAX, Source::Follower, runs(3)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "term 18446744073709551615, to which no elections can have led; the highest known \
             here is 3"
        );
    }

    proptest! {
        /// However a group is lied to: its term stays far from the largest, and whoever starts
        /// then believes it, whoever tells it.
        #[test]
        fn lies_lead_nowhere(
            lies in prop::collection::vec((any::<u64>(), 0..36_000_u64), 1..100),
            outbids: u128,
        ) {
            let mut known = Known { told: true, term: 1, running: Duration::ZERO };
            for (count, (lie, pause)) in lies.into_iter().enumerate() {
                known.running += Duration::from_secs(pause);
                let limit = ELECTIONS + known.running.as_secs() * ELECTIONS_PER_SECOND;
                for told in [lie, lie >> 16, lie >> 32, known.term + (lie >> 33), limit, limit + 1] {
                    if check(told, Source::Follower, known).is_ok() && told > known.term {
                        // A leader outbids what it hears of.
                        known.term = told + (outbids >> count & 1) as u64;
                    }
                }
                prop_assert!(known.term < LARGEST_TERM);
                for source in SOURCES {
                    prop_assert_eq!(check(known.term, source, STARTS), Ok(()));
                }
            }
        }

        /// The same, if the group was lied to at its very beginning.
        #[test]
        fn nor_do_first_lies(elections in 0..100_u64) {
            let term = 2 * ELECTIONS + elections;
            let soon = Known { running: Duration::from_secs(10), ..STARTS };
            prop_assert_eq!(check(term, Source::Candidate, runs(3)), Ok(()));
            prop_assert_eq!(check(term, Source::Master, runs(3)), Ok(()));
            prop_assert_eq!(check(term, Source::Follower, soon), Ok(()));
        }
    }
}
