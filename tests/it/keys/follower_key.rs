//! What somebody who holds a follower's key can't do with it.

use std::time::{Duration, Instant};

use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::keys::holder::Role;
use berkeley::internals::keys::node_key::NodeKey;

use crate::candidates::group::Ports;
use crate::support::keys::{KeyedPeer, Keys};
use crate::support::programs::{Program, SOON};

/// A candidate of a group that has keys, alone in a list of two.
fn candidate(keys: &Keys, ports: &Ports) -> Program {
    let path = keys.group_file();
    let candidate = ports.candidate(0, &["--key-file", path.to_str().expect("a name")]);
    candidate.line("Leading, in term 1");
    candidate
}

/// The follower's answer to the next poll, with these words after it.
fn answer(peer: &mut KeyedPeer, words: &str) {
    let poll = peer.hear_of("POLL ");
    let now = WallClock.read().timestamp_nanos_opt().expect("a time");
    let n = poll.split(' ').nth(1).expect("a number");
    peer.say(&format!("TIME {n} {now} {now}{words}"));
}

/// The term that the candidate greets with.
fn term(ports: &Ports, keys: &Keys) -> u64 {
    let mut peer = KeyedPeer::join(ports.address(0), &keys.node("asks", None)).expect("a key");
    let greeting = peer.hear_of("BERKELEY ");
    let (_, term) = greeting.split_once("term=").expect("a term");
    let (term, after) = term.split_once(' ').expect("more words");
    let (_, certificate) = after.split_once(" cert=").expect("a certificate");
    let (term, code) = (
        term.parse().expect("a number"),
        certificate.parse().expect("a code"),
    );
    assert!(keys.group().certifies(term, code), "{greeting}");
    term
}

#[test]
fn it_says_nothing_that_a_candidate_or_another_follower_may() {
    let (keys, ports) = (Keys::new(), Ports::reserve(2));
    let _candidate = candidate(&keys, &ports);
    let own = keys.node("db1", None);
    let claims = |role, name: &str| {
        let mut claimed = NodeKey { ..own.clone() };
        claimed.holder.role = role;
        claimed.holder.name = name.parse().expect("a name");
        KeyedPeer::join(ports.address(0), &claimed).map(drop)
    };
    let other = ports.address(1).to_string();
    for (role, name) in [
        (Role::Candidate, "db1"),
        (Role::Candidate, &other),
        (Role::Follower, "db2"),
    ] {
        let refused = claims(role, name).expect_err("it is another's");
        assert!(refused.contains("its proof is wrong"), "{refused}");
    }
    let mut peer = KeyedPeer::join(ports.address(0), &own).expect("a key");
    peer.hear_of("POLL ");
    peer.say(&format!("CANDIDATE 1 {other} 9 leads hears=0"));
    let bye = peer.hear_of("BYE ");
    assert!(bye.contains("where TIME was to come"), "{bye}");
}

#[test]
fn a_candidate_speaks_for_itself_alone() {
    let (keys, ports) = (Keys::new(), Ports::reserve(3));
    let _candidate = candidate(&keys, &ports);
    let [second, third] = [1, 2].map(|rank| ports.address(rank).to_string());
    let name = second.parse().expect("a name");
    let key = keys.group().node(Role::Candidate, name, None);
    let mut peer = KeyedPeer::join(ports.address(0), &key).expect("a key");
    peer.say(&format!("CANDIDATE 2 {third} 1 seeks hears=0"));
    let bye = peer.hear_of("BYE ");
    assert!(bye.contains("with another's key"), "{bye}");
}

#[test]
fn it_makes_no_term_and_carries_on_what_a_candidate_has_certified() {
    let (keys, ports) = (Keys::new(), Ports::reserve(2));
    let _candidate = candidate(&keys, &ports);
    let mut peer = KeyedPeer::join(ports.address(0), &keys.node("db1", None)).expect("a key");
    let greeting = peer.hear_of("BERKELEY ");
    let (_, old) = greeting.split_once(" cert=").expect("a certificate");
    let other = Keys::new().group().certify(50);
    for words in [
        " term=50".to_owned(),
        format!(" term=50 cert={old}"),
        format!(" term=50 cert={other}"),
        " term=50 cert=x".to_owned(),
    ] {
        answer(&mut peer, &words);
    }
    peer.hear_of("POLL ");
    assert_eq!(term(&ports, &keys), 1);
    // A certificate of a term that the group has had.
    drop(peer);
    let mut peer = KeyedPeer::join(ports.address(0), &keys.node("db1", None)).expect("a key");
    let certificate = keys.group().certify(50);
    answer(&mut peer, &format!(" term=50 cert={certificate}"));
    let deadline = Instant::now() + SOON;
    while term(&ports, &keys) <= 50 {
        assert!(Instant::now() < deadline, "the term is not carried on");
        std::thread::sleep(Duration::from_millis(20));
    }
}
