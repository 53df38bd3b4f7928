//! A group that is led towards references, in virtual time.

use super::network::{HOUR, MILLISECOND, Network, Reference, Scenario};
use chrono::TimeDelta;

/// How far the group is from true time, on average, in µs.
fn distance(network: &Network) -> f64 {
    let ahead = network.nodes.iter().map(|node| {
        let target = node.discipline.target(node.raw(network.now));
        (target - Network::true_time(network.now))
            .num_nanoseconds()
            .unwrap() as f64
            * 1e-3
    });
    ahead.sum::<f64>() / network.nodes.len() as f64
}

/// At how many ppm the group comes nearer to a reference that is so far ahead of true time, over
/// so many rounds.
fn approach(network: &mut Network, ahead: i64, rounds: usize) -> f64 {
    let (from, at) = (distance(network), network.now);
    network.rounds(rounds);
    let seconds = (network.now - at) as f64 * 1e-9;
    // As the reference shows true time, that does not depend on where it is.
    (distance(network) - from) / seconds * (ahead as f64).signum()
}

/// Median and worst skew since this was asked last, in µs.
fn skew(network: &mut Network) -> (i64, i64) {
    let (median, worst) = network.skew();
    let micros = |span: TimeDelta| span.num_microseconds().unwrap();
    (micros(median), micros(worst))
}

fn group(seed: u64) -> Network {
    println!("seed {seed}");
    let mut network = Network::new(Scenario {
        seed,
        nodes: 10,
        ..Scenario::default()
    });
    network.rounds(200);
    network.skew();
    network
}

#[test]
fn a_group_comes_to_its_reference_at_the_stated_rate_and_keeps_together() {
    for seed in 1..=3 {
        let mut network = group(seed);
        network.rounds(400);
        let alone = skew(&mut network);
        let ahead = (distance(&network) * 1e3) as i64 + 300 * MILLISECOND;
        network.references.push(Reference { node: 3, ahead });
        let to_go = |network: &Network| distance(network) - ahead as f64 * 1e-3;
        let began = to_go(&network);
        // What the clocks are off by together is found in the first rounds.
        network.rounds(150);
        let (from, at) = (to_go(&network), network.now);
        network.rounds(100);
        let seconds = (network.now - at) as f64 * 1e-9;
        let rate = (to_go(&network) - from) / seconds;
        println!("{began:.0} µs to go, at {rate:.2} ppm");
        assert!((47.0..51.0).contains(&rate), "{rate} ppm");
        network.rounds(1400);
        let led = skew(&mut network);
        let left = to_go(&network);
        println!("skew alone {alone:?} µs, led {led:?} µs; {left:.1} µs left");
        assert!(left.abs() < 100.0, "{left} µs left");
        assert!(led.0 <= alone.0 + alone.0 / 5 + 2, "{alone:?} {led:?}");
        assert!(led.1 <= alone.1 * 2, "{alone:?} {led:?}");
        // A second one, an hour off, is not followed.
        network.references.push(Reference {
            node: 5,
            ahead: ahead + HOUR,
        });
        for _ in 0..200 {
            let round = network.round().expect("a round");
            let led = round.led.expect("references");
            assert_eq!((led.references, led.followed), (2, 1));
        }
        assert!(to_go(&network).abs() < 100.0, "{} µs", to_go(&network));
    }
}

#[test]
fn nobody_is_led_without_a_reference_or_by_one_that_jumps() {
    let mut network = group(1);
    assert_eq!(network.round().expect("a round").led, None);
    network.references.push(Reference {
        node: 3,
        ahead: (distance(&network) * 1e3) as i64,
    });
    network.rounds(100);
    let before = distance(&network);
    network.references[0].ahead += HOUR;
    for _ in 0..100 {
        let led = network.round().expect("a round").led.expect("a reference");
        assert_eq!(led.followed, 0);
    }
    let moved = distance(&network) - before;
    assert!(moved.abs() < 5000.0, "{moved} µs in 500 s");
}

#[test]
fn a_new_leader_leads_the_group_on_as_it_was_led() {
    for seed in 1..=4 {
        let mut network = group(seed);
        let ahead = (distance(&network) * 1e3) as i64;
        network.references.push(Reference { node: 3, ahead });
        // What the clocks are off by together is found.
        network.rounds(400);
        let to_go = |network: &Network| (distance(network) - ahead as f64 * 1e-3).abs();
        let before = to_go(&network);
        let mut farthest = 0.0_f64;
        for _ in 0..3 {
            network.new_leader();
            for _ in 0..60 {
                network.round();
                farthest = farthest.max(to_go(&network));
            }
        }
        println!("{before:.0} µs away, and {farthest:.0} µs at most under three new leaders");
        assert!(farthest < 150.0, "{farthest} µs");

        network.references[0].ahead += 300 * MILLISECOND;
        network.new_leader();
        network.rounds(100);
        let led = approach(&mut network, 1, 20);
        network.new_leader();
        let led_on = approach(&mut network, 1, 20);
        println!("led at {led:.2} ppm, and at {led_on:.2} ppm by the next leader");
        assert!((led_on - led).abs() < 3.0, "{led} ppm, {led_on} ppm");
    }
}
