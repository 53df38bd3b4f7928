//! Hosts that are suspended for a minute, on kernels of their own: the group does not notice, and
//! they are right when they wake.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, process};

use crate::support::virtual_hosts::{Host, Network, TELL_TIME, clocks_told_by};
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::discipline::network_clock::NetworkClock;
use berkeley::internals::wire::address::Address;
use berkeley::{Follower, FollowerOptions, Master, MasterOptions};
use chrono::TimeDelta;

const MINUTE: Duration = Duration::from_mins(1);

/// How far apart the clocks of a group may be at any time, those of hosts that were asleep included.
const LIMIT: TimeDelta = TimeDelta::milliseconds(1);

/// Tells the program of [`network_time_in_a_program`] what it is to be.
const ROLE: &str = "BERKELEY_ROLE";

/// Three hosts in two kinds of groups: those that keep network time in a program, and those that
/// steer the system's clock.
struct Group<'a> {
    kind: &'static str,
    hosts: [Host; 3],
    network: &'a Network,
    tell_time: &'static str,
}

const MASTER: usize = 0;
const FOLLOWER: usize = 2;

impl Group<'_> {
    /// How far apart the first and the last of some clocks are.
    #[track_caller]
    fn apart(&self, members: &[usize]) -> TimeDelta {
        let hosts: Vec<_> = members.iter().map(|&member| &self.hosts[member]).collect();
        let mut clocks = clocks_told_by(&hosts, self.tell_time, Instant::now());
        clocks.sort();
        clocks[clocks.len() - 1] - clocks[0]
    }

    /// How often something was shown on all consoles.
    fn shown(&self, what: &str) -> usize {
        let count = |host: &Host| host.transcript().matches(what).count();
        self.hosts.iter().map(count).sum()
    }

    /// Suspends one host of a group that agrees, for a minute, and measures all the while.
    #[track_caller]
    fn suspend(&self, sleeper: usize) {
        let others: Vec<_> = (0..3).filter(|&member| member != sleeper).collect();
        let steps = self.shown("stepped");
        self.hosts[sleeper].suspend();
        let asleep = Instant::now();
        let held = "2 of 2 clocks agree";
        let rounds = self.shown(held);
        let mut others_apart = TimeDelta::zero();
        for part in 1..=6 {
            thread::sleep((MINUTE / 6 * part).saturating_sub(asleep.elapsed()));
            others_apart = others_apart.max(self.apart(&others));
        }
        let rounds = self.shown(held) - rounds;
        self.hosts[sleeper].wake(self.network);
        let awake = self.apart(&[0, 1, 2]);
        self.hosts[FOLLOWER].forget_lines();
        for _ in 0..3 {
            self.hosts[FOLLOWER].line("Synchronized time: ");
        }
        let after = self.apart(&[0, 1, 2]);
        let micros = |span: TimeDelta| span.num_microseconds().unwrap_or(i64::MAX);
        println!(
            "fault | {}'s host suspended for a minute, {} | {} µs apart on waking, {} µs three \
             rounds later, the others {} µs at most | limit: {} µs",
            if sleeper == MASTER {
                "master"
            } else {
                "follower"
            },
            self.kind,
            micros(awake),
            micros(after),
            micros(others_apart),
            micros(LIMIT),
        );
        assert!(awake <= LIMIT, "{awake} apart on waking");
        assert!(after <= LIMIT, "{after} apart after three rounds");
        assert!(others_apart <= LIMIT, "the others are {others_apart} apart");
        assert_eq!(self.shown("stepped"), steps);
        assert_eq!(self.shown("somebody has set"), 0);
        if sleeper != MASTER {
            // A round a second.
            assert!(rounds >= 58, "{rounds} rounds in a minute");
        }
    }

    /// Suspends a follower's host, and then the master's.
    #[track_caller]
    fn suspend_both(&self) {
        self.hosts[MASTER].line("Round 8: ");
        self.suspend(FOLLOWER);
        self.suspend(MASTER);
    }
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox, cc and root"]
fn a_host_that_was_suspended_is_right_when_it_wakes() {
    let (network, hosts) = Network::boot::<6>();
    let [first, second, third, system @ ..] = hosts;
    let program = Group {
        kind: "network time in a program",
        hosts: [first, second, third],
        network: &network,
        // The program that is connected there tells the time when it reads a line.
        tell_time: "echo >&7",
    };
    let system = Group {
        kind: "--steer system",
        hosts: system,
        network: &network,
        tell_time: TELL_TIME,
    };
    // In one group nobody has to be set back, in the other nobody has to slew for minutes. All are
    // far from this machine's clock: a kernel that sleeps for the first time takes what it is off
    // from the clock that counts its sleep for an error, if that is less than two seconds.
    for (group, minutes) in [(&program, [0, 0, 0]), (&system, [0, 10, 26])] {
        for (host, minute) in group.hosts.iter().zip(minutes) {
            host.run(&format!("date --set '2024-01-01 14:{minute}'"));
        }
    }
    let this = env::current_exe().expect("a test has a program");
    for (host, role) in program.hosts.iter().zip(["master", "10.0.0.1", "10.0.0.1"]) {
        let this = this.display();
        host.run(&format!(
            "exec 7> >({ROLE}={role} {this} --ignored --exact suspend::network_time_in_a_program --nocapture)"
        ));
    }
    let [master, followers @ ..] = &system.hosts;
    let (steer, berkeley) = ("--steer system", env!("CARGO_BIN_EXE_berkeley-master"));
    master.run(&format!(
        "{berkeley} {steer} --interval 1s --min-followers 2 &"
    ));
    let berkeley = env!("CARGO_BIN_EXE_berkeley-follower");
    for follower in followers {
        follower.run(&format!("{berkeley} 10.0.0.4 {steer} &"));
    }
    // A console belongs to one thread at a time, and a minute is long.
    let program = thread::scope(|scope| {
        let system = scope.spawn(move || system.suspend_both());
        program.suspend_both();
        system.join().expect("a group that agrees");
        program
    });
    for (host, slept) in program.hosts.iter().zip([true, false, true]) {
        host.run("echo report >&7");
        let told = host.line("Clock ");
        assert!(told.ends_with(" ran backwards 0 times"), "{told}");
        // Else this test shows nothing.
        assert_eq!(told.contains("suspended for 60 s"), slept, "{told}");
    }
}

/// What the hosts of one group run: it keeps network time, reads it over and over, and tells it
/// for each line that comes. Without a role, which nobody gives it but the test above, it ends.
#[test]
#[ignore = "is run on virtual hosts, by the test above"]
fn network_time_in_a_program() {
    match env::var(ROLE).as_deref() {
        Err(_) => {}
        Ok("master") => {
            let master = Master::start(MasterOptions {
                interval: Duration::from_secs(1),
                min_followers: 2,
                ..MasterOptions::default()
            });
            let master = master.expect("a master");
            tell(master.clock());
            while let Some(event) = master.next_event() {
                println!("{event}");
            }
        }
        Ok(address) => {
            let master = Address::new(address, berkeley::DEFAULT_PORT);
            let follower = Follower::connect([master], FollowerOptions::default());
            let follower = follower.expect("a follower");
            tell(follower.clock());
            while let Some(event) = follower.next_event() {
                println!("{event}");
            }
        }
    }
}

/// Reads a clock from now on, and tells what comes of it.
fn tell(clock: NetworkClock) {
    static BACKWARDS: AtomicU32 = AtomicU32::new(0);
    let began = (WallClock.read(), Instant::now());
    let reader = clock.clone();
    spawn("reader", move || {
        let mut last = reader.now().time;
        loop {
            let now = reader.now().time;
            if now < last {
                BACKWARDS.fetch_add(1, Ordering::Relaxed);
            }
            last = now;
            thread::sleep(Duration::from_millis(1));
        }
    });
    spawn("teller", move || {
        // What libtest says before has no end of line.
        println!();
        for line in io::stdin().lines().map_while(Result::ok) {
            if line.is_empty() {
                println!("= {}", clock.now().time.format("%s%.6f"));
            } else {
                let elapsed = (WallClock.read() - began.0).as_seconds_f64();
                let suspended = elapsed - began.1.elapsed().as_secs_f64();
                println!(
                    "Clock was suspended for {suspended:.0} s, ran backwards {} times",
                    BACKWARDS.load(Ordering::Relaxed)
                );
            }
        }
        process::exit(0);
    });
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).expect("a thread");
}
