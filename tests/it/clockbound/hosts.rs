//! ClockBound's own client on kernels of their own: whatever happens, the interval that it is told
//! contains the group's time.

use std::io;
use std::net::Ipv4Addr;
use std::process;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use berkeley::internals::clock::{Clock as _, WallClock};
use clock_bound_client::ClockBoundClient;

use crate::support::ntp_client::Client;
use crate::support::virtual_hosts::{Clock, Group, Host, Who};

/// Tells the program of [`client`] where it is to read.
const SEGMENT: &str = "BERKELEY_SEGMENT";

pub(super) const PATH: &str = "/run/shm0";

const NTP_PORT: u16 = 123;

/// What the client was told.
pub(super) struct Told {
    /// By the counter, in seconds.
    pub(super) at: f64,
    /// How far the time that it was told was ahead of the group's, and by how much that was said to
    /// be at most, in seconds.
    pub(super) off: f64,
    pub(super) error: f64,
    pub(super) status: String,
}

/// Ends the program that was started last.
fn end(host: &Host, signal: &str) {
    host.run(&format!(
        "kill -{signal} $program; wait $program; echo ended"
    ));
    host.line("ended");
}

/// Starts the client on a host, which says what it was told at [`end_client`].
pub(super) fn start_client(host: &Host) {
    let this = std::env::current_exe().expect("a test has a program");
    host.run(&format!(
        "exec 7> >({SEGMENT}={PATH} {} --ignored --exact clockbound::hosts::client --nocapture)",
        this.display()
    ));
}

/// Lets the client say what it was told.
#[track_caller]
pub(super) fn end_client(host: &Host) {
    host.run("echo >&7");
    host.line("told all");
}

/// The lines of all that the client was told in one way: `told` by ClockBound, `served` over NTP.
#[track_caller]
pub(super) fn all_told(host: &Host, way: &str) -> Vec<String> {
    let transcript = host.transcript();
    let lines = transcript.lines().filter_map(|line| {
        let words = line.strip_prefix(way)?.strip_prefix(' ')?;
        (words.split(' ').count() == 4).then(|| words.to_owned())
    });
    lines.collect()
}

/// What the client was told, compared with what a leader's clock, or the mean of several, showed.
pub(super) fn told(line: &str, own: &Clock, group: &[&Clock]) -> Option<Told> {
    let words: Vec<_> = line.split(' ').collect();
    let shown: i128 = words[0].parse().expect("a time");
    let [ahead_of_own, error] =
        [1, 2].map(|word| -> f64 { words[word].parse().expect("a number") });
    let at = own.when(shown)?;
    let ahead = group.iter().map(|clock| clock.ahead(at));
    let ahead = ahead.collect::<Option<Vec<_>>>()?;
    let mean = ahead.iter().sum::<f64>() / ahead.len() as f64;
    Some(Told {
        at,
        off: own.ahead(at)? + ahead_of_own * 1e-9 - mean,
        error: error * 1e-9,
        status: words[3].to_owned(),
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
    start_client(last);
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
            end_client(last);
            group.now()
        },
    }
}

/// Prints a part of what the client was told. Every interval has to contain the group's time. The
/// last status, and the median of the errors, in seconds.
#[track_caller]
pub(super) fn judge(name: &str, part: &[&Told]) -> (String, f64) {
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
    let all: Vec<_> = all_told(&group.hosts[2], "told")
        .iter()
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
        // A client asks a little earlier than a host's clock is read.
        let part = |told: &&Told| (*from..until).contains(&(told.at + 1.0));
        let part: Vec<_> = all.iter().filter(part).collect();
        let (status, median) = judge(name, &part);
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
    let Ok(path) = std::env::var(SEGMENT) else {
        return;
    };
    spawn("reader", move || read_segment(&path));
    spawn("asker", ask_ntp);
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

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note(told: String) {
    TOLD.lock().expect("a list").push(told);
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).expect("a thread");
}

fn read_segment(path: &str) {
    // The segment is not there yet.
    let mut client = loop {
        match ClockBoundClient::new_with_path(path) {
            Ok(client) => break client,
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    };
    for number in 0_u64.. {
        let now = client.now().expect("an answer");
        let of = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        let earliest = of(now.earliest.tv_sec(), now.earliest.tv_nsec());
        let latest = of(now.latest.tv_sec(), now.latest.tv_nsec());
        let (middle, half) = (i128::midpoint(earliest, latest), (latest - earliest) / 2);
        note(format!("told {middle} 0 {half} {:?}", now.clock_status));
        // The kernel makes a hundredth of a second of it.
        if number % 2 == 0 {
            thread::sleep(Duration::from_millis(4));
        }
    }
}

/// Asks a server of NTP on this host, if there is one, as often as it answers in the long run.
fn ask_ntp() {
    let client = Client::of((Ipv4Addr::LOCALHOST, NTP_PORT).into());
    loop {
        if let Some(answer) = client.try_ask() {
            let now = WallClock
                .read()
                .timestamp_nanos_opt()
                .expect("this century");
            let [ahead, error] = [answer.offset, answer.promised()].map(|span| span * 1e9);
            let status = if answer.is_synchronized() {
                "Synchronized"
            } else {
                "Unknown"
            };
            note(format!("served {now} {ahead:.0} {error:.0} {status}"));
        }
        thread::sleep(Duration::from_millis(70));
    }
}
