//! The life of a connection: the follower opens with a timestamp, and the master's answer says on
//! which wire they go on.
//!
//! A follower that has a key opens with it instead, and speaks lines or not at all.
//!
//! A master that answers `BERKELEY` is spoken to in lines; one that answers with a timestamp, as
//! `server.py` does, in timestamps.

use std::convert::Infallible;
use std::net::TcpStream;
use std::time::Instant;

use crate::follower::end::End;
use crate::follower::link::{Link, Proven};
use crate::follower::node::Node;
use crate::follower::timestamps::Reports;
use crate::follower::{lines, timestamps};
use crate::keys::holder::Role;
use crate::keys::prove::{ProofError, prove};
use crate::wire::connection::{Incoming, MESSAGE_DEADLINE};

/// What a master speaks.
enum Wire {
    Lines,
    Timestamps,
}

/// Speaks with the master until the connection is of no more use.
pub(crate) fn session(node: &mut Node, stream: &TcpStream) -> End {
    let Err(end) = Link::new(node, stream)
        .map_err(End::from)
        .and_then(|mut link| speak(&mut link));
    end
}

fn speak(link: &mut Link) -> Result<Infallible, End> {
    if let Some(credentials) = link.node.options.credentials.clone() {
        link.node.calls += 1;
        let key = credentials.key(Role::Follower, link.node.calls - 1);
        let patience = (link.node.greeting_patience())
            .map_or(MESSAGE_DEADLINE, |patience| patience.min(MESSAGE_DEADLINE));
        let deadline = Instant::now() + patience;
        let key = key.map_err(ProofError::Key)?;
        link.channel = prove(&mut link.connection, &key, deadline)?;
        link.proven = Some(Proven::new(credentials, key));
        return lines::speak(link);
    }
    let mut reports = Reports::new();
    match open(link, &mut reports)? {
        Wire::Lines => lines::speak(link),
        Wire::Timestamps if link.node.group.is_some() => Err(End::Lost(
            "it speaks only timestamps, which correct no group; name a berkeley-master".to_owned(),
        )),
        Wire::Timestamps => timestamps::speak(link, reports),
    }
}

/// Reports our clock until the master says something.
fn open(link: &mut Link, reports: &mut Reports) -> Result<Wire, End> {
    let connected = Instant::now();
    loop {
        let mut wait = reports.send_due(link)?;
        if let Some(patience) = link.node.greeting_patience() {
            let left = patience.saturating_sub(connected.elapsed());
            if left.is_zero() {
                return Err(End::Lost("it accepts, and says nothing".to_owned()));
            }
            wait = wait.min(left);
        }
        match link.connection.fill(wait)? {
            Incoming::Bytes([first, ..]) if first.is_ascii_uppercase() => return Ok(Wire::Lines),
            Incoming::Bytes(_) => return Ok(Wire::Timestamps),
            Incoming::Nothing => {}
            Incoming::End => return Err(End::closed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;
    use std::time::Duration;

    use crate::clock::SteadyClock;
    use crate::discipline::network_clock::NetworkClock;
    use crate::discipline::steering::Steering;
    use crate::election::allegiance::Allegiance;
    use crate::follower::options::{FollowerOptions, WireChoice};
    use crate::wire::address::Address;

    /// How often this thread has waited for something.
    fn waits() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let waits = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        waits.unwrap().trim().parse().unwrap()
    }

    #[test]
    #[cfg_attr(
        not(target_os = "linux"),
        ignore = "no other kernel counts waits there"
    )]
    fn to_a_master_that_says_nothing_it_only_reports() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        // Two masters that have led once, for whose greeting it would wait for a second.
        let masters = [1, 2].map(|port| Address::new("a", port));
        let mut allegiance = Allegiance::new(masters.to_vec());
        allegiance.corrected(1);
        let options = FollowerOptions {
            wire: WireChoice::Timestamp,
            interval: Duration::from_millis(200),
            ..FollowerOptions::default()
        };
        let clock = NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default());
        let mut node = Node::new(allegiance, clock, false, options);
        let read_ten_reports = move || theirs.read_exact(&mut [0; 26 * 10]).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(read_ten_reports);
            let before = waits();
            let end = session(&mut node, &ours);
            assert_eq!(end.to_string(), "it closed the connection");
            let waits = waits() - before;
            assert!((9..60).contains(&waits), "{waits} waits for 10 reports");
        });
    }
}
