//! Which clocks a group has, by name, and their reputations: what outlives a connection and a
//! master's lead and, in a file, a restart.
//!
//! A clock is remembered once it is not new any more, until [`DAYS`] have passed on which it was
//! not seen, by the group's own time. At most [`MOST`] are, and of each machine no more than it has
//! votes: who is seen today is never forgotten for somebody who comes later from elsewhere, so nobody
//! gains by inventing names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::average::consensus::{LEAST_WINDOW, Rules, consensus};
use crate::average::reputation::Standing;
use crate::measurement::sample::Sample;
use crate::wire::machine::Machine;
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
    /// Where it was: `None` is the master's own machine, or wherever somebody is who proves a name.
    pub machine: Option<Machine>,
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

    /// Notes a clock that was seen, on a machine that has so many `votes`. Several clocks of one name
    /// (`db#2`) can't be told apart the next time, so only the first of them is remembered.
    pub fn note(&mut self, name: &Arc<str>, mut seen: Acquaintance, votes: usize) {
        if let Some(known) = self.0.get(name).copied() {
            // Nobody makes others forgotten by taking their names while they are away.
            if known.machine != seen.machine && self.on(seen.machine).count() >= votes {
                seen.machine = known.machine;
            }
            self.0.insert(Arc::clone(name), seen);
        } else if !seen.standing.is_new() && name.parse::<NodeName>().is_ok() {
            self.0.insert(Arc::clone(name), seen);
            self.share(seen.machine, votes);
            if self.0.len() > MOST {
                self.forget_one_for(name, seen.seen);
            }
        }
    }

    /// Who is remembered to have been on this machine: nobody, where each clock counts.
    fn on(&self, machine: Option<Machine>) -> impl Iterator<Item = (&Arc<str>, &Acquaintance)> {
        let there = move |known: &Acquaintance| machine.is_some() && known.machine == machine;
        self.0.iter().filter(move |(_, known)| there(known))
    }

    /// Forgets all of a machine but those that were seen last, as many as it has votes; of those that
    /// were seen on one day, those stay that have followed for longest.
    fn share(&mut self, machine: Option<Machine>, votes: usize) {
        let mut there: Vec<_> = self
            .on(machine)
            .map(|(name, known)| (known.seen, known.standing.rounds(), Arc::clone(name)))
            .collect();
        there.sort_unstable_by(|one, other| other.cmp(one));
        for (_, _, name) in there.into_iter().skip(votes) {
            self.0.remove(&name);
        }
    }

    /// One is remembered too many: whoever was not seen for longest is forgotten, or else the one that
    /// has come last.
    fn forget_one_for(&mut self, name: &str, today: NaiveDate) {
        let oldest = self.0.iter().min_by_key(|(_, known)| known.seen);
        let oldest = oldest.filter(|(_, known)| known.seen < today);
        let oldest = oldest.map(|(name, _)| Arc::clone(name));
        self.0.remove(oldest.as_deref().unwrap_or(name));
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

    /// Whether, of the clocks that are here and may vote, so many are remembered and agree that they
    /// are most of all that are remembered: no minority can be that, however quickly it connects.
    /// To agree is to be within the tolerance, or else within [`LEAST_WINDOW`]: a window that is drawn
    /// from the clocks is as wide as a minority likes that is here before most of the others.
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
            let rules = Rules {
                tolerance: rules.tolerance.or(Some(LEAST_WINDOW)),
                ..*rules
            };
            consensus(&samples, &rules).is_ok_and(|agreed| is_most(agreed.voters))
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

    /// A clock that has followed for so many rounds, seen on a day on the machine of this number.
    fn seen(rounds: u32, today: u64, machine: u8) -> Acquaintance {
        Acquaintance {
            seen: day(today),
            standing: Standing::kept(rounds, TimeDelta::nanoseconds(7)),
            machine: Some(Machine::of([10, 0, 0, machine].into())),
        }
    }

    /// The same, on the master's own machine.
    fn trusted(today: u64) -> Acquaintance {
        Acquaintance {
            machine: None,
            ..seen(100, today, 0)
        }
    }

    fn know(clocks: usize) -> Acquaintances {
        let mut known = Acquaintances::default();
        (0..clocks).for_each(|number| known.note(&name(number), trusted(0), 1));
        known
    }

    #[test]
    fn a_clock_is_remembered_once_it_is_not_new_and_for_a_week() {
        let mut known = Acquaintances::default();
        known.note(&name(1), seen(7, 0, 1), 1);
        assert!(known.is_empty());
        known.note(&name(1), trusted(0), 1);
        known.note(&Arc::from("clock#2"), trusted(0), 1);
        assert_eq!(known.len(), 1);
        known.forget(day(7));
        assert_eq!(known.get("clock1"), Some(&trusted(0)));
        known.forget(day(8));
        assert!(known.is_empty());
        // What a clock that is set back had seen is forgotten in a week too.
        known.note(&name(1), trusted(90), 1);
        known.forget(day(10));
        known.forget(day(18));
        assert!(known.is_empty());
    }

    #[test]
    fn nobody_is_forgotten_for_names_that_are_invented() {
        let mut known = know(10);
        for number in 10..3 * MOST {
            known.note(&name(number), trusted(0), 1);
        }
        assert_eq!(known.len(), MOST);
        (0..10).for_each(|number| assert!(known.get(&name(number)).is_some()));
        // The next day, those that are seen are no more forgotten than others remembered.
        for number in 0..10 {
            known.note(&name(number), trusted(1), 1);
        }
        for number in 10 * MOST..20 * MOST {
            known.note(&name(number), trusted(1), 1);
        }
        assert_eq!(known.len(), MOST);
        (0..10).for_each(|number| assert!(known.get(&name(number)).is_some()));
    }

    #[test]
    fn a_machine_that_shows_many_names_is_remembered_by_one() {
        let mut known = know(0);
        for machine in 1..=10 {
            known.note(&name(machine), seen(100, 0, machine as u8), 1);
        }
        // Each of its names has followed for long enough.
        for number in 100..100 + 2 * MOST {
            known.note(&name(number), seen(8, 0, 99), 1);
        }
        assert_eq!(known.len(), 11);
        (1..=10).for_each(|number| assert!(known.get(&name(number)).is_some()));
        // Its old name is forgotten once that is not seen any more, or has followed for less long.
        known.note(&name(5000), seen(9, 0, 99), 1);
        known.note(&name(5001), seen(8, 1, 99), 1);
        assert!(known.get(&name(5000)).is_none() && known.get(&name(5001)).is_some());
        // Whose name it takes is not forgotten for that.
        for number in 1..=10 {
            known.note(&name(number), seen(100, 1, 99), 1);
        }
        assert_eq!(known.len(), 11);
        assert_eq!(known.get(&name(3)), Some(&seen(100, 1, 3)));
        known.note(&name(5002), seen(8, 1, 99), 2);
        assert_eq!(known.len(), 12);
        // A clock that has got another address is there from then on.
        known.note(&name(3), seen(100, 1, 33), 1);
        assert_eq!(known.get(&name(3)), Some(&seen(100, 1, 33)));
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
