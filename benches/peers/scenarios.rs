//! What happens to the hosts, and what is measured of it.

use crate::virtual_hosts::{Group, Trace, Who};

/// A scenario: its name, what it measures, and what does.
pub(crate) struct Scenario {
    pub name: &'static str,
    pub rows: &'static [&'static str],
    pub run: fn(Who) -> Vec<f64>,
}

pub(crate) const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "steady",
        rows: &[
            "every second, median skew",
            "worst",
            "stated error covers the true one, % of the time",
            "true error, 99th percentile",
            "stated error, median",
        ],
        run: steady,
    },
    Scenario {
        name: "defaults",
        rows: &[
            "from 60 to 150 s, median skew",
            "worst",
            "after 250 s, median skew",
            "stated error covers the true one, % of the time",
        ],
        run: defaults,
    },
    Scenario {
        name: "start",
        rows: &[
            "0, +0.4 and -0.4 s off, s until within 1 ms",
            "s until within 50 µs",
            "stated error covers the true one, % of the time",
        ],
        run: start,
    },
    Scenario {
        name: "far",
        rows: &["0, +3 and -2 s off, s until within 1 ms"],
        run: far,
    },
    Scenario {
        name: "set",
        rows: &["0.4 s ahead by hand, s until within 1 ms"],
        run: set,
    },
    Scenario {
        name: "busy-link",
        rows: &[
            "traffic in bursts to one host, median skew",
            "worst",
            "worst in the 15 s after it",
            "stated error covers the true one, % of the time",
        ],
        run: busy_link,
    },
    Scenario {
        name: "busy-host",
        rows: &[
            "four busy loops on one host, median skew",
            "worst",
            "worst in the 15 s after it",
            "stated error covers the true one, % of the time",
        ],
        run: busy_host,
    },
    Scenario {
        name: "jump",
        rows: &[
            "an oscillator jumps by 100 ppm, worst skew",
            "s until within 50 µs",
            "stated error covers the true one, % of the time",
        ],
        run: jump,
    },
    Scenario {
        name: "link-down",
        rows: &["a link is down for 40 s, worst skew"],
        run: link_down,
    },
];

/// The clocks of hosts that have just been booted, and that nobody has set.
const AS_BOOTED: [f64; 3] = [0.0; 3];

/// How long a group is left alone that is to be steady, in seconds.
const SETTLING: f64 = 60.0;

/// A group that has rounds every second and is steady.
fn settled(who: Who) -> Group {
    let group = Group::boot(who, AS_BOOTED);
    group.start(true);
    group.wait(SETTLING);
    group
}

fn covered(trace: &Trace) -> f64 {
    100.0 * trace.stated().0
}

fn steady(who: Who) -> Vec<f64> {
    let group = settled(who);
    let from = group.now();
    group.wait(60.0);
    let trace = group.since(from);
    let (_, off, stated) = trace.stated();
    vec![
        trace.skew(0.5),
        trace.skew(1.0),
        covered(&trace),
        off,
        stated,
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
fn started(who: Who, offsets: [f64; 3], seconds: f64) -> Vec<f64> {
    let group = Group::boot(who, offsets);
    let from = group.start(false);
    group.wait(seconds);
    let trace = group.since(from);
    let within = |micros| trace.within(micros, from).unwrap_or(f64::INFINITY);
    vec![within(1000.0), within(50.0), covered(&trace)]
}

fn start(who: Who) -> Vec<f64> {
    started(who, [0.0, 0.4, -0.4], 120.0)
}

fn far(who: Who) -> Vec<f64> {
    started(who, [0.0, 3.0, -2.0], 60.0)
}

fn set(who: Who) -> Vec<f64> {
    let group = Group::boot(who, AS_BOOTED);
    group.start(false);
    group.wait(SETTLING);
    let from = group.now();
    group.hosts[2].run("date --set '0.4 sec'");
    group.wait(40.0);
    let trace = group.since(from);
    vec![trace.within(1000.0, from).unwrap_or(f64::INFINITY)]
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
    vec![trace.skew(1.0), within, covered(&trace)]
}

fn link_down(who: Who) -> Vec<f64> {
    let group = settled(who);
    let from = group.now();
    group.cable("down");
    group.wait(40.0);
    group.cable("up");
    group.wait(10.0);
    vec![group.since(from).skew(1.0)]
}
