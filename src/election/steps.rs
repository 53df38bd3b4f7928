//! The steps of the group, as its candidates know them.
//!
//! A step that an operator tells the leader is told to the other candidates before it is made: when
//! the leader dies in the middle of it, the next one makes it too. Pure: time is passed in.

use std::time::Duration;

use crate::election::rules::SILENCE;
use crate::wire::steps::Steps;

/// The others have so long to know of a step before it is made without them.
const PATIENCE: Duration = SILENCE;

/// What a candidate knows of the steps of its group.
#[derive(Debug, Clone, Copy, Default)]
pub struct GroupSteps {
    /// Those that the group is to make.
    known: Option<Steps>,
    /// Those that our clock has taken.
    taken: Option<Steps>,
    /// When we were told the last of them, if others have still to know.
    ordered: Option<Duration>,
}

impl GroupSteps {
    /// The steps to tell the other candidates, if there were any.
    #[must_use]
    pub fn known(&self) -> Option<Steps> {
        self.known.filter(|steps| steps.number > 0)
    }

    /// Our clock has taken these, from the leader or because we lead.
    pub fn took(&mut self, steps: Steps) {
        self.taken = Some(steps);
        // A leader of the past may have told of one that no clock has taken yet.
        if !self.known.is_some_and(|known| known.continue_from(steps)) {
            self.known = Some(steps);
        }
    }

    /// Another candidate knows of these.
    pub fn hear(&mut self, steps: Steps, synchronized: bool) {
        let newer = |known| steps.continue_from(known);
        // Who has just started belongs to no group yet, and goes on with the one that it finds.
        let fresh = |known: Steps| !synchronized && known.number == 0 && steps.number > 0;
        if self.known.is_none_or(|known| newer(known) || fresh(known)) {
            self.known = Some(steps);
        }
    }

    /// An operator tells us to make these.
    pub fn order(&mut self, steps: Steps, now: Duration) {
        if self.known.is_none_or(|known| steps.continue_from(known)) {
            self.known = Some(steps);
            self.ordered = Some(now);
        }
    }

    /// The steps that a leader is to make now, which it is told once. `all_know` says that no
    /// candidate in touch has still to hear of them.
    pub fn make(&mut self, all_know: bool, now: Duration) -> Option<Steps> {
        if !all_know && self.due().is_some_and(|due| now < due) {
            return None;
        }
        self.ordered = None;
        if self.known == self.taken {
            return None;
        }
        self.taken = self.known;
        self.known
    }

    /// We lead no more: whoever does makes the step, if it has heard of it.
    pub fn leave_to_others(&mut self) {
        self.ordered = None;
    }

    /// When a step is made without those who do not say that they know of it.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.ordered.map(|at| at + PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    const NOW: Duration = Duration::from_secs(100);

    fn step(known: Steps, seconds: i64) -> Steps {
        known.and(TimeDelta::seconds(seconds)).unwrap()
    }

    #[test]
    fn a_step_is_made_when_all_know_of_it_or_have_had_their_time() {
        let begin = Steps::none(1);
        let mut steps = GroupSteps::default();
        steps.took(begin);
        assert_eq!((steps.known(), steps.make(true, NOW)), (None, None));
        let ordered = step(begin, 90);
        steps.order(ordered, NOW);
        assert_eq!(steps.known(), Some(ordered), "others are told at once");
        assert_eq!(steps.make(false, NOW), None);
        let due = steps.due().unwrap();
        assert_eq!(steps.clone().make(false, due), Some(ordered));
        assert_eq!(steps.make(true, NOW), Some(ordered));
        assert_eq!(steps.make(true, NOW), None, "once");
        steps.took(ordered);
        assert_eq!((steps.make(true, due), steps.due()), (None, None));
    }

    #[test]
    fn the_next_leader_makes_what_the_last_one_has_told_of() {
        let begin = Steps::none(1);
        let mut steps = GroupSteps::default();
        steps.took(begin);
        let ordered = step(begin, 90);
        steps.hear(ordered, true);
        steps.took(begin);
        assert_eq!(steps.known(), Some(ordered), "our clock has not made it");
        steps.hear(begin, true);
        assert_eq!(steps.make(false, NOW), Some(ordered));
        // Who was deposed waits for nobody.
        steps.order(step(ordered, 1), NOW);
        steps.leave_to_others();
        assert_eq!(steps.due(), None);
    }

    #[test]
    fn the_steps_of_other_groups_are_none_of_ours_once_we_have_one() {
        let (ours, theirs) = (Steps::none(1), step(Steps::none(2), 90));
        let mut steps = GroupSteps::default();
        steps.took(ours);
        steps.hear(theirs, true);
        assert_eq!(steps.known, Some(ours));
        // Who has just started goes on with what it finds.
        steps.hear(Steps::none(3), false);
        assert_eq!(steps.known, Some(ours), "that one has just started too");
        steps.hear(theirs, false);
        assert_eq!(steps.known(), Some(theirs));
    }
}
