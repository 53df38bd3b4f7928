//! A tree of groups in virtual time: the library's own rooms, with clocks and links that are made up.
//!
//! Each group holds its rounds at moments of its own, and nothing waits for anything but what it
//! would wait for in the programs: what a group is told from above goes down with its next round.

use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use berkeley::internals::average::ensemble::{Ensemble, Settings};
use berkeley::internals::average::round::{Above, Heard, NodeId, Wire};
use berkeley::internals::discipline::correction::{Discipline, Mark};
use berkeley::internals::discipline::steering::Steering;
use berkeley::internals::measurement::burst::combined;
use berkeley::internals::measurement::sample::Sample;
use berkeley::internals::wire::correction::{Correction, FromAbove, Learned};
use berkeley::internals::wire::steps::Steps;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::super::network::{MILLISECOND, Node, OPENING, SECOND, exponential};

/// What all groups of a tree have in common.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub interval: i64,
    /// After how long each of the first rounds of a group is held.
    pub opening: &'static [i64],
    pub burst: usize,
    /// Raw clocks start off by up to this, either way.
    pub offset: i64,
    /// Raw clocks gain up to this, either way, in ppm.
    pub drift_ppm: f64,
    /// The least time a message takes, and what waiting adds in the mean.
    pub way: i64,
    pub jitter: i64,
    /// The part of the bursts that get no answer.
    pub loss: f64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            interval: 5 * SECOND,
            opening: &OPENING,
            burst: 8,
            offset: 0,
            drift_ppm: 100.0,
            way: 200_000,
            jitter: 200_000,
            loss: 0.0,
        }
    }
}

/// Before an operator has told any, all clocks have made the same steps.
pub const NO_STEPS: Steps = Steps::none(7);

/// A new group waits so long for its first correction from above.
const PATIENCE: i64 = 3 * SECOND;

/// How a group stands to the one above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// It has none.
    None,
    Up,
    /// It was cut; what had come before may still have to go down.
    Cut,
    Gone,
}

/// How far the life of a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It waits for its clocks.
    Gathering,
    /// It has told the group above what its clocks agree on, and waits for the answer.
    Asked,
    Regular,
}

/// What was measured of a clock below: the sample, where it was then, and when by our raw clock.
type Found = (Sample, Mark, DateTime<Utc>);

pub struct Group {
    scenario: Scenario,
    rng: Rng,
    pub now: i64,
    began: i64,
    round_at: i64,
    pub rounds: usize,
    phase: Phase,
    link: Link,
    /// How often the master's clock had been set before the last round.
    sets: u32,
    pub master: Node,
    /// The group's clock, as the one above sees it.
    above: Discipline,
    pub members: Vec<Node>,
    pub children: Vec<Child>,
    pub ensemble: Ensemble,
    /// It runs its children on all processors.
    pub parallel: bool,
    /// How often a clock was moved by more than 50 µs, at the most.
    pub moves: Vec<u32>,
}

/// What has come of this interval's burst.
#[derive(Debug)]
enum Polled {
    NotYet,
    Lost,
    Found(Box<(Found, Heard)>),
}

pub struct Child {
    pub group: Group,
    /// When it is polled in this interval of its parent, and what came of it.
    poll_at: i64,
    polled: Polled,
}

/// A group as it is planned: how many followers it has, and the groups below it.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub members: usize,
    pub children: Vec<Plan>,
}

impl Plan {
    /// Groups of a master and so many followers, below which are so many of the like.
    pub fn tree(members: usize, children: &[usize]) -> Self {
        let [here, below @ ..] = children else {
            return Self {
                members,
                children: Vec::new(),
            };
        };
        let child = Self::tree(members, below);
        Self {
            members,
            children: vec![child; *here],
        }
    }
}

impl Group {
    /// A tree whose groups begin within a second of each other, those below first.
    pub fn new(plan: &Plan, scenario: Scenario, rng: &mut Rng) -> Self {
        Self::begin(plan, scenario, rng, 0)
    }

    /// The same from `now` on.
    pub fn begin(plan: &Plan, scenario: Scenario, rng: &mut Rng, now: i64) -> Self {
        let mut rng = rng.fork();
        let node = |rng: &mut Rng| {
            let offset = symmetric(rng) * scenario.offset as f64;
            let drift_ppm = symmetric(rng) * scenario.drift_ppm;
            let mut node = Node::new(now, offset as i64, drift_ppm, Steering::default());
            let raw = node.raw(now);
            node.discipline.take_steps(NO_STEPS, raw).unwrap();
            node
        };
        let master = node(&mut rng);
        let above = Discipline::new(Steering::default(), master.raw(now));
        let gathers = 200 * MILLISECOND + rng.i64(0..100 * MILLISECOND);
        let mut group = Self {
            scenario,
            now,
            began: now,
            round_at: now + gathers,
            rounds: 0,
            phase: Phase::Gathering,
            link: Link::None,
            sets: 0,
            master,
            above,
            members: Vec::with_capacity(plan.members),
            children: Vec::with_capacity(plan.children.len()),
            ensemble: Ensemble::new(Settings::default()),
            parallel: false,
            moves: vec![0; plan.members + 1],
            rng: rng.fork(),
        };
        for _ in 0..plan.members {
            group.join(node(&mut rng));
        }
        for child in &plan.children {
            let child = Self::begin(child, scenario, &mut rng, now);
            group.adopt(child);
        }
        if !plan.children.is_empty() {
            // Those below have gathered by then.
            let height = depth(plan) as i64;
            group.round_at += height * 400 * MILLISECOND;
            group.plan_polls();
        }
        group
    }

    fn join(&mut self, node: Node) {
        self.members.push(node);
        let id = NodeId(self.members.len() as u64);
        self.ensemble.join(id, "node", None, Wire::Line);
    }

    /// Takes another group in, below this one.
    pub fn adopt(&mut self, mut group: Group) {
        group.link = Link::Up;
        let id = child_id(self.children.len());
        self.ensemble.join(id, "group", None, Wire::Line);
        self.ensemble.trust_weight(id);
        self.children.push(Child {
            group,
            poll_at: i64::MAX,
            polled: Polled::NotYet,
        });
    }

    /// The link to a group below is cut, or whole again.
    pub fn cut(&mut self, child: usize, cut: bool) {
        let id = child_id(child);
        if cut {
            self.children[child].group.link = Link::Cut;
            self.children[child].poll_at = i64::MAX;
            self.ensemble.leave(id);
        } else {
            self.children[child].group.link = Link::Up;
            self.ensemble.join(id, "group", None, Wire::Line);
            self.ensemble.trust_weight(id);
        }
    }

    /// The master's clock is set by hand.
    pub fn set_by_hand(&mut self, by: i64) {
        self.master.set(self.now, by);
        self.master
            .discipline
            .raw_was_set(TimeDelta::nanoseconds(by));
        self.above.has_been_set(self.master.discipline.set_by());
    }

    /// Whether its master has lost the time, and others are there to bring it back.
    fn is_lost(&self) -> bool {
        let clock = &self.master.discipline;
        let others = self.members.len() + self.children.len();
        clock.is_synchronized() && !clock.knows_the_time() && others > 0
    }

    /// The same with another master, which has just started and knows nothing.
    pub fn restarted(self, scenario: Scenario, rng: &mut Rng) -> Self {
        let mut group = Self::begin(&Plan::default(), scenario, rng, self.now);
        group.moves = vec![0; self.members.len() + 1];
        for node in self.members {
            group.join(node);
        }
        for child in self.children {
            group.adopt(child.group);
        }
        group.plan_polls();
        group
    }

    /// The length of the present interval.
    fn length(&self) -> i64 {
        let opening = (self.rounds.checked_sub(1)).and_then(|held| self.scenario.opening.get(held));
        let interval = self.scenario.interval;
        opening.map_or(interval, |pause| interval.min(*pause))
    }

    fn plan_polls(&mut self) {
        let (from, length) = (self.now, self.round_at - self.now);
        for (number, child) in self.children.iter_mut().enumerate() {
            child.polled = Polled::NotYet;
            // The golden ratio spreads any number of bursts evenly.
            let part = 0.05 + 0.65 * ((number + 1) as f64 * 0.618_034).fract();
            let part = if self.rounds == 0 { 0.9 } else { part };
            child.poll_at = match child.group.link {
                Link::Up => from + (part * length as f64) as i64,
                _ => i64::MAX,
            };
        }
    }

    /// Lets this group and all below it go on until then.
    pub fn advance(&mut self, until: i64) {
        loop {
            let stop = until.min(self.round_at);
            self.advance_children(stop);
            self.now = self.now.max(stop);
            if self.round_at > until {
                return;
            }
            self.round_is_due();
        }
    }

    fn advance_children(&mut self, stop: i64) {
        let (master, scenario) = (&self.master, &self.scenario);
        let advance = |child: &mut Child| {
            if child.poll_at <= stop && matches!(child.polled, Polled::NotYet) {
                child.group.advance(child.poll_at);
                let found = child.poll(master, scenario);
                child.polled = found.map_or(Polled::Lost, |found| Polled::Found(Box::new(found)));
            }
            child.group.advance(stop);
        };
        if self.parallel {
            let left = Mutex::new(self.children.iter_mut());
            let next = || left.lock().unwrap().next();
            let work = || std::iter::from_fn(next).for_each(advance);
            let threads = thread::available_parallelism().map_or(1, NonZero::get);
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            });
        } else {
            self.children.iter_mut().for_each(advance);
        }
    }

    fn round_is_due(&mut self) {
        let found = self.measure();
        if self.phase == Phase::Gathering && self.link == Link::Up {
            if let Some(average) = self.ensemble.preview(self.own_clock()) {
                self.above.expect(average);
            }
            self.phase = Phase::Asked;
            self.round_at += PATIENCE;
            return;
        }
        self.phase = Phase::Regular;
        let sets = self.master.discipline.mark(self.master.raw(self.now)).sets;
        if std::mem::replace(&mut self.sets, sets) == sets {
            self.hold_round(&found);
        } else {
            self.ensemble.abandon_interval();
            self.began = self.now;
        }
        self.rounds += 1;
        self.round_at = self.now + self.length();
        self.plan_polls();
    }

    /// Polls the followers, each at a moment of its own since the last round.
    fn measure(&mut self) -> Vec<Option<Found>> {
        let interval = self.ensemble.interval();
        let (began, now) = (self.began, self.now);
        let length = now - began;
        let mut all = Vec::with_capacity(self.members.len() + self.children.len());
        for (number, node) in self.members.iter().enumerate() {
            let phase = 0.05 + 0.65 * ((number + 1) as f64 * 0.618_034).fract();
            let begins = began + (phase * length as f64) as i64;
            let lost = self.rng.f64() < self.scenario.loss;
            let answer = |at| node.discipline.mark(node.raw(at));
            let (scenario, rng) = (&self.scenario, &mut self.rng);
            let found = burst(&self.master, scenario, rng, (begins, now), answer);
            let found = found.filter(|_| !lost);
            if let Some((sample, _, _)) = found {
                let heard = Heard {
                    rate_ppm: Some(node.discipline.rate().ppm),
                    synchronized: node.discipline.is_synchronized(),
                    ..Heard::from(sample)
                };
                let id = NodeId(number as u64 + 1);
                self.ensemble.report(id, interval, heard);
            }
            all.push(found);
        }
        for number in 0..self.children.len() {
            let id = child_id(number);
            let mut found = None;
            if let Polled::Found(polled) = &self.children[number].polled {
                self.ensemble.report(id, interval, polled.1);
                found = Some(polled.0);
            }
            all.push(found);
        }
        all
    }

    fn own_clock(&self) -> Heard {
        Heard {
            rate_ppm: Some(self.master.discipline.rate().ppm),
            synchronized: self.master.discipline.knows_the_time(),
            ..Heard::from(Sample::OWN)
        }
    }

    fn what_is_above(&mut self) -> Above {
        let told = self.above.is_synchronized();
        let moved = Above::Moves(self.above.to_hand_down(self.time()));
        match self.link {
            Link::Up if told => moved,
            Link::Cut if told => {
                self.link = Link::Gone;
                moved
            }
            Link::Gone if told => Above::Gone,
            _ => Above::Nobody,
        }
    }

    fn hold_round(&mut self, found: &[Option<Found>]) {
        let above = self.what_is_above();
        let closed = self.ensemble.close_round_below(self.own_clock(), above);
        for id in closed.dropped {
            self.ensemble.join(id, "node", None, Wire::Line);
            if id.0 >= 1_000_000 {
                self.ensemble.trust_weight(id);
            }
        }
        self.began = self.now;
        let Some(round) = closed.round else {
            self.correct_own(Correction::default().and(&above.moves()), &above.moves());
            return;
        };
        let mut learned = Learned {
            at: self.master.raw(self.now),
            ppm: 0.0,
        };
        for row in &round.rows {
            let Some(correction) = row.correction else {
                continue;
            };
            let Some(NodeId(id)) = row.node else {
                learned.ppm = self.correct_own(correction, &above.moves());
                continue;
            };
            let arrives = self.now + way(&self.scenario, &mut self.rng);
            let child = id.checked_sub(1_000_000).map(|child| child as usize);
            let place = child.map_or(id as usize - 1, |child| self.members.len() + child);
            let Some((_, mark, measured)) = found[place] else {
                continue;
            };
            let correction = correction.with(learned, measured);
            if let Some(child) = child {
                self.children[child].group.hear(mark, correction, arrives);
            } else {
                self.members[place].correct(mark, correction, arrives);
                count(&mut self.moves[place + 1], &correction);
            }
        }
    }

    /// Corrects the master's clock; by how many ppm it has learned to run faster.
    fn correct_own(&mut self, correction: Correction, given: &FromAbove) -> f64 {
        let (now, before) = (self.now, self.time());
        let known = self.master.discipline.rate().ppm;
        let mark = self.master.discipline.mark(self.master.raw(now));
        self.master.correct(mark, correction, now);
        self.above.handed_down(given, before, self.time());
        count(&mut self.moves[0], &correction);
        self.master.discipline.rate().ppm - known - correction.common_ppm
    }

    /// Hears a correction from above.
    fn hear(&mut self, mark: Mark, correction: Correction, at: i64) {
        if self.link != Link::Up {
            return;
        }
        let time = self.master.discipline.target(self.master.raw(at));
        self.above.correct(mark, correction, time).unwrap();
        if self.phase == Phase::Asked {
            self.round_at = at;
        }
    }

    /// The group, and all below it, are told these steps.
    pub fn take_steps(&mut self, steps: Steps) {
        let raw = self.master.raw(self.now);
        let by = self.master.discipline.take_steps(steps, raw).unwrap();
        self.above.raw_moved(by);
        self.ensemble.step(by);
        for node in &mut self.members {
            let raw = node.raw(self.now);
            node.discipline.take_steps(steps, raw).unwrap();
        }
        for child in self
            .children
            .iter_mut()
            .filter(|it| it.group.link == Link::Up)
        {
            child.group.take_steps(steps);
            if let Polled::Found(polled) = &mut child.polled {
                polled.0.1 = polled.0.1.moved(by);
            }
        }
    }

    /// Whether it has held a round since the group above it has: it has handed down all that it was
    /// told.
    pub fn is_up_to_date(&self, parent: &Self) -> bool {
        self.began > parent.began
    }

    /// The master's target.
    pub fn time(&self) -> DateTime<Utc> {
        self.time_at(self.now)
    }

    fn time_at(&self, at: i64) -> DateTime<Utc> {
        self.master.discipline.target(self.master.raw(at))
    }

    /// Every group, from the top, with its depth.
    pub fn each<'a>(
        &'a self,
        depth: usize,
        visit: &mut impl FnMut(usize, Option<&'a Group>, &'a Group),
    ) {
        if depth == 0 {
            visit(0, None, self);
        }
        for child in &self.children {
            visit(depth + 1, Some(self), &child.group);
            child.group.each(depth + 1, visit);
        }
    }

    /// Every clock with the depth of its group, as an application reads it.
    pub fn readings(&mut self, depth: usize, visit: &mut impl FnMut(usize, &mut Node)) {
        visit(depth, &mut self.master);
        for node in &mut self.members {
            visit(depth, node);
        }
        for child in &mut self.children {
            child.group.readings(depth + 1, visit);
        }
    }

    /// How far apart the readings of all clocks are.
    pub fn skew(&mut self) -> TimeDelta {
        let now = self.now;
        let (mut first, mut last) = (DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC);
        self.readings(0, &mut |_, node| {
            let reading = node.discipline.read(node.raw(now)).time;
            first = first.min(reading);
            last = last.max(reading);
        });
        last - first
    }
}

impl Child {
    /// Polls the group, as a follower.
    fn poll(&mut self, master: &Node, scenario: &Scenario) -> Option<(Found, Heard)> {
        let group = &self.group;
        if group.is_lost() {
            return None;
        }
        let answer = |at| group.above.mark(group.time_at(at));
        let begins = self.poll_at;
        let ends = begins + scenario.interval / 4;
        let mut rng = group.rng.clone();
        let found = burst(master, scenario, &mut rng, (begins, ends), answer)?;
        let stands = group.ensemble.stands();
        let own_ppm = group.master.discipline.rate().ppm;
        let pending_ppm = group.above.to_hand_down(group.time()).rate_ppm;
        let heard = Heard {
            rate_ppm: Some(stands.rate_ppm.unwrap_or(own_ppm) + pending_ppm),
            synchronized: group.rounds > 0,
            weight: stands.weight,
            deviation: stands.deviation,
            ..Heard::from(found.0)
        };
        let lost = rng.f64() < scenario.loss;
        self.group.rng = rng;
        (!lost).then_some((found, heard))
    }
}

/// What a burst of polls tells that begins and ends then.
fn burst(
    master: &Node,
    scenario: &Scenario,
    rng: &mut Rng,
    (begins, ends): (i64, i64),
    answer: impl Fn(i64) -> Mark,
) -> Option<Found> {
    let mut now = begins;
    let mut best: Option<Found> = None;
    let mut samples = Vec::with_capacity(scenario.burst);
    for _ in 0..scenario.burst {
        let t1 = master.discipline.mark(master.raw(now));
        now += way(scenario, rng);
        let mark = answer(now);
        now += way(scenario, rng);
        if now > ends {
            break;
        }
        let t4 = master.discipline.target(master.raw(now));
        let sample = Sample::round_trip(t1.target, mark.target, mark.target, t4).unwrap();
        if best.is_none_or(|(best, _, _)| sample.error < best.error) {
            best = Some((sample, mark, t1.raw));
        }
        samples.push(sample);
    }
    let (_, mark, at) = best?;
    Some((combined(&samples)?, mark, at))
}

fn way(scenario: &Scenario, rng: &mut Rng) -> i64 {
    scenario.way + (exponential(rng) * scenario.jitter as f64) as i64
}

fn count(moves: &mut u32, correction: &Correction) {
    *moves += u32::from(correction.offset.abs() > TimeDelta::microseconds(50));
}

/// What nobody else has for a number.
fn child_id(child: usize) -> NodeId {
    NodeId(1_000_000 + child as u64)
}

/// How many groups are below each other.
pub fn depth(plan: &Plan) -> usize {
    let below = plan.children.iter().map(|child| 1 + depth(child));
    below.max().unwrap_or(0)
}

fn symmetric(rng: &mut Rng) -> f64 {
    2.0 * rng.f64() - 1.0
}
