//! The groups above a group, and that it is not one of them.
//!
//! Each master tells those below it the path of groups from the top to its own. Who finds its own
//! group there would follow itself: a loop of groups that wait for each other's time. Whoever is
//! about to close a loop does not; of those that closed one at the same moment, the one with the
//! highest number lets go of its parent, so that the others may keep theirs. What a parent has told
//! is forgotten with it, and those below hear that at once: if they still saw a loop, they would let
//! go as well. Pure: time is passed in.

use std::time::Duration;

use crate::wire::path::{DEEPEST, GroupId, Path};

/// The one whose turn it is to let go has so long. Then the others don't rely on it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a group knows of those above it.
#[derive(Debug, Clone)]
pub struct Ancestry {
    own: GroupId,
    /// From the top to our own.
    path: Path,
    phase: Phase,
}

/// What the parent has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing: there is none, or it has only just been reached.
    Alone,
    /// Its path, in which our group is not.
    Below,
    /// A loop that another group is to break. We have known of it since this moment.
    Looped(Duration),
}

/// Why a group can't follow another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is the group itself.
    #[error("it is this master itself; name the masters of the group above this one with --parent")]
    Itself,
    /// It is below the group itself.
    #[error(
        "it gets its time from this group, so to follow it would close a loop of {0} groups; name \
         only masters above this one with --parent"
    )]
    Loop(usize),
    /// There are too many groups above it.
    #[error("it has {DEEPEST} groups above it, and no group may be deeper")]
    Deep,
}

impl Ancestry {
    /// A group that has none above it.
    #[must_use]
    pub fn new(own: GroupId) -> Self {
        Self {
            own,
            path: Path::of(own),
            phase: Phase::Alone,
        }
    }

    /// From the top to this group: what those below are told.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The parent tells the path down to itself, for the first time since it was reached or because
    /// it has changed.
    ///
    /// # Errors
    /// [`Unfit`] says why to let go of it, which ends with [`Ancestry::leave`].
    pub fn hear(&mut self, parent: &Path, now: Duration) -> Result<(), Unfit> {
        let Some(groups) = parent.loop_of(self.own) else {
            self.path = parent.and(self.own).ok_or(Unfit::Deep)?;
            self.phase = Phase::Below;
            return Ok(());
        };
        let is_highest = groups.iter().max() == Some(&self.own);
        let since = match self.phase {
            Phase::Below if !is_highest => now,
            Phase::Looped(since) if !is_highest && !has_passed(since, now) => since,
            _ if groups.len() == 1 => return Err(Unfit::Itself),
            _ => return Err(Unfit::Loop(groups.len())),
        };
        // All that are in the loop are to hear who is in it: what went round before may name some only.
        self.path = parent.round_to(self.own);
        self.phase = Phase::Looped(since);
        Ok(())
    }

    /// Lets go of the parent if another group was to break a loop and has not done so in time.
    /// Whether it has.
    pub fn break_loop(&mut self, now: Duration) -> bool {
        let is_stuck = matches!(self.phase, Phase::Looped(since) if has_passed(since, now));
        if is_stuck {
            self.leave();
        }
        is_stuck
    }

    /// The parent is gone, or was let go of.
    pub fn leave(&mut self) {
        *self = Self::new(self.own);
    }
}

fn has_passed(since: Duration, now: Duration) -> bool {
    now.saturating_sub(since) >= PATIENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn path(groups: &[u32]) -> Path {
        let mut path = Path::of(GroupId(groups[0]));
        for group in &groups[1..] {
            path = path.and(GroupId(*group)).unwrap();
        }
        path
    }

    #[test]
    fn who_would_close_a_loop_does_not() {
        let mut group = Ancestry::new(GroupId(7));
        assert_eq!(group.hear(&path(&[1, 2]), NOW), Ok(()));
        assert_eq!(group.path(), &path(&[1, 2, 7]));
        group.leave();
        assert_eq!(group.path(), &path(&[7]));
        let own = path(&[1, 7, 9]);
        assert_eq!(group.hear(&own, NOW), Err(Unfit::Loop(2)));
        assert_eq!(group.hear(&path(&[7]), NOW), Err(Unfit::Itself));
    }

    #[test]
    fn of_those_in_a_loop_the_highest_lets_go_and_the_others_in_time() {
        let seen_by = |own, groups: &[u32]| {
            let mut group = Ancestry::new(GroupId(own));
            group.hear(&path(&[99]), NOW).unwrap();
            let heard = group.hear(&path(groups), NOW);
            (group, heard)
        };
        assert_eq!(seen_by(9, &[9, 3, 7]).1, Err(Unfit::Loop(3)));
        let (mut group, heard) = seen_by(7, &[7, 9, 3]);
        assert_eq!(heard, Ok(()));
        assert_eq!(group.path(), &path(&[9, 3, 7]), "all of them are named");
        assert!(!group.break_loop(NOW));
        assert!(group.clone().break_loop(NOW + PATIENCE));
        assert_eq!(group.hear(&path(&[9, 3]), NOW + PATIENCE), Ok(()));
        assert!(!group.break_loop(NOW + PATIENCE * 2), "it was broken");
        let (mut group, _) = seen_by(7, &[7, 9, 3]);
        let still = group.hear(&path(&[7, 9, 3]), NOW + PATIENCE);
        assert_eq!(still, Err(Unfit::Loop(3)));
        // Whoever hangs below a loop waits for others to break it.
        assert_eq!(seen_by(4, &[7, 9, 3, 7]).1, Ok(()));
    }

    #[test]
    fn no_group_is_deeper_than_its_path_is_long() {
        let mut above = path(&[0]);
        for depth in 1..=20 {
            let mut group = Ancestry::new(GroupId(depth));
            let heard = group.hear(&above, NOW);
            assert_eq!(heard.is_ok(), depth as usize <= DEEPEST, "{depth}");
            above = group.path().clone();
            if heard.is_err() {
                return;
            }
        }
    }
}
