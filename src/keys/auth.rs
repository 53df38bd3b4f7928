//! Whether peers without a key are served by a master that has one.

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
