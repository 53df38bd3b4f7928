//! A master and fifty followers, with faults at random, for as long as it is left running: at the
//! end the master has the memory, the threads and the descriptors of the beginning, and no
//! follower missed two rounds in a row while nothing was wrong with it.
//!
//! `cargo bench --bench soak` takes ten minutes; `-- --minutes 1 --seed 7` says how many, and
//! which faults.
//!
//! The master is the real program, so that what `/proc` says of it is said of nothing else. The
//! followers are the library's, in this process, each behind a relay of its own: what they are
//! told, and when, is known here at once.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use berkeley::internals::wire::address::Address;
use berkeley::{Follower, FollowerEvent, FollowerOptions, FollowerStopper};

#[path = "../tests/it/faults/process.rs"]
mod process;
#[path = "../tests/it/support/relay/mod.rs"]
mod relay;

use process::Process;
use relay::{BOTH, Callers, Link, Relay, Toward};

const FOLLOWERS: usize = 50;
const INTERVAL: Duration = Duration::from_secs(1);

/// At most so many have a fault at one moment: most clocks have to agree.
const FAULTY: usize = 15;

/// A follower that is healed has to be corrected again within this: it may have just begun a
/// pause of 5 s between attempts, or an attempt of 2 s, twice.
const RECOVERY: Duration = Duration::from_secs(30);

/// What the master may occupy more at the end. The allocator keeps a heap for each of several
/// groups of threads, and gives pages back only from its ends; a connection that is forgotten and
/// never freed is 10 KiB or so, and there are hundreds of them in ten minutes.
const MEMORY_ALLOWANCE_KIB: usize = 2048;

fn main() -> ExitCode {
    let (minutes, seed) = arguments();
    println!("soak: {FOLLOWERS} followers, {minutes} minutes, --seed {seed}");
    let mut master = Master::start();
    let problems = Arc::new(Problems::default());
    let nodes: Vec<_> = (0..FOLLOWERS)
        .map(|number| Node::start(number, master.address, seed, &problems))
        .collect();
    wait_for_all(&nodes, &problems);
    let before = master.look();
    let deadline = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let faults = inflict(&nodes, master.address, deadline, seed, &problems);
    wait_for_all(&nodes, &problems);
    let after = master.settled(before);
    let missed: u64 = nodes.iter().map(|node| node.lock().missed).sum();
    let rounds: u64 = nodes.iter().map(|node| node.lock().corrections).sum();
    println!("                       beginning         end");
    println!(
        "memory (KiB)        {:>12}{:>12}",
        before.memory, after.memory
    );
    println!(
        "threads             {:>12}{:>12}",
        before.threads, after.threads
    );
    println!(
        "descriptors         {:>12}{:>12}",
        before.descriptors, after.descriptors
    );
    println!("{faults} faults, {rounds} corrections; healthy followers missed {missed} rounds");
    let mut said = problems.0.lock().expect("no panic").clone();
    if after.memory > before.memory + MEMORY_ALLOWANCE_KIB {
        said.push(format!(
            "the master's memory grew by more than {MEMORY_ALLOWANCE_KIB} KiB"
        ));
    }
    if after.threads != before.threads || after.descriptors != before.descriptors {
        said.push("the master keeps threads or descriptors".to_owned());
    }
    said.extend(master.ends());
    for problem in &said {
        eprintln!("soak failed: {problem} (--seed {seed})");
    }
    ExitCode::from(u8::from(!said.is_empty()))
}

/// The minutes that it lasts, and the seed of its faults.
fn arguments() -> (f64, u64) {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(
            arguments
                .get(at + 1)
                .unwrap_or_else(|| panic!("{name} takes a number")),
        )
    };
    let minutes =
        value("--minutes").map_or(10.0, |text| text.parse().expect("--minutes takes a number"));
    let seed = value("--seed").map(|text| text.parse().expect("--seed takes a whole number"));
    (minutes, seed.unwrap_or_else(|| fastrand::u64(..1_000_000)))
}

#[derive(Default)]
struct Problems(Mutex<Vec<String>>);

impl Problems {
    fn say(&self, problem: String) {
        eprintln!("{problem}");
        self.0.lock().expect("no panic").push(problem);
    }
}

/// The master's process.
struct Master {
    child: Child,
    address: SocketAddr,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    memory: usize,
    threads: usize,
    descriptors: usize,
}

impl Master {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(["--listen", "127.0.0.1:0", "--interval", "1s"])
            .stdout(Stdio::piped())
            // Of the strangers' nonsense enough is said elsewhere.
            .env("RUST_LOG", "error")
            .spawn()
            .expect("the master starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("a line").expect("text");
        let address = first.trim_start_matches("Listening on ").parse();
        // Its tables have to be read, or they hold it up.
        start("tables", move || lines.for_each(drop));
        Self {
            child,
            address: address.expect("an address"),
        }
    }

    fn look(&self) -> Look {
        let process = Process(self.child.id());
        Look {
            memory: process.resident_kib(),
            threads: process.threads(),
            descriptors: process.descriptors(),
        }
    }

    /// What is left when the last of those that are gone had time to be noticed.
    fn settled(&self, before: Look) -> Look {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let now = self.look();
            let same = (now.threads, now.descriptors) == (before.threads, before.descriptors);
            if same || Instant::now() > deadline {
                return now;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it, and says if that was not in order.
    fn ends(&mut self) -> Option<String> {
        let kill = format!("kill -s TERM {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
        let status = self.child.wait().expect("a child's end");
        (!status.success()).then(|| format!("the master ended with {status}"))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// A follower and its link.
struct Node {
    number: usize,
    master: SocketAddr,
    relay: Relay,
    state: Arc<Mutex<State>>,
    problems: Arc<Problems>,
}

#[derive(Default)]
struct State {
    fault: Option<(&'static str, Instant)>,
    healed: Option<Instant>,
    /// When it was corrected, since it is healthy.
    last: Option<Instant>,
    missed: u64,
    corrections: u64,
    stopper: Option<FollowerStopper>,
}

impl Node {
    fn start(number: usize, master: SocketAddr, seed: u64, problems: &Arc<Problems>) -> Self {
        let seed = seed.wrapping_mul(1000).wrapping_add(number as u64);
        let node = Self {
            number,
            master,
            relay: Relay::new(master, seed),
            state: Arc::default(),
            problems: Arc::clone(problems),
        };
        node.follow();
        node
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn follow(&self) {
        let address = Address::from(self.relay.address());
        let follower =
            Follower::connect([address], FollowerOptions::default()).expect("a follower");
        let state = Arc::clone(&self.state);
        let mut now = self.lock();
        now.stopper = Some(follower.stopper());
        now.healed = Some(Instant::now());
        drop(now);
        start("events", move || {
            while let Some(event) = follower.next_event() {
                if matches!(event, FollowerEvent::Synchronized { .. }) {
                    state.lock().expect("no panic").corrected(Instant::now());
                }
            }
        });
    }

    /// Begins a fault, and says when it ends.
    fn fail(&self, random: &mut fastrand::Rng) {
        let seconds =
            |random: &mut fastrand::Rng, most: f64| Duration::from_secs_f64(random.f64() * most);
        let link = |link| self.relay.set(Toward::Server, link);
        let mut lasts = seconds(random, 8.0);
        let name = match random.u8(..10) {
            0 => {
                self.relay.cut();
                "cut"
            }
            1 => {
                self.relay.silence(&BOTH);
                "silent"
            }
            2 => {
                self.relay.silence(&[Toward::Server]);
                "silent one way"
            }
            3 => {
                self.relay.silence(&[Toward::Client]);
                "silent the other way"
            }
            4 => {
                self.relay.half_close(Toward::Server);
                "half closed"
            }
            5 => {
                self.relay.half_close(Toward::Client);
                "half closed the other way"
            }
            6 => {
                self.relay.callers(Callers::Reset);
                self.relay.cut();
                "cut and reset"
            }
            7 => {
                let late = Some((0.4, Duration::from_millis(500)));
                link(Link {
                    late,
                    ..Link::CLEAR
                });
                "late"
            }
            8 => {
                link(Link {
                    drip: Some(Duration::from_secs(1)),
                    ..Link::CLEAR
                });
                lasts = lasts.min(Duration::from_secs(4));
                "dripping"
            }
            _ => {
                // Killed, as far as its master can tell, and started again.
                let stopper = self.lock().stopper.take();
                stopper.inspect(FollowerStopper::stop);
                self.relay.cut();
                self.lock().fault = Some(("restarted", Instant::now()));
                self.follow();
                "restarted"
            }
        };
        let mut state = self.lock();
        state.fault = Some((name, Instant::now() + lasts));
        state.last = None;
    }

    /// Ends a fault that is over, and looks whether a healthy follower is left without corrections.
    fn tend(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some((_, until)) = state.fault {
            if now >= until {
                drop(state);
                self.relay.heal();
                let mut state = self.lock();
                (state.healed, state.last) = (Some(now), None);
                // Last: corrections count from here on.
                state.fault = None;
            }
            return;
        }
        let (since, patience) = match (state.last, state.healed) {
            (Some(last), _) => (last, INTERVAL.mul_f64(2.5)),
            (None, Some(healed)) => (healed, RECOVERY),
            (None, None) => return,
        };
        if now > since + patience {
            let what = if state.last.is_some() {
                "missed two rounds in a row"
            } else {
                "did not come back"
            };
            let problem = format!(
                "follower {} {what}: nothing for {:?} of {}",
                self.number,
                now - since,
                self.master
            );
            (state.healed, state.last) = (Some(now), None);
            drop(state);
            self.problems.say(problem);
        }
    }
}

impl State {
    fn corrected(&mut self, now: Instant) {
        self.corrections += 1;
        if self.fault.is_some() {
            return;
        }
        if let Some(last) = self.last.replace(now) {
            let rounds = (now - last).as_secs_f64() / INTERVAL.as_secs_f64();
            self.missed += (rounds.round() as u64).saturating_sub(1);
        }
    }
}

/// Waits until all are healthy and corrected.
fn wait_for_all(nodes: &[Node], problems: &Problems) {
    let deadline = Instant::now() + RECOVERY * 2;
    let goals: Vec<_> = nodes
        .iter()
        .map(|node| node.lock().corrections + 5)
        .collect();
    let ready = |(node, goal): (&Node, &u64)| {
        let state = node.lock();
        state.fault.is_none() && state.last.is_some() && state.corrections >= *goal
    };
    while !nodes.iter().zip(&goals).all(ready) {
        nodes.iter().for_each(Node::tend);
        if Instant::now() > deadline {
            problems.say("not all followers are corrected".to_owned());
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Faults at random until the deadline; how many they were.
fn inflict(
    nodes: &[Node],
    master: SocketAddr,
    deadline: Instant,
    seed: u64,
    problems: &Problems,
) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut inflicted = 0;
    let mut strangers = Vec::new();
    while Instant::now() < deadline {
        nodes.iter().for_each(Node::tend);
        let faulty = nodes
            .iter()
            .filter(|node| node.lock().fault.is_some())
            .count();
        let node = &nodes[random.usize(..nodes.len())];
        if faulty < FAULTY && node.lock().fault.is_none() && random.u8(..4) == 0 {
            node.fail(&mut random);
            inflicted += 1;
        }
        if random.u8(..8) == 0 {
            strangers.extend(stranger(master, &mut random, problems));
            strangers.truncate(random.usize(..20));
        }
        thread::sleep(Duration::from_millis(50));
    }
    for node in nodes {
        let mut state = node.lock();
        state.fault = state.fault.map(|(name, _)| (name, Instant::now()));
    }
    inflicted
}

/// Somebody who calls the master and says what does not belong there, or nothing.
fn stranger(
    master: SocketAddr,
    random: &mut fastrand::Rng,
    problems: &Problems,
) -> Option<TcpStream> {
    let opening = "2024-01-02 03:04:05.678901\n";
    let said = match random.u8(..5) {
        0 => String::new(),
        1 => "GET / HTTP/1.1\r\n".to_owned(),
        2 => format!("{opening}TIME 1 2 1\n"),
        3 => "9".repeat(random.usize(..3000)),
        _ => opening[..random.usize(..opening.len())].to_owned(),
    };
    match TcpStream::connect_timeout(&master, Duration::from_secs(2)) {
        Ok(mut stream) => {
            let _ = stream.write_all(said.as_bytes());
            Some(stream)
        }
        Err(error) => {
            problems.say(format!("the master does not accept: {error}"));
            None
        }
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(run).expect("a thread");
}
