//! What a follower says and hears on the line protocol: it answers polls and follows corrections.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::clock::Clock;
use crate::discipline::correction::Mark;
use crate::election::allegiance::{Greeted, LONGEST_SILENCE, patience};
use crate::follower::end::End;
use crate::follower::link::Link;
use crate::follower::represented::Represented;
use crate::keys::channel;
use crate::keys::code::Code;
use crate::rate_limit::{Budget, Limit, Throttle};
use crate::wire::answer::Answer;
use crate::wire::candidate::{Leadership, Term};
use crate::wire::connection::MESSAGE_DEADLINE;
use crate::wire::correction::Correction;
use crate::wire::message::{INTERVALS, LARGEST_BURST, Message, VERSION};
use crate::wire::name::NodeName;
use crate::wire::path::Path;
use crate::wire::reader::{Heard, LineReader};
use crate::wire::steps::Steps;

/// A master that polls is lost when it is silent for this many of its intervals, or for
/// [`LONGEST_SILENCE`]...
const SILENT_INTERVALS: u32 = 3;

/// ... but not before this time, however short they are.
const SHORTEST_SILENCE: Duration = Duration::from_secs(3);

/// How many answers are remembered, so that a correction can name the one it follows from: as
/// many as the longest burst has.
const REMEMBERED: usize = LARGEST_BURST as usize + 16;

/// No tree changes more often than this. Each change is passed on to all groups below.
const PATHS: Limit = Limit::per(20, Duration::from_secs(10));

/// Speaks the line protocol until the connection is of no more use, and says goodbye.
pub(crate) fn speak(link: &mut Link) -> Result<Infallible, End> {
    let Err(end) = Dialogue::new(link).listen();
    let goodbye = match &end {
        End::Fault(what) => format!("you sent {what}"),
        _ if link.node.control.is_stopping() => "the follower is stopping".to_owned(),
        _ => return Err(end),
    };
    let _ = link.say(&Message::Bye { reason: goodbye });
    Err(end)
}

/// How far a dialogue has come.
enum Phase {
    /// The master has not greeted.
    Opening,
    /// It has.
    Greeted {
        /// From one of its rounds to the next.
        interval: Duration,
        /// How long it may be silent.
        patience: Duration,
        /// The term that it leads in, where there are candidates.
        term: Option<Term>,
    },
}

struct Dialogue<'a, 'b> {
    link: &'a mut Link<'b>,
    phase: Phase,
    /// When our clock was asked for, by the numbers of the questions.
    marks: VecDeque<(u64, Mark)>,
    /// What certifies the term of the last greeting, where there are keys.
    greeted_with: Option<Code>,
    /// What we are called, until we have said it; a key says it for us.
    name: Option<NodeName>,
    /// How often it may tell which groups are above ours.
    paths: Throttle,
    /// How many lines the master may still send.
    budget: Budget,
}

impl<'a, 'b> Dialogue<'a, 'b> {
    fn new(link: &'a mut Link<'b>) -> Self {
        Self {
            phase: Phase::Opening,
            marks: VecDeque::with_capacity(REMEMBERED),
            greeted_with: None,
            name: link.node.name.clone().filter(|_| !link.channel.is_keyed()),
            paths: Throttle::new(PATHS),
            budget: Budget::new(Instant::now()),
            link,
        }
    }

    fn listen(&mut self) -> Result<Infallible, End> {
        let mut reader = LineReader::default();
        let mut waited = Duration::ZERO;
        loop {
            let (interval, patience) = match self.phase {
                Phase::Opening => (MESSAGE_DEADLINE, MESSAGE_DEADLINE),
                Phase::Greeted {
                    interval, patience, ..
                } => (interval, patience),
            };
            let wait = (patience.saturating_sub(waited)).min(self.link.longest_wait());
            let clock = &self.link.node.clock;
            match reader.next(&mut self.link.connection, wait, |at| clock.mark_at(at))? {
                Heard::Message((line, arrival)) => {
                    waited = Duration::ZERO;
                    self.link.check_key()?;
                    self.obey(line, arrival)?;
                    if self.budget.is_overdrawn(Instant::now(), interval) {
                        return Err(End::Fault("too many lines".to_owned()));
                    }
                }
                Heard::Nothing if waited + wait < patience => {
                    waited += wait;
                    self.link.check_key()?;
                }
                Heard::Nothing => {
                    let silence = format!("it was silent for {} s", patience.as_secs());
                    return Err(End::Lost(silence));
                }
                Heard::End => return Err(End::closed()),
            }
        }
    }

    /// Does what a line asks for, which came when our clock was at `arrival`.
    fn obey(&mut self, line: &str, arrival: Mark) -> Result<(), End> {
        let line = self.link.channel.open(line)?;
        let certificate = channel::certificate(line);
        match (Message::parse(line)?, &self.phase) {
            (Message::Bye { reason }, _) => Err(End::Lost(format!("it says: {reason}"))),
            (
                Message::Berkeley {
                    version: VERSION,
                    interval,
                    leadership,
                },
                _,
            ) => {
                let interval = interval.unwrap_or(self.link.node.options.interval);
                self.phase = self.greeted(interval, leadership.as_ref())?;
                self.greeted_with = certificate;
                let term = leadership.map(|leadership| leadership.term);
                self.link.node.control.greeted(term);
                self.link.tell();
                Ok(())
            }
            (Message::Berkeley { version, .. }, _) => Err(End::Fault(format!(
                "BERKELEY {version}, and this follower knows version {VERSION} only; update the \
                 older program"
            ))),
            (Message::Poll { n, steps }, &Phase::Greeted { term, .. }) => {
                let by = steps.map_or(Ok(TimeDelta::zero()), |it| self.take_steps(it, term))?;
                let arrival = self.link.node.stepped(arrival, by);
                self.answer(n, arrival)
            }
            (Message::Path(path), Phase::Greeted { .. }) => self.hear_path(&path),
            (Message::Adjust { n, correction }, &Phase::Greeted { term, .. }) => {
                self.adjust(n, correction, term)
            }
            _ => Err(End::Fault(format!("{line:?} out of turn"))),
        }
    }

    /// A master greets: how to stay with it, if at all.
    fn greeted(
        &mut self,
        interval: Duration,
        leadership: Option<&Leadership>,
    ) -> Result<Phase, End> {
        if !INTERVALS.contains(&interval) {
            let what = format!("an interval of {interval:?}, which no master keeps to");
            return Err(End::Fault(what));
        }
        let Some(leadership) = leadership else {
            let silence = interval * SILENT_INTERVALS;
            return Ok(Phase::Greeted {
                interval,
                patience: silence.clamp(SHORTEST_SILENCE, LONGEST_SILENCE),
                term: None,
            });
        };
        match self.link.node.allegiance.greeted(leadership) {
            Greeted::Stay => Ok(Phase::Greeted {
                interval,
                patience: patience(interval),
                term: Some(leadership.term),
            }),
            Greeted::GoTo(leader) => Err(End::Elsewhere(format!("{leader} leads"))),
            Greeted::Nobody => Err(End::Elsewhere("nobody leads yet".to_owned())),
            Greeted::Refuse(impossible) => Err(End::Fault(impossible.to_string())),
        }
    }

    /// Makes the steps of the group, if its leader is to be believed. By how much our clock moved.
    fn take_steps(&mut self, steps: Steps, term: Option<Term>) -> Result<TimeDelta, End> {
        let node = &mut *self.link.node;
        if term.is_some_and(|term| !node.allegiance.believes(term)) {
            return Ok(TimeDelta::zero());
        }
        let by = node.take_steps(steps)?;
        // A correction that follows from an earlier answer holds on both sides of a step.
        for (_, mark) in &mut self.marks {
            *mark = node.stepped(*mark, by);
        }
        Ok(by)
    }

    /// Hears which groups are above ours, if we speak for one.
    fn hear_path(&mut self, path: &Path) -> Result<(), End> {
        let Some(group) = &self.link.node.group else {
            return Ok(());
        };
        if self.paths.admit(Instant::now()).is_none() {
            return Err(End::Fault("too many paths".to_owned()));
        }
        group.hear(path).map_err(End::Lost)
    }

    /// Tells our clock.
    fn answer(&mut self, n: u64, arrival: Mark) -> Result<(), End> {
        if self.marks.len() == REMEMBERED {
            self.marks.pop_front();
        }
        self.marks.push_back((n, arrival));
        let node = &self.link.node;
        let group = node.group.as_deref();
        if group.is_some_and(|group| !group.is_asked()) {
            return Ok(());
        }
        let rate_ppm = group.map_or_else(|| node.clock.rate().ppm, Represented::rate_ppm);
        let known = node.allegiance.term();
        let synchronized =
            group.map_or_else(|| node.clock.knows_the_time(), Represented::knows_the_time);
        let weight = group.map(Represented::weight);
        let has_room = self.name.is_none() && weight.is_none();
        let certificate = node.certificate.filter(|_| self.link.channel.is_keyed());
        let code_cost = self.link.code_cost();
        let machine = node.wall.read() - node.clock.mark().target;
        // Last of all: what is done after this is taken for the network's delay.
        let departure = node.clock.mark();
        if departure.sets != arrival.sets {
            // The clock was set in between; the next poll will get an answer.
            return Ok(());
        }
        let answer = Answer {
            t2: arrival.target,
            // Its code is made after this.
            t3: departure.target + code_cost,
            rate_ppm: Some(rate_ppm),
            term: (known > 0).then_some(known),
            synchronized,
            machine: has_room.then_some(machine),
            reference: node.options.reference.filter(|_| has_room),
            weight,
            name: self.name.take(),
        };
        let mut line = Message::Time { n, answer }.line();
        if let (Some(certificate), true) = (certificate, known > 0) {
            channel::add_certificate(&mut line, certificate);
        }
        Ok(self.link.send(line)?)
    }

    /// Follows a correction, if its sender is to be believed.
    fn adjust(&mut self, n: u64, correction: Correction, term: Option<Term>) -> Result<(), End> {
        let answered = self.marks.iter().find(|(asked, _)| *asked == n);
        let Some(&(_, mark)) = answered else {
            return Err(End::Fault(format!("ADJUST {n} without POLL {n}")));
        };
        // What was answered before this correction is of no use after it.
        self.marks.clear();
        let node = &mut *self.link.node;
        if term.is_some_and(|term| !node.allegiance.believes(term)) {
            // It hears of the higher term with our next answer.
            log::debug!("a leader of an older term is not followed");
            return Ok(());
        }
        node.allegiance.corrected(term.unwrap_or_default());
        node.certificate = self.greeted_with;
        node.adjust(mark, correction)
    }
}
