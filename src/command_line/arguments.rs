//! What the two command lines have in common.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;

use crate::average::consensus::Rules;
use crate::clock::Simulation;
use crate::command_line::files::{Named, named};
use crate::command_line::local_clients::{LocalClients, Others};
use crate::command_line::ntp::Ntp;
use crate::command_line::values;
use crate::discipline::drift_file::DriftFile;
use crate::discipline::steering::{
    LARGEST_RATE_PPM, LARGEST_SIMULATED_RATE_PPM, SHARED_STEP_THRESHOLD, STEP_ROUNDS,
    STEP_THRESHOLD, Steering,
};
use crate::election::candidates::Candidates;
use crate::report::record::{Record, RecordError};
use crate::system_clock::clockbound::ClockBound;
use crate::system_clock::keeper::SystemClock;
use crate::wire::address::Address;
use crate::wire::name::NodeName;

/// Which clock is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Steer {
    /// Only the one inside the program.
    None,
    /// The operating system's.
    System,
}

/// The flags that both programs have.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Time between rounds (master), or between reports on the timestamp wire (follower): 500ms, 5s, 1m
    #[arg(long, value_name = "DURATION", default_value = "5s", allow_hyphen_values = true, value_parser = values::interval)]
    pub interval: Duration,

    /// What to call this machine in tables, records and logs [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<NodeName>,

    /// Stop, in order, after N rounds (master) or N corrections (follower) [default: for ever]
    #[arg(long, value_name = "N", value_parser = values::rounds)]
    pub rounds: Option<u64>,

    /// Pretend that this machine's clock is off by so much: -14m, +20m, 1.5s
    #[arg(long, value_name = "DURATION", default_value = "0s", allow_hyphen_values = true, value_parser = values::offset)]
    simulate_offset: TimeDelta,

    /// Pretend that this machine's clock gains so many parts per million: 100, -50ppm
    #[arg(long, value_name = "PPM", default_value = "0ppm", allow_hyphen_values = true, value_parser = values::drift_ppm)]
    simulate_drift: f64,

    /// Make a correction above this in one step, in the first rounds (--step-rounds); slew all others
    /// [default: 1s, or 10ms with --steer system or --serve-ntp]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = values::threshold)]
    step_threshold: Option<TimeDelta>,

    /// Step in so many of the first rounds at most
    #[arg(long, value_name = "N", default_value_t = STEP_ROUNDS)]
    step_rounds: u32,

    /// Which clock to correct: only the one inside this program, or the operating system's
    #[arg(long, value_name = "CLOCK", default_value = "none")]
    steer: Steer,

    /// Refuse a correction of the system's clock above this, by itself or in sum with the others of
    /// one day; not the first one, unless the last run has left the clock right (--drift-file)
    #[arg(long, value_name = "DURATION", default_value = "1000s", allow_hyphen_values = true, value_parser = values::threshold)]
    panic_threshold: TimeDelta,

    /// This machine's own clock is right, to this error: lead the group towards it. It is not
    /// steered then
    #[arg(long, value_name = "ERROR", num_args = 0..=1, require_equals = true, default_missing_value = "1ms", value_parser = values::reference)]
    pub reference: Option<TimeDelta>,

    #[command(flatten)]
    clients: LocalClients,

    /// Only undo what a program that was killed has left of a slew of the system's clock, and end
    #[arg(long)]
    pub mend_clock: bool,

    /// Keep what was learned of this clock's rate in FILE, for the next start [default: none]
    #[arg(long, value_name = "FILE")]
    drift_file: Option<PathBuf>,

    /// Write one line of CSV for each clock and round to FILE [default: none]
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "its own documentation tells what it is")]
    pub ntp: Ntp,
}

impl Common {
    /// The record, if one was asked for.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn record(&self) -> Result<Option<Record>, RecordError> {
        self.record.as_deref().map(Record::open).transpose()
    }

    /// The files that it names.
    pub(crate) fn files(&self) -> Vec<Named<'_>> {
        named(&[
            ("--record", self.record.as_deref()),
            ("--drift-file", self.drift_file()),
            ("--clockbound", self.clients.clockbound()),
            ("--chrony-socket", self.clients.chrony_socket()),
        ])
    }

    /// Where the rate is kept, if it is.
    pub(crate) fn drift_file(&self) -> Option<&Path> {
        self.drift_file.as_deref()
    }

    /// How wrong this machine's clock pretends to be.
    #[must_use]
    pub fn simulation(&self) -> Simulation {
        Simulation {
            offset: self.simulate_offset,
            drift_ppm: self.simulate_drift,
        }
    }

    /// Which flags don't go together, if any. `only_told` says that this clock will be told the
    /// time and never corrected.
    #[must_use]
    pub fn conflict(&self, only_told: bool) -> Option<&'static str> {
        let reference = (only_told && self.reference.is_some())
            .then_some("--reference does not go with --wire timestamp: timestamps lead nobody");
        let ntp = (only_told && self.ntp.is_served()).then_some(
            "--serve-ntp does not go with --wire timestamp: timestamps don't tell how wrong the \
             time may be, so no client could be told it",
        );
        let clients = self.clients.conflict(&Others {
            steers: self.steer == Steer::System,
            pretends: self.simulation() != Simulation::NONE,
            only_told,
            reference: self.reference.is_some(),
        });
        let steering = self.steering_conflict(only_told);
        reference.or(ntp).or(steering).or(clients)
    }

    fn steering_conflict(&self, only_told: bool) -> Option<&'static str> {
        if self.steer == Steer::None {
            return None;
        }
        let pretends = self.simulation() != Simulation::NONE;
        let pretends = pretends.then_some(
            "--steer system does not go with --simulate-offset or --simulate-drift: a clock that \
             pretends must not set a real one",
        );
        let only_told = only_told.then_some(
            "--steer system does not go with --wire timestamp: timestamps correct nothing",
        );
        pretends.or(only_told)
    }

    /// Whether others than this program read the clock that is corrected.
    fn is_shared(&self) -> bool {
        self.steer == Steer::System || self.ntp.is_served()
    }

    /// The largest rate that is believed of this clock.
    fn largest_rate_ppm(&self) -> f64 {
        if self.simulate_drift == 0.0 {
            LARGEST_RATE_PPM
        } else {
            LARGEST_SIMULATED_RATE_PPM
        }
    }

    /// How corrections are followed: the rules, where the rate is kept, and the system's clock if
    /// that is to follow too. With `dry_run` it is not touched.
    ///
    /// # Errors
    /// When the system's clock can't be steered, or the rate could not be kept.
    pub fn steering(&self, dry_run: bool) -> anyhow::Result<Steered> {
        let mut steering = Steering {
            step_threshold: self.step_threshold.unwrap_or(if self.is_shared() {
                SHARED_STEP_THRESHOLD
            } else {
                STEP_THRESHOLD
            }),
            step_rounds: self.step_rounds,
            largest_rate_ppm: self.largest_rate_ppm(),
            ..Steering::default()
        };
        let mut system_clock = None;
        if self.steer == Steer::System && self.reference.is_some() {
            log::info!("this machine's clock is a reference, so --steer system leaves it alone");
        }
        let steers = self.steer == Steer::System && self.reference.is_none();
        if (steers || self.mend_clock) && !dry_run {
            let mut system = SystemClock::open()?;
            steering.panic_threshold = Some(self.panic_threshold);
            steering.rate.ppm = system.frequency_ppm();
            if let Some(told) = self.clients.clockbound().filter(|_| steers) {
                system = system.telling(ClockBound::open(told)?);
            }
            system_clock = Some(system);
        } else if let Some(socket) = self.clients.chrony_socket().filter(|_| !dry_run) {
            system_clock = Some(SystemClock::kept_by_chronyd(socket)?);
        }
        let mut drift_file = None;
        if let Some(path) = &self.drift_file {
            let (file, kept) = DriftFile::open(path, steering.largest_rate_ppm)?;
            if let (Some(kept), Some(system)) = (kept, &mut system_clock) {
                system.restore_frequency(kept.ppm)?;
                // There is a drift file, so it was a run of ours that has left the clock so.
                steering.knows_the_time = system.is_synchronized();
            }
            steering.rate = kept.unwrap_or(steering.rate);
            drift_file = Some(file);
        }
        Ok(Steered {
            steering,
            drift_file,
            system_clock,
        })
    }
}

/// How corrections are to be followed.
#[derive(Debug)]
pub struct Steered {
    /// The rules.
    pub steering: Steering,
    /// Where the rate is kept.
    pub drift_file: Option<DriftFile>,
    /// The system's clock, if that is to follow.
    pub system_clock: Option<SystemClock>,
}

/// The flags on who votes, of a master and of whoever replays its record.
#[derive(Debug, clap::Args)]
pub struct Voting {
    /// How far from the median a clock may be and still vote
    /// [default: automatic, three standard deviations of the clocks and at least 1ms]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = values::tolerance)]
    tolerance: Option<TimeDelta>,

    /// How far from the median a clock may be and still vote, whatever the tolerance
    #[arg(long, value_name = "DURATION", default_value = "24h", allow_hyphen_values = true, value_parser = values::largest_offset)]
    max_offset: TimeDelta,
}

impl Voting {
    /// Which clocks vote.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            tolerance: self.tolerance,
            max_offset: self.max_offset,
        }
    }
}

/// The master's flags on how many followers there are.
#[derive(Debug, clap::Args)]
pub struct Followers {
    /// Hold no round before so many followers have joined and reported a clock
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub min_followers: u32,

    /// Turn away connections beyond so many
    #[arg(long, value_name = "N", default_value_t = 16000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_followers: u32,

    /// Turn away connections beyond so many from one address, at a time or new ones in a second
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_per_address: u32,

    /// Let the clocks that connect from one address, or one IPv6 network of 64 bits, have so many
    /// votes together; each clock on the master's own machine has one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub votes_per_address: u32,
}

impl Followers {
    /// Which flags don't go together, if any.
    #[must_use]
    pub fn conflict(&self) -> Option<&'static str> {
        (self.min_followers > self.max_followers)
            .then_some("--min-followers is more than --max-followers lets in")
    }
}

/// The master's flags on who leads.
#[derive(Debug, clap::Args)]
pub struct Election {
    /// The masters of which one leads, in one order for all: A:8080,B:8080,C:8080
    /// [default: this one alone]
    #[arg(long, value_name = "ADDR,...", value_delimiter = ',', value_parser = values::candidate)]
    candidates: Vec<Address>,

    /// Which of the candidates this master is [default: the one that listens here]
    #[arg(long, value_name = "ADDR")]
    advertise: Option<Address>,
}

impl Election {
    /// The candidates, as they were named.
    pub(crate) fn named(&self) -> &[Address] {
        &self.candidates
    }

    /// The candidates, if there are any, and which of them we are.
    ///
    /// # Errors
    /// A sentence that names the flag to change.
    pub fn candidates(
        &self,
        listen: SocketAddr,
        dry_run: bool,
    ) -> Result<Option<Candidates>, String> {
        if dry_run && !self.candidates.is_empty() {
            let why = "--dry-run does not go with --candidates: a leader that corrects nobody \
                       leaves the group without one";
            return Err(why.to_owned());
        }
        if self.candidates.is_empty() {
            return match &self.advertise {
                None => Ok(None),
                Some(_) => Err("--advertise goes with --candidates only".to_owned()),
            };
        }
        let list = self.candidates.clone();
        let candidates = Candidates::new(list, listen, self.advertise.as_ref());
        candidates.map(Some).map_err(|error| error.to_string())
    }
}

/// Ends the program with a sentence about arguments that don't go together, and how it is used.
pub fn refuse(command: &mut clap::Command, why: &str) -> ! {
    let kind = clap::error::ErrorKind::ArgumentConflict;
    command.error(kind, why).exit()
}
