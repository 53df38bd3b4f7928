//! What an ensemble knows of one follower.

use std::net::SocketAddr;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::average::ballot::Ballot;
use crate::average::rates::Baseline;
use crate::average::reputation::Standing;
use crate::average::round::{Heard, Wire};
use crate::wire::machine::Machine;
use crate::wire::weight::LARGEST_WEIGHT;

/// What an ensemble knows of one follower.
#[derive(Debug)]
pub struct Member {
    /// What it is called, as nobody else is.
    pub name: Arc<str>,
    /// What it is remembered by.
    pub known_as: Arc<str>,
    /// Where it connects from.
    pub address: Option<SocketAddr>,
    /// On which machine it is, if not on the master's own.
    pub machine: Option<Machine>,
    /// How it speaks.
    pub wire: Wire,
    /// Its clock, as it was heard last.
    pub heard: Option<Heard>,
    /// Whether `heard` came since the last round.
    pub fresh: bool,
    /// In how many rounds in a row it gave no time.
    pub missed: u32,
    /// Where its clock counts in a round that it misses, as seen from what was agreed on; `None` if it
    /// did not count when it was heard last.
    pub place: Option<Ballot>,
    /// Its reputation.
    pub standing: Standing,
    /// It has no key, where others do.
    pub unkeyed: bool,
    /// It may stand for as many clocks as it says.
    pub trusted: bool,
    /// What the rate that it tells is compared with.
    pub rate: Baseline,
    /// What a peer that never corrects itself was told to add so far.
    pub kept: TimeDelta,
    /// How far the machine's own clock was ahead of the group's time in the last round.
    pub machine_ahead: Option<TimeDelta>,
}

impl Member {
    /// One that has just come, and is remembered with this reputation.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        known_as: Arc<str>,
        address: Option<SocketAddr>,
        wire: Wire,
        standing: Standing,
    ) -> Self {
        Self {
            name,
            known_as,
            address,
            machine: None,
            wire,
            heard: None,
            fresh: false,
            missed: 0,
            place: None,
            standing,
            unkeyed: false,
            trusted: false,
            rate: Baseline::default(),
            kept: TimeDelta::zero(),
            machine_ahead: None,
        }
    }

    /// What counts of a clock that says that it stands for several: whoever is not trusted stands for
    /// `most` at most.
    #[must_use]
    pub fn counted(&self, heard: Heard, most: u32) -> Heard {
        let most = if self.trusted { LARGEST_WEIGHT } else { most };
        let weight = heard.weight.clamp(1, most.max(1));
        let deviation = match weight {
            1 => TimeDelta::zero(),
            _ => heard.deviation,
        };
        Heard {
            weight,
            deviation,
            ..heard
        }
    }

    /// Keeps a correction for a peer that never corrects itself. With it, the peer now agrees with
    /// the group, and so does the master.
    pub fn keep(&mut self, offset: TimeDelta) {
        self.kept += offset;
        if let Some(heard) = &mut self.heard {
            heard.sample.offset = TimeDelta::zero();
        }
    }
}
