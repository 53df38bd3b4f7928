//! Keeps what a peer can make us say at will from filling a log.

use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::span;

const PERIOD: Duration = Duration::from_secs(10);
const PER_PERIOD: u32 = 20;

/// Admits a number of messages in each period and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    period: Option<Instant>,
    admitted: u32,
    withheld: u64,
}

impl Throttle {
    /// Whether to speak now and, if so, how many messages were withheld before this one.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.period.is_none_or(|began| now >= began + PERIOD) {
            self.period = Some(now);
            self.admitted = 0;
        }
        if self.admitted == PER_PERIOD {
            self.withheld += 1;
            return None;
        }
        self.admitted += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

/// Says that corrections are refused, which may go on for ever.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Throttle);

impl Refusals {
    pub(crate) fn warn(&mut self, correction: TimeDelta) {
        if self.0.admit(Instant::now()).is_some() {
            log::warn!(
                "a correction of {} is above the panic threshold: this clock is left alone; set \
                 it by hand, start again, or raise --panic-threshold",
                span::signed(correction)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let began = Instant::now();
        let mut throttle = Throttle::default();
        let admitted = (0..1000)
            .filter(|_| throttle.admit(began).is_some())
            .count();
        assert_eq!(admitted, 20);
        assert_eq!(throttle.admit(began + PERIOD), Some(980));
        assert_eq!(throttle.admit(began + PERIOD), Some(0));
    }
}
