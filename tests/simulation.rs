//! tuning
#[path = "simulation/network.rs"]
mod network;
use berkeley::discipline::Steering;
use network::*;
#[test]
fn tune() {
    for seed in 1..=4 {
        let mut n = Network::new(Scenario {
            seed,
            ..Scenario::default()
        });
        n.rounds(20);
        print!("first20 {:?} ", n.skew().0.num_nanoseconds());
        n.rounds(180);
        n.skew();
        n.rounds(400);
        let (m, w) = n.skew();
        let r = n.rate_against_raw(17280 - 600);
        let (m2, w2) = n.skew();
        println!(
            "seed {seed}: median {} worst {}  day rate {r:.4} ppm  day median {} worst {}",
            m.num_nanoseconds().unwrap() / 1000,
            w.num_nanoseconds().unwrap() / 1000,
            m2.num_nanoseconds().unwrap() / 1000,
            w2.num_nanoseconds().unwrap() / 1000
        );
    }
    let mut n = Network::new(Scenario {
        steering: Steering {
            drift: false,
            ..Steering::default()
        },
        ..Scenario::default()
    });
    n.rounds(200);
    n.skew();
    n.rounds(400);
    let (m, w) = n.skew();
    println!("no drift: {m} {w}");
    let mut n = Network::new(Scenario {
        jitter: 10 * MILLISECOND,
        ..Scenario::default()
    });
    n.rounds(200);
    n.skew();
    n.rounds(400);
    let (m, w) = n.skew();
    println!("10ms jitter: {m} {w}");
    let mut n = Network::new(Scenario {
        jitter: 10 * MILLISECOND,
        nodes: 2,
        ..Scenario::default()
    });
    n.rounds(200);
    n.skew();
    n.rounds(400);
    let (m, w) = n.skew();
    println!("10ms jitter 2 nodes: {m} {w}");
    let mut n = Network::new(Scenario {
        wander_ppm: 0.01,
        ..Scenario::default()
    });
    n.rounds(200);
    n.skew();
    n.rounds(400);
    let (m, w) = n.skew();
    println!("wander .01/round: {m} {w}");
    let mut n = Network::new(Scenario {
        offset: HOUR,
        ..Scenario::default()
    });
    for r in 0..12 {
        n.round();
        println!("hour: after {} {:?}", r + 1, n.skew());
    }
}
