//! Followers that fail as programs do.

use super::group::{Group, LIMIT};
use crate::support::programs::Program;

/// A follower that was corrected once.
fn follower(group: &Group) -> Program {
    let follower = Program::follower(group.address(), &[]);
    follower.line("Connected to ");
    follower.line("Synchronized time: ");
    follower
}

#[test]
fn a_follower_is_killed() {
    let group = Group::new(3);
    let killed = follower(&group);
    let watch = group.watch();
    killed.signal("KILL");
    group.master.line("Follower left: ");
    watch.rounds(8);
    watch.noticed().row("follower killed", LIMIT);
}

#[test]
fn a_follower_is_stopped_and_continued() {
    let group = Group::new(3);
    let stopped = follower(&group);
    let watch = group.watch();
    stopped.signal("STOP");
    let left = group.master.line("Follower left: ");
    assert!(
        left.text.contains("no time in three rounds"),
        "{}",
        left.text
    );
    stopped.signal("CONT");
    // It finds that it was given up, and comes back by itself.
    stopped.line("Connected to ");
    stopped.line("Synchronized time: ");
    watch.rounds(8);
    watch.noticed().row("follower stopped and continued", LIMIT);
}

#[test]
fn a_follower_is_restarted_at_once_again_and_again() {
    let group = Group::new(3);
    let watch = group.watch();
    for _ in 0..5 {
        drop(follower(&group));
    }
    let last = follower(&group);
    assert!(!last.transcript().contains("lost"), "the last one stays");
    watch.rounds(8);
    watch
        .noticed()
        .row("follower restarted at once, five times", LIMIT);
}
