//! What the arithmetic costs: an average over many clocks, and one reading of network time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berkeley::average::{Rules, consensus};
use berkeley::clock::SteadyClock;
use berkeley::discipline::Steering;
use berkeley::network_clock::NetworkClock;
use berkeley::sample::Sample;
use chrono::TimeDelta;

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

    let clock = NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default());
    clock
        .correct(
            clock.mark(),
            TimeDelta::milliseconds(1),
            TimeDelta::zero(),
            0.0,
        )
        .unwrap();
    let many = 10_000;
    let took = median(|| {
        for _ in 0..many {
            black_box(clock.now());
        }
    });
    assert!(
        took < Duration::from_nanos(100) * many,
        "too slow: {took:?}"
    );
    println!(
        "{:<34} {:>9.1} ns",
        "one reading of network time",
        took.as_nanos() as f64 / f64::from(many)
    );
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
