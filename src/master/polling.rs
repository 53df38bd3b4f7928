//! The master's side of the line protocol: a burst of polls each interval, and a correction.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::average::ensemble::{Heard, NodeId, Wire};
use crate::master::peer::{Command, End, Peer};
use crate::measurement::sample::Sample;
use crate::wire::candidate::Term;
use crate::wire::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::wire::line::LineDecoder;
use crate::wire::message::{Message, VERSION};
use crate::wire::timestamp;

/// The part of an interval that a burst may take: on a slow link it ends early.
const BURST_PART: f64 = 0.25;

/// A poll that gets no answer in the time of a burst is given up. These are the limits of that
/// time: a network's longest round trip, and what a person may take to type an answer.
const ANSWER_DEADLINE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Bursts begin in this part of the interval, so that they end before it does.
const BEGIN: (f64, f64) = (0.05, 0.70);

/// What a follower is told that comes to a candidate that does not lead.
const ELSEWHERE: &str = "this candidate does not lead";

/// The rhythm of a master: intervals since it began, and in each a moment for every node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    pub(crate) began: Instant,
    pub(crate) interval: Duration,
    /// How many polls make a burst.
    pub(crate) burst: u32,
}

impl Rhythm {
    /// The first end of an interval after `now`.
    pub(crate) fn next_round(&self, now: Instant) -> Instant {
        self.next(now, 0.0)
    }

    /// When a node's next burst begins. Multiples of the golden ratio spread any number of nodes
    /// evenly: a thousand threads woken at once would measure each other.
    pub(crate) fn next_burst(&self, now: Instant, node: NodeId) -> Instant {
        let spread = (node.0 as f64 * 0.618_033_988_749_895).fract();
        self.next(now, BEGIN.0 + (BEGIN.1 - BEGIN.0) * spread)
    }

    fn burst_time(&self) -> Duration {
        self.interval.mul_f64(BURST_PART)
    }

    fn answer_deadline(&self) -> Duration {
        self.burst_time()
            .clamp(ANSWER_DEADLINE.0, ANSWER_DEADLINE.1)
    }

    fn next(&self, now: Instant, part: f64) -> Instant {
        let first = self.began + self.interval.mul_f64(part);
        let since = now.saturating_duration_since(first).as_nanos();
        let passed = since / self.interval.as_nanos().max(1) + 1;
        if now < first {
            return first;
        }
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        first + self.interval * passed
    }
}

/// What a burst found out.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// The interval it belongs to.
    interval: u64,
    /// The number of the poll whose answer was the best.
    n: u64,
    heard: Heard,
}

/// The questions put to one follower, and its answers.
struct Dialogue {
    decoder: LineDecoder,
    /// The number of the latest poll.
    n: u64,
    /// Whether it has answered any.
    answers: bool,
    /// When the line began that has not ended yet.
    line_began: Option<Instant>,
}

/// An answer: the follower's two instants, and what it says of itself.
struct Answer {
    t2: DateTime<Utc>,
    t3: DateTime<Utc>,
    rate_ppm: Option<f64>,
    term: Option<Term>,
    synchronized: bool,
}

impl Dialogue {
    /// Takes bytes from the follower; the answer to the latest poll, if it was among them.
    fn hear(&mut self, bytes: &[u8]) -> Result<Option<Answer>, End> {
        let mut answer = None;
        for &byte in bytes {
            let Some(line) = self.decoder.push(byte)? else {
                continue;
            };
            if timestamp::parse(line.as_bytes()).is_ok() {
                // A second report, sent before our greeting came.
                continue;
            }
            match Message::parse(line)? {
                Message::Time {
                    n,
                    t2,
                    t3,
                    rate_ppm,
                    term,
                    synchronized,
                    ..
                } if n == self.n && answer.is_none() => {
                    self.answers = true;
                    answer = Some(Answer {
                        t2,
                        t3,
                        rate_ppm,
                        term,
                        synchronized,
                    });
                }
                // To a poll that was given up: no fault, and of no use.
                Message::Time { n, .. } if n < self.n => {}
                Message::Time { n, .. } => {
                    return Err(End::Fault(format!(
                        "TIME {n} where TIME {} was to come",
                        self.n
                    )));
                }
                Message::Bye { reason } => return Err(End::Bye(reason)),
                _ => return Err(End::Fault(format!("{line:?} where TIME was to come"))),
            }
        }
        self.line_began = match self.line_began {
            _ if !self.decoder.is_in_line() => None,
            None => Some(Instant::now()),
            began => began,
        };
        if self
            .line_began
            .is_some_and(|began| began.elapsed() > MESSAGE_DEADLINE)
        {
            return Err(End::Silent);
        }
        Ok(answer)
    }
}

impl Peer {
    /// Speaks the line protocol until the connection ends.
    pub(crate) fn poll(&mut self, connection: &mut Connection) -> Result<Infallible, End> {
        let rhythm = self.shared.rhythm();
        let mut told = None;
        self.greet(connection, rhythm, &mut told)?;
        if !self.shared.leads() {
            say_bye(connection, ELSEWHERE)?;
            return Err(End::Dismissed(ELSEWHERE));
        }
        self.join(Wire::Line);
        let Err(end) = self.poll_each_interval(connection, rhythm, told);
        if let End::Fault(reason) = &end {
            let _ = say_bye(connection, &format!("you sent {reason}"));
        }
        Err(end)
    }

    /// Greets, unless the follower knows already all that there is to say.
    fn greet(
        &self,
        connection: &mut Connection,
        rhythm: Rhythm,
        told: &mut Option<Message>,
    ) -> Result<(), End> {
        let greeting = Message::Berkeley {
            version: VERSION,
            interval: Some(rhythm.interval),
            leadership: self.shared.leadership(),
        };
        if told.as_ref() != Some(&greeting) {
            connection.write(greeting.line().as_bytes())?;
            *told = Some(greeting);
        }
        Ok(())
    }

    fn poll_each_interval(
        &self,
        connection: &mut Connection,
        rhythm: Rhythm,
        mut told: Option<Message>,
    ) -> Result<Infallible, End> {
        let mut dialogue = Dialogue {
            decoder: LineDecoder::default(),
            n: 0,
            answers: false,
            line_began: None,
        };
        let mut measured = None;
        let greeted = Instant::now();
        // The first burst at once: the next round is to count this clock.
        let mut due = Instant::now();
        loop {
            // Who has not answered yet, or not to the end, is not waited for until the next burst.
            let unfinished = dialogue
                .line_began
                .or((!dialogue.answers).then_some(greeted));
            let deadline = unfinished.map(|since| since + MESSAGE_DEADLINE);
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(End::Silent);
            }
            match self
                .mailbox
                .wait(deadline.map_or(due, |deadline| due.min(deadline)))
            {
                Some(Command::Correct {
                    interval,
                    correction,
                }) => {
                    // A later burst was measured against a clock that has not heard of this yet.
                    if let Some(Measured { n, .. }) =
                        measured.take_if(|measured: &mut Measured| measured.interval == interval)
                    {
                        self.greet(connection, rhythm, &mut told)?;
                        let adjust = Message::Adjust { n, correction };
                        connection.write(adjust.line().as_bytes())?;
                    }
                }
                Some(Command::Announce) => {}
                Some(Command::StepDown) => {
                    self.greet(connection, rhythm, &mut told)?;
                    say_bye(connection, ELSEWHERE)?;
                    return Err(End::Dismissed(ELSEWHERE));
                }
                Some(Command::Dismiss(reason)) => {
                    self.greet(connection, rhythm, &mut told)?;
                    say_bye(connection, reason)?;
                    return Err(End::Dismissed(reason));
                }
                None if Instant::now() < due => {}
                None => {
                    self.greet(connection, rhythm, &mut told)?;
                    measured = self.burst(connection, &mut dialogue, rhythm)?;
                    if let Some(found) = measured {
                        let mut ensemble = self.shared.ensemble();
                        ensemble.report(self.node, found.interval, found.heard);
                    }
                    due = rhythm.next_burst(Instant::now(), self.node);
                }
            }
        }
    }

    /// Polls back to back and keeps the sample of least delay.
    fn burst(
        &self,
        connection: &mut Connection,
        dialogue: &mut Dialogue,
        rhythm: Rhythm,
    ) -> Result<Option<Measured>, End> {
        let began = Instant::now();
        let interval = self.shared.ensemble().interval();
        let mut best: Option<Measured> = None;
        for _ in 0..rhythm.burst {
            dialogue.n += 1;
            let n = dialogue.n;
            let poll = Message::Poll { n }.line();
            let t1 = self.shared.clock.mark();
            connection.write(poll.as_bytes())?;
            let Some((answer, t4)) = self.answer(connection, dialogue, rhythm)? else {
                break;
            };
            if let Some(term) = answer.term {
                self.shared.knows(term);
            }
            let sample = match Sample::round_trip(t1.target, answer.t2, answer.t3, t4) {
                Ok(sample) => sample,
                // Our own clock was moved meanwhile, by the end of a round or by hand.
                Err(_) if self.shared.ensemble().interval() != interval => break,
                Err(_) if self.shared.clock.mark().sets != t1.sets => break,
                Err(impossible) => return Err(impossible.into()),
            };
            if best.is_none_or(|best| sample.error < best.heard.sample.error) {
                best = Some(Measured {
                    interval,
                    n,
                    heard: Heard {
                        sample,
                        rate_ppm: answer.rate_ppm,
                        synchronized: answer.synchronized,
                    },
                });
            }
            if began.elapsed() > rhythm.burst_time() {
                break;
            }
        }
        Ok(best)
    }

    /// Waits for the answer to the latest poll, and notes when it came.
    fn answer(
        &self,
        connection: &mut Connection,
        dialogue: &mut Dialogue,
        rhythm: Rhythm,
    ) -> Result<Option<(Answer, DateTime<Utc>)>, End> {
        let asked = Instant::now();
        let deadline = rhythm.answer_deadline();
        while asked.elapsed() < deadline {
            let bytes = match connection.read(deadline)? {
                Incoming::Bytes(bytes) => bytes,
                Incoming::Nothing => return Ok(None),
                Incoming::End => return Err(End::Left),
            };
            let t4 = self.shared.clock.mark().target;
            if let Some(answer) = dialogue.hear(bytes)? {
                return Ok(Some((answer, t4)));
            }
        }
        Ok(None)
    }
}

pub(crate) fn say_bye(connection: &mut Connection, reason: &str) -> Result<(), End> {
    let bye = Message::Bye {
        reason: reason.to_owned(),
    };
    Ok(connection.write(bye.line().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn dialogue(n: u64) -> Dialogue {
        Dialogue {
            decoder: LineDecoder::default(),
            n,
            answers: false,
            line_began: None,
        }
    }

    #[test]
    fn the_answer_is_heard_in_pieces_and_late_answers_are_skipped() {
        let mut dialogue = dialogue(7);
        assert!(dialogue.hear(b"TIME 6 1 2\nTIME 7 ").unwrap().is_none());
        let answer = dialogue.hear(b"10 20 rate=5\n").unwrap().unwrap();
        assert_eq!(answer.t3 - answer.t2, TimeDelta::nanoseconds(10));
        assert_eq!(answer.rate_ppm, Some(0.005));
    }

    #[test]
    fn answers_to_nothing_end_the_connection() {
        for line in [
            &b"TIME 8 1 2\n"[..],
            b"TIME 7 1 2\nTIME 7 1 2\n",
            b"POLL 7\n",
            b"x\n",
        ] {
            assert!(
                matches!(dialogue(7).hear(line), Err(End::Fault(_))),
                "{line:?}"
            );
        }
        assert!(
            matches!(dialogue(7).hear(b"BYE tired\n"), Err(End::Bye(reason)) if reason == "tired")
        );
    }

    #[test]
    fn rounds_and_bursts_keep_their_rhythm() {
        let began = Instant::now();
        let interval = Duration::from_secs(5);
        let rhythm = Rhythm {
            began,
            interval,
            burst: 8,
        };
        assert_eq!(rhythm.next_round(began), began + interval);
        assert_eq!(rhythm.next_round(began + interval), began + interval * 2);
        // A machine that slept does not hold the rounds that it slept through.
        let late = began + interval * 9 + Duration::from_secs(1);
        assert_eq!(rhythm.next_round(late), began + interval * 10);
        for node in (0..1000).map(NodeId) {
            let burst = rhythm.next_burst(late, node);
            assert!(burst > late && burst <= late + interval);
            let part = (burst - began).as_secs_f64() / 5.0 % 1.0;
            assert!((BEGIN.0..BEGIN.1 + 1e-6).contains(&part), "{part}");
        }
    }
}
