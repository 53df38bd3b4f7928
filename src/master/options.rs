//! What a master needs to know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;

use crate::average::consensus::Rules;
use crate::average::reference::SLEW_PPM;
use crate::clock::Simulation;
use crate::discipline::drift_file::DriftFile;
use crate::discipline::steering::Steering;
use crate::election::candidates::Candidates;
use crate::keys::auth::Auth;
use crate::master::error::MasterError;
use crate::master::state_file::StateFile;
use crate::report::record::Record;
use crate::system_clock::keeper::SystemClock;
use crate::wire::address::Address;
use crate::wire::message::{INTERVALS, LARGEST_BURST};
use crate::wire::name::NodeName;

/// How many polls a round takes of each follower, if nothing else is said.
pub const DEFAULT_BURST: u32 = 8;

/// What a master needs to know.
#[derive(Debug)]
pub struct MasterOptions {
    /// What this machine is called, in one word of up to 64 characters, where it follows another
    /// candidate: its host name if nothing else is said. In its own rounds it is `master`.
    pub name: Option<NodeName>,
    /// Where followers connect; port 0 picks a free one.
    pub listen: SocketAddr,
    /// From one round to the next: 10 ms to a day, see [`INTERVALS`].
    pub interval: Duration,
    /// How many polls a round takes of each follower, of which the best counts: 1 to
    /// [`LARGEST_BURST`].
    pub burst: u32,
    /// Measure, average and tell, but correct nobody.
    pub dry_run: bool,
    /// The first round waits for so many followers.
    pub min_followers: usize,
    /// So many connections at most: one more is turned away.
    pub max_followers: usize,
    /// So many from one address (IPv6: one network of 64 bits) at most, at a time and as new ones in
    /// a second.
    pub max_per_address: usize,
    /// So many votes have the connections from one IPv4 address, or IPv6 network of 64 bits,
    /// together. Those from this machine have one each.
    pub votes_per_address: usize,
    /// The master of a group below counts as so many clocks at most, whatever it says, unless it is
    /// one of `trust_weight`.
    pub max_weight: u32,
    /// The masters of groups below that count as what they say: their names, proven with keys.
    pub trust_weight: Vec<NodeName>,
    /// The masters of the group above this one, if there is one: of those, one is followed.
    pub parents: Vec<Address>,
    /// The file with this master's key in the group above.
    pub parent_key_file: Option<PathBuf>,
    /// The masters that may lead, if this one is not the only one.
    pub candidates: Option<Candidates>,
    /// The file with the group's secrets, if it has any: who holds no key of the group is turned away,
    /// unless `auth` or `serve_timestamps` says otherwise.
    pub key_file: Option<PathBuf>,
    /// With a key file: what becomes of followers without a key.
    pub auth: Auth,
    /// With a key file: tell the time to clients of the timestamp wire, which can have no key.
    pub serve_timestamps: bool,
    /// Which clocks vote.
    pub rules: Rules,
    /// How the master follows its own corrections.
    pub steering: Steering,
    /// Stop after so many rounds.
    pub rounds: Option<u64>,
    /// How wrong this machine's clock pretends to be.
    pub simulation: Simulation,
    /// To what error this machine's own clock is right, if it is a reference: the group is led
    /// towards it.
    pub reference: Option<TimeDelta>,
    /// The fastest that the group is led towards references, in ppm; 0 leads it nowhere.
    pub reference_slew_ppm: f64,
    /// The operating system's clock, if it is to follow the network.
    pub system_clock: Option<SystemClock>,
    /// Where rounds are recorded.
    pub record: Option<Record>,
    /// Where the clock's rate is kept for the next run.
    pub drift_file: Option<DriftFile>,
    /// Where it is kept for the next run which clocks the group has. With one that names clocks, the
    /// first round waits until most of them are here and agree, for at most 10 s.
    pub state_file: Option<StateFile>,
}

impl Default for MasterOptions {
    /// What the command line has without any flag.
    fn default() -> Self {
        Self {
            name: None,
            listen: SocketAddr::new(
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                crate::wire::address::DEFAULT_PORT,
            ),
            interval: crate::wire::message::DEFAULT_INTERVAL,
            burst: DEFAULT_BURST,
            dry_run: false,
            min_followers: 1,
            // A thread is four mappings, and Linux allows a process 65,530 unless told otherwise;
            // std aborts the process when it gets a stack and not its guard.
            max_followers: 16_000,
            max_per_address: 256,
            votes_per_address: 1,
            max_weight: 1,
            trust_weight: Vec::new(),
            parents: Vec::new(),
            parent_key_file: None,
            candidates: None,
            key_file: None,
            auth: Auth::default(),
            serve_timestamps: false,
            rules: Rules::default(),
            steering: Steering::default(),
            rounds: None,
            simulation: Simulation::NONE,
            reference: None,
            reference_slew_ppm: SLEW_PPM,
            system_clock: None,
            record: None,
            drift_file: None,
            state_file: None,
        }
    }
}

impl MasterOptions {
    /// Whether a master can keep to these.
    ///
    /// # Errors
    /// [`MasterError::Interval`], [`MasterError::Burst`].
    pub(crate) fn check(&self) -> Result<(), MasterError> {
        if !INTERVALS.contains(&self.interval) {
            return Err(MasterError::Interval(self.interval));
        }
        if !(1..=LARGEST_BURST).contains(&self.burst) {
            return Err(MasterError::Burst(self.burst));
        }
        Ok(())
    }
}
