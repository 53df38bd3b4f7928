//! Keeps the clocks of an isolated group of machines in agreement when no machine has a time
//! source to trust: the algorithm of Gusella and Zatti, *The Accuracy of the Clock
//! Synchronization Achieved by TEMPO in Berkeley UNIX 4.3BSD* (1989).
//!
//! A master asks every clock for its time, averages, and sends each one its correction; a
//! follower answers and corrects its clock.
//!
//! Signs: an offset is positive when the other clock is ahead of ours; a correction is what a
//! clock must add; a rate is in ppm, positive when it gains.

mod average;
mod clock;
#[cfg(feature = "cli")]
mod command_line;
mod discipline;
mod election;
mod follower;
#[cfg(test)]
mod fuzz;
mod lock;
mod master;
mod measurement;
mod rate_limit;
mod report;
mod span;
mod system_clock;
mod wire;

pub use discipline::network_clock::NetworkClock;
pub use follower::handle::{Follower, FollowerEvent, FollowerOptions, FollowerStopper, WireChoice};
pub use master::error::MasterError;
pub use master::event::MasterEvent;
pub use master::handle::{Master, MasterStopper};
pub use master::options::{DEFAULT_BURST, MasterOptions};
pub use wire::address::{Address, DEFAULT_PORT};
pub use wire::message::DEFAULT_INTERVAL;

/// The rooms behind the face, for this project's own programs, tests and benches. Nothing here is
/// stable.
#[doc(hidden)]
pub mod internals {
    pub mod average {
        pub use crate::average::*;
    }
    pub mod clock {
        pub use crate::clock::*;
    }
    #[cfg(feature = "cli")]
    pub mod command_line {
        pub use crate::command_line::*;
    }
    pub mod discipline {
        pub use crate::discipline::*;
    }
    pub mod election {
        pub use crate::election::*;
    }
    pub mod follower {
        pub use crate::follower::*;
    }
    pub mod master {
        pub use crate::master::*;
    }
    pub mod measurement {
        pub use crate::measurement::*;
    }
    pub mod report {
        pub use crate::report::*;
    }
    pub mod span {
        pub use crate::span::*;
    }
    pub mod system_clock {
        pub use crate::system_clock::*;
    }
    pub mod wire {
        pub use crate::wire::*;
    }
}
