//! What a follower says and hears on the timestamp wire.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::follower::end::End;
use crate::follower::link::Link;
use crate::wire::reader::{Heard, TimestampReader};
use crate::wire::timestamp;

/// When our clock is reported: every interval, and at once.
pub(crate) struct Reports {
    due: Instant,
}

impl Reports {
    pub(crate) fn new() -> Self {
        Self {
            due: Instant::now(),
        }
    }

    /// Reports our clock if that is due. How long it is until the next report.
    pub(crate) fn send_due(&mut self, link: &mut Link) -> Result<Duration, End> {
        let now = Instant::now();
        if now >= self.due {
            let report = link.node.report();
            link.connection.write(report.as_bytes())?;
            // Counted from now: a report that is late must not be followed by an early one.
            self.due = now + link.node.options.interval;
        }
        Ok(self.due.saturating_duration_since(Instant::now()))
    }
}

/// Goes on reporting our clock, and takes what comes for the network's time.
pub(crate) fn speak(link: &mut Link, mut reports: Reports) -> Result<Infallible, End> {
    let mut reader = TimestampReader::new();
    let wall = link.node.wall;
    loop {
        let wait = reports.send_due(link)?;
        match reader.next(&mut link.connection, wait, |_| wall.read())? {
            Heard::Message(told) => {
                link.tell();
                let correction = timestamp::moment(told.time, told.stamp) - told.stamp;
                link.node.told(told.time, correction)?;
            }
            Heard::Nothing => {}
            Heard::End => return Err(End::closed()),
        }
    }
}
