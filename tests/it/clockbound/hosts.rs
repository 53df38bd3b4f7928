//! ClockBound's own client on kernels of their own: whatever happens, the interval that it is told
//! contains the group's time.

use std::io;
use std::process;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use clock_bound_client::ClockBoundClient;

use crate::support::virtual_hosts::{Clock, Group, Host, Who};

/// Tells the program of [`client`] where it is to read.
const SEGMENT: &str = "BERKELEY_SEGMENT";

const PATH: &str = "/run/shm0";

/// What the client was told.
struct Told {
    /// By the counter, in seconds.
    at: f64,
    /// How far its clock was ahead of the group's time, and by how much that was said to be at most,
    /// in seconds.
    off: f64,
    error: f64,
    status: String,
}

/// Ends the program that was started last.
fn kill(host: &Host) {
    host.run("kill -KILL $program; wait $program; echo killed");
    host.line("killed");
}

/// What the client was told, compared with what a leader's clock, or the mean of several, showed.
fn told(line: &str, own: &Clock, group: &[&Clock]) -> Option<Told> {
    let words: Vec<_> = line.split(' ').collect();
    let shown: i128 = words[0].parse().expect("a time");
    let error: f64 = words[1].parse().expect("a number");
    let at = own.when(shown)?;
    let ahead = group.iter().map(|clock| clock.ahead(at));
    let ahead = ahead.collect::<Option<Vec<_>>>()?;
    let mean = ahead.iter().sum::<f64>() / ahead.len() as f64;
    Some(Told {
        at,
        off: own.ahead(at)? - mean,
        error: error * 1e-9,
        status: words[2].to_owned(),
    })
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox, cc and root"]
fn every_interval_contains_the_time_of_the_group() {
    // The last one is a second ahead, and slews.
    let group = Group::boot(Who::Berkeley, [0.0, 0.0, 1.0]);
    let [first, second, last] = &group.hosts;
    let master = env!("CARGO_BIN_EXE_berkeley-master");
    for host in [first, second] {
        let candidates = "--candidates 10.0.0.1,10.0.0.2";
        host.run(&format!(
            "{master} --steer system --interval 1s {candidates} & program=$!"
        ));
    }
    first.line("Round 16: ");
    let this = std::env::current_exe().expect("a test has a program");
    last.run(&format!(
        "exec 7> >({SEGMENT}={PATH} {} --ignored --exact clockbound::hosts::client --nocapture)",
        this.display()
    ));
    let follower = format!(
        "{} 10.0.0.1 --steer system --step-rounds 0 --clockbound {PATH} & program=$!",
        env!("CARGO_BIN_EXE_berkeley-follower")
    );
    last.run(&follower);
    last.line("Synchronized time: ");
    let slews = group.now();
    group.wait(7.0);
    // The slew goes on, to the right time and beyond it.
    kill(last);
    let runs_away = group.now();
    group.wait(8.0);
    last.run(&follower);
    last.line("Synchronized time: ");
    let again = group.now();
    group.wait(20.0);
    kill(first);
    let led_by_second = group.now();
    group.wait(10.0);
    kill(second);
    let holds_over = group.now();
    group.wait(20.0);
    kill(last);
    let killed = group.now();
    group.wait(8.0);
    last.run("echo >&7");
    last.line("told all");

    let [leader, successor, own] = group.clocks();
    let transcript = last.transcript();
    let lines = transcript
        .lines()
        .filter_map(|line| line.strip_prefix("told "));
    let all: Vec<_> = lines
        .filter(|line| line.split(' ').count() == 3)
        .filter_map(|line| {
            // The mean of both, until one of them leads alone.
            let both = told(line, &own, &[&leader, &successor]);
            let both = both.filter(|told| told.at < led_by_second - 2.0);
            both.or_else(|| told(line, &own, &[&successor]))
        })
        .collect();
    let part = |name: &str, from: f64, until: f64| {
        let part: Vec<_> = all
            .iter()
            .filter(|told| (from..until).contains(&told.at))
            .collect();
        let off = part.iter().map(|told| told.off.abs()).fold(0.0, f64::max);
        let share = part.iter().map(|told| told.off.abs() / told.error);
        let share = share.fold(0.0, f64::max);
        let mut errors: Vec<_> = part.iter().map(|told| told.error).collect();
        errors.sort_by(f64::total_cmp);
        let median = errors.get(errors.len() / 2).copied().unwrap_or(f64::NAN);
        let mut heard: Vec<_> = part.iter().map(|told| told.status.as_str()).collect();
        heard.dedup();
        println!(
            "{name:22} {:6} readings, off by {:9.1} µs at most, median bound {:9.1} µs, used to {:3.0} %, {}",
            part.len(),
            off * 1e6,
            median * 1e6,
            share * 100.0,
            heard.join(" ")
        );
        assert!(
            share <= 1.0,
            "{name}: an interval does not contain the group's time"
        );
        (
            part.len(),
            heard.last().copied().unwrap_or_default().to_owned(),
        )
    };
    let end = f64::MAX;
    part("before a correction", 0.0, slews - 1.0);
    let slew = part("a slew of a second", slews - 1.0, runs_away - 1.0);
    let away = part("killed in the slew", runs_away - 1.0, again - 1.0);
    let back = part("started again", again - 1.0, again + 10.0);
    let followed = part("after that", again + 10.0, led_by_second - 1.0);
    let next = part(
        "the master is killed",
        led_by_second - 1.0,
        holds_over - 1.0,
    );
    let held = part("so is the next", holds_over - 1.0, killed - 1.0);
    let alone = part("and the follower", killed - 1.0, end);
    for (_, status) in [&slew, &back, &followed, &next] {
        assert_eq!(status, "Synchronized");
    }
    for (_, status) in [&away, &held, &alone] {
        assert_eq!(status, "FreeRunning");
    }
    assert!(all.len() >= 10_000, "{} readings", all.len());
}

/// The program that reads the system's clock as ClockBound wants it, on a virtual host: over and
/// over, until a line comes. Then it tells what it was told.
#[test]
#[ignore = "is run on a virtual host, by the test above"]
fn client() {
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let Ok(path) = std::env::var(SEGMENT) else {
        return;
    };
    let reader = move || {
        // The segment is not there yet.
        let mut client = loop {
            match ClockBoundClient::new_with_path(&path) {
                Ok(client) => break client,
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        };
        loop {
            let now = client.now().expect("an answer");
            let of =
                |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            let earliest = of(now.earliest.tv_sec(), now.earliest.tv_nsec());
            let latest = of(now.latest.tv_sec(), now.latest.tv_nsec());
            let (middle, half) = ((earliest + latest) / 2, (latest - earliest) / 2);
            let told = format!("told {middle} {half} {:?}", now.clock_status);
            TOLD.lock().expect("a list").push(told);
            thread::sleep(Duration::from_millis(4));
        }
    };
    let thread = thread::Builder::new().name("reader".to_owned());
    thread.spawn(reader).expect("a thread");
    // What libtest says before has no end of line.
    println!();
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("a line");
    for told in TOLD.lock().expect("a list").iter() {
        println!("{told}");
    }
    println!("told all");
    process::exit(0);
}
