//! What the two programs have in common: arguments, the log, signals.

pub mod arguments;
pub mod logging;
pub mod program;
pub mod runtime_folder;
pub mod signals;
pub mod values;
