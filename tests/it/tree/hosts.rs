//! A tree whose clocks are the system clocks of kernels of their own.

use std::thread;
use std::time::Duration;

use crate::support::virtual_hosts::{Counter, Network};

/// Ticks of the hosts' kernels: each oscillator is 100 ppm from the next.
const TICKS: [i32; 4] = [10_001, 10_000, 9_999, 10_000];

/// The hosts' clocks are off by so many seconds.
const OFFSETS: [f64; 4] = [0.0, 0.4, -0.4, 0.3];

/// By so many seconds a clock is set by hand, and after so long it has been slewed back.
const SET: f64 = 0.4;
const SLEWING: Duration = Duration::from_secs(8);

/// After so long the tree has learned its rates, and for so long it is looked at.
const SETTLING: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_secs(25);

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox, cc and root"]
fn a_host_at_depth_three_keeps_within_100_us_of_the_top() {
    let (network, hosts) = Network::boot::<4>();
    let counter = Counter::start(&network);
    let reader = network.counter().display().to_string();
    for ((host, tick), offset) in hosts.iter().zip(TICKS).zip(OFFSETS) {
        host.run("mount -t tmpfs tmpfs /run");
        host.run(&format!("busybox adjtimex -q -t {tick}"));
        host.run(&format!("date --set '{offset} sec'"));
        host.run(&format!("{reader} &"));
    }
    let [top, middle, leaf, follower] = &hosts;
    let flags = "--steer system --interval 1s";
    let master = env!("CARGO_BIN_EXE_berkeley-master");
    let start = |parent: &str| format!("{master} {flags} --max-weight 10 {parent} &");
    top.run(&start(""));
    middle.run(&start("--parent 10.0.0.1"));
    leaf.run(&start("--parent 10.0.0.2"));
    let program = env!("CARGO_BIN_EXE_berkeley-follower");
    follower.run(&format!("{program} {flags} 10.0.0.3 &"));
    middle.line("Below the group of 10.0.0.1");
    leaf.line("Below the group of 10.0.0.2");
    follower.line("Synchronized time: ");

    thread::sleep(SETTLING);
    let began = counter.now(top);
    thread::sleep(LOOK);
    let until = counter.now(top) - 0.1;
    for (depth, host) in (1..).zip(&hosts[1..]) {
        let trace = counter.trace_of(&[top, host], began, until);
        let (median, worst) = (trace.skew(0.5), trace.skew(1.0));
        println!(
            "tree | hosts | depth {depth} | median {median:.1} µs from the top, worst {worst:.1}"
        );
        assert!(
            median <= 100.0,
            "depth {depth}: {median} µs from the top in the median"
        );
    }

    // Nobody else is moved when somebody sets the clock of a master.
    let began = counter.now(top);
    middle.run(&format!("date --set '{SET} sec'"));
    thread::sleep(SLEWING);
    let until = counter.now(top) - 0.1;
    for host in [leaf, follower] {
        let worst = counter.trace_of(&[top, host], began, until).skew(1.0);
        println!(
            "tree | hosts | the clock of a master is set by {SET} s | {worst:.1} µs from the top"
        );
        assert!(worst < 2000.0, "{worst} µs from the top");
    }
    let back = counter.trace_of(&[top, middle], until - 1.0, until);
    let back = back.skew(0.5);
    assert!(back < 1000.0, "it is {back} µs from the top in the end");
}
