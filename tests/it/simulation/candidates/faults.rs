//! A run with faults at random, and what has to be true when they end.

use berkeley::internals::wire::candidate::{LARGEST_TERM, Role, Term};
use chrono::TimeDelta;
use fastrand::Rng;

use super::client::Stage;
use super::clock::Clock;
use super::world::{HOUR, INTERVAL, LOOK, MILLISECOND, SECOND, World, symmetric};

/// For so long anything may happen.
const TROUBLE: i64 = 15 * SECOND;

/// Then nothing changes for so long: parts stay apart, who is down stays down.
const FROZEN: i64 = 8 * SECOND;

/// Then all that was broken is mended, and this is how long it lasts.
const HEALED: i64 = 6 * SECOND;

/// So long after a network is quiet there is exactly one leader in each connected part.
pub const ONE_LEADER_WITHIN: i64 = 4 * SECOND;

/// What one run has shown.
#[derive(Debug, Default)]
pub struct Outcome {
    pub faults: Vec<String>,
    /// How long it took until one led in each part: when parts stayed apart, and when all healed.
    pub led_after: [i64; 2],
    pub worst_skew: TimeDelta,
    pub worst_moved: TimeDelta,
    pub corrections: u64,
}

/// One run, in which somebody lies all the time about terms. All it does depends on the seed.
pub fn run(seed: u64) -> Outcome {
    let candidates = [3, 5, 7][(seed % 3) as usize];
    let mut world = World::new(seed, candidates, 100, 3 * SECOND);
    let mut led_after = [0; 2];
    let mut trouble = Trouble::default();
    // Of its own, so that what else happens does not depend on what it says.
    let mut liar = Rng::with_seed(!seed);
    while world.now < TROUBLE {
        let pause = world.rng.i64(50 * MILLISECOND..1500 * MILLISECOND);
        world.run(pause);
        trouble.next(&mut world);
        lie(&mut world, &mut liar);
    }
    trouble.freeze(&mut world);
    led_after[0] = quiet(&mut world, FROZEN);
    check_parts(&mut world);
    trouble.heal(&mut world);
    led_after[1] = quiet(&mut world, HEALED);
    check_end(&mut world);
    Outcome {
        led_after,
        worst_skew: world.observer.worst_skew,
        worst_moved: world.observer.worst_moved,
        corrections: world
            .clocks
            .iter()
            .map(|clock| u64::from(clock.corrections))
            .sum(),
        faults: world.observer.faults,
    }
}

/// Nothing happens for a time; how long it took until one led in each part.
fn quiet(world: &mut World, time: i64) -> i64 {
    let began = world.now;
    world.observer.settled_since = None;
    world.run(time);
    let settled = world.observer.settled_since;
    let after = settled.map_or(i64::MAX, |since| since - began);
    if after > ONE_LEADER_WITHIN {
        let roles: Vec<_> = world.candidates.iter().map(|one| one.view.role).collect();
        let parts: Vec<_> = world.parts().map(|part| format!("{part:b}")).collect();
        let now = world.now;
        let terms: Vec<_> = world.candidates.iter().map(|one| one.view.term).collect();
        world.observer.broken(
            now,
            &format_args!(
                "no single leaders in {parts:?} after {} s: {roles:?} {terms:?}",
                after / SECOND
            ),
        );
    }
    after
}

/// Everybody that reaches a leader is with one, and was corrected lately.
fn check_parts(world: &mut World) {
    let leads =
        |rank: &usize| world.runs(*rank) && world.candidates[*rank].view.role == Role::Leads;
    let leaders: Vec<_> = (0..world.candidates.len()).filter(leads).collect();
    for node in world.candidates.len()..world.clocks.len() {
        let mut reached = leaders.iter();
        let clock = &world.clocks[node];
        if world.runs(node)
            && reached.any(|leader| world.links.pass_both_ways(node, *leader))
            && world.now - clock.corrected_at > INTERVAL * 2
        {
            let (stage, to) = (world.clients[node].stage, world.clients[node].to);
            let at = clock.corrected_at as f64 * 1e-9;
            let late = format!("node {node} was corrected last at {at:.3} s, {stage:?} with {to}");
            world.observer.broken(world.now, &late);
        }
    }
}

/// Everybody is with the one leader, and was corrected lately.
fn check_end(world: &mut World) {
    let now = world.now;
    let leader = world
        .candidates
        .iter()
        .position(|one| one.view.role == Role::Leads);
    let late = |clock: &Clock| now - clock.corrected_at > INTERVAL * 2;
    for node in 0..world.clocks.len() {
        if late(&world.clocks[node]) {
            let client = &world.clients[node];
            let (stage, to): (Stage, usize) = (client.stage, client.to);
            let term = client.allegiance.term();
            let at = world.clocks[node].corrected_at as f64 * 1e-9;
            world.observer.broken(
                now,
                &format_args!("node {node} was corrected last at {at:.3} s; it is {stage:?} with {to}, its term is {term}; {leader:?} leads"),
            );
        }
    }
    let term = world.candidates.iter().map(|one| one.view.term).max();
    if term >= Some(LARGEST_TERM / 10) {
        world
            .observer
            .broken(now, &format_args!("lies have led to {term:?}"));
    }
    let targets = || world.clocks.iter().map(|clock| clock.target(now));
    let apart = targets().max().unwrap_or_default() - targets().min().unwrap_or_default();
    if apart > super::observer::MOST_SKEW {
        world.observer.broken(
            now,
            &format_args!("at the end the clocks were {apart} apart"),
        );
    }
}

/// Somebody who passes for a follower tells a candidate of a term: the largest number, which must
/// be refused, and one that may be true, up to the highest that a running candidate believes.
fn lie(world: &mut World, liar: &mut Rng) {
    let rank = liar.usize(0..world.candidates.len());
    if world.runs(rank) {
        let believed = world.hear_term(rank, Term::MAX);
        assert!(!believed, "candidate {rank} believes any term");
        let term = liar.u64(..=1 << 32) >> liar.u32(0..32);
        world.hear_term(rank, term);
    }
}

/// What goes wrong.
#[derive(Default)]
struct Trouble {
    /// Which nodes end their trouble when.
    ends: Vec<(i64, usize)>,
}

impl Trouble {
    fn next(&mut self, world: &mut World) {
        let now = world.now;
        let over: Vec<_> = self.ends.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, node) in over {
            end(world, node);
        }
        let candidates = world.candidates.len();
        let any = world.rng.usize(0..world.clocks.len());
        let candidate = world.rng.usize(0..candidates);
        match world.rng.u32(0..20) {
            0..3 => self.strike(world, candidate, World::crash),
            3..5 => {
                for _ in 0..world.rng.usize(1..6) {
                    let any = world.rng.usize(0..world.clocks.len());
                    self.strike(world, any, World::crash);
                }
            }
            5 => {
                for rank in 0..candidates {
                    self.strike(world, rank, World::crash);
                }
            }
            6..9 => self.strike(world, candidate, |world, node, _| world.pause(node)),
            9 => self.strike(world, any, |world, node, _| world.pause(node)),
            10 => self.strike(world, candidate, |world, node, _| {
                if world.runs(node) {
                    world.stop_in_order(node);
                }
            }),
            11..13 => {
                for _ in 0..world.rng.usize(1..6) {
                    let any = world.rng.usize(0..world.clocks.len());
                    self.strike(world, any, |world, node, _| world.links.slow[node] = true);
                }
            }
            13..18 => partition(world),
            _ => {
                world.links.heal();
                world.send_held();
            }
        }
    }

    fn strike(&mut self, world: &mut World, node: usize, strike: impl Fn(&mut World, usize, bool)) {
        let machine = world.rng.bool();
        strike(world, node, machine);
        let lasts = world.rng.i64(100 * MILLISECOND..6 * SECOND);
        self.ends.push((world.now + lasts, node));
    }

    /// Nothing changes any more: some stay down, and parts stay apart.
    fn freeze(&mut self, world: &mut World) {
        for (_, node) in std::mem::take(&mut self.ends) {
            if world.is_down(node) && world.rng.bool() {
                self.ends.push((0, node));
            } else {
                end(world, node);
            }
        }
    }

    fn heal(&mut self, world: &mut World) {
        for (_, node) in std::mem::take(&mut self.ends) {
            end(world, node);
        }
        // Who was told to stop at the very end of the trouble has ended since.
        for node in 0..world.clocks.len() {
            if world.is_down(node) {
                end(world, node);
            }
        }
        world.links.heal();
        world.send_held();
    }
}

/// A node's trouble ends.
fn end(world: &mut World, node: usize) {
    let offset = if world.rng.bool() { SECOND } else { HOUR };
    let offset = (symmetric(&mut world.rng) * offset as f64) as i64;
    world.restart(node, offset);
    world.resume(node);
    world.links.slow[node] = false;
}

/// Cuts links: between parts, or at random, both ways or one.
fn partition(world: &mut World) {
    let (candidates, nodes) = (world.candidates.len(), world.clocks.len());
    let parts = world.rng.u8(2..4);
    let part: Vec<u8> = (0..nodes).map(|_| world.rng.u8(0..parts)).collect();
    let one_way = world.rng.bool();
    let by_parts = world.rng.u8(0..3) > 0;
    let loss = world.rng.f64() * 0.6;
    for one in 0..nodes {
        for other in 0..candidates {
            let cut = |world: &mut World| {
                if by_parts {
                    part[one] > part[other] || (!one_way && part[one] != part[other])
                } else {
                    world.rng.f64() < loss
                }
            };
            if one == other || (one < candidates && other > one && !by_parts && !one_way) {
                continue;
            }
            let passes = !cut(world);
            world.links.set(one, other, passes);
            if !one_way {
                world.links.set(other, one, passes);
            } else if one >= candidates {
                let back = if by_parts {
                    part[other] <= part[one]
                } else {
                    !cut(world)
                };
                world.links.set(other, one, back);
            }
        }
    }
    world.send_held();
}

/// A run ends soon enough that the end of the last interval lies before it.
const _: () = assert!(HEALED > ONE_LEADER_WITHIN && LOOK < INTERVAL);
