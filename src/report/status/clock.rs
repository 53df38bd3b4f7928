//! What both programs say of themselves alike when they are asked: the process, and its clock.

use std::process;
use std::time::Instant;

use chrono::{SecondsFormat, TimeDelta};

use crate::clock::{Clock, WallClock};
use crate::discipline::network_clock::NetworkClock;
use crate::report::status::{ClockStatus, ProcessStatus};
use crate::span::nanoseconds;
use crate::wire::name::NodeName;

/// This process, which began at `started`.
pub(crate) fn process(
    clock: &NetworkClock,
    name: Option<&NodeName>,
    started: Instant,
) -> ProcessStatus {
    ProcessStatus {
        id: process::id(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        name: name.map(|name| name.as_str().to_owned()),
        time: (clock.mark().target).to_rfc3339_opts(SecondsFormat::Nanos, true),
        uptime_s: started.elapsed().as_secs_f64(),
    }
}

/// A clock that nobody has corrected for so many seconds, if nobody does.
pub(crate) fn clock(
    clock: &NetworkClock,
    holdover_s: Option<f64>,
    steps: u64,
    steers_system: bool,
) -> ClockStatus {
    let (_, aim) = clock.aim();
    let slew_left = if steers_system && aim.is_some() {
        behind(clock, &WallClock)
    } else {
        clock.slew_left()
    };
    let (rate, synchronized) = (clock.rate(), aim.is_some());
    ClockStatus {
        synchronized,
        error_ns: aim.and_then(|aim| aim.error).map(nanoseconds),
        slew_left_ns: nanoseconds(slew_left),
        rate_ppm: rate.ppm,
        rate_error_ppm: rate.error_ppm,
        holdover_s: holdover_s.filter(|_| synchronized),
        steps,
        steer: if steers_system { "system" } else { "none" }.to_owned(),
    }
}

/// How far a clock is behind the target of `network`.
fn behind(network: &NetworkClock, clock: &dyn Clock) -> TimeDelta {
    let before = clock.read();
    let target = network.mark().target;
    let took = clock.read() - before;
    target - (before + took / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Simulation, SteadyClock};
    use crate::discipline::steering::Steering;
    use crate::wire::correction::Correction;
    use std::sync::Arc;

    #[test]
    fn nothing_is_left_to_slew_where_nothing_is() {
        let network = NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default());
        let left = |network: &NetworkClock| clock(network, None, 0, false).slew_left_ns;
        assert!((0..1000).all(|_| left(&network) == 0));
        let correction = Correction {
            offset: TimeDelta::milliseconds(900),
            ..Correction::default()
        };
        network.correct(network.mark(), correction).unwrap();
        let behind = left(&network);
        assert!((1..=900_000_000).contains(&behind), "{behind}");
        assert!(left(&network) <= behind);
    }

    #[test]
    fn the_systems_clock_may_be_elsewhere_than_the_reading() {
        let network = NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default());
        let fast = Simulation {
            offset: TimeDelta::milliseconds(300),
            drift_ppm: 0.0,
        };
        let left = behind(&network, &fast.over(WallClock));
        let off = (left + TimeDelta::milliseconds(300)).abs();
        assert!(off < TimeDelta::milliseconds(50), "{left}");
    }
}
