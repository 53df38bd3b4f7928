//! A group that is trusted to stand for many, and lies: what it gains by that.
//!
//! The clocks have no drift here, so that all that moves them is what they are told.

use berkeley::internals::average::ensemble::{Ensemble, Settings};
use berkeley::internals::average::round::{Heard, NodeId, Wire};
use berkeley::internals::measurement::sample::Sample;
use chrono::TimeDelta;
use fastrand::Rng;

/// How far from where the honest clocks are, in ns, a liar shows itself in a round.
type Lie = fn(u64) -> i64;

const ROUNDS: u64 = 400;
const HONEST: usize = 5;

/// How fast four of nine clocks that lie, or one that is trusted to stand for four, drag the others,
/// in ppm.
fn drag(lie: Lie, liars: &[u32], deviation: TimeDelta, seed: u64) -> f64 {
    // Some liars say that they know the time, and some that they don't.
    let says_so = seed.is_multiple_of(2);
    let settings = Settings::default();
    let interval = settings.interval;
    let mut ensemble = Ensemble::new(settings);
    let mut rng = Rng::with_seed(seed);
    let weights: Vec<u32> = std::iter::repeat_n(1, HONEST - 1)
        .chain(liars.iter().copied())
        .collect();
    for number in 0..weights.len() as u64 {
        ensemble.join(NodeId(number), "clock", None, Wire::Line);
        ensemble.trust_weight(NodeId(number));
    }
    // The master's is the first.
    let mut clocks = [0_i64; HONEST];
    for round in 0..ROUNDS {
        let group = clocks.iter().sum::<i64>() / HONEST as i64;
        for (number, weight) in weights.iter().enumerate() {
            let honest = clocks.get(number + 1).copied();
            let shows = honest.unwrap_or_else(|| group + lie(round));
            let noise = rng.i64(-10_000..10_000);
            let sample = Sample {
                error: TimeDelta::microseconds(100),
                ..Sample::one_way(TimeDelta::nanoseconds(shows - clocks[0] + noise))
            };
            let heard = Heard {
                synchronized: round > 0 && (honest.is_some() || says_so),
                weight: *weight,
                deviation: if *weight > 1 {
                    deviation
                } else {
                    TimeDelta::zero()
                },
                ..Heard::from(sample)
            };
            ensemble.report(NodeId(number as u64), ensemble.interval(), heard);
        }
        let own = Heard {
            synchronized: round > 0,
            ..Heard::from(Sample::OWN)
        };
        let Some(held) = ensemble.close_round(own).round else {
            continue;
        };
        for row in held.rows {
            let place = row.node.map_or(0, |node| node.0 as usize + 1);
            if let (Some(clock), Some(correction)) = (clocks.get_mut(place), row.correction) {
                *clock += correction.offset.num_nanoseconds().unwrap();
            }
        }
    }
    let moved = clocks.iter().sum::<i64>() / HONEST as i64;
    moved as f64 / (ROUNDS as f64 * interval.as_nanos() as f64) * 1e6
}

#[test]
fn a_trusted_group_that_lies_drags_the_others_no_faster_than_as_many_clocks_that_lie() {
    let lies: [(&str, Lie); 6] = [
        ("90 µs ahead", |_| 90_000),
        ("200 µs ahead", |_| 200_000),
        ("0.9 ms ahead", |_| 900_000),
        ("an hour ahead", |_| 3_600_000_000_000),
        ("0.9 ms in one of ten rounds", |round| {
            i64::from(round % 10 == 9) * 900_000
        }),
        ("5 ms more in each round", |round| round as i64 * 5_000_000),
    ];
    let mut most: [f64; 2] = [0.0; 2];
    for (name, lie) in lies {
        for deviation in [0, 20, 1000, 3_600_000_000] {
            let deviation = TimeDelta::microseconds(deviation);
            for seed in 1..=5 {
                let one = drag(lie, &[4], deviation, seed).abs();
                let four = drag(lie, &[1; 4], TimeDelta::zero(), seed).abs();
                most = [most[0].max(one), most[1].max(four)];
                assert!(one < 12.0, "{name}, seed {seed}: {one:.2} ppm");
            }
        }
    }
    println!(
        "tree | four of nine clocks lie | dragged by {:.1} ppm; by one that stands for four {:.1} ppm",
        most[1], most[0]
    );
    assert!(most[0] <= most[1] * 1.1, "{most:?} ppm");
    assert!(most[1] > 1.0, "no lie was of any use");
}
