//! When rounds are held, and when each follower is polled.

use std::time::{Duration, Instant};

use crate::average::ensemble::NodeId;

/// The part of an interval that a burst may take: on a slow link it ends early.
const BURST_PART: f64 = 0.25;

/// A poll that gets no answer in the time of a burst is given up. These are the limits of that
/// time: a network's longest round trip, and what a person may take to type an answer.
const ANSWER_DEADLINE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Bursts begin in this part of the interval, so that they end before it does.
const BEGIN: (f64, f64) = (0.05, 0.70);

/// A first round is held this long after the first answer, or an interval after it if that is
/// shorter: machines that start together are to count together.
const GATHERING: Duration = Duration::from_millis(500);

/// What the rounds of a master wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No round was held since the master began to lead. The first one waits for answers, of
    /// which the first came at this moment.
    Gathering { first_answer: Option<Instant> },
    /// A round ends each interval.
    Regular,
}

/// The rhythm of a master: when its rounds are due, and in each interval a moment for every
/// follower's burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    interval: Duration,
    burst: u32,
    /// Intervals are counted from here.
    began: Instant,
    phase: Phase,
}

impl Rhythm {
    /// The rhythm of a master that begins to lead now.
    pub(crate) fn new(interval: Duration, burst: u32, now: Instant) -> Self {
        Self {
            interval,
            burst,
            began: now,
            phase: Phase::Gathering { first_answer: None },
        }
    }

    /// From one round to the next.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// How many polls make a burst.
    pub(crate) fn burst(&self) -> u32 {
        self.burst
    }

    /// Begins anew: the master has the lead again.
    pub(crate) fn restart(&mut self, now: Instant) {
        *self = Self::new(self.interval, self.burst, now);
    }

    /// Whether the first round is still to come.
    pub(crate) fn is_gathering(&self) -> bool {
        self.phase != Phase::Regular
    }

    /// Notes that a follower gave its time. Whether the first round waits for such answers.
    pub(crate) fn answered(&mut self, now: Instant) -> bool {
        if let Phase::Gathering { first_answer } = &mut self.phase {
            first_answer.get_or_insert(now);
        }
        self.is_gathering()
    }

    /// Notes that a round was held. Intervals are counted from the first one.
    pub(crate) fn round_held(&mut self, now: Instant) {
        if self.is_gathering() {
            self.began = now;
            self.phase = Phase::Regular;
        }
    }

    /// Whether a first round may be held as soon as enough followers have answered.
    pub(crate) fn first_round_is_due(&self, now: Instant) -> bool {
        self.first_round().is_some_and(|due| now >= due)
    }

    fn first_round(&self) -> Option<Instant> {
        match self.phase {
            Phase::Gathering { first_answer } => Some(first_answer? + self.interval.min(GATHERING)),
            Phase::Regular => None,
        }
    }

    /// When to try to hold the next round, after `now`: the first one once it is due, each other
    /// one at the end of an interval.
    pub(crate) fn next_round(&self, now: Instant) -> Instant {
        let end = self.next(now, 0.0);
        let first = self.first_round().filter(|due| *due > now);
        first.map_or(end, |first| first.min(end))
    }

    /// When a node's next burst begins. Multiples of the golden ratio spread any number of nodes
    /// evenly: a thousand threads woken at once would measure each other.
    pub(crate) fn next_burst(&self, now: Instant, node: NodeId) -> Instant {
        let spread = (node.0 as f64 * 0.618_033_988_749_895).fract();
        self.next(now, BEGIN.0 + (BEGIN.1 - BEGIN.0) * spread)
    }

    /// How long a burst may take.
    pub(crate) fn burst_time(&self) -> Duration {
        self.interval.mul_f64(BURST_PART)
    }

    /// How long one answer may take.
    pub(crate) fn answer_deadline(&self) -> Duration {
        self.burst_time()
            .clamp(ANSWER_DEADLINE.0, ANSWER_DEADLINE.1)
    }

    /// The first moment after `now` at which this part of an interval has passed.
    fn next(&self, now: Instant, part: f64) -> Instant {
        let first = self.began + self.interval.mul_f64(part);
        let Some(since) = now.checked_duration_since(first) else {
            return first;
        };
        // In whole nanoseconds of 128 bits: an interval of 10 ms has more than u32::MAX of its
        // like in 497 days.
        let interval = self.interval.as_nanos().max(1);
        let passed = (since.as_nanos() / interval + 1) * interval;
        first + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn regular(now: Instant, interval: Duration) -> Rhythm {
        let mut rhythm = Rhythm::new(interval, 8, now);
        rhythm.round_held(now);
        rhythm
    }

    #[test]
    fn rounds_and_bursts_keep_their_rhythm() {
        let began = Instant::now();
        let rhythm = regular(began, INTERVAL);
        assert_eq!(rhythm.next_round(began), began + INTERVAL);
        assert_eq!(rhythm.next_round(began + INTERVAL), began + INTERVAL * 2);
        // A machine that slept does not hold the rounds that it slept through.
        let late = began + INTERVAL * 9 + Duration::from_secs(1);
        assert_eq!(rhythm.next_round(late), began + INTERVAL * 10);
        for node in (0..1000).map(NodeId) {
            let burst = rhythm.next_burst(late, node);
            assert!(burst > late && burst <= late + INTERVAL);
            let part = (burst - began).as_secs_f64() / 5.0 % 1.0;
            assert!((BEGIN.0..BEGIN.1 + 1e-6).contains(&part), "{part}");
        }
    }

    #[test]
    fn the_rhythm_is_kept_for_years() {
        let began = Instant::now();
        let interval = Duration::from_millis(10);
        let rhythm = regular(began, interval);
        let years = began + Duration::from_hours(24) * 365 * 20 + Duration::from_millis(3);
        let next = rhythm.next_round(years) - years;
        assert_eq!(
            next,
            Duration::from_millis(7),
            "a round is overdue for ever"
        );
        assert!(rhythm.next_burst(years, NodeId(3)) > years);
    }

    #[test]
    fn the_first_round_is_held_soon_after_the_first_answer() {
        let began = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL, 8, began);
        assert_eq!(rhythm.next_round(began), began + INTERVAL);
        let answer = began + Duration::from_secs(2);
        assert!(rhythm.answered(answer));
        assert!(rhythm.answered(answer + Duration::from_millis(300)));
        let due = answer + GATHERING;
        assert_eq!(rhythm.next_round(answer), due);
        assert!(!rhythm.first_round_is_due(answer) && rhythm.first_round_is_due(due));
        // Not enough have answered by then: it is held when they have, see the coordinator.
        assert_eq!(rhythm.next_round(due), began + INTERVAL);
        rhythm.round_held(due);
        assert!(!rhythm.answered(due) && !rhythm.first_round_is_due(due));
        assert_eq!(rhythm.next_round(due), due + INTERVAL);
        rhythm.restart(due);
        assert!(rhythm.is_gathering());
    }

    #[test]
    fn a_short_interval_is_not_waited_over() {
        let began = Instant::now();
        let mut rhythm = Rhythm::new(GATHERING / 5, 8, began);
        rhythm.answered(began);
        assert_eq!(rhythm.next_round(began), began + GATHERING / 5);
    }
}
