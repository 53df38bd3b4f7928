//! What a follower speaks for that is the master of a group.

use std::fmt::Debug;

use chrono::TimeDelta;

use crate::discipline::correction::OutOfRange;
use crate::wire::path::Path;
use crate::wire::steps::Steps;
use crate::wire::weight::Weight;

/// The group of a master that follows another master: what it tells of itself, and what it is told.
pub(crate) trait Represented: Debug + Send + Sync {
    /// For how many clocks it stands.
    fn weight(&self) -> Weight;

    /// By how many ppm its time gains on the oscillators of its clocks, in the mean.
    fn rate_ppm(&self) -> f64;

    /// Whether its clocks know its time.
    fn knows_the_time(&self) -> bool;

    /// Whether its clock is to be asked: not when that has lost the time, and its next round is to bring
    /// it back. The group has not moved, and is not to be corrected as well for what its master has.
    fn is_asked(&self) -> bool;

    /// Lets all of its clocks make these steps, the clock over it included: by how much they moved.
    ///
    /// # Errors
    /// [`OutOfRange`]; nothing is changed.
    fn take_steps(&self, steps: Steps) -> Result<TimeDelta, OutOfRange>;

    /// Hears which groups are above it.
    ///
    /// # Errors
    /// Why it can't be below them.
    fn hear(&self, above: &Path) -> Result<(), String>;

    /// The connection with the group above has ended.
    fn left(&self);
}
