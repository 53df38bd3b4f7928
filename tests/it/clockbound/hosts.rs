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
fn end(host: &Host, signal: &str) {
    host.run(&format!(
        "kill -{signal} $program; wait $program; echo ended"
    ));
    host.line("ended");
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

/// When what happened, by the counter, in seconds.
struct Story {
    began: f64,
    killed_slewing: f64,
    started_again: f64,
    master_killed: f64,
    next_ended: f64,
    follower_killed: f64,
    ended: f64,
}

/// Lets it happen on three hosts, of which the last one's clock is a second ahead, and slews.
fn story(group: &Group) -> Story {
    let [first, second, last] = &group.hosts;
    let master = format!(
        "{} --steer system --interval 1s --candidates 10.0.0.1,10.0.0.2 & program=$!",
        env!("CARGO_BIN_EXE_berkeley-master")
    );
    first.run(&master);
    second.run(&master);
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
    let follow = || {
        last.run(&follower);
        last.line("Synchronized time: ");
        group.now()
    };
    let wait_and_end = |seconds, host, signal| {
        group.wait(seconds);
        end(host, signal);
        group.now()
    };
    Story {
        began: follow(),
        // The slew goes on, to the right time and beyond it.
        killed_slewing: wait_and_end(7.0, last, "KILL"),
        started_again: {
            group.wait(8.0);
            follow()
        },
        master_killed: wait_and_end(20.0, first, "KILL"),
        // It leaves its clock at the rate that it has learned, to compare with.
        next_ended: wait_and_end(10.0, second, "TERM"),
        follower_killed: wait_and_end(20.0, last, "KILL"),
        ended: {
            group.wait(8.0);
            last.run("echo >&7");
            last.line("told all");
            group.now()
        },
    }
}

/// Prints a part of what the client was told. Every interval has to contain the group's time. The
/// last status, and the median of the errors, in seconds.
#[track_caller]
fn judge(name: &str, all: &[Told], from: f64, until: f64) -> (String, f64) {
    // A client asks a little earlier than a host's clock is read.
    let part = |told: &&Told| (from..until).contains(&(told.at + 1.0));
    let part: Vec<_> = all.iter().filter(part).collect();
    let off = part.iter().map(|told| told.off.abs()).fold(0.0, f64::max);
    let used = part.iter().map(|told| told.off.abs() / told.error);
    let used = used.fold(0.0, f64::max);
    let mut errors: Vec<_> = part.iter().map(|told| told.error).collect();
    errors.sort_by(f64::total_cmp);
    let median = errors.get(errors.len() / 2).copied().unwrap_or(f64::NAN);
    let mut heard: Vec<_> = part.iter().map(|told| told.status.as_str()).collect();
    heard.dedup();
    println!(
        "bound | {name:22} {:5} readings, off by {:8.0} µs at most, told {:8.0} µs, {}",
        part.len(),
        off * 1e6,
        median * 1e6,
        heard.join(", ")
    );
    assert!(used <= 1.0, "{name}: the group's time is outside");
    (heard.last().expect("a reading").to_string(), median)
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox, cc and root"]
fn every_interval_contains_the_time_of_the_group() {
    let group = Group::boot(Who::Berkeley, [0.0, 0.0, 1.0]);
    let story = story(&group);
    let [leader, next, own] = group.clocks();
    let transcript = group.hosts[2].transcript();
    let lines = transcript.lines();
    let lines = lines.filter_map(|line| line.strip_prefix("told "));
    let lines = lines.filter(|line| line.split(' ').count() == 3);
    let all: Vec<_> = lines
        .filter_map(|line| {
            // The group's time is the mean of both, until the next one leads alone.
            let both = told(line, &own, &[&leader, &next]);
            let both = both.filter(|told| told.at < story.master_killed - 2.0);
            both.or_else(|| told(line, &own, &[&next]))
        })
        .collect();
    let follows = story.started_again + 12.0;
    let moments = [
        ("a slew of a second", story.began, "Synchronized"),
        ("killed in the slew", story.killed_slewing, "FreeRunning"),
        ("started again", story.started_again, "Synchronized"),
        ("after that slew", follows, "Synchronized"),
        ("the master is killed", story.master_killed, "Synchronized"),
        ("the next one ends", story.next_ended, "FreeRunning"),
        (
            "the follower is killed",
            story.follower_killed,
            "FreeRunning",
        ),
    ];
    let until = moments.iter().skip(1).map(|(_, from, _)| *from);
    for ((name, from, expected), until) in moments.iter().zip(until.chain([story.ended])) {
        let (status, median) = judge(name, &all, *from, until);
        assert_eq!(status, *expected, "{name}");
        assert!(*from < follows || median < 5e-3, "{name}: that is no use");
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
        for number in 0_u64.. {
            let now = client.now().expect("an answer");
            let of =
                |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            let earliest = of(now.earliest.tv_sec(), now.earliest.tv_nsec());
            let latest = of(now.latest.tv_sec(), now.latest.tv_nsec());
            let (middle, half) = (i128::midpoint(earliest, latest), (latest - earliest) / 2);
            let told = format!("told {middle} {half} {:?}", now.clock_status);
            TOLD.lock().expect("a list").push(told);
            // The kernel makes a hundredth of a second of it.
            if number % 2 == 0 {
                thread::sleep(Duration::from_millis(4));
            }
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
