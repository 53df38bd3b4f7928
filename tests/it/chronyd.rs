//! An unmodified chronyd keeps the system's clock with the group, by the samples that
//! `--chrony-socket` sends it.

use crate::support::virtual_hosts::{Group, Who};

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
    // As long as chronyd takes to find the rate of its clock.
    group.wait(45.0);
    let settled = group.now();
    group.wait(45.0);
    let [leader, follower, chronyd] = group.clocks();
    let off = |step: u32| {
        let at = settled + f64::from(step) * 0.05;
        let mean = f64::midpoint(leader.ahead(at)?, follower.ahead(at)?);
        Some((chronyd.ahead(at)? - mean).abs() * 1e6)
    };
    let mut off: Vec<_> = (0..900).filter_map(off).collect();
    off.sort_by(f64::total_cmp);
    let quantile = |part: f64| off[((off.len() - 1) as f64 * part) as usize];
    let (median, most, worst) = (quantile(0.5), quantile(0.99), quantile(1.0));
    println!(
        "chronyd's clock, {:.0} s after its start: {median:.1} µs off the group's time in the \
         median, {most:.1} µs in 99 %, {worst:.1} µs at worst",
        settled - began
    );
    assert!(off.len() > 600, "{} moments", off.len());
    // What is more is this machine's noise.
    assert!(most <= 100.0 && worst <= 300.0, "{most} {worst} µs");
}
