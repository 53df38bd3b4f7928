//! Which terms can be true.
//!
//! A term counts elections, and whoever hears of a higher one takes it over: a candidate that
//! starts after all of them have died knows of none, and learns the term from its followers. If
//! any number were believed, one lie would wear the terms out, and after it any stale leader
//! would pass for a new one. So nothing is believed that is far above what elections can lead to.
//!
//! Where the limit lies, so that what was let in once is not refused later:
//! - It does not depend on what is known already. With a limit above that, two lies, each within
//!   it, would lead the group to a term that nobody believes who starts later.
//! - It grows with time, as fast as a group can hold elections.
//! - Whoever has just started believes twice as much: it believes what a liar, who went to the
//!   very limit, made a running group believe, and the elections since.
//! - What followers tell goes on in heartbeats, and what is in heartbeats goes on in greetings.
//!   Each is believed four times as much as the one before.
//!
//! A liar can still go to the limit of a candidate that has just started. If all candidates die
//! after that, the followers that live on know of a term that is refused. In a group with keys,
//! terms are certified, which prevents that.

use std::time::Duration;

use crate::wire::candidate::Term;

/// More elections than can go on in a second: candidates wait for each other, see
/// [`TURN`](crate::election::rules::TURN).
const ELECTIONS_PER_SECOND: u64 = 10;

/// More elections than a group has held, if nobody lies: [`ELECTIONS_PER_SECOND`] for 13 years. In
/// truth it takes the end of a leader to hold one.
const ELECTIONS: Term = 1 << 32;

/// For so long after its start somebody believes more: until it has heard of what all others know.
const YOUNG: Duration = Duration::from_mins(1);

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

/// A term that no elections can have led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("term {told}, to which no elections can have led; the highest known here is {known}")]
pub struct ImpossibleTerm {
    /// The term that was told.
    pub told: Term,
    /// The highest that is known.
    pub known: Term,
}

/// Whether a term can be true that `source` tells somebody who knows of the term `known`, and has
/// been running for so long.
///
/// # Errors
/// [`ImpossibleTerm`] if not: it must not be taken over, and whoever tells it must not be listened
/// to.
pub fn check(
    told: Term,
    source: Source,
    known: Term,
    running: Duration,
) -> Result<(), ImpossibleTerm> {
    let old = source.limit() * if running < YOUNG { 2 } else { 1 };
    let new = running.as_secs().saturating_mul(ELECTIONS_PER_SECOND);
    if told <= old.saturating_add(new).max(known) {
        Ok(())
    } else {
        Err(ImpossibleTerm { told, known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::candidate::LARGEST_TERM;
    use proptest::prelude::*;

    const SOURCES: [Source; 3] = [Source::Follower, Source::Candidate, Source::Master];
    const YEAR: Duration = Duration::from_hours(365 * 24);

    #[test]
    fn any_term_that_a_group_can_have_is_believed() {
        for source in SOURCES {
            for term in [0, 1, 57, 5_000_000, 100 * 3600 * 24 * 365] {
                assert_eq!(check(term, source, 0, Duration::ZERO), Ok(()), "{term}");
                assert_eq!(check(term, source, 3, YEAR), Ok(()), "{term}");
            }
        }
    }

    #[test]
    fn no_term_is_believed_that_would_wear_them_out() {
        for source in SOURCES {
            for told in [Term::MAX, Term::MAX / 2, 1 << 40, LARGEST_TERM] {
                for (known, running) in [(0, Duration::ZERO), (1, YEAR), (5_000_000, YEAR)] {
                    let refused = check(told, source, known, running);
                    assert_eq!(refused, Err(ImpossibleTerm { told, known }));
                }
            }
        }
    }

    #[test]
    fn what_is_known_is_never_refused() {
        for known in [7, 1 << 40, Term::MAX] {
            for source in SOURCES {
                assert_eq!(check(known, source, known, YEAR), Ok(()));
            }
        }
    }

    #[test]
    fn the_error_names_the_term() {
        let error = check(Term::MAX, Source::Follower, 3, YEAR).unwrap_err();
        assert_eq!(
            error.to_string(),
            "term 18446744073709551615, to which no elections can have led; the highest known \
             here is 3"
        );
    }

    proptest! {
        /// However a running group is lied to: its term stays far from the largest, and whoever
        /// starts then believes it, whoever tells it.
        #[test]
        fn lies_lead_nowhere(
            lies in prop::collection::vec((any::<u64>(), 0..36_000_u64), 1..100),
            outbids: u128,
        ) {
            let (mut known, mut running) = (1, YOUNG);
            for (count, (lie, pause)) in lies.into_iter().enumerate() {
                running += Duration::from_secs(pause);
                let limit = ELECTIONS + running.as_secs() * ELECTIONS_PER_SECOND;
                for told in [lie, lie >> 16, lie >> 32, known + (lie >> 33), limit, limit + 1] {
                    if check(told, Source::Follower, known, running).is_ok() && told > known {
                        // A leader outbids what it hears of.
                        known = told + (outbids >> count & 1) as u64;
                    }
                }
                prop_assert!(known < LARGEST_TERM);
                for source in SOURCES {
                    prop_assert_eq!(check(known, source, 0, Duration::ZERO), Ok(()));
                }
            }
        }

        /// The same for a candidate that has just started: the others believe what it tells.
        #[test]
        fn nor_do_lies_to_the_youngest(elections in 0..1000_u64) {
            let limit = 2 * ELECTIONS + YOUNG.as_secs() * ELECTIONS_PER_SECOND;
            prop_assert!(check(limit + 1, Source::Follower, 0, YOUNG).is_err());
            for source in [Source::Candidate, Source::Master] {
                prop_assert_eq!(check(limit + elections, source, 3, YEAR), Ok(()));
            }
        }
    }
}
