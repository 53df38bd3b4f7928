//! Groups that are told to follow each other in any way, in virtual time: they end as trees.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use berkeley::internals::election::ancestry::Ancestry;
use berkeley::internals::wire::path::{GroupId, Path};
use fastrand::Rng;

/// What happens to a group, in its order: when, to whom, and what.
type Event = Reverse<(u64, u64, usize, What)>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// It connects to the next of its parents.
    Connect,
    /// The parent tells its path, on the connection with this number.
    Path(u64, Vec<GroupId>),
    /// It looks whether a loop was broken.
    Look,
}

struct Group {
    ancestry: Ancestry,
    parents: Vec<usize>,
    next: usize,
    parent: Option<usize>,
    connection: u64,
    knows_path: bool,
    /// When it hears what it was told last: a connection keeps the order.
    heard_at: u64,
}

struct World {
    now: u64,
    count: u64,
    events: BinaryHeap<Event>,
    groups: Vec<Group>,
    rng: Rng,
}

fn path(groups: &[GroupId]) -> Path {
    let words: Vec<_> = groups.iter().map(GroupId::to_string).collect();
    words.join(",").parse().unwrap()
}

impl World {
    fn new(seed: u64, parents: Vec<Vec<usize>>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let group = |parents| Group {
            ancestry: Ancestry::new(GroupId(rng.u32(..))),
            parents,
            next: 0,
            parent: None,
            connection: 0,
            knows_path: false,
            heard_at: 0,
        };
        let groups: Vec<_> = parents.into_iter().map(group).collect();
        let mut world = Self {
            now: 0,
            count: 0,
            events: BinaryHeap::new(),
            groups,
            rng,
        };
        for group in 0..world.groups.len() {
            world.plan(group, 50, What::Connect);
            world.plan(group, 1000, What::Look);
        }
        world
    }

    /// Plans something for within so many milliseconds.
    fn plan(&mut self, group: usize, within: u64, what: What) {
        let at = self.now + 1 + self.rng.u64(0..within);
        self.count += 1;
        self.events.push(Reverse((at, self.count, group, what)));
    }

    fn tell(&mut self, child: usize, of: usize) {
        let connection = self.groups[child].connection;
        let told = self.groups[of].ancestry.path().groups().to_vec();
        let at = self.now + 1 + self.rng.u64(0..50);
        let at = at.max(self.groups[child].heard_at + 1);
        self.groups[child].heard_at = at;
        self.count += 1;
        let told = What::Path(connection, told);
        self.events.push(Reverse((at, self.count, child, told)));
    }

    fn tell_children(&mut self, of: usize) {
        for child in 0..self.groups.len() {
            if self.groups[child].parent == Some(of) {
                self.tell(child, of);
            }
        }
    }

    fn let_go(&mut self, group: usize) {
        let it = &mut self.groups[group];
        it.parent = None;
        it.connection += 1;
        let before = it.ancestry.path().clone();
        it.ancestry.leave();
        if *self.groups[group].ancestry.path() != before {
            self.tell_children(group);
        }
        self.plan(group, 5000, What::Connect);
    }

    fn run(&mut self, until: u64) {
        while self.events.peek().is_some_and(|next| next.0.0 <= until) {
            let Some(Reverse((at, _, group, what))) = self.events.pop() else {
                return;
            };
            self.now = at;
            let now = Duration::from_millis(at);
            let it = &mut self.groups[group];
            match what {
                What::Connect if it.parents.is_empty() => {}
                What::Connect => {
                    let parent = it.parents[it.next % it.parents.len()];
                    it.next += 1;
                    it.parent = Some(parent);
                    it.connection += 1;
                    it.knows_path = false;
                    self.tell(group, parent);
                }
                What::Path(connection, told) if connection == it.connection => {
                    let is_new = !std::mem::replace(&mut it.knows_path, true);
                    let before = it.ancestry.path().clone();
                    match it.ancestry.hear(&path(&told), is_new, now) {
                        Err(_) => self.let_go(group),
                        Ok(()) if *it.ancestry.path() != before => self.tell_children(group),
                        Ok(()) => {}
                    }
                }
                What::Path(..) => {}
                What::Look => {
                    if it.ancestry.is_stuck(now) {
                        self.let_go(group);
                    }
                    self.plan(group, 5000, What::Look);
                }
            }
        }
    }

    /// Those from this one to the top, if it has one.
    fn to_top(&self, group: usize) -> Option<Vec<usize>> {
        let mut passed = vec![group];
        while let Some(parent) = self.groups[passed[passed.len() - 1]].parent {
            if passed.contains(&parent) {
                return None;
            }
            passed.push(parent);
        }
        Some(passed)
    }
}

#[test]
fn a_thousand_random_graphs_of_parents_end_as_trees() {
    for seed in 0..1000 {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(2..12);
        let mut parents = Vec::new();
        for _ in 0..count {
            let some = (0..rng.usize(0..4)).map(|_| rng.usize(0..count));
            parents.push(some.collect::<Vec<_>>());
        }
        let mut world = World::new(seed, parents);
        world.run(60_000);
        // Whoever has no parent tries each of them for a moment now and then.
        let settled = (0..2000).find(|_| {
            let until = world.now + 20;
            world.run(until);
            world.now = until;
            let loops = (0..count).filter(|it| world.to_top(*it).is_none());
            loops.count() == 0
        });
        assert!(settled.is_some(), "seed {seed}: a loop is not broken");
        for group in 0..count {
            let it = &world.groups[group];
            let above = it.ancestry.path().groups().len() - 1;
            let follows = above > 0;
            // Nobody who could follow somebody goes without.
            let could = it.parents.iter().any(|parent| {
                let to_top = world.to_top(*parent).unwrap_or_default();
                !to_top.is_empty() && !to_top.contains(&group)
            });
            assert!(
                follows || !could || it.parent.is_some(),
                "seed {seed}: group {group} is alone"
            );
        }
    }
}

#[test]
fn a_loop_of_three_that_all_close_at_once_is_broken_within_a_round() {
    for seed in 0..100 {
        let mut world = World::new(seed, vec![vec![1], vec![2], vec![0]]);
        world.run(5000);
        let below = |world: &World| {
            let depths = world.groups.iter();
            let depths = depths.map(|group| group.ancestry.path().groups().len());
            let mut depths: Vec<_> = depths.collect();
            depths.sort_unstable();
            depths
        };
        assert_eq!(below(&world), [1, 2, 3], "seed {seed}");
    }
}
