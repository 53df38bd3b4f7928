//! What the threads of a master share.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use chrono::TimeDelta;

use crate::average::ensemble::Ensemble;
use crate::average::round::{Above, Heard, NodeId, Wire};
use crate::clock::{Clock, WallClock};
use crate::discipline::correction::OutOfRange;
use crate::discipline::network_clock::NetworkClock;
use crate::election::ancestry::Ancestry;
use crate::election::term::ImpossibleTerm;
use crate::keys::code::Code;
use crate::keys::group::GroupKeys;
use crate::keys::holder::Generation;
use crate::keys::node_key::NodeKey;
use crate::lock::lock;
use crate::master::admission::Limits;
use crate::master::candidacy::{self, Candidacy};
use crate::master::connections::Connections;
use crate::master::end::End;
use crate::master::event::MasterEvent;
use crate::master::mailbox::Command;
use crate::master::observations::{Facts, Observations};
use crate::master::outlet::Outlet;
use crate::master::parent::Parent;
use crate::master::rhythm::{Group, Rhythm};
use crate::master::trust::Trust;
use crate::report::record::ToldRow;
use crate::span::signed;
use crate::wire::candidate::{Leadership, Term};
use crate::wire::correction::Correction;
use crate::wire::path::{GroupId, Path};
use crate::wire::steps::Steps;
use crate::wire::vote_order::VoteOrder;

/// More orders than an operator gives before the coordinator takes them.
const MOST_TOLD: usize = 1000;

/// Two machines that have one key take each other's place more often than this.
const SHORT_SESSION: Duration = Duration::from_mins(1);

/// How long the acceptor may take to notice that it is stopped.
const WAKING: Duration = Duration::from_millis(200);

/// What all threads of a master share. No lock here is held across input or output.
pub(crate) struct Shared {
    pub(crate) clock: NetworkClock,
    /// If there are several masters that may lead.
    pub(crate) candidacy: Option<Arc<Candidacy>>,
    /// If there is a group above ours.
    pub(crate) parent: Option<Parent>,
    /// What those below know our group by, where there is none above it.
    group: GroupId,
    pub(crate) connections: Connections,
    pub(crate) trust: Trust,
    pub(crate) outlet: Outlet,
    pub(crate) observations: Observations,
    rhythm: Mutex<Rhythm>,
    address: SocketAddr,
    ensemble: Mutex<Ensemble>,
    stopping: AtomicBool,
    wake_coordinator: SyncSender<()>,
    /// What the acceptor will be called by, to notice that it is stopped: when that is due, the
    /// last descriptor may be the one that `accept` waits with.
    caller: Mutex<Option<Socket>>,
    /// What an operator has told that is still to be recorded.
    told: Mutex<Vec<ToldRow>>,
}

/// What [`Shared`] sends to, for those who receive it.
pub(crate) struct Receivers {
    /// Ends the coordinator's wait.
    pub(crate) wake: Receiver<()>,
    pub(crate) events: Receiver<MasterEvent>,
}

/// Where followers come in, and who is let in.
pub(crate) struct Entrance {
    pub(crate) address: SocketAddr,
    pub(crate) limits: Limits,
    pub(crate) trust: Trust,
}

/// What a clock that has just come and was measured is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Welcome {
    /// Correct itself at once.
    Correct(Correction),
    /// Be measured anew: a round has moved the master meanwhile.
    Outdated,
    /// Wait for the next round.
    Wait,
}

impl Shared {
    pub(crate) fn new(
        clock: NetworkClock,
        rhythm: Rhythm,
        ensemble: Ensemble,
        entrance: Entrance,
        candidacy: Option<Arc<Candidacy>>,
        (group, parent): (GroupId, Option<Parent>),
        facts: Facts,
    ) -> (Arc<Self>, Receivers) {
        let Entrance {
            address,
            limits,
            trust,
        } = entrance;
        let (wake_coordinator, wake) = mpsc::sync_channel(1);
        let (outlet, events) = Outlet::new();
        let shared = Self {
            clock,
            candidacy,
            parent,
            group,
            connections: Connections::new(limits, trust.group().is_some(), rhythm.interval()),
            trust,
            outlet,
            observations: Observations::new(facts),
            rhythm: Mutex::new(rhythm),
            address,
            ensemble: Mutex::new(ensemble),
            stopping: AtomicBool::new(false),
            wake_coordinator,
            caller: Mutex::new(caller_of(address).ok()),
            told: Mutex::default(),
        };
        (Arc::new(shared), Receivers { wake, events })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn rhythm(&self) -> Rhythm {
        *lock(&self.rhythm)
    }

    /// Notes how an interval has ended: with a round of so many followers, `late` others being too late
    /// for it; or with `None`, when nobody was heard.
    pub(crate) fn round_ended(
        &self,
        ensemble: &mut Ensemble,
        held: Option<(Group, usize)>,
        late: usize,
    ) {
        let (now, mut rhythm) = (Instant::now(), lock(&self.rhythm));
        match held {
            Some((group, followers)) => rhythm.round_held(now, group, followers, late),
            None if late > 0 => rhythm.nobody_heard(now),
            None => {}
        }
        ensemble.next_round_after(rhythm.pause());
    }

    pub(crate) fn ensemble(&self) -> MutexGuard<'_, Ensemble> {
        lock(&self.ensemble)
    }

    /// Whether this master holds rounds: always, unless another candidate leads.
    pub(crate) fn leads(&self) -> bool {
        let candidacy = self.candidacy.as_ref();
        candidacy.is_none_or(|candidacy| candidacy.leads())
    }

    /// What followers are told of who leads, where there are candidates.
    pub(crate) fn leadership(&self) -> Option<Leadership> {
        let candidacy = self.candidacy.as_ref()?;
        Some(candidacy.leadership())
    }

    /// A follower knows of a leader of this term. Where there are keys, that counts only with what
    /// a candidate has made for the term.
    pub(crate) fn knows(
        &self,
        term: Option<Term>,
        certificate: Option<Code>,
    ) -> Result<(), ImpossibleTerm> {
        let (Some(term), Some(candidacy)) = (term, &self.candidacy) else {
            return Ok(());
        };
        let certified = self.trust.group().is_none_or(|group| {
            certificate.is_some_and(|certificate| group.certifies(term, certificate))
        });
        if certified {
            candidacy.knows(term)
        } else {
            Ok(())
        }
    }

    /// A connection from `from` has proven what key it holds: it takes the place of the one before it.
    pub(crate) fn prove(&self, node: NodeId, key: &NodeKey, from: SocketAddr) {
        let Some(before) = self.connections.prove(node, key) else {
            return;
        };
        self.ensemble().leave(before.node);
        // A machine whose connection was cut comes back from where it was, and not at once again.
        if before.is_elsewhere || before.lasted < SHORT_SESSION {
            let lasted = before.lasted.as_secs_f64();
            self.outlet.warn_of(
                "one key, two sessions",
                key.holder.name.as_str(),
                &format!(
                    "its session from {} has ended after {lasted:.1} s, for {from} has proven the \
                     same key: if those are two machines, give each a key of its own",
                    before.from
                ),
            );
        }
    }

    /// Ends the sessions of those whose keys are not good for the group any more.
    pub(crate) fn expel_void_keys(&self, group: &GroupKeys) {
        for (node, why) in self.connections.expel(group) {
            self.ensemble().leave(node);
            let name = why.name().as_str();
            (self.outlet).warn(name, &format!("{why}: its session has ended"));
        }
    }

    /// The election has made us the leader: followers come now, and are not to wait for long.
    pub(crate) fn take_lead(&self) {
        lock(&self.rhythm).restart(Instant::now());
        let mut ensemble = self.ensemble();
        ensemble.begin_to_lead(self.clock.knows_the_time());
        ensemble.abandon_interval();
        drop(ensemble);
        if let Some(parent) = self
            .parent
            .as_ref()
            .filter(|_| self.clock.is_synchronized())
        {
            parent.follow();
        }
        self.wake_coordinator();
    }

    /// Another candidate leads: our followers are to go there.
    pub(crate) fn step_down(&self) {
        if let Some(parent) = &self.parent {
            parent.leave();
        }
        self.connections.command_all(|| Command::StepDown);
    }

    /// From the group at the top to ours.
    pub(crate) fn path(&self) -> Path {
        let parent = self.parent.as_ref();
        parent.map_or_else(|| Path::of(self.group), Parent::path)
    }

    /// Lets what is known of the groups above change, and those below hear it if that changes our
    /// path. What comes of it, if there is a parent.
    pub(crate) fn change_ancestry<T>(&self, change: impl FnOnce(&mut Ancestry) -> T) -> Option<T> {
        let (outcome, changed) = self.parent.as_ref()?.change(change);
        if changed {
            self.connections.command_all(|| Command::TellPath);
        }
        Some(outcome)
    }

    /// What there is above the group in a round that ends now.
    pub(crate) fn above(&self) -> Above {
        let Some(parent) = &self.parent else {
            return Above::Nobody;
        };
        let broke = |ancestry: &mut Ancestry| ancestry.break_loop(candidacy::now());
        if self.change_ancestry(broke) == Some(true) {
            parent.start_anew();
        }
        parent.above()
    }

    /// A correction has come from above, or is not to come, for which a first round may have waited.
    pub(crate) fn news_from_above(&self) {
        if lock(&self.rhythm).is_gathering() {
            self.wake_coordinator();
        }
    }

    /// Makes those of the group's steps that this master has not made yet, and lets all followers
    /// make them now. By how much our clock moved.
    ///
    /// # Errors
    /// [`OutOfRange`], as for [`NetworkClock::take_steps`]; nothing is changed.
    pub(crate) fn take_steps(&self, steps: Steps) -> Result<TimeDelta, OutOfRange> {
        // No clock is noted between the two.
        let mut ensemble = self.ensemble();
        let by = self.clock.take_steps(steps)?;
        ensemble.step(by);
        drop(ensemble);
        if by.is_zero() {
            return Ok(by);
        }
        self.connections.command_all(|| Command::TellSteps);
        self.observations.stepped();
        let number = steps.number;
        log::info!("step {number} of the group: by {}", signed(by));
        self.outlet.tell(MasterEvent::Stepped { by, number });
        Ok(by)
    }

    /// Another candidate passes on what an operator has told it about a clock's vote.
    pub(crate) fn hear_order(&self, order: &VoteOrder, candidacy: &Candidacy) {
        let mut ensemble = self.ensemble();
        if !ensemble.hear_order(order) {
            return;
        }
        let number = ensemble.dropped().number();
        drop(ensemble);
        candidacy.know_orders(number);
        let there = candidacy.candidates.at(order.stamp.rank);
        let there = there.map_or_else(String::new, ToString::to_string);
        self.outlet.tell_change(MasterEvent::Told {
            who: format!("an operator at {there}"),
            order: order.to_string(),
        });
    }

    /// An operator has told us something, which is to be recorded.
    pub(crate) fn note_told(&self, row: ToldRow) {
        let mut told = lock(&self.told);
        // The coordinator takes them at once, unless it is held up for good.
        if told.len() < MOST_TOLD {
            told.push(row);
        }
        drop(told);
        self.wake_coordinator();
    }

    /// What was told since this was asked last.
    pub(crate) fn take_told(&self) -> Vec<ToldRow> {
        std::mem::take(&mut lock(&self.told))
    }

    /// How far this machine's own clock is ahead of our target.
    pub(crate) fn machine_ahead(&self) -> TimeDelta {
        let machine = self.observations.facts.simulation.over(WallClock);
        machine.read() - self.clock.mark().target
    }

    /// Takes a follower in and tells of it. What it is called from now on. `generation` is that of
    /// the key that it has proven, if it has.
    pub(crate) fn join(
        &self,
        node: NodeId,
        address: SocketAddr,
        name: Option<&str>,
        wire: Wire,
        generation: Option<Generation>,
    ) -> Arc<str> {
        let unnamed = address.to_string();
        let name = name.unwrap_or(&unnamed);
        let name = self.ensemble().join(node, name, Some(address), wire);
        (self.observations).join(node, &name, address, wire, generation);
        self.outlet.tell_change(MasterEvent::Joined {
            name: Arc::clone(&name),
            address,
            wire,
        });
        self.tell_waiting();
        name
    }

    /// Says how many followers the first round waits for, if it waits for several.
    fn tell_waiting(&self) {
        let (present, wanted) = {
            let ensemble = self.ensemble();
            (ensemble.present().0, ensemble.wanted())
        };
        if present < wanted && wanted > 1 && self.leads() {
            self.outlet
                .tell_change(MasterEvent::Waiting { present, wanted });
        }
    }

    /// Notes a clock. If the first round waits for it, the coordinator looks.
    pub(crate) fn report(&self, node: NodeId, interval: u64, steps: Option<Steps>, heard: Heard) {
        let mut ensemble = self.ensemble();
        // What was heard before a step is kept, and moved along, only if it was noted before.
        if self.clock.steps() == steps {
            ensemble.report(node, interval, heard);
        }
        drop(ensemble);
        self.observations.heard(node, heard);
        if lock(&self.rhythm).answered(Instant::now()) {
            self.wake_coordinator();
        }
    }

    /// What a clock that has just come is to do, which was measured in this interval.
    pub(crate) fn welcome(&self, node: NodeId, interval: u64) -> Welcome {
        let group = self.group_error();
        let mut ensemble = self.ensemble();
        if ensemble.interval() != interval {
            return Welcome::Outdated;
        }
        match ensemble.welcome(node, group) {
            Some(correction) => Welcome::Correct(correction),
            None => Welcome::Wait,
        }
    }

    /// Corrects a clock on the timestamp wire that has just come. Whether it is to be told.
    pub(crate) fn welcome_kept(&self, node: NodeId) -> bool {
        let group = self.group_error();
        self.ensemble().welcome(node, group).is_some()
    }

    /// How wrong our target may be, if we know the group's time and may tell it.
    fn group_error(&self) -> Option<TimeDelta> {
        let (_, aim) = self.clock.aim();
        aim.and_then(|aim| aim.error).filter(|_| self.leads())
    }

    /// Lets go of a connection that has ended, of a member with this name or of a stranger.
    pub(crate) fn part(
        &self,
        node: NodeId,
        address: SocketAddr,
        member: Option<&Arc<str>>,
        end: &End,
    ) {
        self.connections.unregister(node);
        self.ensemble().leave(node);
        self.observations.part(node);
        let called = member.map_or_else(|| address.to_string(), ToString::to_string);
        if let End::Fault(_) | End::Unwelcome(_) = end {
            self.outlet.warn(&called, &end.to_string());
        } else {
            log::debug!("{called}: {end}");
        }
        if let Some(name) = member {
            self.outlet.tell_change(MasterEvent::Left {
                name: Arc::clone(name),
                reason: end.to_string(),
            });
        }
    }

    fn wake_coordinator(&self) {
        let _ = self.wake_coordinator.try_send(());
    }

    /// Asks the acceptor and the coordinator to end.
    pub(crate) fn stop(&self) {
        if self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(parent) = &self.parent {
            parent.end();
        }
        self.wake_coordinator();
        self.wake_acceptor();
    }

    /// The acceptor sees that it is to stop when a connection comes, so one is made.
    pub(crate) fn wake_acceptor(&self) {
        let mut here = self.address;
        match here.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => here.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => here.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let caller = lock(&self.caller).take();
        let caller = caller.map_or_else(|| caller_of(here), Ok);
        if let Err(error) = caller.and_then(|caller| caller.connect_timeout(&here.into(), WAKING)) {
            log::debug!("cannot wake the acceptor on {here}: {error}");
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

fn caller_of(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, None)
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
