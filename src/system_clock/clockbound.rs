//! Tells ClockBound's clients on this machine how wrong the system's clock may be.

use std::path::Path;
use std::time::Instant;

use crate::clock::Coarse;
use crate::rate_limit::{Limit, Throttle};
use crate::system_clock::bound::Trust;
use crate::system_clock::look::Look;
use crate::system_clock::segment::{Segment, SegmentError};
use crate::system_clock::speed::Speed;

/// Where ClockBound's clients are told how wrong the system's clock may be.
#[derive(Debug)]
pub struct ClockBound {
    segment: Segment,
    trust: Trust,
    failures: Throttle,
}

impl ClockBound {
    /// The file that clients map, which is made if it is not there.
    ///
    /// # Errors
    /// When the file can't be written, is not on a tmpfs, is something else, or another program
    /// writes it.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        let segment = Segment::open(path)?;
        Ok(Self {
            trust: Trust::after(segment.disruptions()),
            segment,
            failures: Throttle::new(Limit::LASTING),
        })
    }

    /// See [`Trust::disrupted`].
    pub(crate) fn disrupted(&mut self, corrections: u64) {
        self.trust.disrupted(corrections);
    }

    /// Tells what was seen, see [`Trust::bound`].
    pub(crate) fn tell(&mut self, as_of: Coarse, look: &Look, speeds: &[Speed]) {
        let Some(bound) = self.trust.bound(as_of, look, speeds) else {
            return;
        };
        let said = self.segment.say(&bound, self.trust.disruptions());
        if let Err(error) = said
            && self.failures.admit(Instant::now()).is_some()
        {
            log::warn!("ClockBound's clients could not be told: {error}; going on");
        }
    }
}
