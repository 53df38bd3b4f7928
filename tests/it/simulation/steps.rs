//! What an operator tells a group with several candidates, in virtual time: every clock makes the
//! step once, or none does.

use super::candidates::world::{INTERVAL, MILLISECOND, SECOND, World};
use berkeley::internals::wire::candidate::Role;
use chrono::TimeDelta;

const STEP: TimeDelta = TimeDelta::seconds(90);
const CANDIDATES: usize = 3;
const NODES: usize = 13;

/// Three candidates and ten followers that have agreed for 20 s; the first one leads.
fn group(seed: u64) -> World {
    println!("seed {seed}");
    let mut world = World::new(seed, CANDIDATES, NODES - CANDIDATES, 3 * SECOND);
    world.run(20 * SECOND);
    assert_eq!(leader(&world), 0);
    world
}

fn leader(world: &World) -> usize {
    let leads =
        |rank: &usize| world.runs(*rank) && world.candidates[*rank].view.role == Role::Leads;
    let leaders: Vec<_> = (0..CANDIDATES).filter(leads).collect();
    assert_eq!(leaders.len(), 1, "{leaders:?} lead");
    leaders[0]
}

/// How far a node's target is ahead of true time, and by how much steps have moved it.
fn ahead(world: &World, node: usize) -> TimeDelta {
    let now = world.now;
    world.clocks[node].target(now) - chrono::DateTime::from_timestamp_nanos(now)
}

/// That all running nodes have been stepped by so much, and agree.
#[track_caller]
fn assert_stepped(world: &World, by: TimeDelta, nodes: impl Iterator<Item = usize>) {
    let nodes: Vec<_> = nodes.filter(|node| world.runs(*node)).collect();
    let stepped: Vec<_> = nodes.iter().map(|n| world.clocks[*n].stepped).collect();
    assert!(stepped.iter().all(|it| *it == by), "{by}: {stepped:?}");
    let times: Vec<_> = nodes.iter().map(|node| ahead(world, *node)).collect();
    let apart = *times.iter().max().unwrap() - *times.iter().min().unwrap();
    assert!(apart < TimeDelta::milliseconds(1), "{apart} apart");
    let none: [String; 0] = [];
    assert_eq!(world.observer.faults, none);
}

/// Cuts a node off from all candidates, or lets it back.
fn set_links(world: &mut World, node: usize, pass: bool) {
    for rank in (0..CANDIDATES).filter(|rank| *rank != node) {
        world.links.set(node, rank, pass);
        world.links.set(rank, node, pass);
        if node < CANDIDATES {
            for follower in CANDIDATES..NODES {
                world.links.set(node, follower, pass);
                world.links.set(follower, node, pass);
            }
        }
    }
    world.send_held();
}

#[test]
fn all_make_the_step_within_an_interval_and_one_that_was_away_when_it_is_back() {
    for seed in 1..=20 {
        let mut world = group(seed);
        let away = NODES - 1;
        set_links(&mut world, away, false);
        world.run(4 * SECOND);
        let before = ahead(&world, 0);
        assert!(world.order(0, STEP));
        world.run(INTERVAL);
        assert_stepped(&world, STEP, 0..away);
        let moved = ahead(&world, 0) - before;
        assert!((moved - STEP).abs() < TimeDelta::milliseconds(1), "{moved}");
        assert_eq!(world.clocks[away].stepped, TimeDelta::zero());
        world.run(3 * SECOND);
        set_links(&mut world, away, true);
        world.run(5 * SECOND);
        assert_stepped(&world, STEP, 0..NODES);
        // The rates are what they were: nobody drifts off.
        world.run(20 * SECOND);
        assert_stepped(&world, STEP, 0..NODES);
    }
}

#[test]
fn a_leader_that_dies_in_the_middle_of_it_leaves_all_with_the_step_or_none() {
    let (mut made, mut lost) = (0, 0);
    for seed in 1..=200 {
        let mut world = group(seed);
        let after = world.rng.i64(0..300 * MILLISECOND) / if seed % 2 == 0 { 1 } else { 30 };
        world.order(0, STEP);
        world.run(after);
        world.crash(0, seed % 3 == 0);
        world.run(8 * SECOND);
        let stepped = world.clocks[leader(&world)].stepped;
        assert!(stepped == STEP || stepped.is_zero(), "{stepped}");
        assert_stepped(&world, stepped, 1..NODES);
        *(if stepped == STEP {
            &mut made
        } else {
            &mut lost
        }) += 1;
        // The dead one comes back, and belongs to the group as any that has just started.
        world.restart(0, 0);
        world.run(8 * SECOND);
        assert_stepped(&world, stepped, 1..NODES);
        let apart = (ahead(&world, 0) - ahead(&world, 1)).abs();
        assert!(apart < TimeDelta::milliseconds(1), "{apart} apart");
        assert!(world.order(leader(&world), STEP));
        world.run(4 * SECOND);
        assert_stepped(&world, stepped + STEP, 1..NODES);
    }
    println!("{made} groups made the step, in {lost} it died with the leader");
    assert!(made > 20 && lost > 20, "both have to happen: {made} {lost}");
}

#[test]
fn what_one_side_of_a_partition_was_told_counts_for_all_when_they_meet() {
    for seed in 1..=20 {
        let mut world = group(seed);
        set_links(&mut world, 2, false);
        world.run(4 * SECOND);
        assert!(world.order(2, STEP), "it leads its side");
        world.run(4 * SECOND);
        assert_eq!(world.clocks[2].stepped, STEP);
        assert_stepped(&world, TimeDelta::zero(), (0..2).chain(3..NODES));
        set_links(&mut world, 2, true);
        world.run(10 * SECOND);
        assert_stepped(&world, STEP, 0..NODES);
    }
}
