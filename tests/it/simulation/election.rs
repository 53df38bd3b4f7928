//! Several candidates in virtual time: what was promised of the election, one scenario a test, and
//! runs with faults at random.
//!
//! `ELECTION_RUNS` says how many of these, and `ELECTION_SEED` runs one alone.

use super::candidates::client::Stage;
use super::candidates::faults::{self, Outcome};
use super::candidates::world::{HOUR, LOOK, MILLISECOND, SECOND, World};
use berkeley::internals::election::candidate::HANDING_OVER;
use berkeley::internals::wire::candidate::Role;
use chrono::TimeDelta;

#[test]
fn no_run_breaks_an_invariant() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds = match number("ELECTION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ELECTION_RUNS").unwrap_or(200),
    };
    let mut broken = 0;
    for seed in seeds {
        let Outcome {
            faults,
            led_after,
            worst_skew,
            worst_moved,
            corrections,
        } = faults::run(seed);
        println!(
            "seed {seed}: {corrections} corrections, {} µs apart, moved by {} µs, led after {:?} ms",
            worst_skew.num_microseconds().unwrap(),
            worst_moved.num_microseconds().unwrap(),
            led_after.map(|after| after / MILLISECOND),
        );
        for fault in &faults {
            println!("seed {seed}: {fault}");
        }
        broken += u32::from(!faults.is_empty());
    }
    assert_eq!(broken, 0, "runs with a broken invariant, see their seeds");
}

/// Three candidates and ten followers that have agreed for 20 s.
fn group(seed: u64) -> World {
    let mut world = World::new(seed, 3, 10, 3 * SECOND);
    world.run(20 * SECOND);
    assert_eq!(leaders(&world), [0]);
    world
}

fn with_groups(scenario: impl Fn(World)) {
    for seed in 1..=20 {
        println!("seed {seed}");
        scenario(group(seed));
    }
}

fn leaders(world: &World) -> Vec<usize> {
    let leads =
        |rank: &usize| world.runs(*rank) && world.candidates[*rank].view.role == Role::Leads;
    (0..world.candidates.len()).filter(leads).collect()
}

fn assert_sound(world: &World) {
    let none: [String; 0] = [];
    assert_eq!(world.observer.faults, none);
}

/// How far the targets of these nodes are ahead of true time, on average, and how far apart.
fn ahead(world: &World, nodes: &[usize]) -> (TimeDelta, TimeDelta) {
    let now = world.now;
    let true_time = |node: usize| world.clocks[node].target(now) - TimeDelta::nanoseconds(now);
    let times: Vec<_> = nodes.iter().map(|node| true_time(*node)).collect();
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    let distances = times.iter().map(|time| *time - *first);
    let mean = distances.sum::<TimeDelta>() / times.len() as i32;
    (*first + mean - chrono::DateTime::UNIX_EPOCH, *last - *first)
}

/// How long it takes from now until all followers that run have had their next correction.
fn next_correction(world: &mut World) -> i64 {
    let since = world.now;
    let followers = world.candidates.len()..world.clocks.len();
    while followers
        .clone()
        .any(|node| world.clocks[node].corrected_at <= since)
    {
        world.run(LOOK / 10);
        assert!(world.now - since < 20 * SECOND, "some are not corrected");
    }
    world.now - since
}

/// Cuts the links between two parts of the nodes.
fn cut(world: &mut World, part: &[usize]) {
    for node in 0..world.clocks.len() {
        for rank in 0..world.candidates.len() {
            let passes = part.contains(&node) == part.contains(&rank);
            world.links.set(node, rank, passes);
            world.links.set(rank, node, passes);
        }
    }
}

#[test]
fn each_side_of_a_partition_keeps_together_and_the_larger_one_tells_the_time_after_it() {
    let (smaller, larger) = ([0, 3, 4, 5], [1, 2, 6, 7, 8, 9, 10, 11, 12]);
    for seed in 1..=20 {
        println!("seed {seed}");
        // From the beginning on: the two sides have never met, and are seconds apart.
        let mut world = World::new(seed, 3, 10, 3 * SECOND);
        cut(&mut world, &smaller);
        world.run(3 * SECOND);
        assert_eq!(leaders(&world), [0, 1]);
        world.run(57 * SECOND);
        let before = [&smaller[..], &larger[..]].map(|side| ahead(&world, side));
        for (_, apart) in before {
            assert!(apart < TimeDelta::milliseconds(1), "{apart} apart");
        }
        world.links.heal();
        world.send_held();
        world.run(SECOND / 2);
        let led = leaders(&world);
        assert_eq!(led.len(), 1, "{led:?}");
        world.run(3 * SECOND);
        assert_eq!(leaders(&world), led);
        let after = [&smaller[..], &larger[..]].map(|side| ahead(&world, side));
        let moved = [0, 1].map(|side| (after[side].0 - before[side].0).abs());
        println!(
            "the smaller side moved by {}, the larger by {}",
            moved[0], moved[1]
        );
        assert!(moved[1] < TimeDelta::milliseconds(1) && moved[1] < moved[0]);
        let all: Vec<_> = (0..13).collect();
        let (_, apart) = ahead(&world, &all);
        assert!(apart < TimeDelta::milliseconds(1), "{apart} apart");
        assert_sound(&world);
    }
}

#[test]
fn all_followers_have_their_next_correction_soon_after_the_leader_is_killed() {
    with_groups(|mut world| {
        world.crash(0, false);
        let killed = next_correction(&mut world);
        world.run(10 * SECOND);
        assert_eq!(leaders(&world), [1]);
        world.crash(1, true);
        let silent = next_correction(&mut world);
        println!(
            "after {} ms, and with its machine {} ms",
            killed / MILLISECOND,
            silent / MILLISECOND
        );
        assert!(killed <= 3 * SECOND / 2 && silent <= 3 * SECOND);
        assert_eq!(leaders(&world), [2]);
        // Who comes back follows.
        world.restart(0, HOUR);
        world.restart(1, HOUR);
        world.run(10 * SECOND);
        assert_eq!(leaders(&world), [2]);
        assert_sound(&world);
    });
}

#[test]
fn nobody_takes_a_correction_from_a_leader_that_was_stopped_and_goes_on() {
    with_groups(|mut world| {
        let old = world.candidates[0].view.term;
        world.pause(0);
        world.run(30 * SECOND);
        world.resume(0);
        for _ in 0..100 {
            world.run(LOOK);
            assert!(world.clocks[1..].iter().all(|clock| clock.term > old));
            assert_eq!(leaders(&world), [1]);
        }
        assert_eq!(
            world.candidates[0].view.role,
            Role::Follows(berkeley::internals::wire::candidate::Rank(1))
        );
        assert!(world.clocks[0].term > old, "it follows itself now");
        assert_sound(&world);
    });
}

#[test]
fn the_groups_time_goes_on_when_all_candidates_were_killed() {
    let followers: Vec<_> = (3..13).collect();
    for rank in 0..3 {
        with_groups(|mut world| {
            for rank in 0..3 {
                world.crash(rank, rank == 0);
            }
            world.run(5 * SECOND);
            let (before, _) = ahead(&world, &followers);
            world.restart(rank, HOUR);
            world.run(10 * SECOND);
            assert_eq!(leaders(&world), [rank]);
            let joined = |node: &usize| matches!(world.clients[*node].stage, Stage::Joined(_));
            assert!(followers.iter().all(joined));
            let (after, apart) = ahead(&world, &followers);
            let moved = (after - before).abs();
            println!("moved by {moved}, {apart} apart");
            assert!(moved < TimeDelta::milliseconds(1), "moved by {moved}");
            let own = world.clocks[rank].target(world.now) - world.clocks[3].target(world.now);
            assert!(
                own.abs() < TimeDelta::milliseconds(1),
                "the leader is off by {own}"
            );
            assert_sound(&world);
        });
    }
}

#[test]
fn a_leader_that_stops_in_order_hands_over() {
    with_groups(|mut world| {
        assert!(world.stop_in_order(0), "there was a successor");
        let after = next_correction(&mut world);
        println!("the next correction after {} ms", after / MILLISECOND);
        assert!(after <= SECOND);
        assert_eq!(leaders(&world), [1]);
        assert_sound(&world);
    });
}

#[test]
fn a_leader_that_stops_in_order_ends_though_its_successor_hangs() {
    with_groups(|mut world| {
        world.pause(1);
        assert!(world.stop_in_order(0), "it has chosen the one that hangs");
        assert!(!world.is_down(0));
        world.run(HANDING_OVER.as_nanos() as i64);
        assert!(world.is_down(0), "it waits for ever");
        // The third one waits for the one before it, and then leads.
        let after = next_correction(&mut world);
        println!("the next correction after {} ms", after / MILLISECOND);
        assert!(after <= 4 * SECOND);
        assert_eq!(leaders(&world), [2]);
        // The lead may still come to it, if it has not slept for long.
        world.resume(1);
        world.run(SECOND);
        assert_eq!(leaders(&world).len(), 1);
        assert_sound(&world);
    });
}

#[test]
fn a_chain_of_candidates_has_one_leader() {
    for seed in 1..=20 {
        let mut world = World::new(seed, 7, 14, 3 * SECOND);
        for one in 0..7_usize {
            for other in 0..7 {
                world.links.set(one, other, one.abs_diff(other) == 1);
            }
        }
        world.run(30 * SECOND);
        assert_eq!(leaders(&world).len(), 1);
        let term = world.candidates[0].view.term;
        assert!(
            term < 10,
            "the candidates have outbid each other up to term {term}"
        );
        assert_sound(&world);
    }
}

#[test]
fn a_leader_that_is_not_heard_is_replaced_though_it_hears_the_others() {
    with_groups(|mut world| {
        for node in 1..13 {
            world.links.set(0, node, false);
        }
        let after = next_correction(&mut world);
        println!("the next correction after {} ms", after / MILLISECOND);
        assert!(after <= 4 * SECOND);
        assert_eq!(leaders(&world), [0, 1], "each in its own part");
        world.links.heal();
        world.send_held();
        world.run(3 * SECOND);
        assert_eq!(leaders(&world).len(), 1);
        assert_sound(&world);
    });
}
