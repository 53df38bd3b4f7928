//! What the members of a group are called, where several may give themselves one name.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::average::round::MASTER;

/// The names in use. The first of its name is called that, each further one by the name and the
/// lowest free number from 2: `db1`, `db1#2`.
#[derive(Debug, Default)]
pub struct Names(HashMap<Arc<str>, Numbers>);

/// The numbers in use with one name.
#[derive(Debug)]
struct Numbers {
    in_use: usize,
    /// The lowest number that was never in use.
    next: u32,
    /// Those that were, and are not.
    free: BTreeSet<u32>,
}

impl Names {
    /// The names that followers may have: none of them is taken for the master's own clock.
    #[must_use]
    pub fn of_followers() -> Self {
        let mut names = Self::default();
        names.take(MASTER);
        names
    }

    /// Takes a free name for somebody who calls itself `name`.
    pub fn take(&mut self, name: &str) -> Arc<str> {
        let Some(numbers) = self.0.get_mut(name) else {
            let name: Arc<str> = Arc::from(name);
            self.0.insert(Arc::clone(&name), Numbers::one());
            return name;
        };
        numbers.in_use += 1;
        let number = numbers.free.pop_first().unwrap_or(numbers.next);
        numbers.next = numbers.next.max(number + 1);
        match number {
            1 => Arc::from(name),
            number => Arc::from(format!("{name}#{number}")),
        }
    }

    /// Gives a taken name back.
    pub fn give_back(&mut self, taken: &str) {
        // No name has a `#` of its own, see `NodeName`.
        let (name, number) = match taken.split_once('#') {
            Some((name, number)) => (name, number.parse().unwrap_or(1)),
            None => (taken, 1),
        };
        let Some(numbers) = self.0.get_mut(name) else {
            return;
        };
        numbers.in_use -= 1;
        numbers.free.insert(number);
        if numbers.in_use == 0 {
            self.0.remove(name);
        }
    }
}

impl Numbers {
    fn one() -> Self {
        Self {
            in_use: 1,
            next: 2,
            free: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_are_told_apart_and_a_free_number_is_taken_again() {
        let mut names = Names::default();
        let take = |names: &mut Names| names.take("db").to_string();
        assert_eq!(take(&mut names), "db");
        assert_eq!(take(&mut names), "db#2");
        assert_eq!(take(&mut names), "db#3");
        names.give_back("db#2");
        assert_eq!(take(&mut names), "db#2");
        names.give_back("db");
        assert_eq!(
            take(&mut names),
            "db",
            "it comes back and is called the same"
        );
        assert_eq!(&*names.take("other"), "other");
        assert_eq!(&*Names::of_followers().take(MASTER), "master#2");
    }

    #[test]
    fn nobody_who_left_is_remembered() {
        let mut names = Names::default();
        let taken: Vec<_> = (0..1000).map(|_| names.take("db")).collect();
        for name in taken.iter().rev() {
            names.give_back(name);
        }
        assert!(names.0.is_empty());
        names.give_back("db#7");
    }
}
