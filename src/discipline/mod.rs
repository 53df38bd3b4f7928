//! A clock that follows its corrections.

pub mod above;
pub mod correction;
pub mod drift_file;
pub mod handed_down;
pub mod line;
mod moved;
pub mod network_clock;
mod noise;
pub mod rate;
pub mod steering;
mod surprise;
pub mod told;
