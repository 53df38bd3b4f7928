//! The groups above a group, and that it is not one of them.
//!
//! Each master tells those below it the path of groups from the top to its own. Who finds its own
//! group there would follow itself: a loop of groups that wait for each other's time. Whoever is
//! about to close a loop does not; of those that closed one at the same moment, the one with the
//! highest number lets go of its parent, so that the others may keep theirs. Pure: time is passed in.

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
    /// Since when we know of a loop that another group is to break.
    looped: Option<Duration>,
}

/// Why a group can't follow another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
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
            looped: None,
        }
    }

    /// From the top to this group: what those below are told.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The parent tells the path down to itself, for the first time (`is_new`) or because it has
    /// changed.
    ///
    /// # Errors
    /// [`Unfit`] says why to let go of it.
    pub fn hear(&mut self, parent: &Path, is_new: bool, now: Duration) -> Result<(), Unfit> {
        let Some(groups) = parent.loop_of(self.own) else {
            self.looped = None;
            self.path = parent.and(self.own).ok_or(Unfit::Deep)?;
            return Ok(());
        };
        let is_highest = groups.iter().max() == Some(&self.own);
        let since = *self.looped.get_or_insert(now);
        if is_new || is_highest || now.saturating_sub(since) >= PATIENCE {
            return Err(Unfit::Loop(groups.len()));
        }
        // All that are in the loop are to hear who is in it: what went round before may name some only.
        self.path = parent.round_to(self.own);
        Ok(())
    }

    /// Whether a loop that another group was to break was not broken in time.
    #[must_use]
    pub fn is_stuck(&self, now: Duration) -> bool {
        let since = |since| now.saturating_sub(since) >= PATIENCE;
        self.looped.is_some_and(since)
    }

    /// The parent is gone, or was let go of.
    pub fn leave(&mut self) {
        *self = Self::new(self.own);
    }
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
        assert_eq!(group.hear(&path(&[1, 2]), true, NOW), Ok(()));
        assert_eq!(group.path(), &path(&[1, 2, 7]));
        group.leave();
        assert_eq!(group.path(), &path(&[7]));
        let own = path(&[1, 7, 9]);
        assert_eq!(group.hear(&own, true, NOW), Err(Unfit::Loop(2)));
    }

    #[test]
    fn of_those_in_a_loop_the_highest_lets_go_and_the_others_in_time() {
        let seen_by = |own, groups: &[u32]| {
            let mut group = Ancestry::new(GroupId(own));
            group.hear(&path(&[99]), true, NOW).unwrap();
            let heard = group.hear(&path(groups), false, NOW);
            (group, heard)
        };
        assert_eq!(seen_by(9, &[9, 3, 7]).1, Err(Unfit::Loop(3)));
        let (mut group, heard) = seen_by(7, &[7, 9, 3]);
        assert_eq!(heard, Ok(()));
        assert_eq!(group.path(), &path(&[9, 3, 7]), "all of them are named");
        assert!(!group.is_stuck(NOW));
        assert!(group.is_stuck(NOW + PATIENCE));
        assert_eq!(group.hear(&path(&[9, 3]), false, NOW + PATIENCE), Ok(()));
        assert!(!group.is_stuck(NOW + PATIENCE * 2), "it was broken");
        // Whoever hangs below a loop waits for others to break it.
        assert_eq!(seen_by(4, &[7, 9, 3, 7]).1, Ok(()));
    }

    #[test]
    fn no_group_is_deeper_than_its_path_is_long() {
        let mut above = path(&[0]);
        for depth in 1..=20 {
            let mut group = Ancestry::new(GroupId(depth));
            let heard = group.hear(&above, true, NOW);
            assert_eq!(heard.is_ok(), depth as usize <= DEEPEST, "{depth}");
            above = group.path().clone();
            if heard.is_err() {
                return;
            }
        }
    }
}
