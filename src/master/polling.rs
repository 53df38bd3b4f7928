//! The master's side of the line protocol: a burst of polls each interval, and a correction.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::average::round::{Heard, Wire};
use crate::discipline::correction::Mark;
use crate::election::allegiance::REMINDER;
use crate::master::dialogue::{Answered, Dialogue};
use crate::master::end::End;
use crate::master::mailbox::Command;
use crate::master::observations;
use crate::master::peer::Peer;
use crate::master::rhythm::Burst;
use crate::master::shared::Welcome;
use crate::measurement::burst::combined;
use crate::measurement::sample::Sample;
use crate::rate_limit::{Limit, Throttle};
use crate::wire::answer::Answer;
use crate::wire::connection::Connection;
use crate::wire::correction::Correction;
use crate::wire::message::{Message, VERSION};
use crate::wire::path::Path;
use crate::wire::steps::Steps;

/// What a follower is told that comes to a candidate that does not lead.
const ELSEWHERE: &str = "this candidate does not lead";

/// How often a group is told which groups are above it. It lets go of a parent that tells more than
/// twice as many, and its 10 s may begin at another moment.
const PATHS: Limit = Limit::per(10, Duration::from_secs(10));

/// What a burst found out.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// The interval it belongs to.
    interval: u64,
    /// The group's steps that we had taken.
    steps: Option<Steps>,
    /// The number of the poll whose answer was the best.
    n: u64,
    /// When that poll left, by our raw clock.
    at: DateTime<Utc>,
    heard: Heard,
}

/// A follower that is polled.
struct Polling<'p, 'c, 's> {
    peer: &'p mut Peer,
    connection: &'c mut Connection<'s>,
    dialogue: Dialogue,
    /// The greeting that it was told last.
    told: Option<String>,
    /// Whether it is the master of a group, and which groups it was told last are above it.
    is_group: bool,
    told_path: Option<Path>,
    /// How often it may be told.
    paths: Throttle,
    /// What its last burst found out, until a correction has come of it.
    measured: Option<Measured>,
    /// When that burst was.
    last: Burst,
    /// The group's steps that it was told last, on this connection.
    told_steps: Option<Steps>,
    /// The answers of its last burst, for whoever asks.
    answers: Vec<observations::Answer>,
}

/// Speaks the line protocol until the connection ends.
pub(crate) fn poll(peer: &mut Peer, connection: &mut Connection) -> Result<Infallible, End> {
    let mut polling = Polling {
        peer,
        connection,
        dialogue: Dialogue::new(Instant::now()),
        told: None,
        is_group: false,
        told_path: None,
        paths: Throttle::new(PATHS),
        measured: None,
        last: Burst::default(),
        told_steps: None,
        answers: Vec::new(),
    };
    let Err(end) = polling.run();
    if let End::Fault(reason) = &end {
        let reason = format!("you sent {reason}");
        let _ = polling.peer.say_bye(polling.connection, &reason);
    }
    Err(end)
}

impl Polling<'_, '_, '_> {
    fn run(&mut self) -> Result<Infallible, End> {
        self.greet()?;
        if !self.peer.shared.leads() {
            return self.dismiss(ELSEWHERE);
        }
        // The first burst at once: the clock is to be corrected soon.
        let mut due = Instant::now();
        let (mut is_new, mut belongs) = (true, false);
        loop {
            self.obey_until(due)?;
            self.greet()?;
            self.measure()?;
            if let Some(found) = self.measured {
                let belonged = std::mem::replace(&mut belongs, found.heard.synchronized);
                if is_new || belonged && !belongs {
                    self.welcome(found)?;
                    is_new = false;
                }
            }
            due = self.next_burst();
        }
    }

    fn next_burst(&self) -> Instant {
        let rhythm = self.peer.shared.rhythm();
        rhythm.next_burst(Instant::now(), self.peer.node, self.last)
    }

    /// Greets, unless the follower knows already all that there is to say.
    fn greet(&mut self) -> Result<(), End> {
        let shared = &self.peer.shared;
        let greeting = Message::Berkeley {
            version: VERSION,
            interval: Some(shared.rhythm().interval()),
            leadership: shared.leadership(),
        };
        let greeting = self.peer.certified(&greeting);
        if self.told.as_ref() != Some(&greeting) {
            self.peer.say(self.connection, greeting.clone())?;
            self.told = Some(greeting);
        }
        self.tell_path()
    }

    /// Tells the master of a group which groups are above it, unless it knows. It is to hear that
    /// before it is corrected. What would be told too often waits for the next burst.
    fn tell_path(&mut self) -> Result<(), End> {
        if self.is_group {
            let path = self.peer.shared.path();
            if self.told_path.as_ref() != Some(&path) && self.paths.admit(Instant::now()).is_some()
            {
                let line = Message::Path(path.clone()).line();
                self.peer.say(self.connection, line)?;
                self.told_path = Some(path);
            }
        }
        Ok(())
    }

    fn dismiss(&mut self, reason: &'static str) -> Result<Infallible, End> {
        self.greet()?;
        self.peer.say_bye(self.connection, reason)?;
        Err(End::Dismissed(reason))
    }

    /// Holds a burst, and reports what it has found.
    fn measure(&mut self) -> Result<(), End> {
        let began = Instant::now();
        self.measured = self.burst()?;
        self.last = Burst {
            began: Some(began),
            took: began.elapsed(),
        };
        if let Some(found) = self.measured {
            let name = self.dialogue.name();
            let (interval, steps) = (found.interval, found.steps);
            self.peer
                .report(name, Wire::Line, interval, steps, found.heard);
            let (shared, node) = (&self.peer.shared, self.peer.node);
            (shared.observations).burst(node, std::mem::take(&mut self.answers));
        }
        Ok(())
    }

    /// Corrects a clock that has just come, or was set by hand, from what the group knows already,
    /// and measures it anew: the next round is to count the corrected clock.
    fn welcome(&mut self, found: Measured) -> Result<(), End> {
        match self.peer.shared.welcome(self.peer.node, found.interval) {
            Welcome::Correct(correction) => self.adjust(found.n, correction)?,
            Welcome::Outdated => {}
            Welcome::Wait => return Ok(()),
        }
        self.measure()
    }

    fn adjust(&mut self, n: u64, correction: Correction) -> Result<(), End> {
        let adjust = Message::Adjust { n, correction };
        Ok(self.peer.say(self.connection, adjust.line())?)
    }

    /// Does what the coordinator leaves to be done, until the next burst is due. A round that is
    /// held meanwhile may have changed when that is.
    fn obey_until(&mut self, mut due: Instant) -> Result<(), End> {
        loop {
            // Who owes an answer, or the rest of a line, is not waited for until the next burst.
            let deadline = self.dialogue.deadline();
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now > deadline) {
                return Err(End::Silent);
            }
            let wait = deadline.map_or(due, |deadline| due.min(deadline));
            // However long the interval is, the follower is to see that we are here.
            let reminder = now + REMINDER;
            match self.peer.mailbox.wait(wait.min(reminder)) {
                Some(Command::Correct {
                    interval,
                    correction,
                    learned,
                }) => {
                    // A later burst was measured against a clock that has not heard of this yet.
                    let measured = self.measured.take_if(|found| found.interval == interval);
                    if let Some(Measured { n, at, .. }) = measured {
                        self.greet()?;
                        self.adjust(n, correction.with(learned, at))?;
                    }
                    due = self.next_burst();
                }
                // The answer comes before those to the next burst, and is not waited for.
                Some(Command::TellSteps) => {
                    self.greet()?;
                    self.poll()?;
                }
                Some(Command::TellPath) => self.greet()?,
                Some(Command::Announce) => {}
                Some(Command::StepDown) => {
                    self.dismiss(ELSEWHERE)?;
                }
                Some(Command::Dismiss(reason)) => {
                    self.dismiss(reason)?;
                }
                None if Instant::now() < due => {
                    if Instant::now() >= reminder {
                        self.told = None;
                        self.greet()?;
                    }
                }
                None => return Ok(()),
            }
        }
    }

    /// Polls once; the number of the poll, and our clock when it left.
    fn poll(&mut self) -> Result<(u64, Mark), End> {
        let n = self.dialogue.next_poll();
        let steps = self.peer.shared.clock.steps();
        let untold = steps.filter(|_| self.told_steps != steps);
        // With its code, which takes its time.
        let mut poll = Message::Poll { n, steps: untold }.line();
        self.peer.channel.seal(&mut poll);
        let t1 = self.peer.shared.clock.mark();
        self.connection.write(poll.as_bytes())?;
        self.told_steps = steps;
        Ok((n, Mark { steps, ..t1 }))
    }

    /// Polls back to back: what all answers tell together, as that of least delay.
    // Not inlined: what it needs of the stack is given back before the rest is done, and each page that
    // a peer's thread has touched once stays in memory.
    #[inline(never)]
    fn burst(&mut self) -> Result<Option<Measured>, End> {
        let began = Instant::now();
        let rhythm = self.peer.shared.rhythm();
        let interval = self.peer.shared.ensemble().interval();
        let mut best: Option<Measured> = None;
        let mut samples = Vec::with_capacity(rhythm.burst() as usize);
        let mut longest = Duration::ZERO;
        for _ in 0..rhythm.burst() {
            let asked = Instant::now();
            let (n, t1) = self.poll()?;
            let clock = &self.peer.shared.clock;
            let deadline = rhythm.answer_deadline();
            let t4 = |at| clock.mark_at(at);
            let channel = &mut self.peer.channel;
            let answered = (self.dialogue).answer(self.connection, channel, deadline, t4)?;
            let Some(Answered {
                answer,
                certificate,
                stamp: t4,
            }) = answered
            else {
                break;
            };
            self.peer.shared.knows(answer.term, certificate)?;
            if answer.weight.is_some() && !self.is_group {
                self.is_group = true;
                self.tell_path()?;
            }
            if t1.steps != t4.steps {
                // The group was stepped meanwhile.
                break;
            }
            let sample = match Sample::round_trip(t1.target, answer.t2, answer.t3, t4.target) {
                Ok(sample) => sample,
                // Our own clock was moved meanwhile, by the end of a round or by hand.
                Err(_) if self.peer.shared.ensemble().interval() != interval => break,
                Err(_) if self.peer.shared.clock.mark().sets != t1.sets => break,
                // Somebody slews the wall clock, by which the kernel says when the answer came.
                Err(_) if self.is_possible_by_now(&t1, &answer) => continue,
                Err(impossible) => return Err(impossible.into()),
            };
            samples.push(sample);
            if best.is_none_or(|best| sample.error < best.heard.sample.error) {
                best = Some(Measured {
                    interval,
                    steps: t1.steps,
                    n,
                    at: t1.raw,
                    heard: Heard {
                        sample,
                        rate_ppm: answer.rate_ppm,
                        synchronized: answer.synchronized,
                        machine: answer.machine,
                        reference: answer.reference,
                        weight: answer.weight.map_or(1, |it| it.clocks),
                        deviation: answer.weight.map_or(TimeDelta::zero(), |it| it.deviation),
                    },
                });
            }
            // One more answer may take as long as those before it.
            longest = longest.max(asked.elapsed());
            if began.elapsed() + longest > rhythm.burst_time() {
                break;
            }
        }
        self.answers = samples.iter().map(observations::Answer::from).collect();
        if let (Some(best), Some(sample)) = (&mut best, combined(&samples)) {
            best.heard.sample = sample;
        }
        Ok(best)
    }

    /// Whether an answer can be true that has come before now.
    fn is_possible_by_now(&self, t1: &Mark, answer: &Answer) -> bool {
        let now = self.peer.shared.clock.mark().target;
        Sample::round_trip(t1.target, answer.t2, answer.t3, now).is_ok()
    }
}
