//! Says that a first round waits for the clocks that are known from before.

use crate::average::ensemble::Ensemble;

/// What people have been told of a first round that waits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Waiting {
    /// Nothing.
    #[default]
    Untold,
    /// That it waits.
    Told,
}

impl Waiting {
    /// The first round waits: says so, once.
    pub(crate) fn tell(&mut self, ensemble: &Ensemble) {
        if matches!(self, Self::Untold) {
            log::info!(
                "waiting for the clocks that this master knows: {} are here, and most of {} have to \
                 be here and agree",
                ensemble.present().1,
                ensemble.acquaintances().len()
            );
            *self = Self::Told;
        }
    }

    /// It has waited for long enough.
    pub(crate) fn end(&mut self) {
        if matches!(self, Self::Told) {
            log::warn!(
                "most of the clocks that this master knows have not come, or do not agree: beginning \
                 with those that are here"
            );
            *self = Self::Untold;
        }
    }
}
