//! Trees of groups in virtual time.

pub mod group;
pub mod measured;
