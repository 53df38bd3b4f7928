//! One machine has one vote, however many connections it opens.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use berkeley::internals::span::span;
use chrono::TimeDelta;
use socket2::{Domain, Socket, Type};

use crate::faults::group::Group;
use crate::faults::peer::{Liar, Lie};
use crate::support::own_network::is_in_own_network;
use crate::support::programs::Program;
use crate::support::records::Moment;

/// One clock's share of the least window, in a group of seven.
const SHARE: TimeDelta = TimeDelta::microseconds(1000 / 7);

const CONNECTIONS: usize = 200;

/// Another machine's address.
pub(super) const OTHER: [u8; 4] = [10, 9, 0, 100];

/// A connection from the other machine.
pub(super) fn from_other(master: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((OTHER, 0)).into())?;
    socket.connect(&master.into())?;
    Ok(socket.into())
}

/// 200 connections of one machine, each with this lie, and seven honest clocks: how far the honest
/// ones moved in a round at most, and in all, and what the master said.
fn moved_by<L: Lie + Clone>(lie: &L) -> (TimeDelta, TimeDelta, String) {
    const ROUNDS: usize = 15;
    let interval = Duration::from_millis(300);
    let master = Program::start(
        std::process::Command::new(env!("CARGO_BIN_EXE_berkeley-master"))
            .args(["--listen", "0.0.0.0:0", "--interval", "300ms"])
            .args(["--min-followers", "7"]),
    );
    let port = master.address().port();
    let address = move |last: u8| SocketAddr::from(([10, 9, 0, last], port));
    // They are here before anybody else.
    let liars: Vec<_> = (0..CONNECTIONS)
        .map(|_| Liar::over(move || from_other(address(1)), lie.clone()))
        .collect();
    let group = Group::at(master, (1..=6).map(address), interval);
    let watch = group.watch();
    watch.rounds(ROUNDS);
    let said = group.master.transcript();
    let corrections = watch.corrections();
    let aheads = corrections
        .iter()
        .map(|record| record.iter().map(Moment::ahead_of_own));
    let in_all = aheads.clone().flatten().map(|it| it.abs()).max();
    let steps = aheads.filter_map(|record| {
        let record: Vec<_> = record.collect();
        let steps = record.windows(2).map(|two| (two[1] - two[0]).abs());
        steps.max()
    });
    let moved = (steps.max().expect("rounds"), in_all.expect("rounds"));
    drop(liars);
    (moved.0, moved.1, said)
}

#[test]
#[ignore = "needs root, unshare and ip"]
fn a_machine_with_200_connections_moves_nobody_by_more_than_one_clocks_share() {
    let last = [1, 2, 3, 4, 5, 6, OTHER[3]];
    let addresses = last.map(|last| format!("10.9.0.{last}"));
    let test =
        "rules::votes::a_machine_with_200_connections_moves_nobody_by_more_than_one_clocks_share";
    if !is_in_own_network(test, &addresses) {
        return;
    }
    let lies: [(&str, i64); 2] = [
        ("10 h ahead", 36_000_000_000_000),
        ("0.9 ms ahead", 900_000),
    ];
    for (what, ahead) in lies {
        let (round, all, said) = moved_by(&move |honest: i64| honest + ahead);
        println!(
            "rules | 200 connections of one machine, {what} | in a round {}, in all {} | limit: {} a round",
            span(round),
            span(all),
            span(SHARE),
        );
        assert!(
            round <= SHARE,
            "{what}: moved by {} in a round",
            span(round)
        );
        assert!(said.contains("same machine"), "{said}");
        assert!(said.contains("raise --votes-per-address"), "{said}");
        assert!(all <= SHARE * 20, "{what}: moved by {} in all", span(all));
    }
}
