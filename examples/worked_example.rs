//! The three clocks of the worked example over real sockets: 14:00 (the master), 13:46 and 14:20
//! agree on 14:02, by corrections of +2, +16 and -18 minutes.
//!
//! Run it with `cargo run --example worked_example`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use berkeley::internals::clock::Simulation;
use berkeley::internals::span;
use berkeley::internals::wire::address::Address;
use berkeley::{Follower, FollowerEvent, FollowerOptions, Master, MasterEvent, MasterOptions};
use chrono::TimeDelta;

/// Whole minutes are promised, so what the network adds to them must stay below a second.
const TOLERANCE: TimeDelta = TimeDelta::seconds(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let master = Master::start(MasterOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        interval: Duration::from_millis(500),
        min_followers: 2,
        rounds: Some(1),
        ..MasterOptions::default()
    })?;
    let mut followers = Vec::new();
    for minutes in [-14, 20] {
        let options = FollowerOptions {
            rounds: Some(1),
            simulation: Simulation {
                offset: TimeDelta::minutes(minutes),
                ..Simulation::NONE
            },
            ..FollowerOptions::default()
        };
        let here = Address::from(master.local_addr());
        followers.push((minutes, Follower::connect([here], options)?));
    }

    let mut corrections = Vec::new();
    while let Some(event) = master.next_event() {
        if let MasterEvent::Round(round) = event {
            println!("{round}\n");
            corrections.push((0, round.outcome?.average));
        }
    }
    for (minutes, follower) in &followers {
        while let Some(event) = follower.next_event() {
            if let FollowerEvent::Synchronized { correction, .. } = event {
                corrections.push((*minutes, correction));
            }
        }
    }
    master.finish()?;

    for (minutes, correction) in &corrections {
        let clock = 14 * 60 + minutes;
        println!(
            "the clock that shows {:02}:{:02} is corrected by {}",
            clock / 60,
            clock % 60,
            span::signed(*correction)
        );
        if (TimeDelta::minutes(2 - minutes) - *correction).abs() > TOLERANCE {
            return Err("that does not make 14:02".into());
        }
    }
    if corrections.len() != 3 {
        return Err(format!("{} of 3 clocks were corrected", corrections.len()).into());
    }
    println!("all three show 14:02 now");
    Ok(())
}
