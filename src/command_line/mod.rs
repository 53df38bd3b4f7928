//! What the two programs have in common: arguments, the log, signals.

pub mod arguments;
pub mod duration;
pub mod logging;
pub mod signals;
