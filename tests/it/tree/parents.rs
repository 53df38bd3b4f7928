//! Masters above a group that say what they should not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::fake_master::{FakeLink, FakeMaster};
use crate::support::programs::{SOON, steady};
use crate::support::relay::{BOTH, Relay};
use crate::tree::{Site, apart, wait};
use berkeley::Steering;
use chrono::TimeDelta;

/// A parent that says nothing more is let go of after so long.
const SILENCE: Duration = Duration::from_secs(3);

/// How many groups may be above another one.
const DEEPEST: usize = 16;

/// A group whose parent is ours to speak for.
struct Below {
    parent: FakeMaster,
    site: Site,
}

impl Below {
    fn start() -> Self {
        let parent = FakeMaster::start();
        let site = Site::start(&[parent.address()], (0, 0.0), &[(0, 0.0)]);
        Self { parent, site }
    }

    /// A connection on which the group has told that it is one.
    fn greet(&self) -> FakeLink {
        let mut link = self.parent.greet("interval=500000000");
        link.poll();
        link
    }

    fn path(&self) -> Vec<String> {
        self.site.master.status().tree.expect("a tree").path
    }

    fn own(&self) -> String {
        self.path().pop().expect("a group")
    }

    /// The group's goodbye, which comes at once, and that it knows of nobody above it any more.
    #[track_caller]
    fn lets_go(&self, link: &mut FakeLink) -> Option<String> {
        let told = Instant::now();
        let goodbye = link.line();
        let took = told.elapsed();
        assert!(took < SILENCE, "only after {took:?}");
        wait("it has let go", || self.path().len() == 1);
        goodbye
    }
}

/// A path of so many groups.
fn path(count: usize) -> String {
    let groups = (1..=count).map(|group| format!("{group:08x}"));
    groups.collect::<Vec<_>>().join(",")
}

#[test]
fn a_parent_that_cannot_be_one_is_let_go_of() {
    let below = Below::start();
    let own = below.own();
    for (told, is_refused) in [
        (own.clone(), false),
        (format!("00000001,{own},00000002"), false),
        (path(DEEPEST + 1), false),
        (path(DEEPEST + 2), true),
        ("0000001".to_owned(), true),
    ] {
        let mut link = below.greet();
        link.say(&format!("PATH {told}"));
        let said = below.lets_go(&mut link);
        let reason = said.unwrap_or_default();
        assert_eq!(
            reason.starts_with("BYE you sent "),
            is_refused,
            "PATH {told}: {reason}"
        );
    }
    let mut link = below.greet();
    link.say(&format!("PATH {}", path(DEEPEST)));
    wait("it is deep", || below.path().len() == DEEPEST + 1);
}

#[test]
fn the_next_parent_is_tried_as_soon_as_one_is_refused() {
    let parents = [FakeMaster::start(), FakeMaster::start()];
    let addresses = parents.each_ref().map(FakeMaster::address);
    let site = Site::start(&addresses, (0, 0.0), &[(0, 0.0)]);
    let mut link = parents[0].greet("interval=500000000");
    link.poll();
    let own = site.master.status().tree.expect("a tree").path;
    link.say(&format!("PATH {}", own[0]));
    let refused = Instant::now();
    let mut next = parents[1].greet("interval=500000000");
    next.poll();
    let took = refused.elapsed();
    assert!(took < SILENCE / 2, "tried after {took:?}");
}

#[test]
fn a_parent_that_starts_again_is_another_group() {
    let below = Below::start();
    for number in ["00000001", "00000002"] {
        let mut link = below.greet();
        link.say(&format!("PATH {number}"));
        wait("it is below", || {
            below.path().first().is_some_and(|top| top == number)
        });
        drop(link);
        // Nobody hears of a group that is gone, however soon the parent is back.
        wait("it is the top", || below.path().len() == 1);
    }
}

#[test]
fn a_parent_whose_path_changes_without_end_is_let_go_of() {
    let below = Below::start();
    let mut link = below.greet();
    for change in 0..30 {
        link.say(&format!("PATH {:08x}", change + 1));
    }
    let said = below.lets_go(&mut link);
    assert_eq!(said.as_deref(), Some("BYE you sent too many paths"));
}

/// The paths that a master tells the master of a group below it, until it closes the connection.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock of a machine of its own"
)]
fn told_below(master: SocketAddr) -> Receiver<(Instant, String)> {
    let mut stream = TcpStream::connect(master).expect("a master");
    let lines = BufReader::new(stream.try_clone().expect("a descriptor"));
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let _ = stream.write_all(b"2026-01-02 03:04:05.678901\n");
        for line in lines.lines().map_while(Result::ok) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.expect("a time after 1970").as_nanos();
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["POLL", n, ..] => {
                    let answer = format!("TIME {n} {now} {now} weight=1,0 name=below\n");
                    let _ = stream.write_all(answer.as_bytes());
                }
                ["PATH", path] if tell.send((Instant::now(), path.to_owned())).is_err() => return,
                _ => {}
            }
        }
    });
    told
}

#[test]
fn groups_above_that_change_without_end_cost_no_group_its_own_parent() {
    let below = Below::start();
    let told = told_below(below.site.address());
    let (began, _) = told.recv_timeout(SOON).expect("a first path");
    // On each connection no more than the group bears with.
    let mut ended = began;
    for connection in 1..=2 {
        let mut link = below.greet();
        for change in 1..=18 {
            let top = format!("{connection:04x}{change:04x}");
            link.say(&format!("PATH {top}"));
            wait("it has heard", || below.path()[0] == top);
        }
        ended = Instant::now();
    }
    wait("it is the top", || below.path().len() == 1);
    let own = below.own();
    let mut in_time = 1;
    loop {
        let (at, path) = told.recv_timeout(SOON).expect("the last path");
        in_time += u32::from(at < began + Duration::from_secs(10));
        if path == own && at >= ended {
            break;
        }
    }
    assert!(in_time <= 20, "{in_time} paths in 10 s");
}

#[test]
fn a_loop_that_another_group_is_to_break_and_does_not_is_broken_all_the_same() {
    let below = Below::start();
    let own = below.own();
    let mut link = below.greet();
    link.say("PATH 00000001");
    wait("it is below", || below.path().len() == 2);
    // The group with the highest number is another one.
    link.say(&format!("PATH {own},ffffffff"));
    wait("it waits", || below.path() == ["ffffffff", &own]);
    // It goes on asking meanwhile.
    let mut polls = 100..;
    let took = wait("it is the top", || {
        link.say(&format!("POLL {}", polls.next().expect("a number")));
        below.path().len() == 1
    });
    println!("tree | a loop that nobody else breaks | broken after {took:.1?}");
    assert!(
        (Duration::from_secs(4)..SOON * 2).contains(&took),
        "{took:?}"
    );
}

#[test]
fn a_parent_that_speaks_only_timestamps_is_none() {
    let parent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = parent.local_addr().expect("an address");
    let site = Site::start(&[address], (0, 0.0), &[(0, 0.0)]);
    let (mut stream, _) = parent.accept().expect("the group's master");
    stream.read_exact(&mut [0; 27]).expect("its time");
    stream
        .write_all(b"2026-01-02 03:04:05.678901")
        .expect("a socket");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    assert_eq!(stream.read(&mut [0; 27]).expect("an end"), 0, "it stays");
    let tree = site.master.status().tree.expect("a tree");
    assert_eq!((tree.parent, tree.shift_ns), (None, None));
}

/// It would be asked for the same in each round, and the others would follow each time.
#[test]
fn a_master_that_refuses_what_its_parent_asks_for_keeps_its_group() {
    const TWENTY_MINUTES: i64 = 1_200_000;
    let top = Site::start(&[], (TWENTY_MINUTES, 0.0), &[(TWENTY_MINUTES, 0.0)]);
    let link = Relay::to(top.address());
    link.silence(&BOTH);
    let careful = Steering {
        panic_threshold: Some(TimeDelta::minutes(1)),
        ..Steering::default()
    };
    let site = Site::steered(careful, &[link.address()], (0, 0.0), &[(0, 0.0)]);
    wait("it agrees by itself", || apart(&[&site]).is_some());
    let ahead = || site.followers[0].clock().now().time - steady();
    let before = ahead();
    link.heal();
    wait("it hears its parent", || {
        let tree = site.master.status().tree;
        tree.is_some_and(|tree| tree.parent.is_some())
    });
    let heard_in = site.round();
    wait("ten more rounds", || site.round() > heard_in + 10);
    let moved = (ahead() - before).abs();
    assert!(moved < TimeDelta::milliseconds(100), "moved by {moved}");
    assert!(site.master.clock().now().error.is_some(), "it is in doubt");
}
