//! What a follower remembers for whoever asks it how it is.

use std::net::SocketAddr;
use std::time::Instant;

use chrono::TimeDelta;

use crate::discipline::correction::Applied;
use crate::follower::event::FollowerEvent;
use crate::report::status::CorrectionStatus;
use crate::span::nanoseconds;
use crate::wire::candidate::Term;

/// A correction that has come.
#[derive(Debug, Clone, Copy)]
struct Correction {
    at: Instant,
    offset: TimeDelta,
    error: Option<TimeDelta>,
    made: Option<Applied>,
}

/// What the masters have told, and whether there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// The master that is spoken to.
    pub(crate) master: Option<SocketAddr>,
    /// The term in which it leads, where there are candidates.
    pub(crate) term: Option<Term>,
    /// The term of the last correction, where there are candidates.
    pub(crate) followed: Option<Term>,
    /// Since when there is none, once there was one.
    pub(crate) lost: Option<Instant>,
    pub(crate) connections: u64,
    pub(crate) corrections: u64,
    pub(crate) steps: u64,
    last: Option<Correction>,
}

impl Told {
    /// Notes what has happened.
    pub(crate) fn note(&mut self, event: &FollowerEvent) {
        match event {
            FollowerEvent::Connected(master) => {
                self.master = Some(*master);
                self.connections += 1;
                self.lost = None;
            }
            FollowerEvent::Stepped { .. } => self.steps += 1,
            FollowerEvent::Synchronized {
                correction,
                error,
                made,
                ..
            } => {
                self.corrections += 1;
                self.followed = self.term;
                self.steps += u64::from(*made == Some(Applied::Stepped));
                self.last = Some(Correction {
                    at: Instant::now(),
                    offset: *correction,
                    error: *error,
                    made: *made,
                });
            }
        }
    }

    /// There is no master any more.
    pub(crate) fn disconnected(&mut self) {
        if self.master.take().is_some() {
            self.lost = Some(Instant::now());
        }
        self.term = None;
    }

    /// The last correction, seen at `now`.
    pub(crate) fn correction(&self, now: Instant) -> Option<CorrectionStatus> {
        let Correction {
            at,
            offset,
            error,
            made,
        } = self.last?;
        let made = made.map(|made| match made {
            Applied::Stepped => "stepped",
            Applied::Slewing => "slewed",
            Applied::Refused => "refused",
            Applied::Outdated => "too late",
        });
        Some(CorrectionStatus {
            number: self.corrections,
            ago_s: now.saturating_duration_since(at).as_secs_f64(),
            offset_ns: nanoseconds(offset),
            error_ns: error.map(nanoseconds),
            made: made.map(str::to_owned),
        })
    }
}
