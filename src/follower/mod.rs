//! The follower's threads.

pub mod handle;
pub mod lines;
