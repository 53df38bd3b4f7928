//! An unmodified chronyd keeps the system's clock with the group, by the samples that
//! `--chrony-socket` sends it.

use std::fmt;

use crate::support::virtual_hosts::{Group, Who};

/// How far a clock that chronyd keeps may be from the group's time, in µs.
const LIMIT: f64 = 100.0;

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox, cc, chronyd and root"]
fn a_chronyd_that_is_told_the_time_keeps_its_host_with_the_group() {
    // chronyd's host is 1.3 s off, and its oscillator 100 ppm.
    let group = Group::boot(Who::Berkeley, [0.0, 0.0, 1.3]);
    let [first, second, last] = &group.hosts;
    let (master, follower) = (
        env!("CARGO_BIN_EXE_berkeley-master"),
        env!("CARGO_BIN_EXE_berkeley-follower"),
    );
    let steer = "--interval 1s --steer system";
    first.run(&format!("{master} {steer} --min-followers 2 &"));
    second.run(&format!("{follower} 10.0.0.1 {steer} &"));
    last.run(&format!("{follower} 10.0.0.1 --chrony-socket /run/sock &"));
    last.line("chronyd does not take the network's time at /run/sock");
    let told = group.chrony("sock", "refclock SOCK /run/sock refid BERK poll 2\n");
    last.run(&format!("chronyd -n -U -u root -f {told} &"));
    last.line("chronyd takes the network's time at /run/sock");
    let began = group.now();
    // A new group gives up what its first rounds have made of its rate, and chronyd takes a while
    // to find a rate that changes.
    group.wait(60.0);
    loop {
        let since = group.now();
        group.wait(10.0);
        let [off, apart] = distances(&group, since, 10.0);
        let took = group.now() - began;
        println!("{took:.0} s after its start, chronyd's clock is off the group's time by {off}");
        if off.0[1] <= limit(&apart) {
            let settled = group.now();
            group.wait(30.0);
            let [off, apart] = distances(&group, settled, 30.0);
            println!("then by {off}; the two that we steer are apart by {apart}");
            // Or else it came by, on its way to the other side.
            if off.0[1] <= limit(&apart) {
                break;
            }
        }
        assert!(took < SETTLED, "it has not settled in {took:.0} s");
    }
}

/// In how many seconds chronyd finds the group's time and rate.
const SETTLED: f64 = 180.0;

/// On a machine that does something else, one measurement may be as far off as clocks are apart.
fn limit(apart: &Quantiles) -> f64 {
    LIMIT.max(5.0 * apart.0[1])
}

/// For so many seconds from a moment on: how far the last host's clock was from the middle of the
/// first two, and how far those were apart.
#[track_caller]
fn distances(group: &Group, since: f64, seconds: f64) -> [Quantiles; 2] {
    let [leader, follower, chronyd] = group.clocks();
    let moment = |step: u32| {
        let at = since + f64::from(step) * 0.05;
        let (leader, follower) = (leader.ahead(at)?, follower.ahead(at)?);
        let off = chronyd.ahead(at)? - f64::midpoint(leader, follower);
        Some((off, leader - follower))
    };
    let steps = (seconds / 0.05) as u32;
    let moments: Vec<_> = (0..steps).filter_map(moment).collect();
    let enough = steps as usize * 2 / 3;
    assert!(moments.len() > enough, "{} moments", moments.len());
    let (off, apart): (Vec<_>, Vec<_>) = moments.into_iter().unzip();
    [Quantiles::of(&off), Quantiles::of(&apart)]
}

/// The median of distances, what 99 % do not exceed, and the worst, in µs.
struct Quantiles([f64; 3]);

impl Quantiles {
    fn of(seconds: &[f64]) -> Self {
        let mut micros: Vec<_> = seconds.iter().map(|off| off.abs() * 1e6).collect();
        micros.sort_by(f64::total_cmp);
        let last = (micros.len() - 1) as f64;
        Self([0.5, 0.99, 1.0].map(|part| micros[(last * part) as usize]))
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, most, worst] = self.0;
        write!(
            out,
            "{median:.1}, {most:.1}, {worst:.1} µs (median, 99 %, worst)"
        )
    }
}
