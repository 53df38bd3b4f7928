//! A candidate's threads: one that elects (`election`), one for each other candidate that tells
//! it what we do (`to ADDRESS`), and the follower of whoever leads.
//!
//! What the others tell comes in like any connection, see `candidate_link.rs`.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::average::ensemble::NodeId;
use crate::election::candidates::Candidates;
use crate::election::rules::{BEAT, Election, SILENCE};
use crate::follower::handle::Follower;
use crate::master::candidacy::{Candidacy, Input, View, now};
use crate::master::error::MasterError;
use crate::master::event::MasterEvent;
use crate::master::shared::Shared;
use crate::master::threads::spawn;
use crate::rate_limit::Throttle;
use crate::wire::address::Address;
use crate::wire::candidate::{Beat, Leader, Rank, Ranks, Role};
use crate::wire::connection::Connection;
use crate::wire::escape::Escaped;
use crate::wire::line::LONGEST_LINE;
use crate::wire::message::Message;

/// So many things may have been told that the election has not heard yet.
pub(crate) const MOST_INPUTS: usize = 1024;

/// However often something changes, others are not told more often than this.
const LEAST_PAUSE: Duration = Duration::from_millis(25);

/// A candidate that can't be reached for so long is missed.
const MISSING: Duration = Duration::from_secs(5);

/// One that has sent us away is left alone for so long.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(5);

/// The election's thread, and what it keeps.
pub(crate) struct Candidate {
    shared: Arc<Shared>,
    candidacy: Arc<Candidacy>,
    inputs: Receiver<Input>,
    election: Election,
    /// What the rest of the master has been told.
    role: Role,
    /// The connection that each candidate was heard on last, and when.
    links: Vec<Option<(NodeId, Instant)>>,
    tellers: Vec<Sender<Tell>>,
    told: Option<(Beat, Instant)>,
    follower: Option<(Role, Follower)>,
    /// Changes of the lead: how often they are told, and whether one was not.
    changes: Throttle,
    untold: bool,
    /// Dropped when another candidate leads in our place.
    resigned: Option<Sender<()>>,
}

impl Candidate {
    /// A candidate that has still to be run; the threads that tell the others have started.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        candidacy: &Arc<Candidacy>,
        inputs: Receiver<Input>,
    ) -> Result<Self, MasterError> {
        let candidates = &candidacy.candidates;
        let mut tellers = Vec::new();
        for (rank, address) in candidates.others() {
            let (tells, told) = mpsc::channel();
            let teller = Teller::new(candidates, rank, address);
            spawn(&format!("to {address}"), move || teller.run(&told))?;
            tellers.push(tells);
        }
        let count = candidates.list().len();
        Ok(Self {
            election: Election::new(candidates.own(), count, now()),
            shared: Arc::clone(shared),
            candidacy: Arc::clone(candidacy),
            inputs,
            role: Role::Seeks,
            links: vec![None; count],
            tellers,
            told: None,
            follower: None,
            changes: Throttle::default(),
            untold: false,
            resigned: None,
        })
    }

    pub(crate) fn run(mut self) {
        loop {
            match self.inputs.recv_timeout(self.due()) {
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // No more than there can be, or who tells us faster than we listen would hold us up.
            for _ in 0..MOST_INPUTS {
                match self.inputs.try_recv() {
                    Ok(input) => self.take(input),
                    Err(_) => break,
                }
            }
            if self.resigned.is_none() {
                if self.shared.clock.is_synchronized() {
                    self.election.synchronized();
                }
                self.election.act(now());
            } else if !matches!(self.role, Role::Leads | Role::Yields(_)) {
                // Nobody has to wait for us.
                return;
            }
            self.settle();
            self.tell_others();
            self.tell_what_we_follow();
        }
    }

    /// How long to wait for something to happen.
    fn due(&self) -> Duration {
        let Some((told, at)) = self.told else {
            return Duration::ZERO;
        };
        let changed = self.election.beat(now()) != told;
        let pause = if changed { LEAST_PAUSE } else { BEAT };
        pause.saturating_sub(at.elapsed())
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Heard(rank, beat, link) => {
                // A candidate that connects anew is heard there, and where it was heard before
                // only if the new connection has fallen silent.
                let stale = |(heard, at): (NodeId, Instant)| link < heard && at.elapsed() < SILENCE;
                if self.links[rank.0].is_some_and(stale) {
                    return;
                }
                self.links[rank.0] = Some((link, Instant::now()));
                self.election.heard(rank, beat, now());
                if beat.role == Role::Leads && self.resigned.is_some() {
                    self.role = Role::Follows(rank);
                }
            }
            Input::Lost(rank, link) => {
                if self.links[rank.0].is_some_and(|(heard, _)| heard == link) {
                    self.links[rank.0] = None;
                    self.election.lost(rank);
                }
            }
            Input::Knows(term) => self.election.knows(term),
            Input::Resign(done) => {
                if self.election.resign(now()).is_none() {
                    self.role = Role::Seeks;
                }
                self.resigned = Some(done);
            }
        }
    }

    /// Lets the rest of the master be what the election says.
    fn settle(&mut self) {
        let role = self.election.role();
        let before = self.candidacy.view();
        if role == Role::Leads && before.role != role {
            // Nobody else may correct our clock from now on.
            self.unfollow();
        }
        self.candidacy.publish(View {
            role,
            term: self.election.term(),
            waited: self.election.waited(),
            at: now(),
        });
        if self.role != role || before.term != self.election.term() {
            self.change_to(role);
        }
        // Another candidate can have this as often as it likes.
        if self.untold && self.changes.admit(Instant::now()).is_some() {
            self.untold = false;
            self.log_role();
            self.tell_role();
        }
    }

    fn change_to(&mut self, role: Role) {
        let led = self.role == Role::Leads;
        let changed = std::mem::replace(&mut self.role, role) != role;
        self.untold = true;
        match role {
            Role::Leads if !led => self.shared.take_lead(),
            Role::Seeks | Role::Misses(..) | Role::Follows(_) if led => self.shared.step_down(),
            _ => {}
        }
        if let Role::Follows(leader) = role
            && changed
        {
            self.follow(leader);
        }
    }

    fn tell_role(&self) {
        let mut leadership = self.candidacy.leadership();
        match self.role {
            // It is told to followers, who may reach it; we don't.
            Role::Misses(..) => leadership.leader = Leader::Nobody,
            Role::Yields(_) => return,
            Role::Leads | Role::Follows(_) | Role::Seeks => {}
        }
        self.shared.outlet.tell(MasterEvent::Lead(leadership));
    }

    fn log_role(&self) {
        let candidates = &self.candidacy.candidates;
        let name = |rank| {
            candidates
                .at(rank)
                .map_or_else(String::new, Address::to_string)
        };
        let does = match self.role {
            Role::Leads => {
                let waited = self.election.waited().as_millis();
                format!("leads, after a wait of {waited} ms")
            }
            Role::Follows(leader) => format!("follows {}", name(leader)),
            Role::Misses(leader, away) => {
                format!("does not reach {}, which is {away} away", name(leader))
            }
            Role::Seeks => "seeks a leader".to_owned(),
            Role::Yields(successor) => format!("hands over to {}", name(successor)),
        };
        log::info!(
            "term {}: {}, rank {} of {}, {does}",
            self.election.term(),
            name(candidates.own()),
            candidates.own().0,
            candidates.list().len(),
        );
    }

    fn follow(&mut self, leader: Rank) {
        let follows = Role::Follows(leader);
        if self
            .follower
            .as_ref()
            .is_some_and(|(role, _)| *role == follows)
        {
            // Its connection may well have outlived a doubt.
            return;
        }
        self.unfollow();
        let Some(address) = self.candidacy.candidates.at(leader) else {
            return;
        };
        let clock = self.shared.clock.clone();
        match Follower::of_leader(address.clone(), self.election.term(), clock) {
            Ok(follower) => self.follower = Some((follows, follower)),
            Err(error) => log::warn!("cannot follow {address}: {error}"),
        }
    }

    fn unfollow(&mut self) {
        if let Some((_, follower)) = self.follower.take()
            && let Err(error) = follower.finish()
        {
            log::warn!("what followed the last leader failed: {error}");
        }
    }

    fn tell_others(&mut self) {
        let beat = self.election.beat(now());
        let due = |(told, at): (Beat, Instant)| {
            at.elapsed() >= BEAT || told != beat && at.elapsed() >= LEAST_PAUSE
        };
        if self.told.is_none_or(due) {
            self.told = Some((beat, Instant::now()));
            let in_touch = self.election.touches(now());
            for teller in &self.tellers {
                // It lives as long as we do.
                let _ = teller.send(Tell { beat, in_touch });
            }
        }
    }

    fn tell_what_we_follow(&self) {
        if let Some((_, follower)) = &self.follower {
            while let Some(event) = follower.next_event_now() {
                self.shared.outlet.tell(MasterEvent::Followed(event));
            }
        }
    }
}

/// What a teller is told.
#[derive(Debug, Clone, Copy)]
struct Tell {
    beat: Beat,
    /// Who hears us, and is heard.
    in_touch: Ranks,
}

/// Tells one other candidate what we do.
struct Teller {
    own: Rank,
    own_address: Address,
    rank: Rank,
    address: Address,
    link: Option<TcpStream>,
    /// When we were in touch last, or connected.
    in_touch: Instant,
    /// Since when it can't be reached.
    missing: Option<Instant>,
    /// Whether that was said.
    said: bool,
    /// What it answered last, and when: it does not know us.
    complaint: Option<(String, Instant)>,
}

impl Teller {
    fn new(candidates: &Candidates, rank: Rank, address: &Address) -> Self {
        Self {
            own: candidates.own(),
            own_address: candidates.list()[candidates.own().0].clone(),
            rank,
            address: address.clone(),
            link: None,
            in_touch: Instant::now(),
            missing: None,
            said: false,
            complaint: None,
        }
    }

    fn run(mut self, tells: &Receiver<Tell>) {
        while let Ok(tell) = tells.recv() {
            // Only the latest counts.
            let Tell { beat, in_touch } = tells.try_iter().last().unwrap_or(tell);
            if in_touch.contains(self.rank) {
                self.in_touch = Instant::now();
            }
            // A connection through a network that was cut takes its time to recover, and a new
            // one does not.
            if self.is_closed() || self.in_touch.elapsed() > SILENCE {
                self.connect();
            }
            let line = Message::Candidate {
                rank: self.own,
                address: self.own_address.clone(),
                beat,
            };
            if let Some(link) = &self.link {
                let sent = Connection::new(link).and_then(|mut c| c.write(line.line().as_bytes()));
                if let Err(error) = sent {
                    log::debug!("cannot tell {}: {error}", self.address);
                    self.link = None;
                }
            }
        }
    }

    fn connect(&mut self) {
        self.link = None;
        let complained = self.complaint.as_ref();
        if complained.is_some_and(|(_, at)| at.elapsed() < COMPLAINT_PAUSE) {
            return;
        }
        match self.address.connect(SILENCE / 2) {
            Ok(link) => {
                if self.said {
                    log::info!("candidate {} is there again", self.address);
                }
                (self.missing, self.said) = (None, false);
                self.link = Some(link);
                self.in_touch = Instant::now();
            }
            Err(error) => {
                let since = *self.missing.get_or_insert_with(Instant::now);
                if !self.said && since.elapsed() > MISSING {
                    log::warn!(
                        "cannot reach candidate {}: {error}; trying on",
                        self.address
                    );
                    self.said = true;
                }
            }
        }
    }

    /// Whether the other candidate has closed the connection, which it says nothing on, unless
    /// it does not know us.
    fn is_closed(&mut self) -> bool {
        let Some(mut link) = self.link.as_ref() else {
            return true;
        };
        let mut answer = [0; LONGEST_LINE];
        let read = link
            .set_nonblocking(true)
            .and_then(|()| link.read(&mut answer));
        let blocking = link.set_nonblocking(false);
        match (read, blocking) {
            (Err(error), Ok(())) if error.kind() == ErrorKind::WouldBlock => false,
            (Ok(length), Ok(())) if length > 0 => {
                let answer = Escaped(answer[..length].trim_ascii_end()).to_string();
                let said = self.complaint.take();
                if said.is_none_or(|(said, _)| said != answer) {
                    log::warn!("candidate {} says: {answer}", self.address);
                }
                self.complaint = Some((answer, Instant::now()));
                true
            }
            _ => true,
        }
    }
}
