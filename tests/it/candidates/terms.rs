//! Terms that no elections can have led to, told by a follower, a candidate and a master.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::group::Ports;
use crate::support::programs::{Program, SOON};

const LARGEST: u64 = u64::MAX;

/// Another end of a connection, typed by hand.
struct Hand(BufReader<TcpStream>);

impl Hand {
    fn call(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("it listens"))
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn say(&self, line: &str) {
        let line = format!("{line}\n");
        let mut stream = self.0.get_ref();
        stream.write_all(line.as_bytes()).expect("it reads");
    }

    /// The next line that begins with this word.
    fn hear(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).expect("a line");
            assert!(read > 0, "no {word} came");
            if line.starts_with(word) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Answers a poll, with a term.
    fn answer(&mut self, term: u64) {
        let poll = self.hear("POLL");
        let n = poll.split(' ').nth(1).expect("a number");
        self.say(&format!("TIME {n} 1000 2000 term={term}"));
    }
}

fn refusal(known: u64) -> String {
    format!("term {LARGEST}, to which no elections can have led; the highest known here is {known}")
}

/// The term that a candidate greets with.
fn term(address: SocketAddr) -> u64 {
    let mut hand = Hand::call(address);
    hand.say("2026-01-01 00:00:00.000000");
    let greeting = hand.hear("BERKELEY");
    let mut words = greeting.split(' ');
    let term = words.find_map(|word| word.strip_prefix("term="));
    term.expect("a term").parse().expect("a number")
}

#[test]
fn a_follower_cannot_wear_the_terms_out() {
    let ports = Ports::reserve(2);
    let candidates = [0, 1].map(|rank| ports.candidate(rank, &[]));
    candidates[0].line("Leading, in term 1");
    candidates[1].line("Following");

    let mut liar = Hand::call(ports.address(0));
    liar.say("2026-01-01 00:00:00.000000");
    liar.answer(LARGEST);
    assert_eq!(liar.hear("BYE"), format!("BYE you sent {}", refusal(1)));
    let warning = candidates[0].log_line("WARN").text;
    assert!(warning.contains(&refusal(1)), "{warning}");
    for rank in [0, 1] {
        assert_eq!(term(ports.address(rank)), 1);
    }
    // A group whose candidates have all died may have come far.
    let mut honest = Hand::call(ports.address(0));
    honest.say("2026-01-01 00:00:00.000000");
    honest.answer(5_000_000);
    candidates[1].line("in term 5000001");
    assert_eq!(term(ports.address(0)), 5_000_001);
}

#[test]
fn nor_can_who_claims_to_be_a_candidate() {
    let ports = Ports::reserve(2);
    let candidate = ports.candidate(0, &[]);
    candidate.line("Leading, in term 1");
    let mut liar = Hand::call(ports.address(0));
    let other = ports.address(1);
    liar.say(&format!("CANDIDATE 1 {other} {LARGEST} leads hears=0"));
    assert_eq!(liar.hear("BYE"), format!("BYE you sent {}", refusal(1)));
    let warning = candidate.log_line("to which no elections").text;
    assert!(warning.contains(&refusal(1)), "{warning}");
    assert_eq!(term(ports.address(0)), 1);
}

#[test]
fn a_follower_does_not_stay_with_a_master_of_such_a_term() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let follower = Program::follower(address, &[]);
    let (stream, _) = listener.accept().expect("a follower");
    let mut liar = Hand::new(stream);
    liar.say(&format!(
        "BERKELEY 1 interval=1000000000 term={LARGEST} leader=self candidates={address}"
    ));
    assert_eq!(liar.hear("BYE"), format!("BYE you sent {}", refusal(0)));
    let warning = follower.log_line("WARN").text;
    assert!(warning.contains(&refusal(0)), "{warning}");
}
