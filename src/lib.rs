//! Keeps the clocks of an isolated group of machines in agreement when no machine has a time
//! source to trust: the algorithm of Gusella and Zatti, *The Accuracy of the Clock
//! Synchronization Achieved by TEMPO in Berkeley UNIX 4.3BSD* (1989).
//!
//! A master asks every clock for its time, averages, and sends each one its correction; a
//! follower answers and corrects its clock.
//!
//! | room | what is in it |
//! | --- | --- |
//! | [`timestamp`] | the timestamp wire: what the Python programs speak |
//! | [`protocol`] | the line protocol: what our own programs speak |
//! | [`sample`] | one measurement of another clock |
//! | [`average`] | the averaging math: who agrees, and on what |
//! | [`standing`] | who deserves a vote: a clock that follows its corrections |
//! | [`drift`], [`drift_file`] | a clock's rate against the network, and how it is kept |
//! | [`clock`] | clocks that are only read: the machine's, and simulated ones |
//! | [`discipline`], [`network_clock`] | a clock that follows its corrections: network time, and how it is read |
//! | [`steer`], [`system_clock`] | how the operating system's clock is kept at it, on request |
//! | [`election`], [`allegiance`], [`candidates`] | which of several masters leads, and which one a follower follows |
//! | [`ensemble`] | the master's memory: a round in, corrections out |
//! | [`master`], [`follower`] | threads and sockets |
//! | [`report`], [`record`] | a round for people, and for programs |
//! | [`arguments`], [`address`], [`human`], [`signals`], [`logging`] | the command line |
//!
//! Signs: an offset is positive when the other clock is ahead of ours; a correction is what a
//! clock must add; a rate is in ppm, positive when it gains.

mod acceptor;
pub mod address;
mod admission;
pub mod allegiance;
pub mod arguments;
pub mod average;
mod candidacy;
mod candidate;
pub mod candidates;
pub mod clock;
mod connection;
mod coordinator;
pub mod discipline;
pub mod drift;
pub mod drift_file;
pub mod election;
pub mod ensemble;
pub mod follower;
#[cfg(test)]
mod fuzz;
pub mod human;
mod lock;
pub mod logging;
mod mailbox;
pub mod master;
pub mod network_clock;
mod peer;
mod polling;
pub mod protocol;
pub mod record;
pub mod report;
pub mod sample;
mod session;
mod shared;
pub mod signals;
pub mod standing;
pub mod steer;
pub mod system_clock;
mod throttle;
pub mod timestamp;

/// The port of the Python programs, and ours.
pub const DEFAULT_PORT: u16 = 8080;

/// From one round, or one report, to the next.
pub const DEFAULT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);
