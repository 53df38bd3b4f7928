//! A group of three candidates and ten followers. The leader is a process, for it is to die; the
//! others live in the test, so that their clocks can be read at any moment.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use berkeley::internals::clock::Simulation;
use berkeley::internals::discipline::network_clock::NetworkClock;
use berkeley::internals::election::candidates::Candidates;
use berkeley::internals::wire::address::Address;
use berkeley::{Follower, FollowerEvent, FollowerOptions, Master, MasterOptions};
use chrono::TimeDelta;
use socket2::{Domain, Socket, Type};

use crate::support::keys::{self, Keys};
use crate::support::programs::{Program, SOON, steady};

const INTERVAL: Duration = Duration::from_secs(1);
const FOLLOWERS: usize = 10;

/// Rounds after which rates are known well enough to hold over.
const SETTLED: usize = 15;

/// Ports of the loopback that nobody else is given, and that masters can listen on.
pub(crate) struct Ports(Vec<(Socket, SocketAddr)>);

impl Ports {
    pub(crate) fn reserve(count: usize) -> Self {
        let reserve = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_reuse_address(true).expect("a socket");
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            socket.bind(&any.into()).expect("a free port");
            let address = socket.local_addr().expect("a socket");
            let address = address.as_socket().expect("an IP address");
            (socket, address)
        };
        Self((0..count).map(|_| reserve()).collect())
    }

    pub(crate) fn address(&self, rank: usize) -> SocketAddr {
        self.0[rank].1
    }

    fn list(&self) -> Vec<Address> {
        self.0
            .iter()
            .map(|(_, address)| (*address).into())
            .collect()
    }

    /// A candidate as a process, with a round every second.
    pub(crate) fn candidate(&self, rank: usize, arguments: &[&str]) -> Program {
        self.candidate_every(rank, "1s", arguments)
    }

    /// A candidate as a process, with a round every `interval`.
    pub(crate) fn candidate_every(
        &self,
        rank: usize,
        interval: &str,
        arguments: &[&str],
    ) -> Program {
        let list: Vec<_> = self.0.iter().map(|(_, a)| a.to_string()).collect();
        Program::start(
            Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
                .args(["--listen", &list[rank], "--candidates", &list.join(",")])
                .args(["--interval", interval])
                .args(keys::master_flags(arguments))
                .args(arguments),
        )
    }

    /// A candidate in this process.
    fn candidate_here(&self, rank: usize) -> Master {
        let listen = self.address(rank);
        let candidates = Candidates::new(self.list(), listen, None).expect("a list");
        Master::start(MasterOptions {
            listen,
            interval: INTERVAL,
            candidates: Some(candidates),
            key_file: keys::of_all().map(Keys::group_file),
            ..MasterOptions::default()
        })
        .expect("a master")
    }
}

/// A follower, and what was heard of it.
pub(crate) struct Watched {
    pub(crate) follower: Follower,
    master: Option<SocketAddr>,
}

impl Watched {
    /// The master that the next correction comes from.
    fn corrected(&mut self) -> SocketAddr {
        loop {
            match self.follower.next_event().expect("the follower lives") {
                FollowerEvent::Connected(master) => self.master = Some(master),
                FollowerEvent::Synchronized { .. } => return self.master.expect("a connection"),
                _ => {}
            }
        }
    }
}

/// Followers of all candidates, whose clocks gain from -100 to 100 ppm.
pub(crate) fn followers(ports: &Ports, count: usize) -> Vec<Watched> {
    let drift = |number: usize| -100.0 + 200.0 * number as f64 / (count - 1) as f64;
    let follow = |number| {
        let options = FollowerOptions {
            simulation: Simulation {
                offset: TimeDelta::zero(),
                drift_ppm: drift(number),
            },
            credentials: keys::credentials(),
            ..FollowerOptions::default()
        };
        let follower = Follower::connect(ports.list(), options).expect("a follower");
        Watched {
            follower,
            master: None,
        }
    };
    (0..count).map(follow).collect()
}

/// Waits until all have taken so many corrections.
pub(crate) fn take_corrections(followers: &mut [Watched], corrections: usize) {
    for _ in 0..corrections {
        for follower in &mut *followers {
            follower.corrected();
        }
    }
}

/// How far the group's time is ahead of what the machine's oscillator has counted.
pub(crate) fn ahead_of_the_machine(followers: &[Watched]) -> TimeDelta {
    followers[0].follower.clock().mark().target - steady()
}

pub(crate) struct Group {
    pub(crate) ports: Ports,
    pub(crate) leader: Program,
    others: Vec<Master>,
    pub(crate) followers: Vec<Watched>,
}

impl Group {
    pub(crate) fn start() -> Self {
        let ports = Ports::reserve(3);
        let leader = ports.candidate(0, &[]);
        let others = (1..3).map(|rank| ports.candidate_here(rank)).collect();
        leader.line("Leading, in term 1");
        let followers = followers(&ports, FOLLOWERS);
        Self {
            ports,
            leader,
            others,
            followers,
        }
    }

    /// Waits until all rates are known.
    pub(crate) fn settle(&mut self) {
        take_corrections(&mut self.followers, SETTLED);
    }

    /// The clocks of all but the leader.
    pub(crate) fn survivors(&self) -> Vec<NetworkClock> {
        let masters = self.others.iter().map(Master::clock);
        let followers = self
            .followers
            .iter()
            .map(|watched| watched.follower.clock());
        masters.chain(followers).collect()
    }

    /// How long after `since` the last follower was corrected by the second candidate.
    pub(crate) fn corrected_by_the_next_leader(&mut self, since: Instant) -> Duration {
        let next = self.ports.address(1);
        for watched in &mut self.followers {
            while watched.corrected() != next {
                assert!(since.elapsed() < SOON, "no correction of the next leader");
            }
        }
        since.elapsed()
    }

    /// Takes corrections for so long. Whether all came from the second candidate.
    pub(crate) fn take_corrections(&mut self, time: Duration) -> bool {
        let (until, next) = (Instant::now() + time, self.ports.address(1));
        let mut all = true;
        while Instant::now() < until {
            for watched in &mut self.followers {
                all &= watched.corrected() == next;
            }
        }
        all
    }
}

/// Compares clocks without a pause.
pub(crate) struct Watch {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<TimeDelta>,
}

impl Watch {
    pub(crate) fn begin(clocks: Vec<NetworkClock>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let watch = move || {
            let mut furthest = TimeDelta::zero();
            while !end.load(Ordering::Relaxed) {
                furthest = furthest.max(apart(&clocks).unwrap_or_default());
                thread::park_timeout(Duration::from_millis(1));
            }
            furthest
        };
        let thread = thread::Builder::new().name("watch".to_owned());
        Self {
            ended,
            thread: thread.spawn(watch).expect("a thread"),
        }
    }

    /// How far apart the clocks were at most.
    pub(crate) fn end(self) -> TimeDelta {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch")
    }
}

/// How far apart the clocks are, unless the machine was busy with something else meanwhile.
fn apart(clocks: &[NetworkClock]) -> Option<TimeDelta> {
    let began = Instant::now();
    let readings: Vec<_> = clocks.iter().map(|clock| clock.now().time).collect();
    let took = began.elapsed();
    let (first, last) = (readings.iter().min()?, readings.iter().max()?);
    (took < Duration::from_micros(20)).then(|| *last - *first)
}
