//! Groups that are told to follow each other in any way, in virtual time: they end as trees.
//!
//! When each starts, how long words take and how long it pauses before it tries again are drawn
//! anew for each seed, from ranges that are far apart: a loop that all close before any of them has
//! heard of it is another case than one that the last of them sees before it closes it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use berkeley::internals::election::ancestry::Ancestry;
use berkeley::internals::wire::path::{GroupId, Path};
use fastrand::Rng;

/// What happens to a group, in its order: when (ms), to whom, and what.
type Event = Reverse<(u64, u64, usize, What)>;

/// The interval of rounds, in ms.
const ROUND: u64 = 5000;

/// The pauses of a follower that connects again, in ms: the first one doubles up to the longest.
const PAUSES: (u64, u64) = (100, 5000);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// It connects to the next of its parents.
    Connect,
    /// The parent tells its path, on the connection with this number.
    Path(u64, Vec<GroupId>),
    /// Its connection breaks.
    Break,
    /// It holds a round.
    Round,
}

struct Group {
    ancestry: Ancestry,
    parents: Vec<usize>,
    tries: usize,
    pause: u64,
    parent: Option<usize>,
    connection: u64,
    /// When it hears what it was told last: a connection keeps the order.
    heard_at: u64,
}

struct World {
    now: u64,
    count: u64,
    events: BinaryHeap<Event>,
    groups: Vec<Group>,
    /// All have started by then.
    started: u64,
    /// No word takes longer.
    delay: u64,
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
            tries: 0,
            pause: PAUSES.0,
            parent: None,
            connection: 0,
            heard_at: 0,
        };
        let groups: Vec<_> = parents.into_iter().map(group).collect();
        let (started, delay) = (10_u64.pow(rng.u32(1..=4)), [2, 50, 500][rng.usize(..3)]);
        let mut world = Self {
            now: 0,
            count: 0,
            events: BinaryHeap::new(),
            groups,
            started,
            delay,
            rng,
        };
        for group in 0..world.groups.len() {
            let at = world.rng.u64(0..started);
            world.plan(group, at, What::Connect);
            let at = world.rng.u64(0..ROUND);
            world.plan(group, at, What::Round);
        }
        world
    }

    fn plan(&mut self, group: usize, at: u64, what: What) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, group, what)));
    }

    fn tell(&mut self, child: usize, of: usize) {
        let connection = self.groups[child].connection;
        let told = self.groups[of].ancestry.path().groups().to_vec();
        let at = self.now + 1 + self.rng.u64(0..self.delay);
        let at = at.max(self.groups[child].heard_at + 1);
        self.groups[child].heard_at = at;
        self.plan(child, at, What::Path(connection, told));
    }

    fn connect(&mut self, group: usize) {
        let it = &mut self.groups[group];
        if it.parents.is_empty() || it.parent.is_some() {
            return;
        }
        let parent = it.parents[it.tries % it.parents.len()];
        it.tries += 1;
        it.parent = Some(parent);
        it.connection += 1;
        self.tell(group, parent);
    }

    /// Its connection is over. All parents are tried before a pause.
    fn end_connection(&mut self, group: usize) {
        self.change(group, Ancestry::leave);
        let it = &mut self.groups[group];
        it.parent = None;
        it.connection += 1;
        let mut pause = 1;
        if it.tries.is_multiple_of(it.parents.len()) {
            pause = it.pause / 2 + self.rng.u64(0..=it.pause / 2);
            it.pause = (it.pause * 2).min(PAUSES.1);
        }
        self.plan(group, self.now + pause, What::Connect);
    }

    /// Lets what a group knows of those above change, and those below hear if that changes its path.
    fn change<T>(&mut self, group: usize, change: impl FnOnce(&mut Ancestry) -> T) -> T {
        let ancestry = &mut self.groups[group].ancestry;
        let before = ancestry.path().clone();
        let outcome = change(ancestry);
        if *ancestry.path() != before {
            for child in 0..self.groups.len() {
                if self.groups[child].parent == Some(group) {
                    self.tell(child, group);
                }
            }
        }
        outcome
    }

    fn run(&mut self, until: u64) {
        while self.events.peek().is_some_and(|next| next.0.0 <= until) {
            let Some(Reverse((at, _, group, what))) = self.events.pop() else {
                return;
            };
            self.now = at;
            let now = Duration::from_millis(at);
            match what {
                What::Connect => self.connect(group),
                What::Path(connection, told) if connection == self.groups[group].connection => {
                    let heard = self.change(group, |it| it.hear(&path(&told), now));
                    if heard.is_err() {
                        self.end_connection(group);
                    }
                }
                What::Path(..) => {}
                What::Break if self.groups[group].parent.is_none() => {}
                What::Break => self.end_connection(group),
                What::Round => {
                    if self.change(group, |it| it.break_loop(now)) {
                        self.end_connection(group);
                    }
                    self.plan(group, at + ROUND, What::Round);
                }
            }
        }
        self.now = until;
    }

    fn follows(&self, group: usize) -> bool {
        self.groups[group].ancestry.path().groups().len() > 1
    }

    /// The groups from the top to this one, if it has one.
    fn path_to(&self, group: usize) -> Option<Vec<usize>> {
        let followed = |it: usize| self.groups[it].parent.filter(|_| self.follows(it));
        let mut passed = vec![group];
        while let Some(parent) = followed(passed[0]) {
            if passed.contains(&parent) {
                return None;
            }
            passed.insert(0, parent);
        }
        Some(passed)
    }

    /// Whether all groups are in trees, and know where.
    fn is_settled(&self) -> bool {
        (0..self.groups.len()).all(|group| {
            let number = |it: &usize| self.groups[*it].ancestry.path().groups().last().copied();
            let above = self.path_to(group);
            let above: Option<Vec<_>> = above.and_then(|all| all.iter().map(number).collect());
            above.as_deref() == Some(self.groups[group].ancestry.path().groups())
        })
    }

    fn depths(&self) -> Vec<usize> {
        let all = self.groups.iter();
        let mut depths: Vec<_> = all.map(|it| it.ancestry.path().groups().len()).collect();
        depths.sort_unstable();
        depths
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
        // Meanwhile, connections break.
        for _ in 0..rng.usize(0..10) {
            let at = rng.u64(0..30_000);
            world.plan(rng.usize(0..count), at, What::Break);
        }
        world.run(60_000);
        assert!(world.is_settled(), "seed {seed}: {:?}", world.depths());
        for group in 0..count {
            // Nobody who could follow somebody goes without.
            let could = world.groups[group].parents.iter().any(|parent| {
                let above = world.path_to(*parent).expect("a tree");
                !above.contains(&group)
            });
            assert!(
                world.follows(group) || !could,
                "seed {seed}: group {group} is alone"
            );
        }
    }
}

#[test]
fn a_loop_of_three_is_broken_within_a_round_however_it_was_closed() {
    let mut at_once = 0;
    for seed in 0..1000 {
        let mut world = World::new(seed, vec![vec![1], vec![2], vec![0]]);
        world.run(world.started);
        let end = world.now + ROUND;
        while world.now < end {
            world.run(world.now + 10);
            if world.groups.iter().all(|it| it.parent.is_some()) && world.path_to(0).is_none() {
                at_once += 1;
                break;
            }
        }
        // Then it stays so.
        for rounds in 0..5 {
            world.run(end + rounds * ROUND);
            assert_eq!(
                world.depths(),
                [1, 2, 3],
                "seed {seed}: {rounds} rounds later"
            );
            assert!(world.is_settled(), "seed {seed}: {rounds} rounds later");
        }
    }
    assert!(at_once > 100, "only {at_once} loops were closed at once");
}
