//! Trees of groups in virtual time: what their clocks have in common, and how far apart they are.

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::network::{HOUR, MILLISECOND, Node, SECOND};
use super::tree::group::{Group, NO_STEPS, Plan, Scenario, depth};
use super::tree::measured::{Measured, chain, part};

/// Links and oscillators without noise.
fn exact() -> Scenario {
    Scenario {
        drift_ppm: 0.0,
        jitter: 0,
        ..Scenario::default()
    }
}

fn micros(span: TimeDelta) -> i64 {
    span.num_microseconds().unwrap()
}

/// The sum of how far all clocks are ahead of true time, in nanoseconds, and how many they are.
fn sum(group: &mut Group) -> (i128, i128) {
    let (now, mut sum, mut count) = (group.now, 0, 0);
    group.readings(0, &mut |_, node| {
        let shown = node.discipline.target(node.raw(now));
        sum += i128::from(shown.timestamp_nanos_opt().unwrap());
        count += 1;
    });
    (sum, count)
}

#[test]
fn the_time_of_a_tree_is_the_average_of_all_its_clocks_and_each_moves_once() {
    // Groups of 3 and 10 below one of 2, in ms from true time.
    let offsets: [&[i64]; 3] = [
        &[0, 6000],
        &[-3000, 1000, 5500],
        &[
            -9100, -7000, -5000, -3000, -1000, 1000, 3000, 5000, 7000, 9000,
        ],
    ];
    let plan = Plan {
        members: 1,
        children: vec![Plan::tree(2, &[]), Plan::tree(9, &[])],
    };
    for seed in 1..=20 {
        let mut tree = Group::new(&plan, exact(), &mut Rng::with_seed(seed));
        let mut all = offsets.iter().copied().flatten();
        tree.readings(0, &mut |_, node| {
            node.set(0, all.next().unwrap() * MILLISECOND);
        });
        let (before, clocks) = sum(&mut tree);
        assert_eq!(clocks, 15);
        tree.advance(30 * SECOND);
        let (after, _) = sum(&mut tree);
        let moved = (after - before) / clocks - i128::from(30 * SECOND);
        assert!(
            moved.abs() <= 4,
            "seed {seed}: the average has moved by {moved} ns"
        );
        let apart = tree.skew();
        assert!(
            apart <= TimeDelta::nanoseconds(4),
            "seed {seed}: {apart} apart"
        );
        tree.each(0, &mut |depth, _, group| {
            let once = group.moves.iter().all(|moves| *moves == 1);
            assert!(
                once,
                "seed {seed}, depth {depth}: moved {:?} times",
                group.moves
            );
        });
    }
}

#[test]
fn skew_grows_with_the_square_root_of_the_depth_and_from_parent_to_child_not_at_all() {
    let depths = [1, 2, 4, 8, 14, 20];
    let mut logs = Vec::new();
    let (mut to_parent, mut up_to_date) = (Vec::new(), Vec::new());
    for depth in depths {
        let mut measured = Measured::of(&chain(depth), 100, 200, depth as u64);
        println!("{depth:>5} {measured}");
        let all = part(&mut measured.all, 0.5);
        logs.push(((depth as f64).ln(), all.ln()));
        let (looks, of_those) = (measured.to_parent.len(), measured.up_to_date.len());
        assert!(
            of_those * 3 > looks,
            "only {of_those} of {looks} are up to date"
        );
        to_parent.push(part(&mut measured.to_parent, 0.5));
        up_to_date.push((
            (depth as f64).ln(),
            part(&mut measured.up_to_date, 0.5).ln(),
        ));
        let rounds = measured.agreed / (5 * SECOND);
        assert!(
            rounds <= depth as i64 + 3,
            "depth {depth}: agreed after {rounds} rounds"
        );
    }
    let exponent = slope(&logs);
    println!("exponent {exponent:.2}, parent to child {to_parent:.1?} µs");
    assert!(exponent <= 0.55, "{exponent}");
    let (first, last) = (to_parent[0], to_parent[depths.len() - 1]);
    assert!(
        last <= first * 1.3 + 5.0,
        "parent to child: {to_parent:?} µs"
    );
    // Once a child has handed down what its parent has told, not at all.
    let growth = slope(&up_to_date);
    println!("parent to child, once that has held a round: exponent {growth:.3}");
    assert!(growth <= 0.065, "{growth}");
}

/// The slope of the straight line through these points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let product: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let square: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    product / square
}

/// How far apart the clocks of a tree are, in µs, of which one group was cut off for a minute, so many
/// rounds of so many seconds after the start; and three rounds after it was back.
fn cut_for_a_minute(plan: &Plan, (seconds, rounds): (i64, i64), seed: u64) -> [i64; 2] {
    let scenario = Scenario {
        interval: seconds * SECOND,
        ..Scenario::default()
    };
    let mut tree = Group::new(plan, scenario, &mut Rng::with_seed(seed));
    let cut = rounds * scenario.interval;
    tree.advance(cut);
    tree.cut(1, true);
    tree.advance(cut + 60 * SECOND);
    let apart = micros(tree.skew());
    tree.cut(1, false);
    tree.advance(cut + 60 * SECOND + 3 * scenario.interval);
    [apart, micros(tree.skew())]
}

/// The same of some seeds, the least first.
fn cuts(plan: &Plan, when: (i64, i64), seeds: u64) -> [Vec<i64>; 2] {
    let all = (1..=seeds).map(|seed| cut_for_a_minute(plan, when, seed));
    let (mut apart, mut back): (Vec<_>, Vec<_>) = all.map(|[apart, back]| (apart, back)).unzip();
    apart.sort_unstable();
    back.sort_unstable();
    let of = |all: &[i64]| {
        let (median, worst) = (all[all.len() / 2], all[all.len() - 1]);
        format!("{median} µs apart ({worst} at worst)")
    };
    let (seconds, rounds) = when;
    println!(
        "tree | rounds of {seconds} s, cut off after {rounds}, median of {seeds} | after a minute {}, three rounds \
         later {}",
        of(&apart),
        of(&back)
    );
    [apart, back]
}

#[test]
fn a_group_that_is_cut_off_for_a_minute_keeps_its_time_and_is_back_within_three_rounds() {
    let plan = Plan::tree(4, &[2, 2]);
    for (seconds, limits) in [(1, [37, 27]), (5, [40, 41])] {
        // By then, a group's rate is held by what it was.
        let [apart, back] = cuts(&plan, (seconds, 240), 21);
        assert!(apart[10] <= limits[0], "{} µs after a minute", apart[10]);
        assert!(back[10] <= limits[1], "{} µs after three rounds", back[10]);
    }
}

#[test]
fn a_site_that_is_cut_off_before_rates_are_known_keeps_its_time_as_well_as_it_has_learned() {
    let mut plan = Plan::tree(4, &[2]);
    plan.members = 1;
    for (when, limits) in [
        ((1, 10), [293, 24]),
        ((1, 30), [58, 24]),
        ((5, 10), [63, 34]),
        ((5, 30), [29, 27]),
    ] {
        let [apart, back] = cuts(&plan, when, 101);
        assert!(apart[50] <= limits[0], "{} µs after a minute", apart[50]);
        assert!(back[50] <= limits[1], "{} µs after three rounds", back[50]);
    }
}

#[test]
fn an_operators_step_at_the_top_moves_all_clocks_at_once_and_none_of_them_twice() {
    let step = TimeDelta::seconds(90);
    for seed in 1..=5 {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::tree(3, &[2, 2, 2]);
        let mut tree = Group::new(&plan, Scenario::default(), &mut rng);
        // Some groups have been polled in this interval, and others have not.
        let began = 200 * SECOND + rng.i64(0..5 * SECOND);
        tree.advance(began);
        let before = tree.time();
        tree.take_steps(NO_STEPS.and(step).unwrap());
        assert_eq!(tree.time() - before, step);
        for look in 0..80 {
            tree.advance(began + look * SECOND / 2);
            let apart = tree.skew();
            assert!(
                apart < TimeDelta::milliseconds(1),
                "seed {seed}: {apart} apart after {look} half seconds"
            );
        }
        let moved = tree.time() - before - TimeDelta::nanoseconds(tree.now - began);
        assert!(
            (moved - step).abs() < TimeDelta::milliseconds(1),
            "seed {seed}: moved by {moved}"
        );
    }
}

#[test]
fn of_two_trees_that_meet_the_heavier_ones_time_counts() {
    for seed in 1..=3 {
        let mut rng = Rng::with_seed(seed);
        let scenario = Scenario::default();
        let mut heavy = Group::new(&Plan::tree(4, &[3]), scenario, &mut rng);
        let ahead = Plan::tree(4, &[]);
        let mut light = Group::new(&ahead, scenario, &mut rng);
        light.readings(0, &mut |_, node| node.set(0, HOUR));
        heavy.advance(200 * SECOND);
        light.advance(200 * SECOND);
        let before = heavy.time();
        heavy.adopt(light);
        heavy.advance(230 * SECOND);
        let moved = heavy.time() - before - TimeDelta::seconds(30);
        assert!(
            moved.abs() < TimeDelta::milliseconds(5),
            "seed {seed}: moved by {moved}"
        );
        let (now, top) = (heavy.now, heavy.time());
        heavy.each(0, &mut |_, _, group| {
            let off = (group.master.discipline.target(group.master.raw(now)) - top).abs();
            assert!(off < TimeDelta::milliseconds(2), "seed {seed}: {off} off");
        });
    }
}

/// By how many µs a group has moved in a second that has passed since `before`, besides its rate, which
/// is below 100 ppm.
fn jumped(group: &Group, before: DateTime<Utc>) -> i64 {
    (micros(group.time() - before) - 1_000_000).abs()
}

#[test]
fn a_master_at_the_top_that_starts_again_with_a_wrong_clock_takes_the_time_of_those_below() {
    for seed in 1..=5 {
        let mut rng = Rng::with_seed(seed);
        let scenario = Scenario::default();
        let mut tree = Group::new(&Plan::tree(2, &[3]), scenario, &mut rng);
        tree.advance(300 * SECOND);
        let wrong = Scenario {
            offset: HOUR,
            ..scenario
        };
        let mut tree = tree.restarted(wrong, &mut rng);
        let mut most = 0;
        for look in 1..=40 {
            let before = tree.children[0].group.time();
            tree.advance((300 + look) * SECOND);
            let jumped = jumped(&tree.children[0].group, before);
            assert!(jumped <= 41, "seed {seed}: {jumped} µs in second {look}");
            most = most.max(jumped);
        }
        let apart = micros(tree.skew());
        println!("seed {seed}: jumped by up to {most} µs, then {apart} µs apart");
        assert!(apart <= 53, "seed {seed}: {apart} µs apart");
    }
}

#[test]
fn a_link_to_the_top_that_comes_and_goes_every_two_seconds_costs_little() {
    const SEEDS: u64 = 21;
    for (seconds, began, limits) in [
        (1, 10, [163, 16]),
        (1, 300, [33, 18]),
        (5, 20, [123, 26]),
        (5, 600, [45, 28]),
    ] {
        let mut seeds: Vec<_> = (1..=SEEDS)
            .map(|seed| {
                let scenario = Scenario {
                    interval: seconds * SECOND,
                    ..Scenario::default()
                };
                let plan = Plan::tree(4, &[2]);
                let mut tree = Group::new(&plan, scenario, &mut Rng::with_seed(seed));
                let (mut now, mut worst) = (began * SECOND, 0);
                tree.advance(now);
                for cut in 0..120 {
                    tree.cut(1, cut % 2 == 0);
                    now += 2 * SECOND;
                    tree.advance(now);
                    worst = worst.max(micros(tree.skew()));
                }
                tree.advance(now + 3 * scenario.interval);
                (worst, micros(tree.skew()))
            })
            .collect();
        let mut median = |of: fn(&(i64, i64)) -> i64| {
            seeds.sort_by_key(of);
            of(&seeds[seeds.len() / 2])
        };
        let (worst, in_the_end) = (median(|it| it.0), median(|it| it.1));
        println!(
            "tree | rounds of {seconds} s, cut off for two seconds of four from {began} s on, median of {SEEDS} | \
             {worst} µs apart at worst, {in_the_end} µs three rounds after"
        );
        assert!(worst <= limits[0], "{worst} µs apart");
        assert!(in_the_end <= limits[1], "{in_the_end} µs apart in the end");
    }
}

/// How far a clock is from the top's, in µs.
fn off(node: &Node, top: &Group) -> i64 {
    let shown = node.discipline.target(node.raw(top.now));
    micros(shown - top.time()).abs()
}

#[test]
fn a_masters_clock_that_is_set_by_an_hour_moves_nobody_else_however_many_it_stands_for() {
    // Few and most of the tree's clocks are in the group whose master is set.
    for members in [1, 4, 40] {
        for seed in 1..=5 {
            let mut rng = Rng::with_seed(seed);
            let plan = Plan {
                members: 3,
                children: vec![Plan::tree(members, &[]), Plan::tree(4, &[])],
            };
            let mut tree = Group::new(&plan, Scenario::default(), &mut rng);
            let mut now = 300 * SECOND + rng.i64(0..5 * SECOND);
            tree.advance(now);
            tree.children[0].group.set_by_hand(HOUR);
            let mut most = (0, 0);
            for look in 0..60 {
                let before = tree.time();
                now += SECOND;
                tree.advance(now);
                let jumped = jumped(&tree, before);
                let followers = tree.children[0].group.members.iter();
                let others = followers.map(|node| off(node, &tree)).max().unwrap();
                assert!(
                    jumped <= 39 && others <= 46,
                    "{members}, seed {seed}: in second {look}, the top has moved by {jumped} µs, and \
                     followers are {others} µs off"
                );
                most = (most.0.max(jumped), most.1.max(others));
            }
            let master = off(&tree.children[0].group.master, &tree);
            println!("{members}, seed {seed}: {most:?} µs meanwhile, the master then {master} µs");
            assert!(
                master <= 34,
                "{members}, seed {seed}: the master is {master} µs off"
            );
        }
    }
}

#[test]
fn a_site_that_returns_with_another_time_follows_the_others_or_is_followed() {
    let away = 400 * MILLISECOND;
    // Of 9 clocks and 2 others, the site has 2, or 20.
    for (members, follows) in [(1, true), (19, false)] {
        for seed in 1..=5 {
            let plan = Plan {
                members: 3,
                children: vec![Plan::tree(4, &[]), Plan::tree(members, &[])],
            };
            let mut tree = Group::new(&plan, Scenario::default(), &mut Rng::with_seed(seed));
            tree.advance(300 * SECOND);
            tree.cut(1, true);
            tree.advance(340 * SECOND);
            let site = &mut tree.children[1].group;
            let now = site.now;
            site.readings(0, &mut |_, node| node.set(now, away));
            let before = tree.time();
            tree.cut(1, false);
            // Three rounds, and a slew of a tenth.
            tree.advance(360 * SECOND);
            let apart = micros(tree.skew());
            println!("{members}, seed {seed}: {apart} µs apart");
            assert!(apart <= 77, "{members}, seed {seed}: {apart} µs apart");
            let moved = micros(tree.time() - before - TimeDelta::seconds(20));
            let wanted = if follows { 0 } else { away / 1000 };
            assert!(
                (moved - wanted).abs() <= 1000,
                "{members}, seed {seed}: moved by {moved} µs"
            );
            tree.advance(400 * SECOND);
            let apart = micros(tree.skew());
            println!("{members}, seed {seed}: {apart} µs apart in the end");
            assert!(apart <= 59, "{members}, seed {seed}: {apart} µs apart");
        }
    }
}

#[test]
fn a_tree_of_clocks_far_apart_agrees_within_its_depth_and_three_rounds() {
    for (seed, plan) in [
        Plan::tree(2, &[3, 3, 3]),
        Plan::tree(3, &[1, 1, 1, 1, 1, 1]),
        Plan::tree(20, &[10]),
    ]
    .iter()
    .enumerate()
    {
        let scenario = Scenario {
            offset: 20 * 60 * SECOND,
            ..Scenario::default()
        };
        let mut tree = Group::new(plan, scenario, &mut Rng::with_seed(seed as u64));
        let rounds = depth(plan) as i64 + 3;
        tree.advance(rounds * scenario.interval + 500 * MILLISECOND);
        let apart = micros(tree.skew());
        println!("plan {seed}: {apart} µs apart after {rounds} rounds");
        assert!(
            apart <= 385,
            "plan {seed}: {apart} µs apart after {rounds} rounds"
        );
    }
}
