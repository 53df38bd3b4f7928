//! Where the coordinator leaves what a connection's thread is to do.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::lock::lock;
use crate::wire::correction::{Correction, Learned};

/// What the coordinator tells a connection's thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Tell the follower what it must add, or, on the timestamp wire, the network's time.
    Correct {
        /// The interval that the correction follows from.
        interval: u64,
        correction: Correction,
        /// What the master has learned in the same round.
        learned: Learned,
    },
    /// Tell the network's time, on the timestamp wire.
    Announce,
    /// Tell the group's steps, of which there is a new one; on the timestamp wire, the time.
    TellSteps,
    /// Tell a group below which groups are above it.
    TellPath,
    /// Say who leads and end the connection, unless it is on the timestamp wire.
    StepDown,
    /// Say why, and end the connection.
    Dismiss(&'static str),
}

/// Holds one step, one correction and one dismissal. A newer correction takes the place of one that
/// was not sent yet, which is out of date by then; a dismissal comes after the last correction.
/// There are as many of these as followers: std's channels would need 2 KiB each.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    commands: Mutex<Commands>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Commands {
    step: Option<Command>,
    correction: Option<Command>,
    dismissal: Option<Command>,
}

impl Commands {
    fn take(&mut self) -> Option<Command> {
        let step = self.step.take().or_else(|| self.correction.take());
        step.or_else(|| self.dismissal.take())
    }

    fn are_none(&self) -> bool {
        self.step.is_none() && self.correction.is_none() && self.dismissal.is_none()
    }
}

impl Mailbox {
    pub(crate) fn leave(&self, command: Command) {
        let mut commands = lock(&self.commands);
        match command {
            Command::Correct { .. } | Command::Announce => commands.correction = Some(command),
            Command::TellSteps => commands.step = Some(command),
            // Whoever is told steps is greeted first.
            Command::TellPath => drop(commands.step.get_or_insert(command)),
            Command::Dismiss(_) => commands.dismissal = Some(command),
            Command::StepDown => drop(commands.dismissal.get_or_insert(command)),
        }
        drop(commands);
        self.left.notify_one();
    }

    /// The next command, if there is one.
    pub(crate) fn take(&self) -> Option<Command> {
        lock(&self.commands).take()
    }

    /// Waits for a command, but no longer than until `due`.
    pub(crate) fn wait(&self, due: Instant) -> Option<Command> {
        let wait = due.saturating_duration_since(Instant::now());
        let commands = lock(&self.commands);
        let waited = self
            .left
            .wait_timeout_while(commands, wait, |commands| commands.are_none());
        let (mut commands, _) = waited.unwrap_or_else(PoisonError::into_inner);
        commands.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn correction(interval: u64) -> Command {
        Command::Correct {
            interval,
            correction: Correction::default(),
            learned: Learned {
                at: DateTime::UNIX_EPOCH,
                ppm: 0.0,
            },
        }
    }

    #[test]
    fn the_latest_correction_counts_and_a_dismissal_comes_after_it() {
        let mailbox = Mailbox::default();
        assert!(mailbox.wait(Instant::now()).is_none());
        mailbox.leave(correction(1));
        mailbox.leave(correction(2));
        assert!(matches!(
            mailbox.wait(Instant::now()),
            Some(Command::Correct { interval: 2, .. })
        ));
        assert!(mailbox.take().is_none());
        mailbox.leave(correction(3));
        mailbox.leave(Command::Dismiss("enough"));
        assert!(matches!(mailbox.take(), Some(Command::Correct { .. })));
        assert!(matches!(mailbox.take(), Some(Command::Dismiss("enough"))));
        assert!(mailbox.take().is_none());
    }
}
