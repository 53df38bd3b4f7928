//! The operating system's clock, kept with the network on request, and who is told of it.

pub mod bound;
pub mod chronyd;
pub mod clockbound;
pub mod following;
pub mod hands;
pub mod keeper;
pub mod kernel;
pub mod look;
pub mod oscillator;
pub mod segment;
pub mod servo;
pub mod speed;
