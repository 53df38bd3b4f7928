//! Both ends of a connection, against whatever a peer may say: lines that nearly make sense, in
//! any order, and bytes that don't.
//!
//! `cargo test` tries some hundred conversations; `PROPTEST_CASES=1000000 cargo test --release
//! --lib fuzz` a million with each end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use proptest::prelude::*;
use socket2::SockRef;

use crate::average::ensemble::{Ensemble, Settings};
use crate::average::round::NodeId;
use crate::clock::{Clock, SteadyClock, WallClock};
use crate::discipline::correction::Applied;
use crate::discipline::network_clock::NetworkClock;
use crate::discipline::steering::Steering;
use crate::election::allegiance::Allegiance;
use crate::election::candidates::Candidates;
use crate::follower::end::End;
use crate::follower::event::FollowerEvent;
use crate::follower::node::Node;
use crate::follower::options::FollowerOptions;
use crate::follower::session::session;
use crate::keys::auth::Auth;
use crate::keys::code::Code;
use crate::keys::codes::Codes;
use crate::keys::credentials::Credentials;
use crate::keys::file;
use crate::keys::group::GroupKeys;
use crate::keys::handshake::{Called, Caller, claimed};
use crate::keys::holder::Role;
use crate::keys::ring::KeyRing;
use crate::keys::secret::Secret;
use crate::master::admission::Limits;
use crate::master::candidacy::Candidacy;
use crate::master::candidate::MOST_INPUTS;
use crate::master::observations::Facts;
use crate::master::peer::Peer;
use crate::master::rhythm::Rhythm;
use crate::master::serve::serve as serve_peer;
use crate::master::shared::{Entrance, Shared};
use crate::master::trust::{PROOF_DEADLINE, Trust};
use crate::span::since_epoch;
use crate::wire::address::Address;
use crate::wire::message::Message;
use crate::wire::name::NodeName;
use crate::wire::path::GroupId;
use crate::wire::timestamp;

/// Two ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    static LISTENER: LazyLock<TcpListener> =
        LazyLock::new(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = crate::lock::lock(&TURN);
    let ours = TcpStream::connect(LISTENER.local_addr().unwrap()).unwrap();
    let (theirs, _) = LISTENER.accept().unwrap();
    // To be closed without a trace, or else a million of them would use up the ports.
    SockRef::from(&theirs)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    (ours, theirs)
}

/// Says all of it and ends; what comes back is read later.
fn say(mut stream: &TcpStream, words: &[Vec<u8>]) {
    // Less than a socket's buffer, so this does not wait.
    stream.write_all(&words.concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

/// What was answered: whole lines that make sense, or timestamps, and nothing after a goodbye.
fn answers(mut stream: &TcpStream) -> Vec<String> {
    let mut answers = Vec::new();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    // A connection that is closed with bytes unread is reset.
    let _ = stream.read_to_end(&mut answers);
    let answers = String::from_utf8(answers).expect("ASCII");
    let lines: Vec<String> = answers.lines().map(str::to_owned).collect();
    for (place, line) in lines.iter().enumerate() {
        assert!(line.len() <= 256, "{line:?}");
        let timestamps = line.as_bytes().chunks(26);
        if timestamps
            .clone()
            .all(|bytes| timestamp::parse(bytes).is_ok())
        {
            continue;
        }
        let message = Message::parse(line).expect(line);
        let last = place + 1 == lines.len();
        assert!(last || !matches!(message, Message::Bye { .. }), "{lines:?}");
    }
    lines
}

fn now() -> i64 {
    since_epoch(WallClock.read())
}

/// A number that means something, one that is at a limit, or any.
fn number() -> impl Strategy<Value = String> {
    let near = 4_000_000_000_i64;
    prop_oneof![
        (1..20_u64).prop_map(|n| n.to_string()),
        (-near..near).prop_map(|by| (now() + by).to_string()),
        (-near..near).prop_map(|span| span.to_string()),
        prop::sample::select(vec![
            i64::MIN.to_string(),
            i64::MAX.to_string(),
            u64::MAX.to_string(),
            "9223372036854775808".to_owned(),
            "3600000000000".to_owned(),
            "-1".to_owned(),
            String::new(),
            "0x7".to_owned(),
        ]),
        any::<i64>().prop_map(|any| any.to_string()),
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => number(),
        1 => number().prop_map(|rate| format!("rate={rate}")),
        1 => ("[0-2]", "[0-9]", number()).prop_map(|(series, count, total)| {
            format!("steps={series},{count},{total}")
        }),
        1 => number().prop_map(|term| format!("term={term}")),
        1 => number().prop_map(|interval| format!("interval={interval}")),
        1 => prop::sample::select(vec![
            "leader=self", "leader=none", "leader=b:1", "leader=", "candidates=a:1,b:1",
            "synchronized=yes", "hears=0,1", "leads", "seeks", "follows=0", "yields=1", "127.0.0.1:1",
        ])
        .prop_map(str::to_owned),
    ]
}

/// Something that a peer may say.
fn utterance() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "BERKELEY",
        "POLL",
        "TIME",
        "ADJUST",
        "BYE",
        "CANDIDATE",
        "berkeley",
        "",
    ]);
    let nearly = (name, prop::collection::vec(word(), 0..6))
        .prop_map(|(name, words)| format!("{name} {}\n", words.join(" ")).into_bytes());
    let timestamp = prop_oneof![Just(""), Just("\n")].prop_map(|end| {
        let now = timestamp::format(timestamp::local(WallClock.read()));
        format!("{now}{end}").into_bytes()
    });
    let poll = (1..20_u64).prop_map(|n| format!("POLL {n}\n").into_bytes());
    let time = (1..20_u64, 0..1000_i64).prop_map(|(n, held)| {
        let came = now();
        format!("TIME {n} {came} {}\n", came + held).into_bytes()
    });
    let adjust = (1..20_u64, -1_000_000..1_000_000_i64)
        .prop_map(|(n, offset)| format!("ADJUST {n} {offset} 1000\n").into_bytes());
    prop_oneof![
        3 => nearly,
        2 => timestamp,
        3 => poll,
        3 => time,
        3 => adjust,
        1 => Just(b"BERKELEY 1 interval=1000000\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

/// What a peer says in all: often with a beginning that leads somewhere.
fn speech(opening: &'static str) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let sensible = prop::bool::weighted(0.8);
    (sensible, prop::collection::vec(utterance(), 0..30)).prop_map(move |(sensible, mut said)| {
        if sensible {
            said.insert(0, opening.as_bytes().to_vec());
        }
        said
    })
}

fn network_clock() -> NetworkClock {
    NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default())
}

/// The secrets of a group, whose file is gone.
fn ring() -> Arc<KeyRing> {
    static RING: LazyLock<Arc<KeyRing>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("group.key");
        let group = GroupKeys::new(Secret::new([7; 32]));
        file::create(&path, &group.text()).unwrap();
        Arc::new(KeyRing::open(&path).unwrap())
    });
    Arc::clone(&RING)
}

/// Whether there are keys, and what the peer proves before it says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keyed {
    No,
    /// There are, and the peer proves nothing.
    Unproven,
    /// The peer proves this role.
    As(Role),
}

fn any_keyed() -> impl Strategy<Value = Keyed> {
    prop::sample::select(vec![
        Keyed::No,
        Keyed::Unproven,
        Keyed::As(Role::Follower),
        Keyed::As(Role::Candidate),
    ])
}

/// The name that all have keys of: that of the candidate whose lines are made up.
fn name() -> NodeName {
    "127.0.0.1:1".parse().unwrap()
}

/// Reads a line, one byte at a time: what comes after it is left.
fn read_line(mut stream: &TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Puts its code on each line that is one. What is none goes as it is, and so does one of ten.
fn sealed(codes: &mut Codes, said: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let seal = |(place, words): (usize, &Vec<u8>)| match str::from_utf8(words) {
        Ok(line) if line.ends_with('\n') && place % 10 != 9 => {
            let mut line = line.to_owned();
            codes.seal(&mut line);
            line.into_bytes()
        }
        _ => words.clone(),
    };
    said.iter().enumerate().map(seal).collect()
}

/// Proves a role to the master at the other end, and says the rest with codes.
fn prove_and_say(mut stream: &TcpStream, role: Role, said: &[Vec<u8>]) {
    let key = ring().group().node(role, name(), None);
    let calls = Caller::new(&key, Code::random().unwrap());
    let opening = format!("{}\n", calls.opening());
    let began = Instant::now();
    stream.write_all(opening.as_bytes()).unwrap();
    let proven = calls.prove(&read_line(stream));
    if proven.is_err() && began.elapsed() >= PROOF_DEADLINE {
        // The machine was busy for so long that the master has given us up.
        return;
    }
    let (proof, mut codes) = proven.unwrap();
    stream.write_all(format!("{proof}\n").as_bytes()).unwrap();
    say(stream, &sealed(&mut codes, said));
}

/// Answers the follower at the other end as a master does, and says the rest with codes.
fn answer_and_say(mut stream: &TcpStream, said: &[Vec<u8>]) {
    let opening = read_line(stream);
    let key = ring().group().welcome(&claimed(&opening).unwrap()).unwrap();
    let (called, answer) = Called::answer(&key, &opening, Code::random().unwrap());
    stream.write_all(format!("{answer}\n").as_bytes()).unwrap();
    let mut codes = called.proven(&read_line(stream)).unwrap();
    say(stream, &sealed(&mut codes, said));
}

/// A master's connection thread, in a group with candidates or without, with keys or without.
fn serve(said: &[Vec<u8>], with_candidates: bool, keyed: Keyed) {
    let (ours, theirs) = connection();
    let trust = match keyed {
        Keyed::No => Trust::Everybody,
        _ => Trust::Keyed {
            ring: ring(),
            auth: [Auth::Require, Auth::Observe][said.len() % 2],
            serve_timestamps: said.len().is_multiple_of(3),
            weights: Vec::new(),
        },
    };
    let address = theirs.peer_addr().unwrap();
    let (inputs, _heard) = mpsc::sync_channel(MOST_INPUTS);
    let list = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap());
    let candidates = Candidates::new(list.to_vec(), "127.0.0.1:2".parse().unwrap(), None);
    let candidacy = Arc::new(Candidacy::new(candidates.unwrap(), inputs));
    let rhythm = Rhythm::new(Duration::from_millis(1), 8, Instant::now());
    let limits = Limits {
        in_all: 1,
        per_address: 1,
        candidates: Vec::new(),
    };
    let (shared, _receivers) = Shared::new(
        network_clock(),
        rhythm,
        Ensemble::new(Settings::default()),
        Entrance {
            address,
            limits,
            trust,
        },
        with_candidates.then_some(candidacy),
        (GroupId(7), None),
        Facts {
            name: None,
            dry_run: false,
            steers_system: false,
            started: Instant::now(),
            simulation: crate::clock::Simulation::NONE,
            reference: None,
        },
    );
    let node = NodeId(1);
    let stream = Arc::new(theirs);
    let mailbox = shared
        .connections
        .register(node, &stream, address.ip())
        .unwrap();
    let peer = Peer::new(node, address, None, mailbox, Arc::clone(&shared));
    if let Keyed::As(role) = keyed {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                serve_peer(peer, &stream);
                // Nobody waits for an answer that does not come.
                let _ = stream.shutdown(Shutdown::Write);
            });
            prove_and_say(&ours, role, said);
        });
    } else {
        say(&ours, said);
        serve_peer(peer, &stream);
    }
    assert!(!shared.ensemble().leave(node), "it is still a member");
    // There is room for the next one, so it was counted out.
    let again = shared.connections.register(node, &stream, address.ip());
    assert!(again.is_err_and(|refused| refused.to_string().contains("a second")));
    drop((stream, shared));
    if let Keyed::No | Keyed::Unproven = keyed {
        answers(&ours);
    }
}

/// A follower's session. The clock, and whether it stepped.
fn follow(said: &[Vec<u8>], keyed: Keyed) -> (NetworkClock, bool) {
    let (ours, theirs) = connection();
    let clock = network_clock();
    let allegiance = Allegiance::new(vec![Address::new("a", 1)]);
    let options = FollowerOptions {
        credentials: (keyed != Keyed::No).then(|| Credentials::Group(ring(), name())),
        ..FollowerOptions::default()
    };
    let mut node = Node::new(allegiance, clock.clone(), false, options);
    let end = if let Keyed::As(_) = keyed {
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| session(&mut node, &theirs));
            answer_and_say(&ours, said);
            follower.join().unwrap()
        })
    } else {
        say(&ours, said);
        session(&mut node, &theirs)
    };
    assert!(!matches!(end, End::Done), "no rounds were asked for");
    drop(theirs);
    if keyed == Keyed::No {
        answers(&ours);
    }
    let moved = node.received > 0;
    assert!(
        !moved || keyed != Keyed::Unproven,
        "it has believed who has proven nothing"
    );
    let mut events = std::iter::from_fn(|| node.control.next_event_now());
    let stepped = events.any(|event| {
        let made = match event {
            FollowerEvent::Synchronized { made, .. } => made,
            FollowerEvent::Stepped { .. } => Some(Applied::Stepped),
            FollowerEvent::Connected(_) => None,
        };
        made == Some(Applied::Stepped)
    });
    (clock, stepped)
}

proptest! {
    #[test]
    fn a_master_outlives_whatever_a_follower_says(
        said in speech("2026-01-01 00:00:00.000000\n"),
        with_candidates: bool,
        keyed in any_keyed(),
    ) {
        serve(&said, with_candidates, keyed);
    }

    #[test]
    fn a_master_outlives_whatever_a_candidate_says(
        said in speech("CANDIDATE 0 127.0.0.1:1 3 leads hears=1\n"),
        keyed in any_keyed(),
    ) {
        serve(&said, true, keyed);
    }

    #[test]
    fn a_follower_outlives_whatever_a_master_says(
        said in speech("BERKELEY 1 interval=1000000\n"),
        keyed in any_keyed(),
    ) {
        let before = SteadyClock::start().read();
        let (clock, stepped) = follow(&said, keyed);
        let first = clock.now();
        let second = clock.now();
        prop_assert!(second.time >= first.time);
        prop_assert!(first.error.is_none_or(|error| error >= TimeDelta::zero()));
        // Nothing but a step takes a reading back.
        let grain = TimeDelta::microseconds(100);
        prop_assert!(stepped || first.time >= before - grain, "{first:?} after {before}");
    }
}
