//! Ends each interval with a round.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::average::round::{Above, Closed, Heard, NodeId, Round};
use crate::clock::{CRYSTAL_PPM, Clock, WallClock};
use crate::discipline::correction::Applied;
use crate::discipline::drift_file::DriftFile;
use crate::discipline::steering::STEP_THRESHOLD;
use crate::master::event::MasterEvent;
use crate::master::mailbox::Command;
use crate::master::parent::Parent;
use crate::master::rhythm::{Burst, Group};
use crate::master::shared::Shared;
use crate::master::shared_votes::SharedVotes;
use crate::master::state_file::StateFile;
use crate::master::waiting::Waiting;
use crate::measurement::sample::Sample;
use crate::rate_limit::Refusals;
use crate::report::record::Record;
use crate::span::{at_rate, signed};
use crate::wire::correction::{Correction, FromAbove, Learned};

/// How long connections' threads have to say goodbye before their sockets are closed for them.
const FAREWELL: Duration = Duration::from_millis(400);

/// A new group is stepped to its references in so many rounds at most, which take nine seconds:
/// whoever else comes later and says that it is one can only lead it there slowly.
const STEPPED_ROUNDS: u64 = 12;

/// What has become of a group's references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum References {
    /// Nobody was led towards any yet.
    New,
    /// The group was led towards some.
    Followed,
    /// They lead nobody, which was said: the group gets its time from the one above it.
    LeftOut,
}

pub(crate) struct Coordinator {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dry_run: bool,
    pub(crate) rounds: Option<u64>,
    pub(crate) record: Option<Record>,
    pub(crate) drift_file: Option<DriftFile>,
    pub(crate) state_file: Option<StateFile>,
    pub(crate) waiting: Waiting,
    pub(crate) refusals: Refusals,
    pub(crate) shared_votes: SharedVotes,
    /// How often our clock had been set when the last interval ended.
    pub(crate) sets: u32,
    /// The number of the last round.
    pub(crate) held: u64,
    /// What has become of the group's references.
    pub(crate) references: References,
    /// What there was above the group in the last round.
    pub(crate) above: Above,
    pub(crate) wake: Receiver<()>,
    /// Disconnected when the acceptor and all connections' threads have ended.
    pub(crate) all_ended: Receiver<()>,
}

impl Coordinator {
    pub(crate) fn run(mut self) {
        while !self.shared.is_stopping() {
            self.record_orders();
            let now = Instant::now();
            let wait = self.next_look(now) - now;
            let woken = self.wake.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            if woken && !self.first_round_is_due() {
                // To stop, or to another rhythm, or by an answer of those that are waited for.
                continue;
            }
            if !self.shared.leads() {
                self.relay();
            } else if self.close_round() {
                self.shared.stop();
            }
        }
        self.say_goodbye();
    }

    /// When to look next whether a round can be held.
    fn next_look(&self, now: Instant) -> Instant {
        let rhythm = self.shared.rhythm();
        let parent = self
            .shared
            .parent
            .as_ref()
            .filter(|_| rhythm.is_gathering());
        let patience = parent.and_then(Parent::patience).filter(|due| *due > now);
        let round = rhythm.next_round(now);
        patience.map_or(round, |due| due.min(round))
    }

    fn record_orders(&mut self) {
        for order in self.shared.take_told() {
            if let Some(record) = &mut self.record {
                let lead = self.shared.candidacy.as_ref().map(|us| us.lead());
                record.order(WallClock.read(), self.held, &order, lead);
            }
        }
    }

    /// Whether the first round has waited for the answer that has just come.
    fn first_round_is_due(&self) -> bool {
        let due = self.shared.rhythm().first_round_is_due(Instant::now());
        due && self.shared.leads() && !self.shared.is_stopping() && {
            let ensemble = self.shared.ensemble();
            ensemble.is_enough()
        }
    }

    fn own_clock(&self) -> Heard {
        Heard {
            rate_ppm: Some(self.shared.clock.rate().ppm),
            synchronized: self.shared.clock.knows_the_time(),
            machine: Some(self.shared.machine_ahead()),
            reference: self.shared.observations.facts.reference,
            ..Heard::from(Sample::OWN)
        }
    }

    /// Holds a round. Whether it was the last one.
    fn close_round(&mut self) -> bool {
        let sets = self.shared.clock.mark().sets;
        if std::mem::replace(&mut self.sets, sets) != sets {
            self.shared.ensemble().abandon_interval();
            return false;
        }
        let own = self.own_clock();
        let rhythm = self.shared.rhythm();
        if self.waits_for_parent(&own) {
            return false;
        }
        let above = self.above_unless_refused();
        let before = std::mem::replace(&mut self.above, above);
        if above == Above::Gone && before != Above::Gone {
            self.shared.outlet.tell(MasterEvent::Above(None));
        }
        self.leave_references_out(&own);
        let mut ensemble = self.shared.ensemble();
        if !rhythm.can_be_missed() {
            ensemble.excuse_silence();
        }
        if ensemble.awaits_known() {
            if self.shared.clock.is_synchronized() || rhythm.has_waited_for_known(Instant::now()) {
                ensemble.wait_no_longer();
                self.waiting.end();
            } else if ensemble.present().1 > 0 {
                self.waiting.tell(&ensemble);
            }
        }
        let group = if self.shared.clock.is_synchronized() || ensemble.knows_a_group() {
            Group::Known
        } else {
            Group::New
        };
        let (present, heard) = ensemble.present();
        let Closed { round, dropped } = ensemble.close_round_below(own, self.above);
        if let Some(round) = &round {
            ensemble.remember(round, self.shared.clock.mark().target.date_naive());
        }
        let waits = round.is_none() && ensemble.present().1 >= ensemble.wanted();
        let waits = waits && !ensemble.awaits_known();
        let held = round.as_ref().map(|round| (group, round.rows.len()));
        // Nobody is measured for the next round before it is known when that will be.
        self.shared
            .round_ended(&mut ensemble, held, present - heard);
        drop(ensemble);
        if waits {
            self.shared_votes.tell_waiting();
        }
        self.shared.observations.interval_ended(round.as_ref());
        self.dismiss(dropped);
        let Some(round) = round else {
            self.follow_parent_alone();
            return false;
        };
        let opening = group == Group::New || rhythm.is_opening();
        self.held = round.number;
        self.shared_votes.tell(&round);
        if !self.dry_run {
            let unknown_rates = group == Group::New;
            let gathered = rhythm.gathered_for(Instant::now());
            self.correct(
                &round,
                if unknown_rates {
                    gathered
                } else {
                    Duration::ZERO
                },
            );
        }
        self.keep_state();
        self.step_to_references(&round, opening);
        if let Some(record) = &mut self.record {
            let lead = self.shared.candidacy.as_ref().map(|us| us.lead());
            record.master(WallClock.read(), &round, lead);
        }
        let last = self.rounds.is_some_and(|rounds| round.number >= rounds);
        self.shared.outlet.tell(MasterEvent::Round(Box::new(round)));
        last
    }

    /// What the group above asks for, if the master follows that itself: the others go where it goes.
    fn above_unless_refused(&mut self) -> Above {
        let above = self.shared.above();
        let shift = above.moves().shift;
        if self.shared.clock.refuses(shift) {
            self.refusals.warn(shift);
            return Above::Gone;
        }
        above
    }

    /// Whether a first round of clocks that belong to no group yet waits for what the group above says.
    fn waits_for_parent(&self, own: &Heard) -> bool {
        let Some(parent) = &self.shared.parent else {
            return false;
        };
        let is_first = self.shared.rhythm().is_gathering();
        if self.shared.clock.is_synchronized() || !is_first {
            parent.follow();
            return false;
        }
        let mut ensemble = self.shared.ensemble();
        let preview = if ensemble.is_enough() {
            ensemble.preview(*own)
        } else {
            None
        };
        drop(ensemble);
        parent.is_waited_for(Instant::now(), || preview)
    }

    /// The master moves with the group above although nobody is here to hold a round with.
    fn follow_parent_alone(&mut self) {
        if let Above::Moves(moved) = self.above {
            self.correct_own_clock(Correction::default().and(&moved));
        }
    }

    /// A new group that is far from its references is stepped to them, once, in the first rounds of
    /// its `opening`: to be led there would take years.
    fn step_to_references(&mut self, round: &Round, opening: bool) {
        let Some(led) = round.led.filter(|led| led.followed > 0 && !self.dry_run) else {
            return;
        };
        let before = std::mem::replace(&mut self.references, References::Followed);
        let first = opening && round.number <= STEPPED_ROUNDS;
        if before != References::Followed && first && led.ahead.abs() > STEP_THRESHOLD {
            let made = self.shared.clock.steps();
            if let Some(steps) = made.and_then(|made| made.and(led.ahead)) {
                log::info!(
                    "the group is stepped to its references, by {}",
                    signed(led.ahead)
                );
                match &self.shared.candidacy {
                    None => drop(self.shared.take_steps(steps)),
                    Some(candidacy) => candidacy.propose(steps),
                }
            }
        }
    }

    /// Says once that references here lead nobody, if there is a group above.
    fn leave_references_out(&mut self, own: &Heard) {
        if self.above == Above::Nobody || self.references == References::LeftOut {
            return;
        }
        let reference = self.shared.ensemble().a_reference(own);
        if let Some(name) = reference {
            log::warn!(
                "{name} is a reference and leads nobody, for this group gets its time from the one \
                 above it: give --reference to a master or follower of the group at the top"
            );
            self.references = References::LeftOut;
        }
    }

    /// While another candidate leads: who is told timestamps is told its time.
    fn relay(&mut self) {
        let synchronized = self.shared.clock.is_synchronized();
        let own_ppm = synchronized.then(|| self.shared.clock.rate().ppm);
        let closed = self.shared.ensemble().close_relayed(own_ppm);
        self.dismiss(closed.dropped);
        if synchronized {
            self.shared.connections.command_all(|| Command::Announce);
        }
        self.keep_state();
    }

    /// Keeps what the next run is to know, once a minute.
    fn keep_state(&mut self) {
        let now = Instant::now();
        if let Some(file) = &mut self.drift_file {
            file.keep(self.shared.clock.rate(), now);
        }
        if let Some(file) = self.state_file.as_mut().filter(|file| file.is_due(now)) {
            let known = self.shared.ensemble().acquaintances().clone();
            file.keep(&known, now);
        }
    }

    fn dismiss(&self, dropped: Vec<NodeId>) {
        for node in dropped {
            self.shared
                .connections
                .command(node, Command::Dismiss("it gave no time in three rounds"));
        }
    }

    /// The master follows its own correction at once; the others are told theirs. Clocks of unknown rates
    /// were measured up to `drifted` ago.
    fn correct(&mut self, round: &Round, drifted: Duration) {
        // By that the average may be off, as a whole.
        let drifted = TimeDelta::from_std(drifted).unwrap_or(TimeDelta::MAX);
        let doubt = FromAbove {
            error: at_rate(drifted, 3.0 * CRYSTAL_PPM),
            ..FromAbove::default()
        };
        let mut told = Vec::with_capacity(round.rows.len());
        // The first row is the master's own.
        let mut learned = Learned {
            at: self.shared.clock.mark().raw,
            ppm: 0.0,
        };
        for row in &round.rows {
            let correction = row.correction.map(|correction| correction.and(&doubt));
            match (row.node, correction) {
                (None, Some(correction)) => learned = self.correct_own_clock(correction),
                (Some(node), Some(correction)) => told.push((node, correction)),
                (_, None) => {}
            }
        }
        // Who is polled next is told first: the next bursts may begin before the last of many is
        // told, and after its next burst a correction is out of date.
        let (now, rhythm) = (Instant::now(), self.shared.rhythm());
        told.sort_by_cached_key(|&(node, _)| rhythm.next_burst(now, node, Burst::default()));
        for (node, correction) in told {
            let command = Command::Correct {
                interval: round.interval,
                correction,
                learned,
            };
            self.shared.connections.command(node, command);
        }
    }

    fn correct_own_clock(&mut self, correction: Correction) -> Learned {
        let clock = &self.shared.clock;
        let (mark, mut known) = (clock.mark(), clock.rate());
        let correct = || {
            let made = clock.correct(mark, correction);
            let followed = matches!(made, Ok(Applied::Stepped | Applied::Slewing));
            (made, followed)
        };
        let made = match &self.shared.parent {
            Some(parent) => parent.clock.hand_down(&self.above.moves(), correct),
            None => correct().0,
        };
        if made == Ok(Applied::Stepped) {
            self.shared.observations.stepped();
        }
        match made {
            // What all are asked for alike is no news of this clock.
            Ok(Applied::Stepped | Applied::Slewing) => known.ppm += correction.common_ppm,
            Ok(Applied::Outdated) => {}
            Ok(Applied::Refused) => self.refusals.warn(correction.offset),
            Err(error) => log::debug!("the master does not correct itself: {error}"),
        }
        Learned {
            at: mark.raw,
            ppm: clock.rate().ppm - known.ppm,
        }
    }

    /// Ends all connections: in order those that listen, by force those that don't.
    fn say_goodbye(mut self) {
        self.record_orders();
        if let Some(file) = &mut self.drift_file {
            file.save(self.shared.clock.rate());
        }
        if let Some(file) = &mut self.state_file {
            let known = self.shared.ensemble().acquaintances().clone();
            file.save(&known);
        }
        if let Some(candidacy) = &self.shared.candidacy {
            candidacy.hand_over();
        }
        self.shared
            .connections
            .command_all(|| Command::Dismiss("the master is stopping"));
        if self.all_ended.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
            self.shared.connections.close_all();
            // There may have been no descriptor left to wake it with.
            self.shared.wake_acceptor();
        }
        self.shared.outlet.close();
    }
}
