//! What a running master says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::average::reputation::Standing;
use crate::average::round::{Above, NodeId, Row, Wire};
use crate::master::observations::{Answer, Follower, Seen};
use crate::master::shared::Shared;
use crate::report::status::{
    BurstStatus, CandidateStatus, GroupClock, LeadStatus, MASTER, MasterStatus, ReputationStatus,
    TreeStatus, VERSION, clock, round,
};
use crate::span::nanoseconds;
use crate::wire::candidate::{Rank, Role};

/// Asks a master for its status, from any thread, for as long as it likes.
#[derive(Debug, Clone)]
pub struct MasterObserver(pub(crate) Arc<Shared>);

impl MasterObserver {
    /// What the master says of itself now. It holds up no round: what was seen is copied, and the
    /// rest is done with the copy.
    #[must_use]
    pub fn status(&self) -> MasterStatus {
        let shared = &self.0;
        let seen = shared.observations.seen();
        let facts = &shared.observations.facts;
        let standings = shared.ensemble().standings();
        let now = Instant::now();
        let lead = lead(shared, &seen, now);
        // Who neither leads nor is led holds over.
        let holdover = (lead.role == "seeks").then_some(lead.since_s);
        let steps = seen.steps + seen.told.steps;
        MasterStatus {
            version: VERSION,
            program: MASTER.to_owned(),
            process: clock::process(&shared.clock, facts.name.as_ref(), facts.started),
            listen: shared.address().to_string(),
            interval_s: shared.rhythm().interval().as_secs_f64(),
            dry_run: facts.dry_run,
            keys: shared.trust.keys(),
            clock: clock::clock(&shared.clock, holdover, steps, facts.steers_system),
            lead,
            tree: Some(tree(shared, &seen)),
            round: (seen.round.as_ref()).map(|(held, at)| {
                let ago = now.saturating_duration_since(*at);
                round::status(held, ago.as_secs_f64())
            }),
            correction: seen.told.correction(now),
            clocks: clocks(
                &seen,
                &standings.into_iter().collect(),
                shared.clock.rate().ppm,
                now,
            ),
            counters: seen.counters,
            ntp: None,
        }
    }
}

fn lead(shared: &Shared, seen: &Seen, now: Instant) -> LeadStatus {
    let since_s = now.saturating_duration_since(seen.lead_since).as_secs_f64();
    let Some(candidacy) = &shared.candidacy else {
        return LeadStatus {
            role: "leads".to_owned(),
            leader: None,
            term: None,
            since_s,
            candidates: Vec::new(),
        };
    };
    let (candidates, view) = (&candidacy.candidates, candidacy.view());
    let (role, leader) = match view.role {
        Role::Leads => ("leads", Some(candidates.own())),
        Role::Follows(leader) => ("follows", Some(leader)),
        Role::Misses(..) | Role::Yields(_) | Role::Seeks => ("seeks", None),
    };
    let leader = leader.and_then(|rank| candidates.at(rank));
    let present = |rank| rank == candidates.own() || seen.present.contains(rank);
    let list = (0..).map(Rank).zip(candidates.list());
    let list = list.map(|(rank, address)| CandidateStatus {
        address: address.to_string(),
        present: present(rank),
        own: rank == candidates.own(),
    });
    LeadStatus {
        role: role.to_owned(),
        leader: leader.map(ToString::to_string),
        term: Some(view.term),
        since_s,
        candidates: list.collect(),
    }
}

fn tree(shared: &Shared, seen: &Seen) -> TreeStatus {
    let parent = shared.parent.as_ref();
    let stands = shared.ensemble().stands();
    let moved = seen.round.as_ref().and_then(|(held, _)| match held.above {
        Above::Moves(moved) => Some(moved),
        Above::Nobody | Above::Gone => None,
    });
    TreeStatus {
        parents: parent.map_or_else(Vec::new, |parent| {
            parent.masters.iter().map(ToString::to_string).collect()
        }),
        parent: parent.and_then(|it| Some(it.told().master?.to_string())),
        path: shared
            .path()
            .groups()
            .iter()
            .map(ToString::to_string)
            .collect(),
        clocks: stands.weight,
        deviation_ns: nanoseconds(stands.deviation),
        shift_ns: moved.map(|moved| nanoseconds(moved.shift)),
        error_ns: moved.map(|moved| nanoseconds(moved.error)),
    }
}

/// The master's own clock and those of all followers, as far as anything is known of them.
fn clocks(
    seen: &Seen,
    standings: &BTreeMap<NodeId, Standing>,
    own_ppm: f64,
    now: Instant,
) -> Vec<GroupClock> {
    let held = seen.round.as_ref().map(|(held, _)| held);
    let rows = held.iter().flat_map(|held| &held.rows);
    let rows: BTreeMap<Option<NodeId>, &Row> = rows.map(|row| (row.node, row)).collect();
    let own = GroupClock {
        name: "master".to_owned(),
        rate_ppm: Some(own_ppm),
        reach: seen.own_reach.to_string(),
        last_seen_s: Some(0.0),
        ..GroupClock::default()
    };
    let follower = |(node, follower): (&NodeId, &Arc<Follower>)| {
        let mut clock = group_clock(follower, now);
        clock.reputation = standings.get(node).map(|standing| ReputationStatus {
            rounds: standing.rounds(),
            mean_ns: nanoseconds(standing.mean()),
        });
        (Some(*node), clock)
    };
    let all = std::iter::once((None, own)).chain(seen.followers.iter().map(follower));
    let filled = all.map(|(node, mut clock)| {
        if let (Some(row), Some(held)) = (rows.get(&node), held) {
            round::fill(&mut clock, row, held);
        }
        clock
    });
    filled.collect()
}

fn group_clock(follower: &Follower, now: Instant) -> GroupClock {
    let wire = match follower.wire {
        Wire::Line => "line",
        Wire::Timestamp => "timestamp",
    };
    let heard = follower.heard;
    GroupClock {
        name: follower.name.to_string(),
        address: Some(follower.address.to_string()),
        wire: Some(wire.to_owned()),
        key_generation: follower.generation,
        rate_ppm: heard.and_then(|(heard, _)| heard.rate_ppm),
        reach: follower.reach.to_string(),
        last_seen_s: heard.map(|(_, at)| now.saturating_duration_since(at).as_secs_f64()),
        burst: burst(&follower.burst),
        ..GroupClock::default()
    }
}

fn burst(answers: &[Answer]) -> Option<BurstStatus> {
    // The first one of least delay, as in the burst itself.
    let (won, _) = (answers.iter().enumerate()).min_by_key(|(_, answer)| answer.delay_ns)?;
    Some(BurstStatus {
        offsets_ns: answers.iter().map(|answer| answer.offset_ns).collect(),
        delays_ns: answers.iter().map(|answer| answer.delay_ns).collect(),
        won,
    })
}
