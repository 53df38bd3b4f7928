//! A clock that follows its corrections.

pub mod correction;
pub mod drift_file;
pub mod line;
pub mod network_clock;
pub mod rate;
