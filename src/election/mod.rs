//! Who leads, and whom a follower follows.

pub mod allegiance;
pub mod ancestry;
pub mod candidate;
pub mod candidates;
pub mod rules;
pub mod steps;
pub mod term;
