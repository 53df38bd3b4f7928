//! What happens to the hosts, and what is measured of it.

use crate::virtual_hosts::{Group, Trace, Who};

/// A scenario: its name, what it measures, and what does.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub name: &'static str,
    pub rows: &'static [Row],
    pub run: fn(Who) -> Vec<f64>,
}

/// A figure.
pub(crate) struct Row {
    pub what: &'static str,
    /// How much it is to be at most, for our programs, or at least.
    pub goal: Option<f64>,
    /// More of it is better, and the least of all runs counts, not their median.
    pub least: bool,
}

/// In which part of the time the stated errors cover the true ones: of the moments at which all
/// kernels say that they are synchronized, as there is no stated error at others.
const COVERS: Row = Row {
    what: "stated error covers the true one, % of the time",
    goal: Some(100.0),
    least: true,
};

/// In which part of the time all kernels say so. [`COVERS`] has no meaning without it: one that
/// says that it is not synchronized is never wrong.
const SYNCHRONIZED: Row = Row {
    what: "all are synchronized, % of the time",
    goal: Some(100.0),
    least: true,
};

impl Row {
    const fn shown(what: &'static str) -> Self {
        Self {
            what,
            goal: None,
            least: false,
        }
    }

    const fn at_most(what: &'static str, goal: f64) -> Self {
        Self {
            what,
            goal: Some(goal),
            least: false,
        }
    }

    const fn without_goal(self) -> Self {
        Self { goal: None, ..self }
    }

    /// What is printed, of the values of all runs.
    pub(crate) fn value(&self, mut runs: Vec<f64>) -> f64 {
        runs.sort_by(f64::total_cmp);
        let at = if self.least { 0 } else { runs.len() / 2 };
        runs.get(at).copied().unwrap_or(f64::NAN)
    }

    /// Whether a value misses the goal; what could not be measured does.
    pub(crate) fn misses(&self, value: f64) -> bool {
        self.goal.is_some_and(|goal| {
            let (less, more) = if self.least {
                (goal, value)
            } else {
                (value, goal)
            };
            less.is_nan() || more.is_nan() || less > more
        })
    }
}

pub(crate) const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "steady",
        rows: &[
            Row::at_most("every second, median skew", 4.0),
            Row::shown("worst"),
            COVERS,
            SYNCHRONIZED,
            Row::shown("true error, 99th percentile"),
            Row::shown("stated error, median"),
            Row::shown("what round trips leave unknown"),
            Row::at_most("stated error less that, in true errors", 10.0),
        ],
        run: steady,
    },
    Scenario {
        name: "defaults",
        rows: &[
            Row::at_most("from 60 to 150 s, median skew", 8.0),
            Row::at_most("worst", 30.0),
            Row::at_most("after 250 s, median skew", 3.0),
            COVERS,
        ],
        run: defaults,
    },
    Scenario {
        name: "start",
        rows: &[
            Row::at_most("0, +0.4 and -0.4 s off, s until within 1 ms", 5.0),
            Row::at_most("s until within 50 µs", 25.0),
            COVERS,
        ],
        run: start,
    },
    Scenario {
        name: "far",
        rows: &[
            Row::at_most("0, +3 and -2 s off, s until within 1 ms", 5.0),
            COVERS,
        ],
        run: far,
    },
    Scenario {
        name: "set",
        rows: &[
            Row::at_most("0.4 s ahead by hand, s until within 1 ms", 10.0),
            Row::at_most("how far it was stepped back", 0.0),
            Row::at_most("how far the others moved", 50.0),
            COVERS,
            // A kernel whose clock is set by hand says by itself that it is not synchronized.
            SYNCHRONIZED.without_goal(),
        ],
        run: set,
    },
    Scenario {
        name: "busy-link",
        rows: &[
            Row::at_most("traffic in bursts to one host, median skew", 10.0),
            Row::at_most("worst", 30.0),
            Row::at_most("worst in the 15 s after it", 15.0),
            COVERS,
            SYNCHRONIZED,
        ],
        run: busy_link,
    },
    Scenario {
        name: "busy-host",
        rows: &[
            Row::at_most("four busy loops on one host, median skew", 8.0),
            Row::at_most("worst", 30.0),
            Row::at_most("worst in the 15 s after it", 20.0),
            COVERS,
            SYNCHRONIZED,
        ],
        run: busy_host,
    },
    Scenario {
        name: "jump",
        rows: &[
            Row::at_most("an oscillator jumps by 100 ppm, worst skew", 220.0),
            Row::at_most("s until within 50 µs", 8.0),
            COVERS,
            SYNCHRONIZED,
        ],
        run: jump,
    },
    Scenario {
        name: "link-down",
        rows: &[
            Row::at_most("a link is down for 40 s, worst skew", 15.0),
            COVERS,
            SYNCHRONIZED,
        ],
        run: link_down,
    },
];

/// The clocks of hosts that have just been booted, and that nobody has set.
const AS_BOOTED: [f64; 3] = [0.0; 3];

/// How long a group is left alone that is to be steady, in seconds.
const SETTLING: f64 = 60.0;

/// How long a group with default rounds is left alone whose rate is to be steady, in seconds. After
/// a minute it still changes by some ppm, so nobody could tell that something has moved its clocks.
const EVEN: f64 = 180.0;

/// A group that has rounds every second and is steady.
fn settled(who: Who) -> Group {
    let group = Group::boot(who, AS_BOOTED);
    group.start(true);
    group.wait(SETTLING);
    group
}

/// See [`COVERS`]. Says at which moments they do not.
fn covered(trace: &Trace) -> f64 {
    let began = trace.0.first().map_or(0.0, |moment| moment.at);
    for moment in &trace.0 {
        if let Some(covered) = moment.covered.filter(|covered| *covered < 1.0) {
            let (after, skew) = (moment.at - began, moment.skew * 1e6);
            eprintln!(
                "after {after:.2} s, {covered:.2} of a clock's error was stated, with {skew:.1} µs \
                 from the first clock to the last"
            );
        }
    }
    100.0 * trace.stated().0
}

/// See [`SYNCHRONIZED`].
fn synchronized(trace: &Trace) -> f64 {
    100.0 * trace.synchronized()
}

fn steady(who: Who) -> Vec<f64> {
    let group = settled(who);
    let from = group.now();
    group.hosts[0].forget_lines();
    group.wait(60.0);
    let trace = group.since(from);
    let (_, off, stated) = trace.stated();
    let unknowable = match who {
        Who::Berkeley => group.unknowable(),
        Who::Chronyd | Who::Ptpd => f64::NAN,
    };
    vec![
        trace.skew(0.5),
        trace.skew(1.0),
        covered(&trace),
        synchronized(&trace),
        off,
        stated,
        unknowable,
        (stated - unknowable) / off,
    ]
}

fn defaults(who: Who) -> Vec<f64> {
    let group = Group::boot(who, AS_BOOTED);
    let from = group.start(false);
    group.wait(300.0);
    let trace = group.since(from);
    let early = trace.part(from + 60.0, from + 150.0);
    let late = trace.part(from + 250.0, f64::MAX);
    vec![
        early.skew(0.5),
        early.skew(1.0),
        late.skew(0.5),
        covered(&trace),
    ]
}

/// From a start with clocks that are off; until when they are within 1 ms and 50 µs.
fn started(who: Who, offsets: [f64; 3], seconds: f64) -> [f64; 3] {
    let group = Group::boot(who, offsets);
    let from = group.start(false);
    group.wait(seconds);
    let trace = group.since(from);
    let within = |micros| trace.within(micros, from).unwrap_or(f64::INFINITY);
    [within(1000.0), within(50.0), covered(&trace)]
}

fn start(who: Who) -> Vec<f64> {
    started(who, [0.0, 0.4, -0.4], 120.0).into()
}

fn far(who: Who) -> Vec<f64> {
    let [within, _, covered] = started(who, [0.0, 3.0, -2.0], 60.0);
    vec![within, covered]
}

fn set(who: Who) -> Vec<f64> {
    let group = Group::boot(who, AS_BOOTED);
    group.start(false);
    group.wait(EVEN);
    let from = group.now();
    group.hosts[2].run("date --set '0.4 sec'");
    group.wait(40.0);
    let trace = group.since(from);
    let [others @ .., set] = group.clocks();
    let moved = others.map(|clock| clock.moved(from));
    vec![
        trace.within(1000.0, from).unwrap_or(f64::INFINITY),
        set.stepped_back(from) * 1e6,
        moved[0].max(moved[1]) * 1e6,
        covered(&trace),
        synchronized(&trace),
    ]
}

/// The skew while something happened, and in the 15 s after it.
fn disturbed(group: &Group, from: f64, until: f64) -> Vec<f64> {
    group.wait(15.0);
    let trace = group.since(from);
    let (meanwhile, after) = (trace.part(from, until), trace.part(until, until + 15.0));
    vec![
        meanwhile.skew(0.5),
        meanwhile.skew(1.0),
        after.skew(1.0),
        covered(&trace),
        synchronized(&trace),
    ]
}

fn busy_link(who: Who) -> Vec<f64> {
    let group = Group::boot(who, AS_BOOTED);
    group.slow_links();
    group.start(true);
    group.wait(SETTLING);
    let from = group.now();
    let mut sender = group.traffic(60.0);
    assert!(
        sender.wait().is_ok_and(|status| status.success()),
        "no traffic"
    );
    let until = group.now();
    disturbed(&group, from, until)
}

fn busy_host(who: Who) -> Vec<f64> {
    let group = settled(who);
    let from = group.now();
    let host = &group.hosts[1];
    for _ in 0..4 {
        host.run("timeout 35 sh -c 'while :; do :; done' &");
    }
    group.wait(35.0);
    let until = group.now();
    disturbed(&group, from, until)
}

fn jump(who: Who) -> Vec<f64> {
    let group = settled(who);
    let from = group.now();
    // Whoever slews by the tick may be at it; the tick that is set counts from then on.
    group.hosts[2].run("busybox adjtimex -q -t 10000");
    group.wait(40.0);
    let trace = group.since(from);
    let within = trace.within(50.0, from).unwrap_or(f64::INFINITY);
    vec![
        trace.skew(1.0),
        within,
        covered(&trace),
        synchronized(&trace),
    ]
}

fn link_down(who: Who) -> Vec<f64> {
    let group = settled(who);
    let from = group.now();
    group.cable("down");
    group.wait(40.0);
    group.cable("up");
    group.wait(10.0);
    let trace = group.since(from);
    vec![trace.skew(1.0), covered(&trace), synchronized(&trace)]
}
