//! How a group is led towards clocks that are right: those of machines with a receiver of their own,
//! or with an operator's word for it.
//!
//! The average keeps the group together and stays what it is. On top of it, all clocks alike are
//! asked to run a little faster or slower, so that their common time comes nearer to the median of
//! the references: as fast as the references run, and in proportion to the distance, up to a limit,
//! faster than that. Nobody is stepped by this.
//!
//! A reference states to what error its clock is right. Of several, those are followed whose errors
//! overlap, if they are no fewer than the others; where as many contradict as many, those that are
//! nearer to the group. One that moves against the group by more than its own error explains has
//! contradicted itself, and is not followed until it is back where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;

use crate::average::round::{Led, NodeId};
use crate::span::{at_rate, float_nanoseconds};

/// The fastest that a group is led, in ppm, if nothing else is said.
pub const SLEW_PPM: f64 = 50.0;

/// A small distance is led away at such a rate that it would take so many intervals.
const INTERVALS: f64 = 8.0;

/// By how much the references run faster than the clocks is averaged over about so many rounds.
const STEADY_ROUNDS: f64 = 32.0;

/// A group and a reference may move against each other by so much, in ppm: what oscillators are off
/// by, and what the group is led by.
const BELIEVED_PPM: f64 = 200.0;

/// A reference, as it was seen in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// The follower's connection; `None` is the master itself.
    pub node: Option<NodeId>,
    /// How far its machine's own clock is ahead of the group's time.
    pub ahead: TimeDelta,
    /// `ahead` is known to ± this: what it states, and what its measurement is worth.
    pub error: TimeDelta,
    /// Whether the group was led towards it in its last round.
    pub followed: bool,
}

/// Where a reference was when it was believed last, and for how many rounds it was not since.
#[derive(Debug, Clone, Copy)]
struct Believed {
    ahead: TimeDelta,
    rounds: i32,
}

/// What is remembered of how the group is led.
#[derive(Debug, Clone, Default)]
pub struct Guide {
    /// How much faster the group was asked to run than its clocks do on average, in ppm; `None`
    /// before there was a reference.
    rate_ppm: Option<f64>,
    /// How much faster that was than before its last round, in ppm.
    change_ppm: f64,
    /// The part of it by which the references run faster than the clocks do on average.
    steady_ppm: f64,
    /// How far the references were ahead in the last round, if any were followed.
    ahead: Option<TimeDelta>,
    believed: BTreeMap<Option<NodeId>, Believed>,
}

impl Guide {
    /// How much faster the group was asked to run than its clocks do on average, in ppm.
    #[must_use]
    pub fn rate_ppm(&self) -> f64 {
        self.rate_ppm.unwrap_or(0.0)
    }

    /// How much faster the group was asked to run in its last round than before it, in ppm.
    #[must_use]
    pub fn change_ppm(&self) -> f64 {
        self.change_ppm
    }

    /// A round with these references, so long after the one before; says which of them are
    /// followed. `mean_ppm` is how much faster the group runs than its clocks do on average: where
    /// another master led it before, it goes on from there. The group comes nearer by `slew_ppm` at
    /// most. `None` where there is no reference and was none.
    pub fn lead(
        &mut self,
        references: &mut [Reference],
        mean_ppm: f64,
        interval: Duration,
        slew_ppm: f64,
    ) -> Option<Led> {
        if references.is_empty() && self.rate_ppm.is_none() {
            return None;
        }
        let consistent = self.consistent(references, interval);
        let followed = followed(&consistent, references.len());
        let nodes: BTreeSet<_> = followed.iter().map(|it| it.node).collect();
        for reference in references.iter_mut() {
            reference.followed = nodes.contains(&reference.node);
        }
        let ahead = median(followed.iter().map(|it| it.ahead).collect());
        let before_ppm = self.rate_ppm.unwrap_or_else(|| {
            // Either it was led by this distance before, or not at all: the clocks are more likely to
            // run nearly as fast as the references.
            let share_ppm = ahead.map_or(0.0, |ahead| share(ahead, interval, slew_ppm));
            let steady_ppm = [mean_ppm, mean_ppm - share_ppm];
            let least_ppm = steady_ppm
                .into_iter()
                .min_by(|one, other| one.abs().total_cmp(&other.abs()));
            self.steady_ppm = least_ppm.unwrap_or_default().clamp(-slew_ppm, slew_ppm);
            mean_ppm
        });
        let rate_ppm = self.rate(ahead, interval, slew_ppm);
        self.rate_ppm = Some(rate_ppm);
        self.change_ppm = rate_ppm - before_ppm;
        Some(Led {
            references: references.len(),
            followed: followed.len(),
            ahead: ahead.unwrap_or_default(),
            rate_ppm,
        })
    }

    /// The group was stepped.
    pub fn step(&mut self, by: TimeDelta) {
        for believed in self.believed.values_mut() {
            believed.ahead -= by;
        }
        self.ahead = self.ahead.map(|ahead| ahead - by);
    }

    /// Those that are where they were, as far as their errors tell.
    fn consistent(&mut self, references: &[Reference], interval: Duration) -> Vec<Reference> {
        let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::days(1));
        let before = std::mem::take(&mut self.believed);
        let mut consistent = Vec::with_capacity(references.len());
        for reference in references {
            let now = Believed {
                ahead: reference.ahead,
                rounds: 0,
            };
            let known = before.get(&reference.node).copied().unwrap_or(now);
            let rounds = known.rounds.saturating_add(1);
            let moved = at_rate(interval, BELIEVED_PPM * f64::from(rounds));
            let is_where_it_was =
                (reference.ahead - known.ahead).abs() <= reference.error * 2 + moved;
            let kept = if is_where_it_was {
                consistent.push(*reference);
                now
            } else {
                Believed { rounds, ..known }
            };
            self.believed.insert(reference.node, kept);
        }
        consistent
    }

    /// The rate that takes this distance away; without one, the rate that was found to hold.
    fn rate(&mut self, ahead: Option<TimeDelta>, interval: Duration, slew_ppm: f64) -> f64 {
        let before = std::mem::replace(&mut self.ahead, ahead);
        let Some(ahead) = ahead else {
            return self.steady_ppm;
        };
        // The references run faster than the clocks do by what they have gained on the group, and
        // the group was led by. A median of others than before may have jumped.
        let found_ppm = before.map(|before| ppm(ahead - before, interval) + self.rate_ppm());
        if let Some(found_ppm) = found_ppm.filter(|it| it.abs() < BELIEVED_PPM) {
            self.steady_ppm += (found_ppm - self.steady_ppm) / STEADY_ROUNDS;
            self.steady_ppm = self.steady_ppm.clamp(-slew_ppm, slew_ppm);
        }
        share(ahead, interval, slew_ppm) + self.steady_ppm
    }
}

/// The part of the rate that takes a distance away.
fn share(ahead: TimeDelta, interval: Duration, slew_ppm: f64) -> f64 {
    (ppm(ahead, interval) / INTERVALS).clamp(-slew_ppm, slew_ppm)
}

/// The rate that makes up for a span in an interval. A microsecond in a second is one ppm.
fn ppm(span: TimeDelta, interval: Duration) -> f64 {
    float_nanoseconds(span) * 1e-3 / interval.as_secs_f64()
}

/// The largest part of the references whose errors overlap, or the one nearer to the group, if it is
/// no smaller than all others of `all` together.
fn followed(references: &[Reference], all: usize) -> Vec<Reference> {
    // How many begin and have not ended, at each beginning. Where one begins and one ends, they
    // overlap.
    let mut edges: Vec<(TimeDelta, bool)> = Vec::with_capacity(references.len() * 2);
    for reference in references {
        edges.push((reference.ahead - reference.error, false));
        edges.push((reference.ahead + reference.error, true));
    }
    edges.sort_unstable();
    let (mut open, mut best) = (0_usize, (0_usize, TimeDelta::zero()));
    for (at, ends) in edges {
        if ends {
            open -= 1;
            continue;
        }
        open += 1;
        if open > best.0 || (open == best.0 && at.abs() < best.1.abs()) {
            best = (open, at);
        }
    }
    if best.0 * 2 < all {
        return Vec::new();
    }
    let overlaps = |it: &&Reference| (it.ahead - best.1).abs() <= it.error;
    references.iter().filter(overlaps).copied().collect()
}

fn median(mut spans: Vec<TimeDelta>) -> Option<TimeDelta> {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn reference(node: u64, ahead_us: i64, error_us: i64) -> Reference {
        Reference {
            node: Some(NodeId(node)),
            ahead: TimeDelta::microseconds(ahead_us),
            error: TimeDelta::microseconds(error_us),
            followed: false,
        }
    }

    /// The distances of those that are followed of these distances and errors, in µs.
    fn followed_of(references: &[(i64, i64)]) -> Vec<i64> {
        let references: Vec<_> = (1..)
            .zip(references)
            .map(|(node, (ahead, error))| reference(node, *ahead, *error))
            .collect();
        let followed = followed(&references, references.len());
        let ahead = followed.iter().map(|it| it.ahead.num_microseconds());
        ahead.map(|it| it.unwrap()).collect()
    }

    #[test]
    fn those_that_agree_are_followed_and_the_nearer_one_of_two() {
        const HOUR: i64 = 3_600_000_000;
        assert_eq!(followed_of(&[]), [0_i64; 0]);
        assert_eq!(followed_of(&[(HOUR, 1)]), [HOUR], "one alone");
        assert_eq!(followed_of(&[(300_000, 100), (HOUR, 100)]), [300_000]);
        assert_eq!(followed_of(&[(HOUR, 100), (-300_000, 100)]), [-300_000]);
        let two = [(HOUR, 100), (0, 100), (HOUR + 150, 100)];
        assert_eq!(followed_of(&two), [HOUR, HOUR + 150], "most of them");
        let apart = [(0, 100), (1000, 100), (2000, 100)];
        assert_eq!(followed_of(&apart), [0_i64; 0], "nobody is to be believed");
        assert_eq!(followed_of(&[(0, 100), (200, 100)]), [0, 200], "they touch");
    }

    #[test]
    fn a_reference_that_jumps_contradicts_itself_until_it_is_back() {
        let mut guide = Guide::default();
        let mut followed_at = |ahead| {
            let mut references = [reference(1, ahead, 100)];
            let led = guide
                .lead(&mut references, 0.0, INTERVAL, SLEW_PPM)
                .unwrap();
            assert_eq!(references[0].followed, led.followed == 1);
            led.followed
        };
        assert_eq!(followed_at(400_000), 1);
        assert_eq!(followed_at(400_900), 1, "as oscillators drift");
        for _ in 0..20 {
            assert_eq!(followed_at(9_000_000), 0);
        }
        assert_eq!(followed_at(401_000), 1);
        // It is known by its connection, so one that is started anew is believed.
        guide.lead(&mut [], 0.0, INTERVAL, SLEW_PPM);
        let mut references = [reference(1, 9_000_000, 100)];
        let led = guide
            .lead(&mut references, 0.0, INTERVAL, SLEW_PPM)
            .unwrap();
        assert_eq!(led.followed, 1);
        // What all clocks were stepped by is no jump of the reference.
        guide.step(TimeDelta::seconds(9));
        let mut references = [reference(1, 0, 100)];
        let led = guide
            .lead(&mut references, 0.0, INTERVAL, SLEW_PPM)
            .unwrap();
        assert_eq!(led.followed, 1);
    }

    #[test]
    fn the_rate_has_a_limit_and_what_holds_is_kept_without_references() {
        let mut guide = Guide::default();
        assert_eq!(guide.lead(&mut [], 0.0, INTERVAL, SLEW_PPM), None);
        let mut ahead = 300_000.0;
        let mut fastest = 0.0_f64;
        for round in 0..3000 {
            let mut references = [reference(1, ahead as i64, 100)];
            let led = guide
                .lead(&mut references, 0.0, INTERVAL, SLEW_PPM)
                .unwrap();
            // The oscillators lose 10 ppm on the reference.
            let gained_ppm = led.rate_ppm - 10.0;
            ahead -= 5.0 * gained_ppm;
            if round > 200 {
                fastest = fastest.max(gained_ppm);
            }
        }
        assert!(ahead.abs() < 10.0, "{ahead} µs");
        assert!((fastest - SLEW_PPM).abs() < 0.2, "{fastest}");
        let alone = guide.lead(&mut [], 0.0, INTERVAL, SLEW_PPM).unwrap();
        assert!((alone.rate_ppm - 10.0).abs() < 0.1, "{alone:?}");
    }

    #[test]
    fn a_new_leader_goes_on_with_the_rate_that_the_group_has() {
        let mut guide = Guide::default();
        let mut references = [reference(1, 0, 100)];
        let led = guide.lead(&mut references, 12.0, INTERVAL, SLEW_PPM);
        let led = led.unwrap();
        assert!((led.rate_ppm - 12.0).abs() < 1e-9, "{led:?}");
        assert!(
            guide.change_ppm().abs() < 1e-9,
            "it runs so fast already: {led:?}"
        );
    }

    #[test]
    fn a_new_leader_of_a_group_that_is_far_off_leads_it_no_faster() {
        for (ahead, mean_ppm) in [(300_000, 62.0), (300_000, 38.0), (-300_000, -62.0)] {
            let mut guide = Guide::default();
            let mut references = [reference(1, ahead, 100)];
            let led = guide.lead(&mut references, mean_ppm, INTERVAL, SLEW_PPM);
            let led = led.unwrap();
            assert!((led.rate_ppm - mean_ppm).abs() < 1e-9, "{led:?}");
            assert!(guide.change_ppm().abs() < 1e-9, "{led:?}");
        }
        // One that was not led yet is led at once.
        let mut guide = Guide::default();
        let led = guide.lead(&mut [reference(1, 300_000, 100)], 0.0, INTERVAL, SLEW_PPM);
        assert!((guide.change_ppm() - SLEW_PPM).abs() < 1e-9, "{led:?}");
    }
}
