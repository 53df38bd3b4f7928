//! What a follower keeps over connections, and what becomes of a correction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{NaiveDateTime, TimeDelta};

use crate::clock::{Clock, SimulatedClock, WallClock, with_wall_clock};
use crate::discipline::correction::{Applied, Mark};
use crate::discipline::network_clock::NetworkClock;
use crate::election::allegiance::Allegiance;
use crate::follower::control::Control;
use crate::follower::end::End;
use crate::follower::event::FollowerEvent;
use crate::follower::options::{FollowerOptions, WireChoice};
use crate::follower::represented::Represented;
use crate::keys::code::Code;
use crate::rate_limit::{Limit, Refusals, Throttle};
use crate::report::record::FollowerRow;
use crate::span::signed;
use crate::wire::correction::Correction;
use crate::wire::name::NodeName;
use crate::wire::steps::Steps;
use crate::wire::timestamp;

/// More corrections than the shortest interval makes are an attack on our disk.
const CORRECTIONS: Limit = Limit::per(200, Duration::from_secs(1));

/// No operator tells more steps than this.
const STEPS: Limit = Limit::per(20, Duration::from_secs(10));

/// A master that knows lines greets at once, and `server.py` tells its time every 5 s.
const GREETING_PATIENCE: Duration = Duration::from_secs(30);

/// The same where there are other masters to try, and where all of them know lines.
const GREETING_PATIENCE_OF_SEVERAL: [Duration; 2] =
    [Duration::from_secs(6), Duration::from_secs(1)];

/// What a follower keeps over connections.
pub(crate) struct Node {
    pub(crate) control: Arc<Control>,
    pub(crate) options: FollowerOptions,
    pub(crate) allegiance: Allegiance,
    /// The machine's own clock, which is told on the timestamp wire.
    pub(crate) wall: SimulatedClock<WallClock>,
    pub(crate) clock: NetworkClock,
    /// The group that it speaks for, if it is the master of one: then `clock` is laid over its.
    pub(crate) group: Option<Arc<dyn Represented>>,
    /// What it is called.
    pub(crate) name: Option<NodeName>,
    /// What certifies the highest term that was followed, where there are keys: no follower can make
    /// it, and each carries it on.
    pub(crate) certificate: Option<Code>,
    /// How often a master was called on, for the key to try.
    pub(crate) calls: usize,
    /// How many corrections have come.
    pub(crate) received: u64,
    steers_system: bool,
    corrections: Throttle,
    steps: Throttle,
    refusals: Refusals,
}

impl Node {
    pub(crate) fn new(
        allegiance: Allegiance,
        clock: NetworkClock,
        steers_system: bool,
        mut options: FollowerOptions,
    ) -> Self {
        Self {
            control: Control::new(),
            allegiance,
            wall: options.simulation.over(WallClock),
            clock,
            group: None,
            name: options.name.take().or_else(NodeName::of_this_machine),
            certificate: None,
            calls: 0,
            received: 0,
            steers_system,
            corrections: Throttle::new(CORRECTIONS),
            steps: Throttle::new(STEPS),
            refusals: Refusals::default(),
            options,
        }
    }

    /// How long a master may take to say anything, if that is limited: one on the timestamp wire
    /// may well have nothing to say.
    pub(crate) fn greeting_patience(&self) -> Option<Duration> {
        let [unknown, all_candidates] = GREETING_PATIENCE_OF_SEVERAL;
        match (self.options.wire, self.allegiance.choice()) {
            (WireChoice::Timestamp, _) => None,
            (WireChoice::Auto, 1) => Some(GREETING_PATIENCE),
            _ if self.allegiance.term() == 0 => Some(unknown),
            _ => Some(all_candidates),
        }
    }

    /// What is told on the timestamp wire.
    pub(crate) fn report(&self) -> String {
        let mut report = timestamp::format(timestamp::local(self.wall.read()));
        if self.options.wire == WireChoice::Auto {
            // The sign that we would rather speak lines.
            report.push('\n');
        }
        report
    }

    /// The network's time, as a timestamp told it. It corrects nothing: that is the custom on
    /// the timestamp wire, where the master keeps our correction for us.
    pub(crate) fn told(&mut self, time: NaiveDateTime, correction: TimeDelta) -> Result<(), End> {
        if self.steers_system && self.received == 0 {
            log::warn!(
                "the master speaks only timestamps, which correct nothing: --steer system has no \
                 effect"
            );
        }
        let together = with_wall_clock(|| self.wall.read());
        let clock = together.read;
        let row = FollowerRow {
            time: together.wall,
            round: self.received + 1,
            correction,
            clock,
            network: clock + correction,
        };
        let event = FollowerEvent::Synchronized {
            time,
            correction,
            error: None,
            made: None,
        };
        self.count(&row, event)
    }

    /// Follows a correction of our clock as it was at `mark`.
    pub(crate) fn adjust(&mut self, mark: Mark, correction: Correction) -> Result<(), End> {
        let made = self.clock.correct(mark, correction)?;
        if made == Applied::Refused {
            self.refusals.warn(correction.offset);
        }
        let rate = self.clock.rate();
        if let Some(file) = &mut self.options.drift_file {
            file.keep(rate, Instant::now());
        }
        let row = self.row(self.received + 1, correction.offset);
        let event = FollowerEvent::Synchronized {
            time: timestamp::local(self.clock.mark().target),
            correction: correction.offset,
            error: Some(correction.error),
            made: Some(made),
        };
        self.count(&row, event)
    }

    /// Makes the steps of the group that were not made yet. By how much our clock moved.
    pub(crate) fn take_steps(&mut self, steps: Steps) -> Result<TimeDelta, End> {
        let by = match &self.group {
            Some(group) => group.take_steps(steps)?,
            None => self.clock.take_steps(steps)?,
        };
        if by.is_zero() {
            return Ok(by);
        }
        if self.steps.admit(Instant::now()).is_none() {
            return Err(End::Fault("too many steps".to_owned()));
        }
        // The master of a group has logged it.
        if self.group.is_none() {
            log::info!("step {} of the group: by {}", steps.number, signed(by));
        }
        let row = self.row(self.received, by);
        if let Some(record) = &mut self.options.record {
            record.follower(&row);
        }
        let number = steps.number;
        self.control.tell(FollowerEvent::Stepped { by, number });
        Ok(by)
    }

    /// A mark of our clock, which has made a step of the group since.
    pub(crate) fn stepped(&self, mark: Mark, by: TimeDelta) -> Mark {
        match self.group {
            Some(_) => mark.moved(by),
            None => mark.stepped(by),
        }
    }

    /// What is recorded of our clock now.
    fn row(&self, round: u64, correction: TimeDelta) -> FollowerRow {
        let together = with_wall_clock(|| {
            if self.steers_system {
                // The system's clock as it will be when the slew under way is done.
                let mark = self.clock.mark();
                (mark.raw, mark.target)
            } else {
                let (clock, network) = self.clock.raw_and_now();
                (clock, network.time)
            }
        });
        let (clock, network) = together.read;
        FollowerRow {
            time: together.wall,
            round,
            correction,
            clock,
            network,
        }
    }

    /// Counts, records and tells a correction; ends the session if it was the last.
    fn count(&mut self, row: &FollowerRow, event: FollowerEvent) -> Result<(), End> {
        if self.corrections.admit(Instant::now()).is_none() {
            return Err(End::Fault("too many corrections".to_owned()));
        }
        self.received = row.round;
        if let Some(record) = &mut self.options.record {
            record.follower(row);
        }
        self.control.tell(event);
        match self.options.rounds {
            Some(rounds) if self.received >= rounds => Err(End::Done),
            _ => Ok(()),
        }
    }
}
