//! What a follower believes of a master, and a master of a follower.

use std::io::ErrorKind;
use std::net::TcpListener;

use crate::faults::peer::{Liar, Lie};
use crate::support::fake_master::FakeMaster;
use crate::support::programs::Program;

#[test]
fn an_interval_that_no_master_keeps_to_is_refused() {
    for interval in ["5", "86400000000001"] {
        let master = FakeMaster::start();
        let follower = Program::follower(master.address(), &[]);
        let mut link = master.greet(&format!("interval={interval}"));
        let said = link.line().expect("a goodbye");
        assert!(said.starts_with("BYE you sent an interval of "), "{said}");
        follower.log_line("which no master keeps to");
    }
}

#[test]
fn a_follower_goes_to_no_address_that_no_leader_has_told() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    elsewhere.set_nonblocking(true).expect("a socket");
    let evil = elsewhere.local_addr().expect("an address");
    let master = FakeMaster::start();
    let address = master.address();
    let _follower = Program::follower(address, &[]);
    let group = format!("interval=1000000000 term=3 candidates={address},{address}");
    let mut link = master.greet(&format!("{group} leader=self"));
    let (n, ..) = link.poll();
    link.say(&format!("ADJUST {n} 0 1000"));
    link.poll();
    // It has followed a leader. Then it is told to go elsewhere, and that others are candidates.
    let sent = format!("interval=1000000000 term=4 leader={evil} candidates={address},{evil}");
    link.say(&format!("BERKELEY 1 {sent}"));
    for _ in 0..4 {
        // It comes back instead, every time.
        drop(master.greet(&sent));
    }
    let called = elsewhere.accept().map(|(_, from)| from);
    let nobody = called.expect_err("it went where it was sent");
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
}

/// A clock that says that it knows its group's time, and shows that of its machine.
struct OfAGroup;

impl Lie for OfAGroup {
    fn show(&mut self, honest: i64) -> i64 {
        honest
    }

    fn words(&self) -> String {
        " synchronized=yes".to_owned()
    }
}

#[test]
fn one_that_claims_to_be_of_a_group_costs_a_new_one_none_of_its_first_rounds() {
    let master = Program::master(&["--interval", "1h", "--min-followers", "3"]);
    let address = master.address();
    let _liar = Liar::of(address, OfAGroup);
    let _honest = [(); 2].map(|()| Program::follower(address, &[]));
    // They follow each other quickly; in a group that is known, the second one comes in an hour.
    master.line("Round 1: ");
    master.line("Round 2: ");
    master.line("Round 3: ");
}
