//! How a node follows its corrections.

use chrono::TimeDelta;

use crate::discipline::line::Rate;

/// In how many of its first rounds a node may step, if nothing else is said.
pub const STEP_ROUNDS: u32 = 3;

/// Above this a node steps in its first rounds, if nothing else is said.
pub const STEP_THRESHOLD: TimeDelta = TimeDelta::seconds(1);

/// The same where others than this program read the clock: the operating system's, which is read for
/// the first time by programs that are started after this one, or one that is served to clients of
/// NTP, which a slew would lead astray that begins when the program does.
pub const SHARED_STEP_THRESHOLD: TimeDelta = TimeDelta::milliseconds(10);

/// The largest rate of a clock that is learned or asked for, either way, in ppm of its raw clock:
/// as much as the kernel's clock can be made to gain.
pub const LARGEST_RATE_PPM: f64 = 500.0;

/// The same where a clock may pretend to drift, by 10,000 ppm at most.
pub const LARGEST_SIMULATED_RATE_PPM: f64 = 12_000.0;

/// How a node follows its corrections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steering {
    /// A correction above this, in one of the first `step_rounds`, is made in one step.
    pub step_threshold: TimeDelta,
    /// In how many of its first rounds the clock may step.
    pub step_rounds: u32,
    /// Once the clock has been corrected, a correction above this is refused, and so is one that
    /// would move it further than this in a day: something is wrong that no clock should follow.
    /// `None` refuses none.
    pub panic_threshold: Option<TimeDelta>,
    /// The raw clock shows the group's time when it is first read, as an earlier run has left it:
    /// the panic threshold holds from the first correction on.
    pub knows_the_time: bool,
    /// No rate beyond this is learned, or taken from a master however often it asks, either way, in
    /// ppm.
    pub largest_rate_ppm: f64,
    /// Whether the rate is learned and compensated. Without it clocks drift apart between rounds.
    pub drift: bool,
    /// What is known of the rate beforehand.
    pub rate: Rate,
}

impl Default for Steering {
    /// Steps above 1 s, refuses nothing, learns the rate, knows nothing of it.
    fn default() -> Self {
        Self {
            step_threshold: STEP_THRESHOLD,
            step_rounds: STEP_ROUNDS,
            panic_threshold: None,
            knows_the_time: false,
            largest_rate_ppm: LARGEST_RATE_PPM,
            drift: true,
            rate: Rate::UNKNOWN,
        }
    }
}
