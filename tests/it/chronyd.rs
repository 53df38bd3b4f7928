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
    group.wait(90.0);
    let trace = group.since(began);
    let within = trace.within(100.0, began).unwrap_or(f64::INFINITY);
    let rest = trace.part(began + 45.0, f64::MAX);
    let (median, worst) = (rest.skew(0.5), rest.skew(1.0));
    println!(
        "chronyd, told by a follower: within 100 µs after {within:.0} s; then {median:.1} µs in the \
         median, {worst:.1} µs at worst"
    );
    assert!(worst <= 100.0, "{worst} µs");
}
