//! How far apart the system clocks of hosts are, by the counter that all of them share.

use std::process::Command;

use super::{Host, Network};

/// How often all clocks are compared, in seconds.
const STEP: f64 = 0.05;

/// How far apart two readings of a clock may be to tell what it showed between them, in seconds.
const GAP: f64 = 1.0;

/// How fast a kernel slews at most, and a little: a tenth by its tick, 0.05 % by its frequency.
const SLEW: f64 = 0.101;

/// For how long a clock is looked at to tell where it is going, in seconds.
const LOOK: f64 = 20.0;

/// The processor's counter: when its seconds began, and how many counts they have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter {
    began: f64,
    per_second: f64,
}

/// A reading of a clock.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// When, by the counter, in seconds.
    at: f64,
    /// How far the clock was ahead of the counter, in seconds.
    ahead: f64,
    /// What its kernel said of its error; `None` if it is not synchronized.
    stated: Option<Stated>,
}

/// What a kernel says of its clock's error, in seconds.
#[derive(Debug, Clone, Copy)]
struct Stated {
    /// How far it may be from the group's time.
    largest: f64,
    /// What it knows of that: what is left of a slew.
    known: f64,
}

/// What one clock has shown.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Vec<Reading>);

/// All clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// By the counter, in seconds.
    pub at: f64,
    /// From the first clock to the last, in seconds.
    pub skew: f64,
    /// The largest distance of a clock from the middle one, in seconds: while one clock slews, the
    /// mean of all is not the group's time.
    pub off: f64,
    /// How much of its error a kernel has stated, at the clock where that is the least part: more
    /// than 1 covers it. The error is what the kernel knows of, at least, and the distance from the
    /// clock of the least stated error, which has the group's time but for what is left of its slew:
    /// in a new group all slew, also the middle one. `None` while a clock is not synchronized.
    pub covered: Option<f64>,
    /// The largest error that was stated, in seconds.
    pub stated: Option<f64>,
}

/// What all clocks showed, moment by moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(pub Vec<Moment>);

impl Counter {
    /// Measures for a second how fast the counter counts, and begins to count seconds.
    #[track_caller]
    pub(crate) fn start(network: &Network) -> Self {
        let told = Command::new(network.counter()).arg("rate").output();
        let told = String::from_utf8(told.expect("it runs").stdout).expect("text");
        let pairs: Vec<Vec<f64>> = told.lines().map(numbers).collect();
        let counts = pairs[1][0] - pairs[0][0];
        Self {
            began: pairs[1][0],
            per_second: counts / (pairs[1][1] - pairs[0][1]) * 1e9,
        }
    }

    /// The moment of the latest reading of a host.
    #[track_caller]
    pub(crate) fn now(&self, host: &Host) -> f64 {
        let latest = host.readings().pop().expect("a reading");
        self.reading(&latest).at
    }

    /// What the clock of a host has shown until now.
    pub(crate) fn clock(&self, host: &Host) -> Clock {
        let readings = host.readings();
        Clock(readings.iter().map(|line| self.reading(line)).collect())
    }

    /// What the clocks of all hosts have shown from one moment to another.
    pub(crate) fn trace(&self, hosts: &[Host], from: f64, until: f64) -> Trace {
        let hosts: Vec<_> = hosts.iter().collect();
        self.trace_of(&hosts, from, until)
    }

    /// What the clocks of some hosts have shown from one moment to another.
    pub(crate) fn trace_of(&self, hosts: &[&Host], from: f64, until: f64) -> Trace {
        let clocks: Vec<_> = hosts.iter().map(|host| self.clock(host)).collect();
        let steps = ((until - from) / STEP) as usize;
        let moments = (0..steps).map(|step| from + step as f64 * STEP);
        Trace(moments.filter_map(|at| moment(&clocks, at)).collect())
    }

    fn reading(&self, line: &str) -> Reading {
        // A counter and a time in nanoseconds have too many digits for floats.
        let mut words = line.trim_start_matches("@ ").split_whitespace();
        let mut word = || -> i128 { words.next().expect("four words").parse().expect("a number") };
        let (count, shown, largest, known) = (word(), word(), word(), word());
        let at = (count - self.began as i128) as f64 / self.per_second;
        // Within a day, also when midnight passes.
        let ahead = (shown - (at * 1e9) as i128).rem_euclid(DAY);
        Reading {
            at,
            ahead: ahead as f64 * 1e-9,
            stated: (largest >= 0).then_some(Stated {
                largest: largest as f64 * 1e-6,
                known: known as f64 * 1e-6,
            }),
        }
    }
}

/// A day in nanoseconds: clocks are compared within one.
const DAY: i128 = 86_400_000_000_000;

fn numbers(line: &str) -> Vec<f64> {
    let words = line.trim_start_matches("@ ").split_whitespace();
    words.map(|word| word.parse().expect("a number")).collect()
}

impl Clock {
    /// How far ahead it was at a moment, and what it stated, if it was read shortly before and after.
    fn at(&self, at: f64) -> Option<(f64, Option<Stated>)> {
        let next = self.0.partition_point(|reading| reading.at < at);
        let (before, after) = (self.0.get(next.checked_sub(1)?)?, self.0.get(next)?);
        let part = (at - before.at) / (after.at - before.at);
        let ahead = before.ahead + part * (after.ahead - before.ahead);
        // A clock that is set between them is no longer synchronized from then on.
        let stated = before.stated.filter(|_| after.stated.is_some());
        (after.at - before.at < GAP).then_some((ahead, stated))
    }

    /// How far ahead of the counter it was at a moment, in seconds.
    pub(crate) fn ahead(&self, at: f64) -> Option<f64> {
        self.at(at).map(|(ahead, _)| ahead)
    }

    /// When it showed so many nanoseconds, if it was not stepped then, by the counter, in seconds.
    pub(crate) fn when(&self, shown: i128) -> Option<f64> {
        let began = self.0.first().map(|first| first.ahead + first.at)?;
        let since = (shown.rem_euclid(DAY) as f64 * 1e-9 - began).rem_euclid(DAY as f64 * 1e-9);
        let shown = began + since;
        let next = self
            .0
            .partition_point(|reading| reading.ahead + reading.at < shown);
        let (before, after) = (self.0.get(next.checked_sub(1)?)?, self.0.get(next)?);
        let gained = (after.ahead - before.ahead) / (after.at - before.at);
        let at = before.at + (shown - before.ahead - before.at) / (1.0 + gained);
        (after.at - before.at < GAP).then_some(at)
    }

    /// How far it came, at most, from where it was going until a moment, in seconds: it had run
    /// evenly, and was to run on like that.
    pub(crate) fn moved(&self, from: f64) -> f64 {
        let (before, after) = self.0.split_at(self.0.partition_point(|it| it.at < from));
        let begin = before.partition_point(|it| it.at < from - LOOK);
        let before = &before[begin..];
        let mean =
            |of: &dyn Fn(&Reading) -> f64| before.iter().map(of).sum::<f64>() / before.len() as f64;
        let (at, ahead) = (mean(&|it| it.at), mean(&|it| it.ahead));
        let gained =
            mean(&|it| (it.at - at) * (it.ahead - ahead)) / mean(&|it| (it.at - at).powi(2));
        let off = |it: &Reading| (it.ahead - ahead - gained * (it.at - at)).abs();
        // What was not read is not known.
        let off = after.iter().map(off);
        off.reduce(f64::max).unwrap_or(f64::NAN)
    }

    /// How far it was stepped back since a moment, in seconds: what it lost between two readings
    /// and can't have lost by being slewed. A few milliseconds may hide in a slew.
    pub(crate) fn stepped_back(&self, from: f64) -> f64 {
        let since = self.0.partition_point(|reading| reading.at < from);
        let lost =
            |pair: &[Reading]| pair[0].ahead - pair[1].ahead - SLEW * (pair[1].at - pair[0].at);
        let lost = self.0[since..].windows(2).map(lost);
        lost.reduce(f64::max).map_or(f64::NAN, |lost| lost.max(0.0))
    }
}

/// All clocks at a moment, if each was read shortly before and after it.
fn moment(clocks: &[Clock], at: f64) -> Option<Moment> {
    let each = clocks.iter().map(|clock| clock.at(at));
    let clocks = each.collect::<Option<Vec<_>>>()?;
    let mut order: Vec<_> = clocks.iter().map(|(ahead, _)| *ahead).collect();
    order.sort_by(f64::total_cmp);
    let (first, middle, last) = (order[0], order[order.len() / 2], order[order.len() - 1]);
    let stated = clocks
        .iter()
        .map(|&(ahead, stated)| Some((ahead, stated?)))
        .collect::<Option<Vec<_>>>();
    Some(Moment {
        at,
        skew: last - first,
        off: (last - middle).max(middle - first),
        covered: stated.as_deref().map(covered),
        stated: stated.map(|stated| stated.iter().fold(0.0, |most, it| it.1.largest.max(most))),
    })
}

/// See [`Moment::covered`], of how far ahead clocks are and what is stated of each.
fn covered(clocks: &[(f64, Stated)]) -> f64 {
    let surest = clocks
        .iter()
        .min_by(|one, other| one.1.largest.total_cmp(&other.1.largest));
    let (surest, stated) = surest.expect("clocks");
    let parts = clocks.iter().map(|(ahead, own)| {
        let off = (ahead - surest).abs() - stated.known;
        own.largest / off.max(own.known)
    });
    parts.fold(f64::MAX, f64::min)
}

impl Trace {
    /// The part of it from one moment to another.
    pub(crate) fn part(&self, from: f64, until: f64) -> Self {
        let within = |moment: &&Moment| (from..until).contains(&moment.at);
        Self(self.0.iter().filter(within).copied().collect())
    }

    /// A quantile of the skew, in µs: 0.5 is the median, 1 the worst.
    pub(crate) fn skew(&self, part: f64) -> f64 {
        let mut skews: Vec<_> = self.0.iter().map(|moment| moment.skew * 1e6).collect();
        quantile(&mut skews, part)
    }

    /// How many seconds after `from` the clocks are within so many µs for good.
    pub(crate) fn within(&self, micros: f64, from: f64) -> Option<f64> {
        let out = |moment: &Moment| moment.skew * 1e6 > micros;
        let last = self.0.iter().rposition(out);
        let first = self.0.get(last.map_or(0, |last| last + 1))?;
        Some((first.at - from).max(0.0))
    }

    /// In which part of the moments all clocks are synchronized.
    pub(crate) fn synchronized(&self) -> f64 {
        let known = self.0.iter().filter(|moment| moment.covered.is_some());
        known.count() as f64 / self.0.len() as f64
    }

    /// In which part of the moments at which all clocks are synchronized the stated errors cover
    /// the true ones; the true error's 99th percentile and the median stated one, in µs.
    pub(crate) fn stated(&self) -> (f64, f64, f64) {
        let known = || self.0.iter().filter(|moment| moment.covered.is_some());
        let covered = known().filter(|moment| moment.covered >= Some(1.0)).count();
        let mut off: Vec<_> = known().map(|moment| moment.off * 1e6).collect();
        let mut stated: Vec<_> = known()
            .filter_map(|moment| Some(moment.stated? * 1e6))
            .collect();
        (
            covered as f64 / known().count() as f64,
            quantile(&mut off, 0.99),
            quantile(&mut stated, 0.5),
        )
    }
}

/// The value below which this part of them is: 0.5 is the median, 1 the largest.
pub(super) fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * part) as usize)
        .copied()
        .unwrap_or(f64::NAN)
}
