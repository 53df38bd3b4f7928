//! The three clocks of the worked example over real sockets: 14:00 (the master), 13:46 and 14:20
//! agree on 14:02, by corrections of +2, +16 and -18 minutes.
//!
//! Run it with `cargo run --example worked_example`. With `-- --http` it ends with the address of a
//! page that shows its rounds, until Ctrl-C.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use berkeley::internals::clock::Simulation;
use berkeley::internals::command_line::replay;
use berkeley::internals::span;
use berkeley::internals::wire::address::Address;
use berkeley::{
    Follower, FollowerEvent, FollowerOptions, Master, MasterEvent, MasterOptions, Record, Rules,
};
use chrono::TimeDelta;

/// Whole minutes are promised, so what the network adds to them must stay below a second.
const TOLERANCE: TimeDelta = TimeDelta::seconds(1);

/// So many rounds are shown on the page; the first one decides.
const SHOWN: u64 = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let http = std::env::args()
        .skip(1)
        .any(|argument| argument == "--http");
    let file = http.then(record_file);
    let rounds = if http { SHOWN } else { 1 };
    let master = Master::start(MasterOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        interval: Duration::from_millis(500),
        min_followers: 2,
        rounds: Some(rounds),
        record: file.as_deref().map(Record::open).transpose()?,
        ..MasterOptions::default()
    })?;
    let mut followers = Vec::new();
    for (name, minutes) in [("slow", -14), ("fast", 20)] {
        let options = FollowerOptions {
            name: Some(name.parse()?),
            rounds: Some(rounds),
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
            if round.number == 1 {
                corrections.push((0, round.outcome?.average));
            }
        }
    }
    for (minutes, follower) in &followers {
        let events = std::iter::from_fn(|| follower.next_event());
        let mut made = events.filter_map(|event| match event {
            FollowerEvent::Synchronized { correction, .. } => Some(correction),
            _ => None,
        });
        corrections.extend(made.next().map(|first| (*minutes, first)));
    }
    master.finish()?;
    check(&corrections)?;
    if let Some(file) = file {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        println!("{}", replay::show(&file, address, Rules::default())?);
        println!("until Ctrl-C");
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

/// Where the rounds are recorded that the page shows.
fn record_file() -> PathBuf {
    let file = format!("berkeley-worked-example-{}.csv", std::process::id());
    std::env::temp_dir().join(file)
}

fn check(corrections: &[(i64, TimeDelta)]) -> Result<(), Box<dyn std::error::Error>> {
    for (minutes, correction) in corrections {
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
