//! Which clocks a group has, by name, and their reputations: what outlives a connection and a
//! master's lead and, in a file, a restart.
//!
//! A clock is remembered once it is not new any more, until [`DAYS`] have passed on which it was
//! not seen, by the group's own time. At most [`MOST`] are: who is seen today is never forgotten
//! for somebody who comes later, so nobody gains by inventing names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::average::consensus::{Rules, consensus};
use crate::average::reputation::Standing;
use crate::measurement::sample::Sample;
use crate::wire::name::NodeName;

/// So many clocks are remembered at most.
pub const MOST: usize = 1000;

/// A clock that was not seen for more days than this is forgotten.
pub const DAYS: i64 = 7;

/// What is remembered of a clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Acquaintance {
    /// The day on which it was last within the window, by the group's time.
    pub seen: NaiveDate,
    /// Its reputation.
    pub standing: Standing,
}

/// The clocks that a group has, as far as it remembers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acquaintances(BTreeMap<Arc<str>, Acquaintance>);

/// What a clock is remembered by: its name or, if it has told none and is called by its address, the
/// address without the port, which is another one the next time.
#[must_use]
pub fn known_as(name: &Arc<str>, address: Option<SocketAddr>) -> Arc<str> {
    match address {
        Some(address) if **name == *address.to_string() => {
            Arc::from(address.ip().to_canonical().to_string())
        }
        _ => Arc::clone(name),
    }
}

impl Acquaintances {
    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many clocks are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What is remembered of the clock with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Acquaintance> {
        self.0.get(name)
    }

    /// All that are remembered, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Acquaintance)> {
        self.0.iter()
    }

    /// Notes that a clock was seen today. Several clocks of one name (`db#2`) can't be told apart
    /// the next time, so only the first of them is remembered.
    pub fn note(&mut self, name: &Arc<str>, standing: Standing, today: NaiveDate) {
        let noted = Acquaintance {
            seen: today,
            standing,
        };
        if let Some(known) = self.0.get_mut(name) {
            *known = noted;
        } else if !standing.is_new() && name.parse::<NodeName>().is_ok() && self.has_room(today) {
            self.0.insert(Arc::clone(name), noted);
        }
    }

    /// Whether one more can be remembered. If need be, who was not seen for longest is forgotten.
    fn has_room(&mut self, today: NaiveDate) -> bool {
        if self.0.len() < MOST {
            return true;
        }
        let oldest = self.0.iter().min_by_key(|(_, known)| known.seen);
        let oldest = oldest.filter(|(_, known)| known.seen < today);
        let oldest = oldest.map(|(name, _)| Arc::clone(name));
        oldest.is_some_and(|name| self.0.remove(&name).is_some())
    }

    /// Forgets who was not seen lately. Days to come, which a clock that was set back has left
    /// behind, count as today.
    pub fn forget(&mut self, today: NaiveDate) {
        for known in self.0.values_mut() {
            known.seen = known.seen.min(today);
        }
        let lately = |known: &Acquaintance| (today - known.seen).num_days() <= DAYS;
        self.0.retain(|_, known| lately(known));
    }

    /// Whether, of the clocks that are here, so many are remembered and agree that they are most of
    /// all that are remembered: no minority can be that, however quickly it connects.
    #[must_use]
    pub fn most_agree<'a>(
        &self,
        here: impl Iterator<Item = (&'a str, Sample)>,
        rules: &Rules,
    ) -> bool {
        let known: BTreeMap<&str, Sample> = here
            .filter(|(name, _)| self.0.contains_key(*name))
            .collect();
        let is_most = |clocks: usize| clocks * 2 > self.0.len();
        is_most(known.len()) && {
            let samples: Vec<Sample> = known.into_values().collect();
            consensus(&samples, rules).is_ok_and(|agreed| is_most(agreed.voters))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Days, TimeDelta};

    fn day(day: u64) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + Days::new(day)
    }

    fn name(number: usize) -> Arc<str> {
        Arc::from(format!("clock{number}"))
    }

    fn trusted() -> Standing {
        Standing::kept(100, TimeDelta::nanoseconds(7))
    }

    fn know(clocks: usize) -> Acquaintances {
        let mut known = Acquaintances::default();
        (0..clocks).for_each(|number| known.note(&name(number), trusted(), day(0)));
        known
    }

    #[test]
    fn a_clock_is_remembered_once_it_is_not_new_and_for_a_week() {
        let mut known = Acquaintances::default();
        known.note(&name(1), Standing::kept(7, TimeDelta::zero()), day(0));
        assert!(known.is_empty());
        known.note(&name(1), trusted(), day(0));
        known.note(&Arc::from("clock#2"), trusted(), day(0));
        assert_eq!(known.len(), 1);
        known.forget(day(7));
        assert_eq!(known.get("clock1").unwrap().standing, trusted());
        known.forget(day(8));
        assert!(known.is_empty());
        // What a clock that is set back had seen is forgotten in a week too.
        known.note(&name(1), trusted(), day(90));
        known.forget(day(10));
        known.forget(day(18));
        assert!(known.is_empty());
    }

    #[test]
    fn nobody_is_forgotten_for_names_that_are_invented() {
        let mut known = know(10);
        for number in 10..3 * MOST {
            known.note(&name(number), trusted(), day(0));
        }
        assert_eq!(known.len(), MOST);
        (0..10).for_each(|number| assert!(known.get(&name(number)).is_some()));
        // The next day, those that are seen are no more forgotten than others remembered.
        for number in 0..10 {
            known.note(&name(number), trusted(), day(1));
        }
        for number in 10 * MOST..20 * MOST {
            known.note(&name(number), trusted(), day(1));
        }
        assert_eq!(known.len(), MOST);
        (0..10).for_each(|number| assert!(known.get(&name(number)).is_some()));
    }

    #[test]
    fn a_clock_without_a_name_is_known_by_its_address() {
        let address: SocketAddr = "10.0.0.1:4711".parse().unwrap();
        let unnamed: Arc<str> = Arc::from(address.to_string());
        assert_eq!(&*known_as(&unnamed, Some(address)), "10.0.0.1");
        assert_eq!(known_as(&name(1), Some(address)), name(1));
    }

    #[test]
    fn only_a_majority_of_those_that_are_known_can_agree() {
        let known = know(10);
        let agree = |clocks: &[(usize, i64)]| {
            let named: Vec<_> = clocks.iter().map(|(it, at)| (name(*it), *at)).collect();
            let here = named.iter().map(|(name, hours)| {
                let sample = Sample::one_way(TimeDelta::hours(*hours));
                (&**name, sample)
            });
            known.most_agree(here, &Rules::default())
        };
        let liars = [(0, 10), (1, 10), (2, 10), (3, 10)];
        assert!(!agree(&liars));
        // They would be a majority of these, and so would be many that nobody knows.
        assert!(!agree(&[&liars[..], &[(4, 0), (5, 0)]].concat()));
        let strangers: Vec<_> = (100..200).map(|number| (number, 10)).collect();
        assert!(!agree(&[&liars[..], &strangers].concat()));
        let honest: Vec<_> = (4..10).map(|number| (number, 0)).collect();
        assert!(agree(&honest));
        assert!(agree(&[&liars[..], &honest].concat()));
        // Not one clock that comes six times.
        assert!(!agree(&[(4, 0); 6]));
    }
}
