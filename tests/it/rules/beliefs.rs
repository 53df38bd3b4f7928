//! What a follower believes of a master.

use std::io::ErrorKind;
use std::net::TcpListener;

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
