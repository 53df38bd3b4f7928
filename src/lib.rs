//! Keeps the clocks of an isolated group of machines in agreement when no machine has a time
//! source to trust: Berkeley's algorithm (Gusella and Zatti, *The Accuracy of the Clock
//! Synchronization Achieved by TEMPO in Berkeley UNIX 4.3BSD*, 1989).
//!
//! A master asks every clock for its time, averages those that agree, and sends each clock its
//! correction. A follower answers and corrects its clock. The two programs of this package,
//! `berkeley-master` and `berkeley-follower`, are thin shells around this library; any program can
//! be a master or a follower too.
//!
//! # A follower in your program
//!
//! ```no_run
//! use berkeley::{Address, Follower, FollowerEvent, FollowerOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One master, or several candidates of which one leads.
//! let masters = [Address::new("10.0.0.1", 8080)];
//! let follower = Follower::connect(masters, FollowerOptions::default())?;
//!
//! // The group's time, readable from any thread as long as the follower lives.
//! let clock = follower.clock();
//! let now = clock.now();
//! match now.error {
//!     Some(error) => println!("{} ± {} ns", now.time, error.num_nanoseconds().unwrap_or(i64::MAX)),
//!     None => println!("{}: nobody knows yet how wrong this is", now.time),
//! }
//!
//! // What happens meanwhile, for whoever wants to know.
//! while let Some(event) = follower.next_event() {
//!     if let FollowerEvent::Synchronized { correction, .. } = event {
//!         println!("corrected by {correction}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A thread of the follower's own keeps the clock right. It connects again when the connection is
//! lost, and keeps time at the rate that it has learned while there is no master.
//! [`NetworkTime::error`] says how wrong the time may be. The machine's own clock is only read,
//! unless [`FollowerOptions::system_clock`] asks for more.
//!
//! # A master in your program
//!
//! ```no_run
//! use berkeley::{Master, MasterEvent, MasterOptions};
//!
//! # fn main() -> Result<(), berkeley::MasterError> {
//! let master = Master::start(MasterOptions::default())?; // listens on 0.0.0.0:8080
//! while let Some(event) = master.next_event() {
//!     if let MasterEvent::Round(round) = event {
//!         println!("{round}");
//!     }
//! }
//! master.finish()
//! # }
//! ```
//!
//! # The time for others
//!
//! [`NtpServer`] serves the time of a master's or a follower's clock to whoever speaks NTP.
//!
//! # The arithmetic alone
//!
//! [`consensus`] is the averaging math, [`Sample`] a measurement as it takes it, and [`timestamp`]
//! the wire format of the Python programs. They need neither a thread nor a socket.
//!
//! # Signs and units
//!
//! An offset is positive when the other clock is ahead of ours. A correction is what a clock must
//! add. A rate is in ppm, and positive when a clock gains. Times are [`chrono::DateTime`] in UTC,
//! spans [`chrono::TimeDelta`].
//!
//! # Features
//!
//! `cli`, on by default, has what only the two programs need: their arguments, the log on stderr,
//! signals. A library user leaves it out with `default-features = false`. The library logs through
//! the crate `log`.

mod average;
mod clock;
#[cfg(feature = "cli")]
mod command_line;
mod discipline;
mod election;
mod follower;
#[cfg(test)]
mod fuzz;
mod kept_file;
mod keys;
mod lock;
mod master;
mod measurement;
mod ntp;
mod rate_limit;
mod regular_file;
mod report;
mod span;
mod system_clock;
mod wire;

pub use average::consensus::{Consensus, NoMajority, Rules, consensus};
pub use average::round::{NodeId, Round, Row, Vote, Wire};
pub use average::told::Untold;
pub use clock::{Clock, Simulation};
pub use discipline::correction::Applied;
pub use discipline::drift_file::DriftFile;
pub use discipline::line::Rate;
pub use discipline::network_clock::NetworkClock;
pub use discipline::steering::Steering;
pub use discipline::told::NetworkTime;
pub use election::candidates::Candidates;
pub use follower::error::FollowerError;
pub use follower::event::FollowerEvent;
pub use follower::handle::{Follower, FollowerStopper};
pub use follower::options::{FollowerOptions, WireChoice};
pub use follower::status::FollowerObserver;
pub use kept_file::KeptFileError;
pub use keys::auth::Auth;
pub use keys::credentials::Credentials;
pub use master::error::MasterError;
pub use master::event::MasterEvent;
pub use master::handle::{Master, MasterStopper};
pub use master::operator::Operator;
pub use master::options::{DEFAULT_BURST, MasterOptions};
pub use master::order::{Done, Order, OrderError};
pub use master::state_file::StateFile;
pub use master::status::MasterObserver;
pub use measurement::sample::{Impossible, ONE_WAY_ERROR, Sample};
pub use ntp::answer::NtpOptions;
pub use ntp::server::{NtpObserver, NtpServer, NtpServerError};
pub use report::record::Record;
pub use report::status;
pub use system_clock::clockbound::ClockBound;
pub use system_clock::keeper::SystemClock;
pub use system_clock::kernel::Error as SystemClockError;
pub use system_clock::segment::SegmentError;
pub use wire::address::{Address, AddressError, DEFAULT_PORT};
pub use wire::candidate::{Leader, Leadership, Rank, Term};
pub use wire::correction::Correction;
pub use wire::message::{DEFAULT_INTERVAL, INTERVALS, LARGEST_BURST};
pub use wire::name::{NodeName, NotAName};
pub use wire::timestamp;

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
    pub mod keys {
        pub use crate::keys::*;
    }
    pub mod master {
        pub use crate::master::*;
    }
    pub mod measurement {
        pub use crate::measurement::*;
    }
    pub mod ntp {
        pub use crate::ntp::*;
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
