//! A network in virtual time: the library's own rooms, with clocks and links that are made up.
//!
//! True time is in nanoseconds since the start. Nothing in the library sees it.

use berkeley::NtpOptions;
use berkeley::internals::average::ensemble::{Ensemble, Settings};
use berkeley::internals::average::round::{Heard, NodeId, Round, Wire};
use berkeley::internals::discipline::correction::{Applied, Discipline, Mark};
use berkeley::internals::discipline::steering::Steering;
use berkeley::internals::discipline::told::NetworkTime;
use berkeley::internals::measurement::burst::combined;
use berkeley::internals::measurement::sample::Sample;
use berkeley::internals::ntp::answer::answer;
use berkeley::internals::ntp::packet::Question;
use berkeley::internals::wire::correction::{Correction, Learned};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::queue::{Queue, Traffic};

pub const MILLISECOND: i64 = 1_000_000;
pub const SECOND: i64 = 1000 * MILLISECOND;
pub const HOUR: i64 = 3600 * SECOND;

/// From each of a new group's first rounds to the next, as `master/rhythm.rs` has it where an interval
/// is 5 s. Where it is shorter, those that are longer are an interval.
pub const OPENING: [i64; 25] = {
    let mut pauses = [SECOND / 2; 25];
    let mut round = 1;
    while round < pauses.len() {
        pauses[round] = pauses[round - 1] * 11 / 10;
        round += 1;
    }
    pauses
};

/// When the simulations begin, by a clock that is right: 2026-01-01.
const EPOCH: i64 = 1_767_225_600 * SECOND;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    /// The master and its followers.
    pub nodes: usize,
    pub interval: i64,
    /// After how long each of the first rounds is held, if they follow each other quickly.
    pub first_rounds: &'static [i64],
    pub burst: usize,
    /// Raw clocks start off by up to this, either way.
    pub offset: i64,
    /// Raw clocks gain up to this, either way, in ppm.
    pub drift_ppm: f64,
    /// By this much a raw clock's rate changes in a round, in ppm (one step of a random walk).
    pub wander_ppm: f64,
    /// The least time a message takes, on the way to a follower and on the way back.
    pub ways: [i64; 2],
    /// What waiting adds to each way: exponentially distributed, with this mean.
    pub jitter: i64,
    /// What a machine that is slow for a moment adds to both ways of a poll: the same, with this mean.
    pub slowness: i64,
    /// In a node's first two bursts a way takes up to this much longer: it has just been started.
    pub cold: i64,
    pub traffic: Option<Traffic>,
    /// The part of the polls that get no answer.
    pub loss: f64,
    /// The part of the nodes that lie, and what.
    pub liars: f64,
    pub lie: Lie,
    /// After so many rounds the next of three candidates leads, with the same clock.
    pub elections: Option<usize>,
    /// What the last two nodes tell for their rates, from the 251st round on.
    pub rate_lie: Option<RateLie>,
    pub steering: Steering,
    /// Whether all that is admitted of errors is checked.
    pub checks_errors: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 20,
            interval: 5 * SECOND,
            first_rounds: &[],
            burst: 8,
            offset: 0,
            drift_ppm: 100.0,
            wander_ppm: 0.0,
            ways: [200_000; 2],
            jitter: 200_000,
            slowness: 0,
            cold: 0,
            traffic: None,
            loss: 0.0,
            liars: 0.0,
            lie: Lie::AtRandom,
            elections: None,
            rate_lie: None,
            steering: Steering::default(),
            checks_errors: true,
        }
    }
}

/// A node whose machine has a clock that is right, or not.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    pub node: usize,
    /// How far the machine's clock is ahead of true time.
    pub ahead: i64,
}

/// What a client of NTP asks.
const QUESTION: Question = Question {
    version: 4,
    poll: 6,
    transmit: *b"question",
};

/// To what error references state that their clocks are right.
const STATED: TimeDelta = TimeDelta::microseconds(100);
/// A rate that is told, in ppm, given the right one and the number of the round.
pub type RateLie = fn(f64, usize) -> f64;

/// What liars answer.
#[derive(Debug, Clone, Copy)]
pub enum Lie {
    /// Whatever comes to their mind, within an hour.
    AtRandom,
    /// What the master shows, and so much more, whatever they are told.
    Ahead(i64),
    /// So much more in each round, whatever they are told.
    Running(i64),
    /// So much in one of so many rounds, and the truth in the others.
    OnceIn(usize, i64),
    /// So much in one of so many rounds, and then they leave and join anew.
    ThenRejoining(usize, i64),
    /// So much, and that their messages travelled for no time: no vote weighs more.
    Early(i64),
    /// So much, after they have kept the answer for so long: a vote that weighs little is not held
    /// against them for long either.
    Late(i64, i64),
}

#[allow(
    clippy::struct_excessive_bools,
    reason = "four independent facts of a made-up node"
)]
pub struct Node {
    /// What the raw clock shows at `since`.
    shows: DateTime<Utc>,
    since: i64,
    pub drift_ppm: f64,
    /// The same before `since`.
    before_ppm: f64,
    pub discipline: Discipline,
    liar: bool,
    /// The latest reading seen, and whether the next one may be earlier.
    seen: DateTime<Utc>,
    stepped: bool,
    /// No correction has come since it began or its raw clock was set: it is not a part of the
    /// network, and can't know how wrong it is.
    surprised: bool,
    /// It is left out of the skew.
    pub apart: bool,
    /// Nobody reaches it: it holds over.
    pub away: bool,
    /// How often it stepped.
    pub steps: usize,
    bursts: usize,
    queue: Option<Box<Queue>>,
}

impl Node {
    pub fn new(now: i64, offset: i64, drift_ppm: f64, steering: Steering) -> Self {
        let shows = DateTime::from_timestamp_nanos(EPOCH + now + offset);
        Self {
            shows,
            since: now,
            drift_ppm,
            before_ppm: drift_ppm,
            discipline: Discipline::new(steering, shows),
            liar: false,
            seen: shows,
            stepped: false,
            surprised: true,
            apart: false,
            away: false,
            steps: 0,
            bursts: 0,
            queue: None,
        }
    }

    pub fn raw(&self, now: i64) -> DateTime<Utc> {
        let elapsed = now - self.since;
        let ppm = if elapsed < 0 {
            self.before_ppm
        } else {
            self.drift_ppm
        };
        let gained = (elapsed as f64 * ppm * 1e-6).round() as i64;
        self.shows + TimeDelta::nanoseconds(elapsed + gained)
    }

    /// Somebody sets the raw clock.
    pub fn set(&mut self, now: i64, by: i64) {
        self.shows = self.raw(now) + TimeDelta::nanoseconds(by);
        self.since = now;
        self.surprised = true;
    }

    /// Its oscillator gains so much more from now on.
    pub fn wander(&mut self, now: i64, by_ppm: f64) {
        self.shows = self.raw(now);
        self.since = now;
        self.before_ppm = self.drift_ppm;
        self.drift_ppm += by_ppm;
    }

    /// The node starts anew, knowing nothing but its raw clock.
    pub fn restart(&mut self, now: i64, steering: Steering) {
        self.discipline = Discipline::new(steering, self.raw(now));
        self.stepped = true;
        self.surprised = true;
    }

    /// What an application sees, and that it never sees time run backwards, nor an error that
    /// does not reach the network's time.
    fn reading(&mut self, now: i64, network: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let NetworkTime {
            time: reading,
            error,
        } = self.discipline.read(self.raw(now));
        let off = network.map_or(TimeDelta::zero(), |network| (reading - network).abs());
        assert!(
            self.surprised || error.is_none_or(|error| off <= error),
            "at {now} the reading is off by {off}, more than the {error:?} it admits",
        );
        self.promise(now, reading, off);
        assert!(
            self.stepped || reading >= self.seen,
            "the reading ran backwards at {now}: {} after {}",
            reading,
            self.seen
        );
        self.stepped = false;
        self.seen = reading;
        reading
    }

    /// What a client of NTP is promised reaches the network's time, too, and grows no smaller on
    /// the wire.
    fn promise(&mut self, now: i64, reading: DateTime<Utc>, off: TimeDelta) {
        let raw = self.raw(now);
        let told = self.discipline.tell(raw, raw);
        let answer = answer(&QUESTION, &told, &NtpOptions::default());
        assert_eq!((answer.transmitted, answer.received), (reading, reading));
        let bytes = answer.bytes();
        let units = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
        let promised = TimeDelta::nanoseconds((i64::from(units) * 1_000_000_000) >> 16);
        assert!(
            self.surprised || bytes[0] >> 6 == 3 || off <= promised,
            "at {now} an answer is off by {off}, more than the {promised} it promises",
        );
    }

    /// Something has happened to it that it can't know of until it is corrected.
    pub fn surprise(&mut self) {
        self.surprised = true;
    }

    pub fn mark(&self, now: i64) -> Mark {
        self.discipline.mark(self.raw(now))
    }

    pub fn correct(&mut self, mark: Mark, correction: Correction, now: i64) {
        let raw = self.raw(now);
        let made = self.discipline.correct(mark, correction, raw).unwrap();
        if made == Applied::Stepped {
            self.stepped = true;
            self.steps += 1;
        }
        self.surprised = false;
    }
}

pub struct Network {
    pub scenario: Scenario,
    pub nodes: Vec<Node>,
    pub now: i64,
    pub ensemble: Ensemble,
    /// What the candidates know that do not lead.
    waiting: Vec<Ensemble>,
    pub references: Vec<Reference>,
    rng: Rng,
    rounds: usize,
    /// Skew between the healthy nodes' readings, at every moment looked at since the last reset.
    skews: Vec<TimeDelta>,
}

impl Network {
    pub fn new(scenario: Scenario) -> Self {
        let mut rng = Rng::with_seed(scenario.seed);
        let mut nodes: Vec<Node> = (0..scenario.nodes)
            .map(|_| {
                let offset = symmetric(&mut rng) * scenario.offset as f64;
                let drift_ppm = symmetric(&mut rng) * scenario.drift_ppm;
                Node::new(0, offset as i64, drift_ppm, scenario.steering)
            })
            .collect();
        let honest = ((1.0 - scenario.liars) * nodes.len() as f64).max(1.0);
        for node in nodes.iter_mut().skip(honest.floor() as usize) {
            node.liar = true;
            node.apart = true;
        }
        let mut network = Self {
            nodes: Vec::new(),
            now: 0,
            ensemble: Ensemble::new(Settings::default()),
            waiting: (0..2).map(|_| Ensemble::new(Settings::default())).collect(),
            rng,
            rounds: 0,
            skews: Vec::new(),
            references: Vec::new(),
            scenario,
        };
        for node in nodes {
            network.join(node);
        }
        network
    }

    pub fn join(&mut self, mut node: Node) {
        let id = self.nodes.len() as u64;
        let traffic = self.scenario.traffic;
        let traffic = traffic.filter(|traffic| (1..=traffic.links as u64).contains(&id));
        node.queue = traffic.map(|traffic| Box::new(Queue::new(traffic)));
        self.nodes.push(node);
        if id > 0 {
            self.ensemble.join(NodeId(id), "node", None, Wire::Line);
        }
    }

    /// What a clock shows that is right.
    pub fn true_time(now: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(EPOCH + now)
    }

    /// How far the machine's own clock is ahead of a node's target, if it is a reference.
    fn machine_ahead(&self, id: usize, now: i64) -> Option<TimeDelta> {
        let mut references = self.references.iter();
        let reference = references.find(|reference| reference.node == id)?;
        let shown = Self::true_time(now) + TimeDelta::nanoseconds(reference.ahead);
        let node = &self.nodes[id];
        Some(shown - node.discipline.target(node.raw(now)))
    }

    pub fn rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.round();
        }
    }

    /// How long the present interval lasts.
    fn interval(&self) -> i64 {
        let first = self.scenario.first_rounds.get(self.rounds - 1);
        let interval = self.scenario.interval;
        first.map_or(interval, |pause| interval.min(*pause))
    }

    pub fn rounds_until(&mut self, until: i64) {
        while self.now < until {
            self.round();
        }
    }

    /// One interval: bursts, spread over it; then the round, and its corrections.
    pub fn round(&mut self) -> Option<Round> {
        self.rounds += 1;
        self.rejoin_liars();
        self.elect();
        let interval = self.ensemble.interval();
        let length = self.interval();
        let mut marks = vec![None; self.nodes.len()];
        for (id, slot) in marks.iter_mut().enumerate().skip(1) {
            if self.nodes[id].away {
                continue;
            }
            // Small groups are measured shortly before the round, see `master/rhythm.rs`. The golden
            // ratio spreads any number of bursts evenly.
            let width = (self.nodes.len() as f64 * 0.05 * SECOND as f64 / length as f64).min(0.8);
            let phase = 0.9 - width * (id as f64 * 0.618_034).fract();
            let begins = self.now + (phase * length as f64) as i64;
            if let Some((sample, mark)) = self.burst(id, begins, self.now + length) {
                let machine = self.machine_ahead(id, begins);
                let heard = Heard {
                    rate_ppm: Some(self.told_rate(id)),
                    machine,
                    reference: machine.map(|_| STATED),
                    ..Heard::from(sample)
                };
                self.ensemble.report(NodeId(id as u64), interval, heard);
                *slot = Some((mark, self.nodes[0].raw(begins)));
            }
        }
        for part in 1..=4 {
            self.look(self.now + length * part / 4);
        }
        self.now += length;
        for node in &mut self.nodes {
            let by = symmetric(&mut self.rng) * self.scenario.wander_ppm;
            node.wander(self.now, by);
        }
        let closed = self.ensemble.close_round(Heard {
            rate_ppm: Some(self.nodes[0].discipline.rate().ppm),
            ..Heard::from(Sample::OWN)
        });
        for NodeId(id) in closed.dropped {
            self.ensemble.join(NodeId(id), "node", None, Wire::Line);
        }
        let round = closed.round?;
        let mut learned = Learned {
            at: self.nodes[0].raw(self.now),
            ppm: 0.0,
        };
        for row in &round.rows {
            match (row.node, row.correction) {
                (None, Some(correction)) => {
                    let mark = self.nodes[0].mark(self.now);
                    let before = self.nodes[0].discipline.rate().ppm;
                    self.nodes[0].correct(mark, correction, self.now);
                    let now = self.nodes[0].discipline.rate().ppm;
                    learned.ppm = now - before - correction.common_ppm;
                }
                (Some(NodeId(id)), Some(correction)) => {
                    let id = id as usize;
                    // Before the next burst: what was measured before a correction is of no use after.
                    let arrives = self.now + self.way(id, 0, self.now).min(length / 20);
                    let (mark, measured): (Mark, DateTime<Utc>) = marks[id].unwrap();
                    let correction = correction.with(learned, measured);
                    self.nodes[id].correct(mark, correction, arrives);
                }
                (_, None) => {}
            }
        }
        Some(round)
    }

    /// The rate that a node tells.
    fn told_rate(&self, id: usize) -> f64 {
        let right = self.nodes[id].discipline.rate().ppm;
        let lies = id + 2 >= self.nodes.len() && self.rounds > 250;
        let lie = self.scenario.rate_lie.filter(|_| lies);
        lie.map_or(right, |lie| lie(right, self.rounds))
    }

    /// Liars that were heard once too often come back under a new name.
    fn rejoin_liars(&mut self) {
        let Lie::ThenRejoining(every, _) = self.scenario.lie else {
            return;
        };
        if self.rounds.is_multiple_of(every) {
            for (id, _) in self.nodes.iter().enumerate().filter(|(_, node)| node.liar) {
                let id = NodeId(id as u64);
                self.ensemble.leave(id);
                self.ensemble.join(id, "node", None, Wire::Line);
            }
        }
    }

    /// Lets another candidate lead, if that is due. Its clock is the same: what it knows of the
    /// others is what it has seen when it led before.
    fn elect(&mut self) {
        let Some(every) = self.scenario.elections else {
            return;
        };
        if self.rounds.is_multiple_of(every) {
            self.new_leader();
        }
        let own_ppm = self.nodes[0].discipline.rate().ppm;
        for waiting in &mut self.waiting {
            waiting.close_relayed(Some(own_ppm));
        }
    }

    /// Another of three candidates leads.
    pub fn new_leader(&mut self) {
        let followers = || (1..self.nodes.len() as u64).map(NodeId);
        followers().for_each(|id| assert!(self.ensemble.leave(id)));
        std::mem::swap(&mut self.ensemble, &mut self.waiting[0]);
        self.waiting.rotate_left(1);
        for id in followers() {
            self.ensemble.join(id, "node", None, Wire::Line);
        }
        self.ensemble.begin_to_lead(true);
    }

    /// What a liar shows at a moment at which the master's target is known.
    fn lie(&mut self, now: i64, master: DateTime<Utc>) -> DateTime<Utc> {
        let off = match self.scenario.lie {
            Lie::AtRandom => (symmetric(&mut self.rng) * HOUR as f64) as i64,
            Lie::Ahead(by) | Lie::Early(by) | Lie::Late(by, _) => by,
            Lie::Running(by) => {
                let start = DateTime::from_timestamp_nanos(EPOCH + now);
                return start + TimeDelta::nanoseconds(by * self.rounds as i64);
            }
            Lie::OnceIn(every, by) | Lie::ThenRejoining(every, by) => {
                if self.rounds % every == every - 1 {
                    by
                } else {
                    0
                }
            }
        };
        master + TimeDelta::nanoseconds(off)
    }

    /// How long a message takes that leaves now, to a follower (0) or from it (1).
    fn way(&mut self, id: usize, direction: usize, now: i64) -> i64 {
        let scenario = &self.scenario;
        let waiting = exponential(&mut self.rng) * scenario.jitter as f64;
        let cold = if self.nodes[id].bursts <= 2 {
            self.rng.f64() * scenario.cold as f64
        } else {
            0.0
        };
        let way = scenario.ways[direction] + waiting as i64 + cold as i64;
        match &mut self.nodes[id].queue {
            Some(queue) if direction == 0 => way + queue.waiting(now, &mut self.rng),
            _ => way,
        }
    }

    fn burst(&mut self, id: usize, begins: i64, ends: i64) -> Option<(Sample, Mark)> {
        let mut now = begins;
        let mut answers: Vec<(Sample, Mark)> = Vec::new();
        self.nodes[id].bursts += 1;
        for _ in 0..self.scenario.burst {
            let t1 = self.nodes[0].mark(now).target;
            let slow = match self.scenario.slowness {
                0 => 0,
                mean => (exponential(&mut self.rng) * mean as f64) as i64,
            };
            now += self.way(id, 0, now) + slow;
            let mut mark = self.nodes[id].mark(now);
            if self.nodes[id].liar {
                mark.target = self.lie(now, self.nodes[0].mark(now).target);
            }
            now += self.way(id, 1, now) + slow + self.kept(id);
            if now > ends {
                break;
            }
            if self.rng.f64() >= self.scenario.loss {
                let t4 = self.nodes[0].mark(now).target;
                let (t2, t3) = self.told(id, t1, mark.target, t4);
                let sample = Sample::round_trip(t1, t2, t3, t4).unwrap();
                answers.push((sample, mark));
            }
        }
        let samples: Vec<Sample> = answers.iter().map(|(sample, _)| *sample).collect();
        let (_, mark) = (answers.into_iter()).min_by_key(|(sample, _)| sample.error)?;
        Some((combined(&samples)?, mark))
    }

    /// For how long a node keeps its answer.
    fn kept(&self, id: usize) -> i64 {
        match self.scenario.lie {
            Lie::Late(_, kept) if self.nodes[id].liar => kept,
            _ => 0,
        }
    }

    /// When a node says that a question came and its answer left, given when the question left, what
    /// the node shows, and when the answer came. Who plays with delays knows all of them.
    fn told(
        &self,
        id: usize,
        t1: DateTime<Utc>,
        shown: DateTime<Utc>,
        t4: DateTime<Utc>,
    ) -> (DateTime<Utc>, DateTime<Utc>) {
        let by = TimeDelta::nanoseconds;
        match self.scenario.lie {
            Lie::Early(ahead) if self.nodes[id].liar => (t1 + by(ahead), t4 + by(ahead)),
            Lie::Late(ahead, _) if self.nodes[id].liar => {
                let middle = t1 + (t4 - t1) / 2 + by(ahead);
                (middle, middle)
            }
            _ => (shown, shown),
        }
    }

    /// Looks at all clocks at one moment, as an omniscient observer.
    fn look(&mut self, now: i64) {
        // The network's time: what most of the nodes take for it.
        let corrected = self
            .nodes
            .iter()
            .filter(|node| !node.apart && !node.surprised);
        let mut targets: Vec<_> = corrected
            .map(|node| node.discipline.target(node.raw(now)))
            .collect();
        targets.sort_unstable();
        let middle = |from: usize| targets.get(from / 2).copied();
        let network = middle(targets.len()).zip(middle(targets.len().saturating_sub(1)));
        let network = network.map(|(upper, lower)| lower + (upper - lower) / 2);
        let network = network.filter(|_| self.scenario.checks_errors);
        let healthy = self.nodes.iter_mut().filter(|node| !node.liar);
        let readings: Vec<_> = healthy
            .map(|node| (node.apart, node.reading(now, network)))
            .filter_map(|(apart, reading)| (!apart).then_some(reading))
            .collect();
        let (first, last) = (readings.iter().min(), readings.iter().max());
        self.skews.push(*last.unwrap() - *first.unwrap());
    }

    /// Median and worst skew of the readings since the last call.
    pub fn skew(&mut self) -> (TimeDelta, TimeDelta) {
        let mut skews = std::mem::take(&mut self.skews);
        skews.sort_unstable();
        (skews[skews.len() / 2], skews[skews.len() - 1])
    }

    /// How many rounds pass before the readings stay within `limit` for a whole one.
    pub fn rounds_until_within(&mut self, limit: TimeDelta) -> usize {
        let within = |_: &usize| {
            self.skews.clear();
            self.round();
            self.skew().1 <= limit
        };
        (0..1000)
            .find(within)
            .expect("agreement within 1000 rounds")
    }

    /// The mean over the nodes that count, in nanoseconds since the Unix epoch.
    fn mean(&self, of: impl Fn(&Node) -> DateTime<Utc>) -> i64 {
        let alone = self.nodes.iter().all(|node| node.surprised);
        let counts = |node: &&Node| !node.apart && (alone || !node.surprised);
        let counted = || self.nodes.iter().filter(counts);
        let sum: i128 = counted()
            .map(|node| i128::from(of(node).timestamp_nanos_opt().unwrap()))
            .sum();
        (sum / counted().count() as i128) as i64
    }

    /// By how many ppm the network is faster than the mean of the raw clocks, over `rounds`.
    pub fn rate_against_raw(&mut self, rounds: usize) -> f64 {
        let ahead = |network: &Self| {
            let now = network.now;
            network.mean(|node| node.discipline.target(node.raw(now)))
                - network.mean(|node| node.raw(now))
        };
        let (before, began) = (ahead(self), self.now);
        self.rounds(rounds);
        (ahead(self) - before) as f64 / (self.now - began) as f64 * 1e6
    }
}

/// Exponentially distributed, with a mean of 1.
pub fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

fn symmetric(rng: &mut Rng) -> f64 {
    2.0 * rng.f64() - 1.0
}
