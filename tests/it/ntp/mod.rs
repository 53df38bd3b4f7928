//! The group's time for those who speak NTP.

mod clients;
mod flood;
mod moments;
mod promises;
mod sockets;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::ntp_client::{Answer, Client};
use crate::support::programs::{Program, SOON};

/// Any port of the loopback.
const SERVE: &str = "--serve-ntp=127.0.0.1:0";

/// Where a program serves NTP. To be asked once, after its address.
#[track_caller]
fn served(program: &Program) -> SocketAddr {
    let line = program.line("Serving NTP at ");
    let (_, address) = line.text.split_once("NTP at ").expect("an address");
    address.parse().expect("ADDRESS:PORT")
}

/// The first answer of which something is true.
#[track_caller]
fn answer_when(client: &Client, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + 3 * SOON;
    loop {
        let answer = client.ask();
        if wanted(&answer) {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "it did not come to this: {answer:?}"
        );
        // As often as a client may ask in the long run.
        std::thread::sleep(Duration::from_millis(70));
    }
}

#[test]
fn nobody_is_told_the_time_before_the_group_has_agreed() {
    let master = Program::master(&[SERVE, "--interval", "200ms", "--simulate-offset", "10s"]);
    let address = master.address();
    let client = Client::of(served(&master));
    let alone = client.ask();
    assert_eq!((alone.leap, alone.stratum, alone.mode), (3, 16, 4));
    assert_eq!((alone.reference, alone.root_dispersion), ([0; 4], 16.0));

    let follower = Program::follower(address, &[SERVE, "--simulate-offset", "-4s"]);
    let second = Client::of(served(&follower));
    let answers = [&client, &second].map(|of| answer_when(of, Answer::is_synchronized));
    for answer in answers {
        assert_eq!((answer.leap, answer.stratum, answer.version), (0, 10, 4));
        assert!(answer.root_dispersion < 0.1, "{answer:?}");
        // The mean of the two.
        assert!(
            (answer.offset - 3.0).abs() <= answer.promised() + 0.05,
            "{answer:?}"
        );
        assert!((0.0..30.0).contains(&answer.age), "{answer:?}");
    }
    // One source, whichever of them is asked, and nobody's address.
    assert_eq!(answers[0].reference, answers[1].reference);
    assert_eq!(answers[0].reference[..2], [127, 127]);
    assert!(answers[0].reference[2] >= 128);
    master.stops_at("TERM");
    follower.stops_at("TERM");
}

#[test]
fn alone_a_follower_promises_less_and_less_and_then_nothing() {
    let master = Program::master(&["--interval", "200ms"]);
    let flags = [SERVE, "--ntp-max-error", "400us", "--ntp-stratum", "7"];
    let follower = Program::follower(master.address(), &flags);
    let client = Client::of(served(&follower));
    // It says what it knows only as long as it knows it well enough.
    let known = answer_when(&client, |answer| {
        answer.is_synchronized() && answer.root_dispersion < 2e-4
    });
    assert_eq!(known.stratum, 7);
    drop(master);
    let grown = answer_when(&client, |answer| {
        answer.root_dispersion > known.root_dispersion + 5e-5
    });
    assert!(grown.age > known.age);
    let lost = answer_when(&client, |answer| !answer.is_synchronized());
    assert_eq!((lost.leap, lost.stratum), (3, 16));
    assert!((4e-4..0.1).contains(&lost.root_dispersion), "{lost:?}");
}

#[test]
fn an_answer_says_when_the_question_came_however_late_it_is_read() {
    const STALL: Duration = Duration::from_millis(300);
    let master = Program::master(&[SERVE]);
    let server = served(&master);
    let client = Client::of(server);
    client.ask();
    // The kernel begins to note arrivals shortly after it was first asked to.
    let noted = (0..10).any(|_| {
        master.signal("STOP");
        let stalled = std::thread::scope(|scope| {
            let asked = scope.spawn(|| client.try_ask());
            // For so long the program stands still.
            std::thread::sleep(STALL);
            master.signal("CONT");
            asked.join().expect("a client")
        });
        let stalled = stalled.expect("an answer");
        println!("{stalled:?}");
        stalled.held > 0.2 && stalled.delay < 0.1
    });
    assert!(noted, "the question came when it was read");
}
