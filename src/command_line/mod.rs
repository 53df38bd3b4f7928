//! What the two programs have in common: arguments, the log, signals.

pub mod arguments;
pub mod asking;
pub mod logging;
pub mod program;
pub mod questions;
pub mod runtime_folder;
pub mod signals;
pub mod status_socket;
pub mod values;
