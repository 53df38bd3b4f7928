//! Who leads, and whom a follower follows.

pub mod allegiance;
pub mod candidates;
pub mod rules;
