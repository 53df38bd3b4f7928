//! What the arithmetic costs: an average over many clocks, the end of a round, which must take no
//! more time for each follower when there are many, and one reading of network time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berkeley::internals::average::consensus::{Rules, consensus};
use berkeley::internals::average::ensemble::{Ensemble, Settings};
use berkeley::internals::average::round::{Heard, NodeId, Wire};
use berkeley::internals::clock::{Clock, SteadyClock};
use berkeley::internals::discipline::network_clock::NetworkClock;
use berkeley::internals::discipline::steering::Steering;
use berkeley::internals::measurement::sample::Sample;
use berkeley::internals::wire::correction::Correction;
use chrono::TimeDelta;

/// How many rounds end.
const ROUNDS: usize = 101;

/// A clock that tells its rate, too.
fn heard(sample: Sample) -> Heard {
    Heard {
        rate_ppm: Some(1.0),
        ..Heard::from(sample)
    }
}

fn main() {
    println!("{:<34} {:>12}", "average", "median");
    for count in [10, 1_000, 100_000] {
        let mut rng = fastrand::Rng::with_seed(1);
        let clocks: Vec<_> = (0..count)
            .map(|_| Sample::one_way(TimeDelta::nanoseconds(rng.i64(-1_000_000..1_000_000))))
            .collect();
        let took = median(|| {
            black_box(consensus(black_box(&clocks), &Rules::default())).unwrap();
        });
        assert!(took < Duration::from_millis(10), "too slow: {took:?}");
        println!(
            "{:<34} {:>9.1} µs",
            format!("of {count} clocks"),
            micros(took)
        );
    }

    println!("\n{:<34} {:>12}", "end of a round", "median");
    let [of_thousand, of_most] = [1_000, 10_000].map(|followers| {
        let took = end_of_round(followers);
        println!(
            "{:<34} {:>9.1} µs",
            format!("with {followers} followers"),
            micros(took)
        );
        took
    });
    assert!(
        of_most < of_thousand * 20,
        "ten times as many followers take more than twenty times as long"
    );
    println!();

    let clock = NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default());
    clock
        .correct(
            clock.mark(),
            Correction {
                offset: TimeDelta::milliseconds(1),
                ..Correction::default()
            },
        )
        .unwrap();
    let steady = SteadyClock::start();
    println!("{:<34} {:>12}", "one reading", "median");
    reading("of network time", || clock.now());
    reading("of the clock beneath it", || steady.read());
    reading("of a clock of the kernel", Instant::now);
}

/// What one reading takes.
fn reading<T>(of: &str, read: impl Fn() -> T) {
    let many = 10_000;
    let took = median(|| {
        for _ in 0..many {
            black_box(read());
        }
    });
    assert!(
        took < Duration::from_nanos(100) * many,
        "too slow: {took:?}"
    );
    let each = took.as_nanos() as f64 / f64::from(many);
    println!("{of:<34} {each:>9.1} ns");
}

/// What the end of a round takes the master's memory, all followers being there.
fn end_of_round(followers: u64) -> Duration {
    let mut ensemble = Ensemble::new(Settings::default());
    let mut rng = fastrand::Rng::with_seed(1);
    for node in 1..=followers {
        let name = Arc::from(format!("127.0.0.1:{node}"));
        ensemble.join(NodeId(node), &name, None, Wire::Line);
    }
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let interval = ensemble.interval();
            for node in 1..=followers {
                let offset = TimeDelta::nanoseconds(rng.i64(-1_000_000..1_000_000));
                ensemble.report(NodeId(node), interval, heard(Sample::one_way(offset)));
            }
            let began = Instant::now();
            let closed = black_box(ensemble.close_round(heard(Sample::OWN)));
            let took = began.elapsed();
            assert!(closed.round.is_some_and(|round| round.outcome.is_ok()));
            took
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..101)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 * 1e-3
}
