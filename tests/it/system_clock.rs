//! `--steer system` on kernels of their own: the machine's clock follows the group.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::virtual_hosts::{Host, Network, clocks};
use berkeley::internals::command_line::values::signed_duration;
use chrono::{DateTime, TimeDelta, Utc};

const MASTER: usize = 0;
const FOLLOWER: usize = 2;

/// Ticks that make oscillators which are off by 100 ppm, but for one: a tick is 10000 µs.
const OSCILLATORS: [i32; 3] = [10_001, 10_000, 9_999];

/// What a frequency is, in ppm, that was learned from a first round: none.
const NOTHING_LEARNED: RangeInclusive<f64> = -30.0..=30.0;

/// Three hosts, of which the first is to be the master.
struct Group {
    hosts: [Host; 3],
    _network: Network,
}

impl Group {
    /// Boots the hosts. Their clocks agree to a few hundredths of a second then.
    fn boot() -> Self {
        let (network, hosts) = Network::boot();
        Self {
            hosts,
            _network: network,
        }
    }

    /// Runs on each host the command for it.
    fn run(&self, commands: [impl AsRef<str>; 3]) {
        for (host, command) in self.hosts.iter().zip(commands) {
            host.run(command.as_ref());
        }
    }

    /// Sets the clocks to the times of the worked example.
    fn set_clocks(&self) {
        self.run(["14:00", "13:46", "14:20"].map(|time| format!("date --set '2024-01-01 {time}'")));
    }

    /// Begins to steer the clocks, with a round a second.
    #[track_caller]
    fn steer(&self) {
        self.steer_every("1s");
    }

    #[track_caller]
    fn steer_every(&self, interval: &str) {
        self.steer_with(&format!("--interval {interval}"));
    }

    /// Begins to steer the clocks, with a round a second, and never steps them.
    #[track_caller]
    fn slew(&self) {
        self.steer_with("--interval 1s --step-rounds 0");
    }

    #[track_caller]
    fn steer_with(&self, flags: &str) {
        let steer = format!("--steer system {flags}");
        let [master, followers @ ..] = &self.hosts;
        let program = env!("CARGO_BIN_EXE_berkeley-master");
        master.run(&format!("{program} {steer} --min-followers 2 &"));
        master.line("Listening on ");
        let program = env!("CARGO_BIN_EXE_berkeley-follower");
        for follower in followers {
            follower.run(&format!("{program} 10.0.0.1 {steer} &"));
        }
    }

    /// Waits until these rounds were held.
    #[track_caller]
    fn rounds(&self, numbers: RangeInclusive<u32>) {
        for number in numbers {
            self.hosts[MASTER].line(&format!("Round {number}: "));
        }
    }

    /// How far apart the first and the last clock are.
    #[track_caller]
    fn apart(&self) -> TimeDelta {
        let mut clocks = clocks(&self.hosts, Instant::now());
        clocks.sort();
        clocks[2] - clocks[0]
    }

    /// The largest first correction of a follower, when both have one.
    #[track_caller]
    fn first_correction(&self) -> TimeDelta {
        let corrections = self.hosts[1..].iter().map(|follower| {
            let told = follower.line("Synchronized time: ");
            let (_, correction) = told.split_once(" correction ").expect("a correction");
            let (correction, _) = correction.split_once(" ±").expect("its error");
            signed_duration(&correction.replace(' ', ""))
                .expect("a span")
                .abs()
        });
        corrections.max().expect("two followers")
    }

    /// Waits until the clocks agree, the furthest of which was given this correction. By a tenth it
    /// takes ten times as long, and the end of it a little more.
    #[track_caller]
    fn come_together(&self, correction: TimeDelta, corrected: Instant) {
        let limit = correction * 10 + TimeDelta::seconds(3);
        loop {
            // Before they are asked, which takes its time on a busy machine.
            let took = TimeDelta::from_std(corrected.elapsed()).expect("a short time");
            let apart = self.apart();
            if apart < TimeDelta::milliseconds(1) {
                println!("{apart} apart {took} after a correction of {correction}");
                return;
            }
            assert!(took < limit, "{apart} apart {took} after {correction}");
        }
    }

    /// Waits until the clocks agree, after somebody has set something by hand. How long that took.
    #[track_caller]
    fn agree_again(&self, set: Instant) -> Duration {
        while self.apart() >= TimeDelta::milliseconds(1) {
            let in_time = set.elapsed() < Duration::from_secs(12);
            assert!(in_time, "still {} apart", self.apart());
        }
        set.elapsed()
    }

    /// Waits until no tick is left of a slew: these are the clocks' own.
    #[track_caller]
    fn have_ticks(&self, own: [i32; 3]) {
        let began = Instant::now();
        while self.hosts.each_ref().map(tick) != own {
            assert!(began.elapsed() < Duration::from_secs(2), "a tick is left");
        }
    }

    /// How often each clock was stepped.
    fn steps(&self) -> [usize; 3] {
        let count = |host: &Host| host.transcript().matches("is stepped by").count();
        self.hosts.each_ref().map(count)
    }
}

/// The frequency that a host's kernel was given, in ppm.
#[track_caller]
fn frequency_ppm(host: &Host) -> f64 {
    let shown = host.ask("$(busybox adjtimex | grep freq.adjust)");
    let scaled = shown.split_whitespace().nth(2).expect("three words");
    scaled.parse::<f64>().expect("a number") / 65536.0
}

/// The tick of a host's kernel, in µs.
#[track_caller]
fn tick(host: &Host) -> i32 {
    let shown = host.ask("$(busybox adjtimex | grep tick)");
    let tick = shown.split_whitespace().nth(2).expect("three words");
    tick.parse().expect("a number")
}

/// Waits until a host's clock is slewed by a tick other than its own.
#[track_caller]
fn is_slewed(host: &Host, own_tick: i32) {
    let began = Instant::now();
    while (tick(host) - own_tick).abs() < 900 {
        assert!(began.elapsed() < Duration::from_secs(2), "it does not slew");
    }
}

/// Whether a host's kernel takes its clock for synchronised.
#[track_caller]
fn is_synchronized(host: &Host) -> bool {
    let shown = host.ask("$(busybox adjtimex | grep 'return value')");
    shown.ends_with("(clock synchronized)")
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn the_three_clocks_of_the_worked_example_all_say_14_02() {
    let group = Group::boot();
    group.set_clocks();
    let (set, two) = (Instant::now(), "2024-01-01T14:00:00Z");
    assert!(!group.hosts.iter().any(is_synchronized));
    group.steer();
    group.rounds(1..=1);
    let averaged = Instant::now();
    loop {
        let apart = group.apart();
        if apart <= TimeDelta::milliseconds(10) {
            break;
        }
        // By then the next round is held.
        let in_time = averaged.elapsed() < Duration::from_secs(1);
        assert!(in_time, "{apart} apart after the first round");
    }
    for host in &group.hosts {
        assert_eq!(host.ask("$(date +%H:%M)"), "14:02");
        assert!(is_synchronized(host));
        let ppm = frequency_ppm(host);
        assert!(ppm.abs() <= 500.0, "{ppm} ppm");
    }
    let two: DateTime<Utc> = two.parse().expect("a time");
    for clock in clocks(&group.hosts, set) {
        // Setting them took a moment, too.
        let inexact = clock - two - TimeDelta::minutes(2);
        assert!(inexact.abs() < TimeDelta::milliseconds(200), "{inexact}");
    }
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn clocks_that_run_wrong_are_kept_together_and_hold_over() {
    let group = Group::boot();
    // A tick is 10000 µs: one more is 100 ppm.
    group.run([10_001, 10_000, 9_999].map(|tick| format!("busybox adjtimex -q -t {tick}")));
    group.set_clocks();
    group.steer();
    group.rounds(1..=60);
    let mut compensated = Vec::new();
    for round in 61..=65 {
        let apart = group.apart();
        assert!(apart < TimeDelta::milliseconds(1), "{apart} apart");
        let [first, _, last] = group.hosts.each_ref().map(frequency_ppm);
        compensated.push(last - first);
        group.rounds(round..=round);
    }
    compensated.sort_by(f64::total_cmp);
    assert!((compensated[2] - 200.0).abs() < 50.0, "{compensated:?} ppm");

    group.hosts[MASTER].run("kill -KILL $!");
    for follower in &group.hosts[1..] {
        follower.line("lost 10.0.0.1:8080");
    }
    let since = Instant::now();
    let before = clocks(&group.hosts, since);
    // Nothing is to happen but that time passes.
    thread::sleep(Duration::from_secs(20));
    let elapsed = TimeDelta::from_std(since.elapsed()).expect("a short time");
    let after = clocks(&group.hosts, since);
    let drifted = (after[2] - after[1]) - (before[2] - before[1]);
    // 20 ppm.
    assert!(drifted.abs() < elapsed / 50_000, "{drifted} in {elapsed}");
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_clock_that_is_slewed_never_runs_backwards() {
    let group = Group::boot();
    // The oscillators are wrong, too, and what makes them wrong is theirs.
    let ticks = OSCILLATORS;
    group.run(ticks.map(|tick| format!("busybox adjtimex -q -t {tick}")));
    group.run(["0", "-0.4", "0.4"].map(|by| format!("date --set '{by} sec'; watch_clock")));
    group.slew();
    let correction = group.first_correction();
    let corrected = Instant::now();
    is_slewed(&group.hosts[FOLLOWER], ticks[FOLLOWER]);
    group.come_together(correction, corrected);
    assert_eq!(group.steps(), [0; 3]);
    group.have_ticks(ticks);
    group.hosts.iter().for_each(never_ran_backwards);
}

/// Ends `watch_clock` on a host, and looks at what it has seen.
#[track_caller]
fn never_ran_backwards(host: &Host) {
    host.run("kill $watcher");
    let told = host.line("Clock read ");
    let readings: Vec<_> = told.split_whitespace().collect();
    let often = readings[2].parse().is_ok_and(|times: u32| times > 20_000);
    assert!(often, "{told}");
    assert!(told.ends_with(" ran backwards 0 times"), "{told}");
}

/// Sets one clock of a group that agrees an hour ahead, and looks who moves.
#[track_caller]
fn an_hour_ahead(wrong: usize) {
    let group = Group::boot();
    group.set_clocks();
    group.steer();
    // A clock may step in its first three rounds.
    group.rounds(1..=6);
    let steps = group.steps();
    let since = Instant::now();
    let before = clocks(&group.hosts, since);
    let host = &group.hosts[wrong];
    host.run("date --set '1 hour'");
    host.line("somebody has set the system's clock by +1.000 h");
    host.line("above the panic threshold");
    group.rounds(12..=16);
    let after = clocks(&group.hosts, since);
    assert_eq!(group.steps(), steps);
    assert!(!is_synchronized(host));
    for (index, host) in group.hosts.iter().enumerate() {
        let moved = after[index] - before[index];
        if index == wrong {
            // `date` takes a moment between looking at the clock and setting it.
            let left_alone = moved - TimeDelta::hours(1);
            assert!(left_alone.abs() < TimeDelta::milliseconds(100), "{moved}");
        } else {
            assert!(moved.abs() <= TimeDelta::milliseconds(1), "{moved}");
            assert!(is_synchronized(host));
        }
    }
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_follower_that_is_set_an_hour_ahead_moves_nobody() {
    an_hour_ahead(FOLLOWER);
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_master_that_is_set_an_hour_ahead_moves_nobody() {
    an_hour_ahead(MASTER);
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_master_that_is_set_between_two_bursts_moves_nobody() {
    let group = Group::boot();
    group.set_clocks();
    group.steer_every("1s");
    group.rounds(1..=10);
    let since = Instant::now();
    let before = clocks(&group.hosts, since);
    // One burst comes 0.75 to 0.79 s after a round, as they are long, the other 0.8 to 0.84 s. Between
    // the two, which one of these moments is, they see two different clocks.
    for (round, moment) in (11..).step_by(4).zip([750, 770, 790, 810, 830]) {
        group.rounds(round..=round);
        thread::sleep(Duration::from_millis(moment));
        group.hosts[MASTER].run("date --set '10 min'");
    }
    group.rounds(28..=31);
    let after = clocks(&group.hosts, since);
    for index in [1, FOLLOWER] {
        let moved = after[index] - before[index];
        assert!(moved.abs() <= TimeDelta::milliseconds(1), "{moved}");
        assert!(is_synchronized(&group.hosts[index]));
    }
    assert!(!is_synchronized(&group.hosts[MASTER]));
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_signal_leaves_nothing_slewing() {
    let group = Group::boot();
    ends_slewing(&group, FOLLOWER, ["0", "-0.4", "0.4"], "TERM", 0);
    nothing_is_left(
        &group.hosts[FOLLOWER],
        OSCILLATORS[FOLLOWER],
        NOTHING_LEARNED,
    );
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_signal_leaves_nothing_slewing_on_a_master() {
    let group = Group::boot();
    ends_slewing(&group, MASTER, ["0.4", "0", "0"], "TERM", 0);
    nothing_is_left(&group.hosts[MASTER], OSCILLATORS[MASTER], NOTHING_LEARNED);
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_tick_that_is_set_by_hand_in_a_slew_is_the_clocks_own() {
    let group = Group::boot();
    let mut ticks = OSCILLATORS;
    group.run(ticks.map(|tick| format!("busybox adjtimex -q -t {tick}")));
    group.run(["0", "-0.4", "0.4"].map(|by| format!("date --set '{by} sec'")));
    group.slew();
    group.rounds(1..=1);
    let follower = &group.hosts[FOLLOWER];
    is_slewed(follower, ticks[FOLLOWER]);
    ticks[FOLLOWER] = 10_001;
    follower.run("busybox adjtimex -q -t 10001");
    follower.line("somebody has given the system's clock a tick of 10001 µs");
    // It slews on, and its rate is to be learned anew.
    let set = Instant::now();
    is_slewed(follower, ticks[FOLLOWER]);
    let took = group.agree_again(set);
    println!("within 1 ms after {took:?}");
    group.have_ticks(ticks);
    is_ended(follower);
    assert_eq!(tick(follower), ticks[FOLLOWER]);
    let told = follower.transcript();
    assert!(!told.contains("has set the system's clock"), "{told}");
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_clock_that_is_set_a_little_ahead_is_slewed_back_and_moves_nobody() {
    let group = Group::boot();
    group.run(OSCILLATORS.map(|tick| format!("busybox adjtimex -q -t {tick}")));
    group.set_clocks();
    group.steer();
    group.rounds(1..=30);
    let steps = group.steps();
    let since = Instant::now();
    let before = clocks(&group.hosts, since);
    let follower = &group.hosts[FOLLOWER];
    follower.run("date --set '0.4 sec'; watch_clock");
    let set = Instant::now();
    follower.line("somebody has set the system's clock by +");
    is_slewed(follower, OSCILLATORS[FOLLOWER]);
    let took = group.agree_again(set);
    group.have_ticks(OSCILLATORS);
    let after = clocks(&group.hosts, since);
    let moved = [0, 1, 2].map(|index| after[index] - before[index]);
    println!("within 1 ms after {took:?}; all moved by {moved:?}");
    for moved in &moved[..FOLLOWER] {
        assert!(moved.abs() <= TimeDelta::milliseconds(1), "{moved}");
    }
    assert_eq!(group.steps(), steps);
    never_ran_backwards(follower);
}

/// Ends the program on a host in order.
#[track_caller]
fn is_ended(host: &Host) {
    host.run("kill -TERM $!; wait $!; echo ended with $?");
    host.line("ended with 0");
}

/// Looks at what an orderly end has left of a slew: the clock's own tick, and the frequency that was
/// learned, which lies in a range.
#[track_caller]
fn nothing_is_left(host: &Host, own_tick: i32, learned_ppm: RangeInclusive<f64>) {
    assert_eq!(tick(host), own_tick);
    let left = frequency_ppm(host);
    println!("{left} ppm are left");
    assert!(learned_ppm.contains(&left), "{left} ppm are left");
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn the_last_round_leaves_nothing_slewing() {
    let group = Group::boot();
    group.run(OSCILLATORS.map(|tick| format!("busybox adjtimex -q -t {tick}")));
    group.run(["0", "0", "0.4"].map(|by| format!("date --set '{by} sec'")));
    let flags = "--interval 1s --step-rounds 0";
    let [master, other, last] = &group.hosts;
    let program = env!("CARGO_BIN_EXE_berkeley-master");
    master.run(&format!(
        "{program} --steer system {flags} --min-followers 2 &"
    ));
    master.line("Listening on ");
    let program = env!("CARGO_BIN_EXE_berkeley-follower");
    other.run(&format!("{program} 10.0.0.1 --steer system {flags} &"));
    // Its slew takes four seconds, its rounds less.
    last.run(&format!(
        "({program} 10.0.0.1 --steer system {flags} --rounds 6; echo ended with $?) &"
    ));
    group.rounds(1..=1);
    is_slewed(last, OSCILLATORS[2]);
    last.line("ended with 0");
    // It is 100 ppm slow, which six rounds in three seconds tell to some 20 ppm.
    nothing_is_left(last, OSCILLATORS[2], 25.0..=175.0);
}

/// Ends one program of a group, whose clocks are off by so many seconds, in the middle of a slew.
#[track_caller]
fn ends_slewing(group: &Group, index: usize, seconds: [&str; 3], signal: &str, status: u8) {
    group.run(OSCILLATORS.map(|tick| format!("busybox adjtimex -q -t {tick}")));
    group.run(seconds.map(|by| format!("date --set '{by} sec'")));
    group.slew();
    group.rounds(1..=1);
    let host = &group.hosts[index];
    is_slewed(host, OSCILLATORS[index]);
    host.run(&format!("kill -{signal} $!; wait $!; echo ended with $?"));
    host.line(&format!("ended with {status}"));
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_terminal_that_is_closed_leaves_nothing_slewing() {
    let group = Group::boot();
    ends_slewing(&group, FOLLOWER, ["0", "-0.4", "0.4"], "HUP", 0);
    nothing_is_left(
        &group.hosts[FOLLOWER],
        OSCILLATORS[FOLLOWER],
        NOTHING_LEARNED,
    );
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn what_a_killed_program_left_slewing_is_mended_on_request() {
    let group = Group::boot();
    ends_slewing(&group, FOLLOWER, ["0", "-0.4", "0.4"], "KILL", 137);
    let follower = &group.hosts[FOLLOWER];
    assert!(tick(follower) < 9_100, "it is left slewing");
    let program = env!("CARGO_BIN_EXE_berkeley-follower");
    // What was learned comes back, too.
    follower.run("echo 33.000000 0.250000 > /dev/drift");
    let mend = format!("{program} --mend-clock --drift-file /dev/drift; echo mended with $?");
    follower.run(&mend);
    follower.line("mended with 0");
    assert_eq!(tick(follower), OSCILLATORS[FOLLOWER]);
    let ppm = frequency_ppm(follower);
    assert!((ppm - 33.0).abs() < 0.1, "{ppm} ppm");
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn what_a_killed_program_left_slewing_is_mended_by_the_next() {
    let group = Group::boot();
    let ticks = OSCILLATORS;
    group.run(ticks.map(|tick| format!("busybox adjtimex -q -t {tick}")));
    group.run(["0", "-0.4", "0.4"].map(|by| format!("date --set '{by} sec'")));
    group.slew();
    let correction = group.first_correction();
    let follower = &group.hosts[FOLLOWER];
    is_slewed(follower, ticks[FOLLOWER]);
    follower.run("kill -KILL $!; wait $!; echo ended with $?");
    follower.line("ended with 137");
    assert!(tick(follower) < 9_100, "it is left slewing");
    let program = env!("CARGO_BIN_EXE_berkeley-follower");
    follower.run(&format!("{program} 10.0.0.1 --steer system &"));
    let told = follower.line("was left slewing, with a tick of 9");
    assert!(
        told.ends_with("now it has a tick of 9999 µs and a frequency of 0.000 ppm"),
        "{told}"
    );
    follower.line("Synchronized time: ");
    group.come_together(correction, Instant::now());
    group.have_ticks(ticks);
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox and root"]
fn a_clock_that_the_last_run_has_left_right_refuses_a_first_correction_that_is_too_large() {
    let group = Group::boot();
    group.steer();
    group.rounds(1..=5);
    let [_, other, follower] = &group.hosts;
    is_ended(follower);
    is_ended(other);
    assert!(is_synchronized(follower), "it was left so");
    // Somebody answers in the master's place, from far away.
    other.run("date --set '40 hours'");
    let program = env!("CARGO_BIN_EXE_berkeley-master");
    other.run(&format!("{program} --interval 1m &"));
    other.line("Listening on ");
    let program = env!("CARGO_BIN_EXE_berkeley-follower");
    follower.run("echo 0.100000 0.250000 > /dev/drift");
    let start = format!("{program} 10.0.0.2 --steer system --drift-file /dev/drift &");
    let steps = group.steps()[FOLLOWER];
    let since = Instant::now();
    let before = clocks(&group.hosts, since)[FOLLOWER];
    follower.run(&start);
    follower.line("above the panic threshold");
    is_ended(follower);
    let moved = clocks(&group.hosts, since)[FOLLOWER] - before;
    assert!(moved.abs() < TimeDelta::milliseconds(1), "moved by {moved}");
    assert_eq!(group.steps()[FOLLOWER], steps);
    // Who starts it once more means it.
    follower.run(&start);
    follower.line("the system's clock is stepped by +");
    is_ended(follower);
    // So does who sets it by hand.
    follower.run("date --set '-5 hours'");
    follower.forget_lines();
    follower.run(&start);
    follower.line("the system's clock is stepped by ");
}
