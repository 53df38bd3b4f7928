//! When rounds are held, and when each follower is polled.

use std::time::{Duration, Instant};

use crate::average::round::NodeId;

/// The part of an interval that a burst may take: on a slow link it ends early.
const BURST_PART: f64 = 0.25;

/// A poll that gets no answer in the time of a burst is given up. These are the limits of that
/// time: a network's longest round trip, and what a person may take to type an answer.
const ANSWER_DEADLINE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Bursts begin in this part of the interval, so that they end before it does.
const BEGIN: (f64, f64) = (0.05, 0.70);

/// Those that end quickly begin as late as this: what has just been measured is nearest to the truth
/// when the round comes, most of all where an oscillator has changed its rate.
const LATEST: f64 = 0.90;

/// A burst may take so many times as long as the one before it, and still end in time.
const LONGER: f64 = 8.0;

/// All bursts of a group begin within this for each follower, if the interval is long enough.
const SPREAD_PER_FOLLOWER: Duration = Duration::from_millis(50);

/// A first round is held this long after the first answer, or an interval after it if that is
/// shorter: machines that start together are to count together.
const GATHERING: Duration = Duration::from_millis(500);

/// A first round waits no longer than this, after the first answer, for the clocks that are known
/// from before: those that were switched off meanwhile do not come.
const KNOWN_PATIENCE: Duration = Duration::from_secs(10);

/// From the first round of a new group to the second, if the interval is not shorter. The pause
/// grows by [`GROWTH`] with each further round until it is an interval: what is known worst in the
/// beginning are the clocks' rates.
const OPENING: Duration = Duration::from_millis(500);

/// See [`OPENING`]. To 5 s it takes 26 rounds and 49 s. A line through so many points is known nearly as
/// well as it ever is, so where intervals are longer, pauses are twice as long each from then on. So
/// they are where the answers of more than one in ten come too late for a round.
const GROWTH: f64 = 1.1;
const LONGEST_TO_GROW: Duration = Duration::from_secs(5);
const LATE_ONE_IN: usize = 10;

/// No pause is shorter than this for each follower: the rounds of an opening are not to take more
/// processor time than the others.
const PAUSE_PER_FOLLOWER: Duration = Duration::from_micros(500);

/// What the rounds of a master wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No round was held since the master began to lead. The first one waits for answers, of
    /// which the first came at this moment.
    Gathering { first_answer: Option<Instant> },
    /// The first rounds of a new group follow each other with growing pauses. This one ends the
    /// pause that began last.
    Opening { pause: Duration },
    /// A round ends each interval.
    Regular,
}

/// Whether a first round is one of clocks that have never agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// They have not.
    New,
    /// They have: another master led them before, or this one.
    Known,
}

/// A node's last burst.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Burst {
    pub(crate) began: Option<Instant>,
    pub(crate) took: Duration,
}

/// The rhythm of a master: when its rounds are due, and in each interval a moment for every
/// follower's burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    interval: Duration,
    burst: u32,
    /// Intervals, and the pauses of an opening, are counted from here.
    began: Instant,
    phase: Phase,
    /// How many followers the last round was of; before the first, there may be any number.
    followers: u32,
}

impl Rhythm {
    /// The rhythm of a master that begins to lead now.
    pub(crate) fn new(interval: Duration, burst: u32, now: Instant) -> Self {
        Self {
            interval,
            burst,
            began: now,
            phase: Phase::Gathering { first_answer: None },
            followers: u32::MAX,
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
        matches!(self.phase, Phase::Gathering { .. })
    }

    /// Whether the first rounds of a new group follow each other.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening { .. })
    }

    /// Whether a follower that gives no time in a round has missed it: the rounds of an opening
    /// may be too quick for a slow link.
    pub(crate) fn can_be_missed(&self) -> bool {
        self.phase == Phase::Regular
    }

    /// Notes that a follower gave its time. Whether the first round waits for such answers.
    pub(crate) fn answered(&mut self, now: Instant) -> bool {
        if let Phase::Gathering { first_answer } = &mut self.phase {
            first_answer.get_or_insert(now);
        }
        self.is_gathering()
    }

    /// Notes that a round was held, with so many followers, and that so many others were too `late` for
    /// it. Intervals are counted from the first one, or from the end of the opening.
    pub(crate) fn round_held(&mut self, now: Instant, group: Group, followers: usize, late: usize) {
        let in_time = late * LATE_ONE_IN <= followers + late;
        self.followers = u32::try_from(followers).unwrap_or(u32::MAX);
        let pause = match self.phase {
            Phase::Regular => return,
            Phase::Gathering { .. } if group == Group::Known => self.interval,
            Phase::Gathering { .. } => OPENING,
            Phase::Opening { pause } if in_time && pause < LONGEST_TO_GROW => pause.mul_f64(GROWTH),
            Phase::Opening { pause } => pause * 2,
        };
        self.pause_for(now, pause);
    }

    /// Notes that no round could be held, for nobody of those who are here was in time for it.
    pub(crate) fn nobody_heard(&mut self, now: Instant) {
        if let Phase::Opening { pause } = self.phase {
            self.pause_for(now, pause * 2);
        }
    }

    fn pause_for(&mut self, now: Instant, pause: Duration) {
        let pause = pause.max(PAUSE_PER_FOLLOWER.saturating_mul(self.followers));
        self.began = now;
        self.phase = if pause < self.interval {
            Phase::Opening { pause }
        } else {
            Phase::Regular
        };
    }

    /// From one round to the next, at the moment.
    pub(crate) fn pause(&self) -> Duration {
        match self.phase {
            Phase::Opening { pause } => pause,
            Phase::Gathering { .. } | Phase::Regular => self.interval,
        }
    }

    /// Whether a first round may be held as soon as enough followers have answered.
    pub(crate) fn first_round_is_due(&self, now: Instant) -> bool {
        self.first_round().is_some_and(|due| now >= due)
    }

    /// Whether a first round has waited for long enough for the clocks that are known from before.
    pub(crate) fn has_waited_for_known(&self, now: Instant) -> bool {
        let until = self.first_answer().map(|first| first + KNOWN_PATIENCE);
        until.is_some_and(|until| now >= until)
    }

    /// How long before a first round that is held now its clocks may have been measured.
    pub(crate) fn gathered_for(&self, now: Instant) -> Duration {
        let first = self.first_answer();
        let since = first.map(|first| now.saturating_duration_since(first));
        // Who answers is measured again in each interval.
        since.unwrap_or_default().min(self.interval)
    }

    fn first_answer(&self) -> Option<Instant> {
        match self.phase {
            Phase::Gathering { first_answer } => first_answer,
            Phase::Opening { .. } | Phase::Regular => None,
        }
    }

    fn first_round(&self) -> Option<Instant> {
        Some(self.first_answer()? + self.interval.min(GATHERING))
    }

    /// When to try to hold the next round, after `now`: the first one once it is due, and again when
    /// it has waited for long enough; each other one at the end of an interval.
    pub(crate) fn next_round(&self, now: Instant) -> Instant {
        let end = self.next(now, 0.0);
        let waited = self.first_answer().map(|first| first + KNOWN_PATIENCE);
        let first = [self.first_round(), waited].into_iter().flatten();
        first.filter(|due| *due > now).fold(end, Instant::min)
    }

    /// When a node's next burst begins, if the last one began at some moment and took so long.
    /// Multiples of the golden ratio spread any number of nodes evenly: a thousand threads woken at
    /// once would measure each other.
    pub(crate) fn next_burst(&self, now: Instant, node: NodeId, last: Burst) -> Instant {
        let pause = self.pause();
        let parts = |span: Duration| span.div_duration_f64(pause.max(Duration::from_nanos(1)));
        let latest = (LATEST - LONGER * parts(last.took)).max(BEGIN.1);
        let width = parts(SPREAD_PER_FOLLOWER.saturating_mul(self.followers));
        let width = width.min(latest - BEGIN.0);
        let spread = (node.0 as f64 * 0.618_033_988_749_895).fract();
        let part = latest - width * (1.0 - spread);
        let (next, end) = (self.next(now, part), self.next(now, 0.0));
        // Not twice in an interval, if bursts begin a little later from now on. But each round needs
        // one of its own: neither a burst before this interval nor the one of the last interval that
        // a late thread has begun in this is one.
        let again = |began: Instant| began + pause >= end && next < began + pause / 2;
        if last.began.is_some_and(again) {
            self.next(end, part)
        } else {
            next
        }
    }

    /// How long a burst may take.
    pub(crate) fn burst_time(&self) -> Duration {
        self.pause().mul_f64(BURST_PART)
    }

    /// How long one answer may take.
    pub(crate) fn answer_deadline(&self) -> Duration {
        self.burst_time()
            .clamp(ANSWER_DEADLINE.0, ANSWER_DEADLINE.1)
    }

    /// The first moment after `now` at which this part of an interval has passed.
    fn next(&self, now: Instant, part: f64) -> Instant {
        let pause = self.pause();
        let first = self.began + pause.mul_f64(part);
        let Some(since) = now.checked_duration_since(first) else {
            return first;
        };
        // In whole nanoseconds of 128 bits: an interval of 10 ms has more than u32::MAX of its
        // like in 497 days.
        let pause = pause.as_nanos().max(1);
        let passed = (since.as_nanos() / pause + 1) * pause;
        first + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    /// A burst as slow as there are.
    const SLOW: Burst = Burst {
        began: None,
        took: Duration::from_millis(1250),
    };

    fn regular(now: Instant, interval: Duration) -> Rhythm {
        let mut rhythm = Rhythm::new(interval, 8, now);
        rhythm.round_held(now, Group::Known, 1000, 0);
        rhythm
    }

    #[test]
    fn a_small_group_is_measured_shortly_before_the_round() {
        let began = Instant::now();
        let mut rhythm = regular(began, INTERVAL);
        rhythm.round_held(began, Group::Known, 3, 0);
        let parts = |last: Burst| {
            let part = |node| {
                let burst = rhythm.next_burst(began, NodeId(node), last);
                (burst - began).as_secs_f64() / 5.0
            };
            (0..3).map(part).collect::<Vec<_>>()
        };
        let quick = Burst {
            began: None,
            took: Duration::from_millis(3),
        };
        let found = parts(quick);
        assert!(
            found.iter().all(|part| (0.86..0.90).contains(part)),
            "{found:?}"
        );
        let (first, second) = (found[1] * 5.0, found[2] * 5.0);
        assert!((first - second).abs() > 0.04, "they measure each other");
        let found = parts(SLOW);
        assert!(
            found.iter().all(|part| (0.67..0.70).contains(part)),
            "{found:?}"
        );
        // A burst that was slow is over, and the next is quick: that is one of the next interval.
        let last = Burst {
            began: Some(began + INTERVAL.mul_f64(0.7)),
            ..quick
        };
        let now = began + INTERVAL.mul_f64(0.71);
        let next = rhythm.next_burst(now, NodeId(1), last);
        assert!(next > began + INTERVAL, "twice in an interval");
    }

    #[test]
    fn who_was_measured_just_before_a_first_round_is_measured_before_the_second() {
        let measured = Instant::now();
        let began = measured + Duration::from_millis(1);
        let rhythm = regular(began, INTERVAL);
        for node in (0..1000).map(NodeId) {
            let last = Burst {
                began: Some(measured),
                took: Duration::from_millis(1),
            };
            let now = began + Duration::from_millis(1);
            let next = rhythm.next_burst(now, node, last);
            assert!(next < began + INTERVAL, "{node:?} misses a round");
            let after = rhythm.next_burst(
                next,
                node,
                Burst {
                    began: Some(next),
                    ..last
                },
            );
            let pause = after - next;
            assert!(
                pause > INTERVAL / 2 && pause < INTERVAL * 3 / 2,
                "{pause:?}"
            );
        }
    }

    #[test]
    fn a_burst_that_was_due_before_a_round_and_came_after_it_does_not_stand_for_the_next() {
        let began = Instant::now();
        let rhythm = regular(began, INTERVAL);
        let late = began + INTERVAL + Duration::from_millis(5);
        for node in (0..1000).map(NodeId) {
            let last = Burst {
                began: Some(late),
                took: Duration::from_millis(1),
            };
            let next = rhythm.next_burst(late + last.took, node, last);
            let pause = next - late;
            assert!(pause < INTERVAL * 3 / 2, "{node:?} after {pause:?}");
        }
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
            let burst = rhythm.next_burst(late, node, SLOW);
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
        assert!(rhythm.next_burst(years, NodeId(3), SLOW) > years);
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
        rhythm.round_held(due, Group::Known, 1, 0);
        assert!(!rhythm.answered(due) && !rhythm.first_round_is_due(due));
        assert_eq!(rhythm.next_round(due), due + INTERVAL);
        rhythm.restart(due);
        assert!(rhythm.is_gathering());
    }

    #[test]
    fn the_first_rounds_of_a_new_group_follow_each_other_quickly() {
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL, 8, now);
        let mut pauses = Vec::new();
        while pauses.last() != Some(&INTERVAL) {
            assert!(pauses.len() < 100, "{pauses:?}");
            rhythm.round_held(now, Group::New, 10, 0);
            let next = rhythm.next_round(now);
            for node in (0..100).map(NodeId) {
                let burst = rhythm.next_burst(now, node, SLOW);
                assert!(burst > now && burst < next);
            }
            pauses.push(next - now);
            now = next;
        }
        assert_eq!(pauses[0], OPENING);
        let grow = |pair: &[Duration]| pair[1] > pair[0] && pair[1] <= pair[0].mul_f64(1.11);
        assert!(pauses.windows(2).all(grow), "{pauses:?}");
        let took: Duration = pauses.iter().sum();
        assert!(took < Duration::from_mins(1), "{took:?}");
        assert!(rhythm.can_be_missed());
    }

    #[test]
    fn an_opening_is_over_in_a_minute_and_a_few_intervals_at_any_interval() {
        for minutes in [1, 60, 24 * 60] {
            let interval = Duration::from_mins(minutes);
            let began = Instant::now();
            let (mut now, mut rhythm) = (began, Rhythm::new(interval, 8, began));
            rhythm.round_held(now, Group::New, 10, 0);
            while rhythm.is_opening() {
                now += rhythm.pause();
                rhythm.round_held(now, Group::New, 10, 0);
            }
            let most = Duration::from_mins(1) + interval * 2;
            assert!(now - began < most, "{:?}", now - began);
        }
    }

    #[test]
    fn those_who_are_too_slow_for_an_opening_are_waited_for_twice_as_long_each_time() {
        // One of them is, or all.
        for one in [true, false] {
            let mut now = Instant::now();
            let mut rhythm = Rhythm::new(INTERVAL, 8, now);
            rhythm.round_held(now, Group::New, 10, 0);
            let mut pauses = Vec::new();
            while rhythm.is_opening() {
                pauses.push(rhythm.pause().as_millis());
                now += rhythm.pause();
                if one {
                    rhythm.round_held(now, Group::New, 9, 2);
                } else {
                    rhythm.nobody_heard(now);
                }
            }
            assert_eq!(pauses, [500, 1000, 2000, 4000]);
        }
        // A few of many are not waited for.
        let now = Instant::now();
        let mut rhythm = Rhythm::new(INTERVAL, 8, now);
        rhythm.round_held(now, Group::New, 95, 0);
        rhythm.round_held(now, Group::New, 90, 5);
        assert_eq!(rhythm.pause(), OPENING.mul_f64(GROWTH));
    }

    #[test]
    fn many_followers_are_not_hurried() {
        let now = Instant::now();
        for (followers, pause) in [(1000, 500), (4000, 2000), (10_000, 5000), (90_000, 5000)] {
            let mut rhythm = Rhythm::new(INTERVAL, 8, now);
            rhythm.round_held(now, Group::New, followers, 0);
            let first = (rhythm.next_round(now) - now).as_millis();
            assert_eq!(first, pause, "{followers} followers");
        }
    }

    #[test]
    fn those_that_are_known_are_waited_for_at_most_10_s_after_the_first_answer() {
        let began = Instant::now();
        let mut rhythm = Rhythm::new(Duration::from_mins(1), 8, began);
        let answer = began + Duration::from_secs(20);
        assert!(!rhythm.has_waited_for_known(answer));
        rhythm.answered(answer);
        let due = answer + Duration::from_secs(10);
        assert_eq!(rhythm.next_round(answer + GATHERING), due);
        assert!(!rhythm.has_waited_for_known(answer + Duration::from_millis(9_999)));
        assert!(rhythm.has_waited_for_known(due));
    }

    #[test]
    fn a_short_interval_is_not_waited_over() {
        let began = Instant::now();
        let mut rhythm = Rhythm::new(GATHERING / 5, 8, began);
        rhythm.answered(began);
        assert_eq!(rhythm.next_round(began), began + GATHERING / 5);
    }
}
