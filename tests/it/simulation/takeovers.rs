//! Elections that liars force: whoever takes a group over knows little of its clocks, and the group
//! keeps its time and its rate.

use super::network::{Lie, MILLISECOND, Network, RateLie, Scenario};
use super::rounds::{dragged_ppm, rate_with, with_seeds};

const MICROSECOND: i64 = 1000;

/// Half of 20 ppm of an interval and of the median deviation in it, see `reputation`.
const MOST_PPM: f64 = 12.0;

/// How fast so many liars of nine clocks drag the others, in ppm, where another candidate leads
/// after every so many rounds, if any.
fn dragged(seed: u64, liars: usize, lie: Lie, elections: Option<usize>) -> f64 {
    let mut network = Network::new(Scenario {
        seed,
        nodes: 9,
        drift_ppm: 30.0,
        // Not one more or less, however it is rounded.
        liars: (liars as f64 - 0.5) / 9.0,
        lie,
        elections,
        // Nearly half of the clocks can make the others state a little too small an error.
        checks_errors: liars < 4,
        ..Scenario::default()
    });
    let honest = network.nodes.iter().filter(|node| !node.apart);
    assert_eq!(honest.count(), 9 - liars);
    dragged_ppm(&mut network, 400)
}

#[test]
fn no_minority_drags_the_others_whether_it_forces_elections_or_not() {
    let lies = [
        Lie::Ahead(200 * MICROSECOND),
        Lie::Ahead(900 * MICROSECOND),
        Lie::OnceIn(9, 800 * MICROSECOND),
        Lie::Early(200 * MICROSECOND),
        Lie::Late(200 * MICROSECOND, MILLISECOND),
    ];
    with_seeds(|seed| {
        for liars in 1..=4 {
            for elections in [Some(2), Some(12), None] {
                let dragged = lies.map(|lie| dragged(seed, liars, lie, elections).abs());
                let most = dragged.into_iter().fold(0.0, f64::max);
                let often = elections.map_or("no election".to_owned(), |every| {
                    format!("an election every {every} rounds")
                });
                println!(
                    "rules | {liars} of nine lie, {often} | dragged at {most:.2} ppm | limit: \
                     {MOST_PPM} ppm"
                );
                assert!(most <= MOST_PPM, "{liars}, {often}: {dragged:?} ppm");
            }
        }
    });
}

#[test]
fn two_of_nine_that_force_elections_and_lie_of_their_rates_move_the_groups_by_less_than_5_ppm() {
    let lies: [(&str, RateLie); 3] = [
        ("tell 130 ppm", |_, _| 130.0),
        ("tell 100 ppm too much", |right, _| right + 100.0),
        ("tell 12,000 ppm", |_, _| 12_000.0),
    ];
    with_seeds(|seed| {
        for every in [2, 50] {
            let honest = rate_with(None, seed, Some(every));
            for (what, lie) in lies {
                let moved = rate_with(Some(lie), seed, Some(every)) - honest;
                println!(
                    "rules | two of nine {what}, an election every {every} rounds | the group's \
                     rate moved by {moved:.2} ppm"
                );
                assert!(moved.abs() <= 5.0, "they {what}: moved by {moved} ppm");
            }
        }
    });
}
