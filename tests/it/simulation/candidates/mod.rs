//! The simulation of several candidates.

pub mod candidate;
pub mod client;
pub mod clock;
pub mod faults;
pub mod links;
pub mod observer;
pub mod steps;
pub mod world;
