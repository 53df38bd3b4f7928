//! What a running program says of itself when it is asked: one document, which becomes the JSON of
//! its socket and of `/status.json`. `docs/status.md` describes every field.
//!
//! A name tells its unit: `_ns` nanoseconds, `_s` seconds, `_ppm` parts per million. Ages are
//! counted from the moment of the document. Fields are only ever added; what is unknown is `null`.

pub mod clock;
pub mod round;
pub mod tree;

use serde::{Deserialize, Serialize};

pub use crate::report::status::tree::TreeStatus;

/// The version of the document. It changes when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The program that a master's document names.
pub const MASTER: &str = "berkeley-master";

/// The program that a follower's document names.
pub const FOLLOWER: &str = "berkeley-follower";

/// What a master or a follower says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Status {
    /// A master's.
    Master(Box<MasterStatus>),
    /// A follower's.
    Follower(Box<FollowerStatus>),
}

impl Status {
    /// The program's own clock.
    #[must_use]
    pub fn clock(&self) -> &ClockStatus {
        match self {
            Self::Master(status) => &status.clock,
            Self::Follower(status) => &status.clock,
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &ProcessStatus {
        match self {
            Self::Master(status) => &status.process,
            Self::Follower(status) => &status.process,
        }
    }

    /// The same, of a program that has such an NTP server.
    #[must_use]
    pub fn serving(mut self, ntp: Option<NtpStatus>) -> Self {
        match &mut self {
            Self::Master(status) => status.ntp = ntp,
            Self::Follower(status) => status.ntp = ntp,
        }
        self
    }
}

/// What a master says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MasterStatus {
    /// [`VERSION`].
    pub version: u32,
    /// [`MASTER`].
    pub program: String,
    /// The process.
    pub process: ProcessStatus,
    /// Where followers connect.
    pub listen: String,
    /// From one round to the next.
    pub interval_s: f64,
    /// Whether nobody is corrected.
    pub dry_run: bool,
    /// What is asked of followers, where there are keys.
    pub keys: Option<KeysStatus>,
    /// The master's own clock.
    pub clock: ClockStatus,
    /// Who leads.
    pub lead: LeadStatus,
    /// The groups above, and what this one is to them; `None` in a record that is replayed.
    pub tree: Option<TreeStatus>,
    /// The last round, if there was one.
    pub round: Option<RoundStatus>,
    /// What this master was told last by the one that it follows.
    pub correction: Option<CorrectionStatus>,
    /// The master's own clock and that of every follower which is here.
    pub clocks: Vec<GroupClock>,
    /// What was counted since the start.
    pub counters: MasterCounters,
    /// Its NTP server, where a program has one.
    #[serde(default)]
    pub ntp: Option<NtpStatus>,
}

/// What a follower says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FollowerStatus {
    /// [`VERSION`].
    pub version: u32,
    /// [`FOLLOWER`].
    pub program: String,
    /// The process.
    pub process: ProcessStatus,
    /// The master that it follows; `None` while there is none.
    pub master: Option<String>,
    /// The term that the master leads in, where there are candidates.
    pub term: Option<u64>,
    /// The follower's own clock.
    pub clock: ClockStatus,
    /// The last correction.
    pub correction: Option<CorrectionStatus>,
    /// What was counted since the start.
    pub counters: FollowerCounters,
    /// Its NTP server, where a program has one.
    #[serde(default)]
    pub ntp: Option<NtpStatus>,
}

/// The keys of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeysStatus {
    /// What becomes of followers without a key: `require`, `prefer` or `observe`.
    pub auth: String,
    /// The generations in use, the newest first.
    pub generations: Vec<u32>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessStatus {
    /// Its number.
    pub id: u32,
    /// The version of the program.
    pub release: String,
    /// What the machine is called.
    pub name: Option<String>,
    /// The group's time, as the program knows it, at the moment of the document: RFC 3339, UTC.
    pub time: String,
    /// For how long it has run.
    pub uptime_s: f64,
}

/// A program's own clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClockStatus {
    /// Whether it has followed a correction since the start.
    pub synchronized: bool,
    /// How wrong the group's time may be, as it is known here, by the end of the last slew.
    pub error_ns: Option<i64>,
    /// How far the clock that is corrected still has to go, positive when it is behind: the reading or,
    /// where the system's clock is steered, that.
    pub slew_left_ns: i64,
    /// By how much the group's time gains on the clock's own oscillator.
    pub rate_ppm: f64,
    /// One standard deviation of that.
    pub rate_error_ppm: f64,
    /// For how long nobody has corrected the clock: holdover.
    pub holdover_s: Option<f64>,
    /// How many steps were made.
    pub steps: u64,
    /// Which clock is corrected: `none` for the one inside the program alone, or `system`.
    pub steer: String,
}

#[cfg(feature = "cli")]
impl ClockStatus {
    /// A clock of which nothing is known but whether it has followed a correction.
    pub(crate) fn unread(synchronized: bool) -> Self {
        Self {
            synchronized,
            error_ns: None,
            slew_left_ns: 0,
            rate_ppm: 0.0,
            rate_error_ppm: 0.0,
            holdover_s: None,
            steps: 0,
            steer: "none".to_owned(),
        }
    }
}

#[cfg(feature = "cli")]
impl ClockStatus {
    /// How wrong the clock may be that applications read, what is left of a slew included; `None`
    /// while nobody can tell.
    #[must_use]
    pub fn reading_error_ns(&self) -> Option<u64> {
        let slew = self.slew_left_ns.unsigned_abs();
        let error = self.error_ns.map(i64::unsigned_abs);
        error.map(|error| error.saturating_add(slew))
    }
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeadStatus {
    /// What this master does: `leads`, `follows`, or `seeks` while there is no leader.
    pub role: String,
    /// The leader's address; `None` where this master leads without candidates, or nobody does.
    pub leader: Option<String>,
    /// The term, where there are candidates.
    pub term: Option<u64>,
    /// For how long this has been so.
    pub since_s: f64,
    /// The candidates, in their order.
    pub candidates: Vec<CandidateStatus>,
}

/// One of several masters that may lead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CandidateStatus {
    /// Its address.
    pub address: String,
    /// Whether it is here.
    pub present: bool,
    /// Whether it is the master that says so.
    pub own: bool,
}

/// A round. Offsets are counted from the master's clock as it was before the round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoundStatus {
    /// Counted from 1.
    pub number: u64,
    /// How long ago it ended.
    pub ago_s: f64,
    /// How many clocks took part.
    pub clocks: usize,
    /// How many of them voted.
    pub votes: usize,
    /// Why nobody was corrected; `None` when there was a majority.
    pub abandoned: Option<String>,
    /// The group's time.
    pub average_ns: Option<i64>,
    /// How wrong that may be.
    pub error_ns: Option<i64>,
    /// The median of all offsets.
    pub median_ns: Option<i64>,
    /// How far from the median a clock votes.
    pub window_ns: Option<i64>,
    /// How many references there are.
    #[serde(default)]
    pub references: usize,
    /// How many of them are followed.
    #[serde(default)]
    pub references_followed: usize,
    /// How far their median is ahead of the group.
    pub reference_ahead_ns: Option<i64>,
    /// How much faster the group runs, on their account, than its clocks do on average.
    pub led_ppm: Option<f64>,
}

/// A clock of the group: what is known of it since the last round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupClock {
    /// What it is called.
    pub name: String,
    /// Where it connects from; `None` for the master.
    pub address: Option<String>,
    /// How it speaks: `line` or `timestamp`; `None` for the master.
    pub wire: Option<String>,
    /// The generation of the key that it has proven; `None` for the master, and without a key.
    pub key_generation: Option<u32>,
    /// How far it was ahead of the master's clock in the last round, if it took part.
    pub offset_ns: Option<i64>,
    /// How wrong that may be.
    pub error_ns: Option<i64>,
    /// The round trip; `None` on the timestamp wire.
    pub delay_ns: Option<i64>,
    /// What it was told to add.
    pub correction_ns: Option<i64>,
    /// By how much the group's time gains on its oscillator, if it says.
    pub rate_ppm: Option<f64>,
    /// What it showed in the last round, if it is a reference.
    pub reference: Option<ReferenceStatus>,
    /// Whether it voted: `yes`, or in a word why not.
    pub vote: Option<String>,
    /// How much its vote counted: 1 in full, 0 without a vote.
    pub weight: Option<f64>,
    /// For how many clocks it stood: more than one is the master of a group below.
    pub clocks: Option<u32>,
    /// How it has voted before; `None` for the master.
    pub reputation: Option<ReputationStatus>,
    /// In which of the last eight rounds it gave its time, the last one at the right: `1` yes,
    /// `0` no; shorter where it was not here.
    pub reach: String,
    /// How long ago it gave its time last.
    pub last_seen_s: Option<f64>,
    /// The last burst of polls.
    pub burst: Option<BurstStatus>,
}

/// What a reference showed in a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReferenceStatus {
    /// Whether the group is led towards it.
    pub followed: bool,
    /// How far its machine's own clock was ahead of the group's time.
    pub ahead_ns: i64,
}

/// What is remembered of a clock's votes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReputationStatus {
    /// In how many rounds it was within the window.
    pub rounds: u32,
    /// The running mean of the distances that it voted with.
    pub mean_ns: i64,
}

/// A burst of polls, one value for each answer, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BurstStatus {
    /// How far the clock was ahead.
    pub offsets_ns: Vec<i64>,
    /// The round trip.
    pub delays_ns: Vec<i64>,
    /// Which one bounds the others, from 0: the one of least delay. The offset is a mean of all
    /// that waited little longer.
    pub won: usize,
}

/// A correction that has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CorrectionStatus {
    /// Corrections so far, this one included.
    pub number: u64,
    /// How long ago it came.
    pub ago_s: f64,
    /// What it added.
    pub offset_ns: i64,
    /// How wrong that may be; unknown on the timestamp wire.
    pub error_ns: Option<i64>,
    /// What became of it: `slewed`, `stepped`, `refused`, `too late`; `None` on the timestamp
    /// wire, where nothing is done.
    pub made: Option<String>,
}

/// What a master counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MasterCounters {
    /// Rounds in which the clocks were corrected.
    pub rounds_held: u64,
    /// Rounds without a majority.
    pub rounds_abandoned: u64,
    /// Connections that were taken in.
    pub connections: u64,
    /// Connections that were turned away.
    pub refusals: u64,
    /// How often the lead has changed.
    pub lead_changes: u64,
}

/// What a follower counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FollowerCounters {
    /// Connections with a master.
    pub connections: u64,
    /// Corrections that have come.
    pub corrections: u64,
}

/// An NTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NtpStatus {
    /// Where clients ask.
    pub listen: String,
    /// The stratum that they are told: 16 while they are told not to take the time.
    pub stratum: u8,
    /// What was counted since the start.
    pub counters: NtpCounters,
}

/// What an NTP server counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NtpCounters {
    /// Questions that were answered with the time.
    pub answered: u64,
    /// Questions that were answered with the advice not to take it.
    pub unsynchronized: u64,
    /// Questions of those who have asked too often: at most one a second of each machine was
    /// answered, with the advice to ask less often.
    pub limited: u64,
    /// Packets that were no questions, and were not answered.
    pub malformed: u64,
}
