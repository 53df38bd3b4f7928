//! No sum of requests makes a clock run at a rate that no oscillator needs.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::fake_master::FakeMaster;
use crate::support::programs::Program;

/// For so long it is watched what a clock gains.
const MEASURED: Duration = Duration::from_millis(300);

/// How fast a follower's clock runs that was asked sixty times to run 20,000 ppm faster: what it
/// says of that, and what it does, in ppm.
fn asked_to_hurry(flags: &[&str]) -> (f64, f64) {
    let master = FakeMaster::start();
    let _follower = Program::follower(master.address(), flags);
    let mut link = master.greet("interval=1000000000");
    for _ in 0..60 {
        let (n, ..) = link.poll();
        link.say(&format!("ADJUST {n} 0 1000000 rate=20000000"));
    }
    let (_, first, told) = link.poll();
    let began = Instant::now();
    thread::sleep(MEASURED);
    let (_, last, _) = link.poll();
    let gained = (last - first) as f64 / began.elapsed().as_nanos() as f64 - 1.0;
    (told as f64 / 1000.0, gained * 1e6)
}

#[test]
fn a_master_that_asks_for_more_and_more_gets_500_ppm() {
    for (flags, limit) in [(&[][..], 500.0), (&["--simulate-drift", "10"], 12_000.0)] {
        let (told, measured) = asked_to_hurry(flags);
        println!(
            "rules | asked 60 times for 20,000 ppm {flags:?} | it tells {told:.0} ppm and runs \
             {measured:.0} ppm fast | limit: {limit} ppm"
        );
        assert!(told.abs() <= limit && told > limit / 2.0, "{told} ppm");
        // What it is measured with is as exact as a busy machine allows.
        assert!(measured <= limit + 50_000.0, "{measured} ppm");
    }
}
