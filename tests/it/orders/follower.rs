//! A follower that is told of steps by a master that is typed by hand.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use chrono::{DateTime, TimeDelta};

use crate::support::programs::{Program, SOON, assert_exact};
use berkeley::internals::clock::{Clock, WallClock};

struct Master {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
    polls: u64,
}

impl Master {
    fn called_on(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("a follower");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        let lines = BufReader::new(stream.try_clone().expect("a socket"));
        let mut master = Self {
            stream,
            lines,
            polls: 0,
        };
        master.line();
        master.say("BERKELEY 1 interval=1000000000");
        master
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stream, "{line}").expect("a follower");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// How far the follower's target is ahead of the machine's clock, when it is told these words
    /// with the question.
    fn poll(&mut self, words: &str) -> TimeDelta {
        self.polls += 1;
        let n = self.polls;
        self.say(&format!("POLL {n}{words}"));
        let answer = self.line();
        let told = answer.strip_prefix(&format!("TIME {n} ")).expect("TIME");
        let told = told.split(' ').next().expect("t2");
        let told = DateTime::from_timestamp_nanos(told.parse().expect("a number"));
        told - WallClock.read()
    }
}

fn called() -> (TcpListener, Program, Master) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let follower = Program::follower(listener.local_addr().expect("a socket"), &[]);
    let master = Master::called_on(&listener);
    (listener, follower, master)
}

#[test]
fn each_step_is_made_once_before_the_answer_and_over_connections() {
    let (listener, follower, mut master) = called();
    // It has just come: what was stepped before does not concern it.
    assert_exact(master.poll(" steps=7,2,50000000000"), TimeDelta::zero());
    assert_exact(
        master.poll(" steps=7,3,140000000000"),
        TimeDelta::seconds(90),
    );
    // What follows from an answer before the step holds after it.
    master.say("ADJUST 1 0 1000000");
    assert_exact(master.poll(""), TimeDelta::seconds(90));
    assert_exact(
        master.poll(" steps=7,3,140000000000"),
        TimeDelta::seconds(90),
    );
    drop(master);
    let mut master = Master::called_on(&listener);
    assert_exact(
        master.poll(" steps=7,3,140000000000"),
        TimeDelta::seconds(90),
    );
    assert_exact(
        master.poll(" steps=7,5,110000000000"),
        TimeDelta::seconds(60),
    );
    // Another master counts anew.
    assert_exact(
        master.poll(" steps=8,1,999000000000"),
        TimeDelta::seconds(60),
    );
    assert_exact(
        master.poll(" steps=8,2,1000000000000"),
        TimeDelta::seconds(61),
    );
    for step in [
        "+1.500 min (step 3)",
        "-30.000 s (step 5)",
        "+1.000 s (step 2)",
    ] {
        follower.line(&format!("group by {step}"));
    }
    let steps = follower.transcript().matches("Stepped with").count();
    assert_eq!(steps, 3);
}

#[test]
fn no_master_makes_a_follower_step_without_end() {
    let (_listener, follower, mut master) = called();
    master.say("POLL 1 steps=7,0,0");
    master.line();
    for step in 1..100 {
        let sum = if step % 2 == 0 { 0 } else { 90_000_000_000_i64 };
        if writeln!(master.stream, "POLL {step} steps=7,{step},{sum}").is_err() {
            break;
        }
    }
    follower.log_line("too many steps");
    let steps = follower.transcript().matches("Stepped with").count();
    assert!(steps <= 20, "{steps}");
}
