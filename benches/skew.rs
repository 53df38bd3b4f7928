//! How far apart the clocks of the default simulation are, with and without drift correction.

#[path = "../tests/it/simulation/network.rs"]
#[allow(dead_code, reason = "the simulation's scenarios need more of it")]
mod network;
#[path = "../tests/it/simulation/queue.rs"]
#[allow(dead_code, reason = "the simulation's scenarios need more of it")]
mod queue;

use berkeley::internals::discipline::steering::Steering;
use chrono::TimeDelta;
use network::{Network, Scenario};

/// With drift correction the median and the worst skew are no larger.
const LIMITS: (TimeDelta, TimeDelta) = (TimeDelta::microseconds(30), TimeDelta::microseconds(60));

fn main() {
    let Scenario {
        nodes,
        drift_ppm,
        interval,
        ..
    } = Scenario::default();
    let interval = interval / network::SECOND;
    println!(
        "skew of {nodes} clocks of up to ±{drift_ppm} ppm, rounds of {interval} s, after 200 rounds"
    );
    println!("{:<26} {:>10} {:>10}", "", "median", "worst");
    for (name, drift) in [
        ("with drift correction", true),
        ("without drift correction", false),
    ] {
        let mut network = Network::new(Scenario {
            steering: Steering {
                drift,
                ..Steering::default()
            },
            ..Scenario::default()
        });
        network.rounds(200);
        network.skew();
        network.rounds(2000);
        let (median, worst) = network.skew();
        let micros = |skew: TimeDelta| skew.num_microseconds().unwrap_or(i64::MAX);
        println!(
            "{name:<26} {:>7} µs {:>7} µs",
            micros(median),
            micros(worst)
        );
        if drift {
            assert!(
                median <= LIMITS.0 && worst <= LIMITS.1,
                "more than the {} µs and {} µs that are allowed",
                micros(LIMITS.0),
                micros(LIMITS.1)
            );
        }
    }
}
