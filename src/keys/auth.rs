//! Whether peers without a key are served by a master that has one.

use std::fmt;

/// What a master with a key does with followers that have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Auth {
    /// They are served, vote, and are named in the log: to find out who has no key yet.
    Observe,
    /// They are served, and vote only where those with a key are no majority.
    Prefer,
    /// They are turned away.
    #[default]
    Require,
}

impl fmt::Display for Auth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Observe => "observe",
            Self::Prefer => "prefer",
            Self::Require => "require",
        })
    }
}
