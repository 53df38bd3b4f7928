//! The flags on who else on this machine is told the network's time.

use std::path::{Path, PathBuf};

/// Programs on this machine that know nothing of us.
#[derive(Debug, clap::Args)]
pub struct LocalClients {
    /// With --steer system: tell ClockBound's clients, in FILE, how wrong the system's clock may be.
    /// They look for /run/clockbound/shm0 [default: none]
    #[arg(long, value_name = "FILE")]
    clockbound: Option<PathBuf>,

    /// Tell a chronyd on this machine the time: its configuration has `refclock SOCK PATH`
    /// [default: none]
    #[arg(long, value_name = "PATH")]
    chrony_socket: Option<PathBuf>,
}

/// What other flags say of this machine's clock.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "a flag each")]
pub struct Others {
    /// The system's clock is steered.
    pub steers: bool,
    /// The clock pretends to be wrong.
    pub pretends: bool,
    /// The clock is told the time and never corrected.
    pub only_told: bool,
    /// The clock is a reference.
    pub reference: bool,
}

impl LocalClients {
    /// Where ClockBound's clients are told, if they are.
    #[must_use]
    pub fn clockbound(&self) -> Option<&Path> {
        self.clockbound.as_deref()
    }

    /// Where chronyd is told, if it is.
    #[must_use]
    pub fn chrony_socket(&self) -> Option<&Path> {
        self.chrony_socket.as_deref()
    }

    /// Which flags don't go together, if any.
    #[must_use]
    pub fn conflict(&self, others: &Others) -> Option<&'static str> {
        let clockbound = self.clockbound.is_some();
        let chronyd = self.chrony_socket.is_some();
        let conflicts = [
            (
                clockbound && !others.steers,
                "--clockbound needs --steer system: ClockBound's clients read the system's clock, \
                 and nothing is known of it if nobody steers it",
            ),
            (
                clockbound && others.reference,
                "--clockbound does not go with --reference: that clock is not ours to tell of",
            ),
            (
                chronyd && others.steers,
                "--chrony-socket does not go with --steer system: either chronyd keeps the \
                 system's clock, or we do",
            ),
            (
                chronyd && others.reference,
                "--chrony-socket does not go with --reference: chronyd would follow the group, and \
                 the group would follow chronyd",
            ),
            (
                chronyd && others.pretends,
                "--chrony-socket does not go with --simulate-offset or --simulate-drift: a clock \
                 that pretends must not set a real one",
            ),
            (
                chronyd && others.only_told,
                "--chrony-socket does not go with --wire timestamp: timestamps correct nothing",
            ),
        ];
        let found = conflicts.into_iter().find(|(holds, _)| *holds);
        found.map(|(_, why)| why)
    }
}
