//! Programs that only read the machine's clock, beside another daemon that steers it.

use crate::support::virtual_hosts::{Host, Network};

/// How fast the other daemon lets the machine's clock run, in ppm.
const STEERED_PPM: f64 = 400.0;

/// How well a rate is known after so few rounds, in ppm.
const NOISE_PPM: f64 = 40.0;

/// By how much the group's time gains on a host's oscillator, as the program there says, in ppm.
#[track_caller]
fn rate_ppm(host: &Host, program: &str) -> f64 {
    let rates = format!("$({program} status --json | grep -o '\"rate_ppm\":[^,]*')");
    let told = host.ask(&format!("$(echo {rates})"));
    let own = told.split_whitespace().next().expect("a rate");
    let (_, ppm) = own.split_once(':').expect("a number");
    ppm.parse().expect("a number")
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox, cc and root"]
fn what_another_daemon_does_to_the_machines_clock_is_not_taken_for_drift() {
    let (_network, hosts) = Network::boot::<2>();
    let programs = [
        env!("CARGO_BIN_EXE_berkeley-master"),
        env!("CARGO_BIN_EXE_berkeley-follower"),
    ];
    let [master, follower] = &hosts;
    for host in &hosts {
        host.run("mount -t tmpfs tmpfs /run");
    }
    let interval = "--interval 250ms";
    master.run(&format!("{} {interval} &", programs[0]));
    follower.run(&format!("{} 10.0.0.1 {interval} &", programs[1]));
    master.line("Round 12: ");
    let rates = || [0, 1].map(|number| rate_ppm(&hosts[number], programs[number]));
    let before = rates();
    follower.run(&format!("busybox adjtimex -q -f {}", STEERED_PPM * 65536.0));
    let frequency = follower.ask("$(busybox adjtimex | grep freq.adjust)");
    assert!(frequency.contains("26214400"), "{frequency}");
    master.line("Round 40: ");
    let after = rates();
    println!("rates of the master and the follower: {before:.1?} ppm, then {after:.1?} ppm");
    for (before, after) in before.into_iter().zip(after) {
        assert!((after - before).abs() < NOISE_PPM, "{before} then {after}");
    }
}
