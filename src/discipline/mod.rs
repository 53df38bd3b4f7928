//! A clock that follows its corrections.

pub mod correction;
pub mod drift_file;
pub mod line;
mod moved;
pub mod network_clock;
pub mod rate;
pub mod told;
