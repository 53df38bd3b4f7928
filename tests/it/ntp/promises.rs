//! What clients are promised contains the group's time, whatever happens to the group: links that
//! are cut, a master that is killed, a slew of more than a second.
//!
//! All clocks here are this machine's, but for one that pretends to be wrong and is outvoted. So
//! the group's time is this machine's time, and it is known how wrong each answer is. The
//! simulations check the same in virtual time (`Node::reading`), to the nanosecond.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{SERVE, answer_when, served};
use crate::support::ntp_client::{Answer, Client};
use crate::support::programs::Program;
use crate::support::relay::{BOTH, Link, Relay};

/// How far the group may be from the machine's clock.
pub(super) const GROUP_ERROR: f64 = 500e-6;

/// What was answered, in seconds.
#[derive(Debug, Default)]
pub(super) struct Heard {
    answers: usize,
    /// Answers with the advice not to take the time.
    unsynchronized: usize,
    /// The largest error, the largest that was promised, and by how much more an answer was wrong
    /// than it promised, at most.
    pub(super) wrong: f64,
    promised: f64,
    beyond: f64,
    /// The latest dispersion.
    dispersion: f64,
}

impl Heard {
    fn take(&mut self, answer: &Answer) {
        self.answers += 1;
        if !answer.is_synchronized() {
            self.unsynchronized += 1;
            return;
        }
        let (wrong, promised) = (answer.offset.abs(), answer.promised());
        self.wrong = self.wrong.max(wrong);
        self.promised = self.promised.max(promised);
        self.beyond = self.beyond.max(wrong - promised);
        self.dispersion = answer.root_dispersion;
    }

    pub(super) fn print(&self, what: &str) {
        println!(
            "{what}: {} answers, {} without a time; wrong by {:.0} µs at most, promised {:.0} µs at \
             most, beyond a promise by {:.1} µs at most",
            self.answers,
            self.unsynchronized,
            self.wrong * 1e6,
            self.promised * 1e6,
            self.beyond * 1e6,
        );
        assert!(self.answers > 20, "{self:?}");
        assert!(self.beyond <= GROUP_ERROR, "{self:?}");
    }
}

/// What a server answers while something happens.
pub(super) fn hear_while(server: SocketAddr, happens: impl FnOnce()) -> Heard {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let heard = scope.spawn(|| {
            let (client, mut heard) = (Client::of(server), Heard::default());
            while !over.load(Ordering::SeqCst) {
                if let Some(answer) = client.try_ask() {
                    heard.take(&answer);
                }
                thread::sleep(Duration::from_millis(80));
            }
            heard
        });
        happens();
        over.store(true, Ordering::SeqCst);
        heard.join().expect("a client")
    })
}

fn passes(seconds: u64) -> impl FnOnce() {
    move || thread::sleep(Duration::from_secs(seconds))
}

#[test]
#[ignore = "takes two minutes"]
fn every_answer_contains_the_groups_time() {
    let quick = ["--interval", "1s"];
    let master = Program::master(&[&quick[..], &["--min-followers", "3", SERVE]].concat());
    let (address, of_master) = (master.address(), served(&master));
    let _others = [0; 3].map(|_| Program::follower(address, &quick));
    answer_when(&Client::of(of_master), Answer::is_synchronized);

    // It is 1.2 s ahead and may not step, so it slews for 12 s.
    let relay = Relay::new(address, 1);
    let slewing = ["--simulate-offset", "1200ms", "--step-threshold", "1min"];
    let flags = [&quick[..], &slewing, &[SERVE, "--ntp-max-error", "10s"]].concat();
    let follower = Program::follower(relay.address(), &flags);
    let of_follower = served(&follower);
    answer_when(&Client::of(of_follower), Answer::is_synchronized);
    let slew = hear_while(of_follower, passes(14));
    slew.print("a follower that slews 1.2 s");
    assert!(slew.wrong > 0.8 && slew.unsynchronized == 0, "{slew:?}");

    for toward in BOTH {
        relay.set(
            toward,
            Link {
                silent: true,
                ..Link::CLEAR
            },
        );
    }
    let cut = hear_while(of_follower, passes(60));
    cut.print("a follower whose link is cut for a minute");
    for toward in BOTH {
        relay.set(toward, Link::CLEAR);
    }
    let healed = hear_while(of_follower, passes(10));
    healed.print("when it is healed");
    assert!(healed.dispersion < cut.dispersion, "{cut:?}, {healed:?}");

    let killed = hear_while(of_follower, || {
        drop(master);
        thread::sleep(Duration::from_secs(30));
    });
    killed.print("a follower whose master is killed");
}
