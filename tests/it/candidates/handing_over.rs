//! A leader ends after its last round, whatever its successor does.

use std::time::Duration;

use super::group::Ports;
use crate::support::programs::Program;

/// How soon after its last round a leader has to have ended: it waits 250 ms for its successor.
const ENDED_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn a_leader_ends_though_its_successor_hangs() {
    let ports = Ports::reserve(2);
    let mut leader = ports.candidate_every(0, "500ms", &["--rounds", "6"]);
    let successor = ports.candidate_every(1, "500ms", &[]);
    // Somebody has to be asked in the last round.
    let _follower = Program::follower(ports.address(0), &[]);
    leader.line("Round 5: ");
    // It was heard within the last second, so the lead is offered to it.
    successor.signal("STOP");
    leader.line("Round 6: ");
    let ended = leader.ends_within(ENDED_WITHIN);
    assert_eq!(ended.code(), Some(0));
    let log = leader.transcript();
    assert!(log.contains("hands over to"), "{log}");
}
