//! A node that nobody corrects any more: what it states, and promises clients of NTP, goes on
//! reaching the group's time, which every look at a node checks.

use chrono::TimeDelta;

use super::network::{Network, Scenario};

/// Rounds of ten minutes.
const TEN_MINUTES: usize = 120;

#[test]
fn a_node_holds_over_for_ten_minutes() {
    for seed in 1..=3 {
        let mut network = Network::new(Scenario {
            seed,
            wander_ppm: 0.02,
            ..Scenario::default()
        });
        // Just joined, it knows little of its rate; after a while, much.
        for settled in [4, 100] {
            network.rounds(settled);
            network.nodes[5].away = true;
            network.nodes[5].apart = true;
            network.rounds(TEN_MINUTES);
            let now = network.now;
            let raw = network.nodes[5].raw(now);
            let error = network.nodes[5].discipline.read(raw).error;
            let error = error.expect("a clock that knows the time");
            println!("seed {seed}: {error} after ten minutes, known for {settled} rounds");
            let most = if settled == 4 { 26 } else { 2 };
            assert!(error < TimeDelta::milliseconds(most), "{error}");
            network.nodes[5].away = false;
        }
    }
}
