//! What both programs say of themselves alike when they are asked: the process, and its clock.

use std::process;
use std::time::Instant;

use chrono::SecondsFormat;

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
    let reading = clock.now().time;
    let (rate, synchronized) = (clock.rate(), aim.is_some());
    ClockStatus {
        synchronized,
        error_ns: aim.and_then(|aim| aim.error).map(nanoseconds),
        slew_left_ns: nanoseconds(clock.mark().target - reading),
        rate_ppm: rate.ppm,
        rate_error_ppm: rate.error_ppm,
        holdover_s: holdover_s.filter(|_| synchronized),
        steps,
        steer: if steers_system { "system" } else { "none" }.to_owned(),
    }
}
