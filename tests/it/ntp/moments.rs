//! What clients are told in the moments when a server's time is about to change: when it starts, starts
//! again, or an operator steps the group.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::promises::{GROUP_ERROR, hear_while};
use super::{SERVE, answer_when, served};
use crate::orders::teller;
use crate::support::ntp_client::{Answer, Client};
use crate::support::programs::{Program, SOON};

const QUICK: [&str; 2] = ["--interval", "500ms"];

/// A master that serves NTP, where it listens, and three followers. All of their clocks are right.
fn group() -> (Program, SocketAddr, [Program; 3]) {
    let master = Program::master(&[&QUICK[..], &["--min-followers", "3", SERVE]].concat());
    let address = master.address();
    let followers = [0; 3].map(|_| Program::follower(address, &QUICK));
    (master, address, followers)
}

#[test]
fn a_server_that_starts_is_right_as_soon_as_it_tells_a_time() {
    let (_master, address, _followers) = group();
    // Its clock is wrong by less than is stepped where nobody else reads it.
    let start = |serve: &str| {
        let serve = format!("--serve-ntp={serve}");
        let wrong = ["--simulate-offset", "900ms", &serve];
        Program::follower(address, &[&QUICK[..], &wrong].concat())
    };
    let first = start("127.0.0.1:0");
    let server = served(&first);
    let client = Client::of(server);
    let told = answer_when(&client, Answer::is_synchronized);
    assert!(told.offset.abs() < 0.02, "it was slewing: {told:?}");

    let mut second = None;
    let heard = hear_while(server, || {
        first.signal("KILL");
        drop(first);
        second = Some(start(&server.to_string()));
        let deadline = Instant::now() + SOON;
        let known = || client.try_ask().is_some_and(|told| told.is_synchronized());
        while !known() {
            assert!(Instant::now() < deadline, "it does not come back");
            thread::sleep(Duration::from_millis(70));
        }
        thread::sleep(Duration::from_secs(3));
    });
    heard.print("a follower that is killed and starts again");
    assert!(heard.wrong < 0.02, "it was slewing: {heard:?}");
    drop(second);
}

#[test]
fn an_operators_step_is_told_whole_or_not_yet() {
    const STEP: f64 = 90.0;
    let (master, address, _followers) = group();
    let serving = Program::follower(address, &[&QUICK[..], &[SERVE]].concat());
    let clients = [&master, &serving].map(|program| Client::of(served(program)));
    let told = clients
        .each_ref()
        .map(|of| answer_when(of, Answer::is_synchronized));
    assert!(told.iter().all(|told| told.offset.abs() < 1.0), "{told:?}");
    let mut operator = teller(&master, &["set", "+90s"]);
    thread::scope(|scope| {
        let telling = scope.spawn(move || operator.output().expect("the program"));
        let deadline = Instant::now() + SOON;
        let mut stepped = [false; 2];
        while !stepped.iter().all(|stepped| *stepped) {
            assert!(Instant::now() < deadline, "{stepped:?}");
            for (client, stepped) in clients.iter().zip(&mut stepped) {
                let told = client.ask();
                let now = told.offset > STEP / 2.0;
                assert!(now || !*stepped, "it goes back: {told:?}");
                *stepped = now;
                let wrong = (told.offset - if now { STEP } else { 0.0 }).abs();
                assert!(told.is_synchronized(), "{told:?}");
                assert!(wrong <= told.promised() + GROUP_ERROR, "{told:?}");
            }
            thread::sleep(Duration::from_millis(70));
        }
        let said = telling.join().expect("an operator");
        assert!(said.status.success(), "{said:?}");
    });
}
