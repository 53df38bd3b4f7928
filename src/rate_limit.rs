//! Keeps what a peer can cause at will, or what lasts, from filling a log.

use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::span;

/// How often something may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// So many times in a period, ...
    times: u32,
    /// ... which is so long at first...
    first: Duration,
    /// ... and so long from then on.
    later: Duration,
}

impl Limit {
    /// For messages that a peer can cause at will.
    pub(crate) const PEER: Self = Self::per(20, Duration::from_secs(10));

    /// For what peers may invent without end: less, once it has gone on for a while.
    pub(crate) const FLOOD: Self = Self {
        later: Duration::from_mins(1),
        ..Self::PEER
    };

    /// For a condition that may last: it is told at once, again after a minute, and then every ten
    /// minutes.
    pub(crate) const LASTING: Self = Self {
        times: 1,
        first: Duration::from_mins(1),
        later: Duration::from_mins(10),
    };

    /// For what one machine does that comes and goes: who starts a program again a few times sees all
    /// of it.
    pub(crate) const COMINGS_AND_GOINGS: Self = Self {
        times: 10,
        ..Self::LASTING
    };

    /// So many times in each period.
    pub(crate) const fn per(times: u32, period: Duration) -> Self {
        Self {
            times,
            first: period,
            later: period,
        }
    }
}

/// Admits as much as its limit does, and counts the rest. When nothing was asked of it for a first
/// period, it starts anew. The time is an argument.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: Limit,
    state: Option<State>,
    withheld: u64,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// When it started.
    since: Instant,
    /// When it was last asked.
    asked: Instant,
    period_began: Instant,
    period: Duration,
    admitted: u32,
}

impl Throttle {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            state: None,
            withheld: 0,
        }
    }

    /// Whether it may happen now and, if so, how many times it was withheld before.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        let Limit {
            times,
            first,
            later,
        } = self.limit;
        let mut state = self
            .state
            .filter(|state| now < state.asked + first)
            .unwrap_or(State {
                since: now,
                asked: now,
                period_began: now,
                period: first,
                admitted: 0,
            });
        state.asked = now;
        if now >= state.period_began + state.period {
            state.period_began = now;
            state.period = later;
            state.admitted = 0;
        }
        let admits = state.admitted < times;
        if admits {
            state.admitted += 1;
        } else {
            self.withheld += 1;
        }
        self.state = Some(state);
        admits.then(|| std::mem::take(&mut self.withheld))
    }

    /// For how long the condition has lasted that this throttles.
    pub(crate) fn lasts(&self, now: Instant) -> Duration {
        let since = self.state.map_or(now, |state| state.since);
        now.saturating_duration_since(since)
    }
}

impl Default for Throttle {
    /// With [`Limit::PEER`].
    fn default() -> Self {
        Self::new(Limit::PEER)
    }
}

/// So many conditions are told apart.
const CONDITIONS: usize = 64;

/// The same limit for each of several conditions, each with its own name: those that were asked for
/// last are known.
#[derive(Debug)]
pub(crate) struct Conditions {
    limit: Limit,
    known: Vec<(String, Throttle)>,
}

impl Conditions {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            known: Vec::new(),
        }
    }

    /// Whether this one may be told now and, if so, how many times it was withheld before.
    pub(crate) fn admit(&mut self, condition: String, now: Instant) -> Option<u64> {
        let place = self.known.iter().position(|(known, _)| *known == condition);
        let mut throttle = match place {
            Some(place) => self.known.remove(place).1,
            None => Throttle::new(self.limit),
        };
        if self.known.len() == CONDITIONS {
            self.known.remove(0);
        }
        let admitted = throttle.admit(now);
        self.known.push((condition, throttle));
        admitted
    }
}

/// How many lines a peer may send in an interval, or in half a second if that is shorter: a burst
/// has [`LARGEST_BURST`](crate::wire::message::LARGEST_BURST) questions at most, and a few lines
/// more come with it.
const LINES: u32 = 200;

/// The lines that a peer may still send.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
    renewed: Instant,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            left: LINES,
            renewed: now,
        }
    }

    /// Counts a line that comes now, from a peer that speaks once in `interval`. Whether it is one
    /// too many.
    pub(crate) fn is_overdrawn(&mut self, now: Instant, interval: Duration) -> bool {
        let period = interval.min(Duration::from_millis(500));
        if now.saturating_duration_since(self.renewed) >= period {
            *self = Self::new(now);
        }
        let overdrawn = self.left == 0;
        self.left = self.left.saturating_sub(1);
        overdrawn
    }
}

/// Says that corrections are refused, which may go on for ever.
#[derive(Debug)]
pub(crate) struct Refusals(Throttle);

impl Default for Refusals {
    fn default() -> Self {
        Self(Throttle::new(Limit::LASTING))
    }
}

impl Refusals {
    pub(crate) fn warn(&mut self, correction: TimeDelta) {
        if self.0.admit(Instant::now()).is_some() {
            log::warn!(
                "a correction of {} is above the panic threshold, by itself or with those of the \
                 last day: this clock is left alone; set it by hand, start again, or raise \
                 --panic-threshold",
                span::signed(correction)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_peer_may_send_so_many_lines_in_an_interval() {
        let began = Instant::now();
        let mut budget = Budget::new(began);
        let mut sent = |at| {
            (0..1000)
                .filter(|_| !budget.is_overdrawn(at, SECOND))
                .count()
        };
        assert_eq!(sent(began), 200);
        assert_eq!(sent(began + SECOND / 4), 0);
        assert_eq!(sent(began + SECOND / 2), 200);
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let began = Instant::now();
        let mut throttle = Throttle::default();
        let admitted = (0..1000)
            .filter(|_| throttle.admit(began).is_some())
            .count();
        assert_eq!(admitted, 20);
        assert_eq!(throttle.admit(began + 10 * SECOND), Some(980));
        assert_eq!(throttle.admit(began + 10 * SECOND), Some(0));
    }

    /// At which second of an hour it is told what is the case every five seconds.
    fn told(throttle: &mut Throttle, began: Instant) -> Vec<u32> {
        (0..3600)
            .step_by(5)
            .filter(|&second| throttle.admit(began + second * SECOND).is_some())
            .collect()
    }

    #[test]
    fn what_lasts_is_told_at_once_after_a_minute_and_then_every_ten() {
        let began = Instant::now();
        let mut throttle = Throttle::new(Limit::LASTING);
        let expected = [0, 60, 660, 1260, 1860, 2460, 3060];
        assert_eq!(told(&mut throttle, began), expected);
        let now = began + 3600 * SECOND;
        assert_eq!(throttle.lasts(now), 3600 * SECOND);
    }

    #[test]
    fn what_was_not_the_case_for_a_minute_is_told_as_new() {
        let began = Instant::now();
        let mut throttle = Throttle::new(Limit::LASTING);
        assert_eq!(throttle.admit(began), Some(0));
        assert_eq!(throttle.admit(began + 30 * SECOND), None);
        let anew = began + 91 * SECOND;
        assert_eq!(throttle.admit(anew), Some(1));
        assert_eq!(throttle.lasts(anew + SECOND), SECOND);
        assert_eq!(throttle.admit(anew + SECOND), None);
    }

    #[test]
    fn a_condition_is_withheld_for_itself_and_of_many_the_last_are_known() {
        let (mut conditions, began) = (Conditions::new(Limit::LASTING), Instant::now());
        let mut told = |condition: &str, second| {
            let now = began + second * SECOND;
            conditions.admit(condition.to_owned(), now)
        };
        assert_eq!(told("revoked", 0), Some(0));
        assert_eq!(told("revoked", 5), None);
        assert_eq!(told("another", 6), Some(0));
        assert_eq!(told("revoked", 60), Some(1));
        for number in 0..10 * CONDITIONS {
            told(&number.to_string(), 61);
            assert_eq!(told("revoked", 61), None);
        }
        assert_eq!(told("0", 61), Some(0), "it is forgotten");
        assert_eq!(conditions.known.len(), CONDITIONS);
    }
}
