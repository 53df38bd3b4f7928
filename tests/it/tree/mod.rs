//! Groups above groups, with real threads and sockets. Masters and followers live in the test, so that
//! their clocks can be read at any moment.

mod hosts;
mod moments;
mod orders;
mod weight;

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use berkeley::internals::clock::Simulation;
use berkeley::{Follower, FollowerOptions, Master, MasterOptions, Steering};
use chrono::TimeDelta;

use crate::support::relay::{Link, Relay, Toward};

mod parents;
mod sites;

const INTERVAL: Duration = Duration::from_millis(500);

/// Whatever is waited for has come by then.
const SOON: Duration = Duration::from_secs(40);

/// A master and its followers, whose clocks are off by so many milliseconds, and ppm.
struct Site {
    master: Master,
    followers: Vec<Follower>,
}

fn simulation(offset_ms: i64, drift_ppm: f64) -> Simulation {
    Simulation {
        offset: TimeDelta::milliseconds(offset_ms),
        drift_ppm,
    }
}

impl Site {
    fn start(parents: &[SocketAddr], own: (i64, f64), others: &[(i64, f64)]) -> Self {
        Self::steered(Steering::default(), parents, own, others)
    }

    /// The same, whose master follows corrections like this.
    fn steered(
        steering: Steering,
        parents: &[SocketAddr],
        own: (i64, f64),
        others: &[(i64, f64)],
    ) -> Self {
        let master = Master::start(MasterOptions {
            steering,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            interval: INTERVAL,
            min_followers: others.len().max(1),
            simulation: simulation(own.0, own.1),
            parents: parents.iter().map(|parent| (*parent).into()).collect(),
            max_weight: 100,
            ..MasterOptions::default()
        });
        let master = master.expect("a master");
        let follower = |(offset, drift): &(i64, f64)| {
            let options = FollowerOptions {
                simulation: simulation(*offset, *drift),
                ..FollowerOptions::default()
            };
            Follower::connect([master.local_addr().into()], options).expect("a follower")
        };
        let followers = others.iter().map(follower).collect();
        Self { master, followers }
    }

    fn address(&self) -> SocketAddr {
        self.master.local_addr()
    }

    /// The number of its last round.
    fn round(&self) -> u64 {
        self.master.status().round.map_or(0, |round| round.number)
    }

    /// Whether it has a parent.
    fn is_below(&self) -> bool {
        let tree = self.master.status().tree.expect("a tree");
        tree.parent.is_some() && tree.shift_ns.is_some()
    }
}

/// How far apart all clocks of these sites are, and whether all have been corrected.
fn apart(sites: &[&Site]) -> Option<TimeDelta> {
    let mut ahead = Vec::new();
    let origin = sites[0].master.clock();
    for site in sites {
        let followers = site.followers.iter().map(Follower::clock);
        for clock in followers.chain([site.master.clock()]) {
            // The least of some distances: a thread may be interrupted between two readings.
            let read = || {
                let before = origin.now().time;
                let time = clock.now().time;
                let after = origin.now().time;
                (after - before, time - before - (after - before) / 2)
            };
            let (_, distance) = (0..20).map(|_| read()).min_by_key(|(took, _)| *took)?;
            ahead.push(distance);
            if !clock.is_synchronized() {
                return None;
            }
        }
    }
    Some(*ahead.iter().max()? - *ahead.iter().min()?)
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

#[test]
fn three_sites_have_one_time_and_one_that_is_cut_off_goes_on_alone() {
    let top = Site::start(&[], (0, 50.0), &[(40, -30.0)]);
    let link = Relay::to(top.address());
    let one = Site::start(&[top.address()], (-60, 20.0), &[(-80, 70.0), (-40, -50.0)]);
    let others = [(90, -100.0), (110, 60.0), (70, 10.0), (130, 0.0)];
    let other = Site::start(&[link.address()], (100, 100.0), &others);
    let sites = [&top, &one, &other];
    let within = |micros| apart(&sites).is_some_and(|it| it < TimeDelta::microseconds(micros));
    let took = wait("all agree", || {
        one.is_below() && other.is_below() && within(2000)
    });
    println!("tree | three sites | 2 ms after {took:.1?}");
    wait("all are close", || within(500));
    let clocks = top.master.status().clocks;
    let mut weights: Vec<_> = clocks.iter().filter_map(|clock| clock.clocks).collect();
    weights.sort_unstable();
    assert_eq!(
        weights,
        [1, 1, 3, 5],
        "a group counts as many clocks as it has"
    );

    link.silence(&[Toward::Client, Toward::Server]);
    link.cut();
    wait("it notices", || {
        other.master.status().tree.unwrap().parent.is_none()
    });
    let began = Instant::now();
    let mut worst = TimeDelta::zero();
    while began.elapsed() < INTERVAL * 8 {
        worst = worst.max(apart(&sites).expect("all are corrected"));
        thread::sleep(INTERVAL / 4);
    }
    println!("tree | cut off for 8 rounds | {worst} apart");
    assert!(
        worst < TimeDelta::milliseconds(2),
        "{worst} apart when cut off"
    );
    link.heal();
    let took = wait("it is back", || other.is_below() && within(500));
    println!("tree | back | after {took:.1?}");
}

/// Three groups, each of which is told to follow the next one, and the last one the first.
struct Ring {
    links: Vec<Relay>,
    sites: Vec<Site>,
}

impl Ring {
    /// What the parents say goes over links like this one.
    fn start(link: Link) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let links: Vec<_> = (0..3).map(|_| Relay::to(nowhere)).collect();
        for relay in &links {
            relay.set(Toward::Client, link);
        }
        let site = |number: usize| {
            let parent = links[(number + 1) % 3].address();
            Site::start(&[parent], (number as i64 * 10, 0.0), &[(0, 0.0)])
        };
        let sites: Vec<_> = (0..3).map(site).collect();
        for (link, site) in links.iter().zip(&sites) {
            link.lead_to(site.address());
        }
        Self { links, sites }
    }

    /// How many groups there are on the path to each, the shortest first.
    fn depths(&self) -> Vec<usize> {
        let trees = self.sites.iter().map(|site| site.master.status().tree);
        let mut depths: Vec<_> = trees.map(|tree| tree.unwrap().path.len()).collect();
        depths.sort_unstable();
        depths
    }

    /// Waits until one is the top, and all have its time.
    #[track_caller]
    fn wait_for_one_time(&self) -> Duration {
        let below = || self.sites.iter().filter(|site| site.is_below()).count();
        let apart = || apart(&self.sites.iter().collect::<Vec<_>>());
        wait("one is the top, and all agree", || {
            below() == 2
                && self.depths() == [1, 2, 3]
                && apart().is_some_and(|apart| apart < TimeDelta::milliseconds(1))
        })
    }
}

#[test]
fn a_loop_of_three_masters_is_broken() {
    let ring = Ring::start(Link::CLEAR);
    let took = ring.wait_for_one_time();
    println!("tree | a loop of three | broken, and one time after {took:.1?}");
    // Who has refused its only parent does not wait for it.
    assert!(
        took < Duration::from_millis(3500),
        "one time after {took:?}"
    );
}

#[test]
fn a_loop_that_three_masters_close_at_one_moment_is_broken_when_the_word_has_gone_round() {
    // All are connected before any of them hears whom it follows.
    let delay = Duration::from_millis(300);
    let ring = Ring::start(Link {
        silent: true,
        ..Link::delayed(delay)
    });
    wait("all are connected", || {
        ring.links.iter().all(|link| link.connections() > 0)
    });
    for link in &ring.links {
        link.set(Toward::Client, Link::delayed(delay));
    }
    wait("each follows the next", || ring.depths()[0] > 1);
    let took = wait("one is the top", || ring.depths() == [1, 2, 3]);
    println!("tree | a loop of three, closed at one moment | broken after {took:.1?}");
    // Three times to be known in full, twice to be known to be broken.
    assert!(took < 2 * 5 * delay, "broken after {took:?}");
    for link in &ring.links {
        link.heal();
    }
    let took = ring.wait_for_one_time();
    println!("tree | a loop of three, closed at one moment | one time {took:.1?} later");
}

#[test]
fn a_claim_of_weight_counts_as_one_unless_it_is_trusted() {
    let top = Master::start(MasterOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        interval: INTERVAL,
        ..MasterOptions::default()
    });
    let top = top.expect("a master");
    let site = Site::start(&[top.local_addr()], (500, 0.0), &[(510, 0.0), (490, 0.0)]);
    wait("it is below", || site.is_below());
    let clocks = top.status().clocks;
    let weights: Vec<_> = clocks.iter().filter_map(|clock| clock.clocks).collect();
    assert_eq!(weights, [1, 1]);
}
