//! What is asked of a follower on the line protocol, and what it answers.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::keys::channel::{self, Channel};
use crate::keys::code::Code;
use crate::master::end::End;
use crate::rate_limit::Budget;
use crate::wire::answer::Answer;
use crate::wire::connection::{Connection, MESSAGE_DEADLINE};
use crate::wire::message::Message;
use crate::wire::name::NodeName;
use crate::wire::reader::{Heard, LineReader};
use crate::wire::timestamp;

/// The questions put to one follower, and its answers.
pub(crate) struct Dialogue {
    reader: LineReader,
    /// The number of the latest poll.
    n: u64,
    /// The number of the latest poll that it has answered.
    answered: u64,
    /// What it calls itself, if it has said so.
    name: Option<NodeName>,
    greeted: Instant,
    /// How many reports it may still send that were on their way when it was greeted.
    reports: Budget,
}

/// An answer that has come.
#[derive(Debug)]
pub(crate) struct Answered<Stamp> {
    pub(crate) answer: Answer,
    /// What only a candidate can have made for its term.
    pub(crate) certificate: Option<Code>,
    /// When it came.
    pub(crate) stamp: Stamp,
}

impl Dialogue {
    /// A follower that was greeted at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            reader: LineReader::default(),
            n: 0,
            answered: 0,
            name: None,
            greeted: now,
            reports: Budget::new(now),
        }
    }

    /// What the follower calls itself, if it has said so.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(NodeName::as_str)
    }

    /// The number of the next poll.
    pub(crate) fn next_poll(&mut self) -> u64 {
        self.n += 1;
        self.n
    }

    /// When the follower is given up, unless what it owes comes: the rest of a line, or its first
    /// answer.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first = (self.answered == 0).then_some(self.greeted + MESSAGE_DEADLINE);
        self.reader.deadline().or(first)
    }

    /// Waits for the answer to the latest poll, but no longer than `patience`. `stamp` notes the
    /// moment at which it comes.
    pub(crate) fn answer<Stamp>(
        &mut self,
        connection: &mut Connection,
        channel: &mut Channel,
        patience: Duration,
        stamp: impl Fn(Option<DateTime<Utc>>) -> Stamp,
    ) -> Result<Option<Answered<Stamp>>, End> {
        let asked = Instant::now();
        let mut left = patience;
        loop {
            match self.reader.next(connection, left, &stamp)? {
                Heard::Message((line, stamp)) => {
                    let line = channel.open(line)?;
                    let (message, certificate) = (read(line)?, channel::certificate(line));
                    // Each answer has its question; a report has none.
                    if message.is_none() && self.reports.is_overdrawn(Instant::now(), patience) {
                        return Err(End::Fault("too many reports".to_owned()));
                    }
                    if let Some(answer) = message.map_or(Ok(None), |it| self.hear(it))? {
                        return Ok(Some(Answered {
                            answer,
                            certificate,
                            stamp,
                        }));
                    }
                }
                Heard::Nothing => return Ok(None),
                Heard::End => return Err(End::Left),
            }
            left = patience.saturating_sub(asked.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Takes what the follower says; the answer to the latest poll, if it is that.
    fn hear(&mut self, message: Message) -> Result<Option<Answer>, End> {
        match message {
            Message::Time { n, mut answer } if n > self.answered && n <= self.n => {
                self.answered = n;
                self.name = answer.name.take().or(self.name.take());
                // One to a poll that was given up is no fault, and of no use.
                Ok((n == self.n).then_some(answer))
            }
            Message::Time { n, .. } => Err(End::Fault(format!(
                "TIME {n} where TIME {} was to come",
                self.n
            ))),
            Message::Bye { reason } => Err(End::Bye(reason)),
            other => Err(End::Fault(format!(
                "{:?} where TIME was to come",
                other.to_string()
            ))),
        }
    }
}

/// Reads a line, unless it is a second report that was sent before our greeting came.
fn read(line: &str) -> Result<Option<Message>, End> {
    if timestamp::parse(line.as_bytes()).is_ok() {
        return Ok(None);
    }
    Ok(Some(Message::parse(line)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    /// What is heard of a line when the latest poll has this number.
    fn heard(dialogue: &mut Dialogue, line: &str) -> Result<Option<Answer>, End> {
        read(line)?.map_or(Ok(None), |message| dialogue.hear(message))
    }

    fn dialogue(n: u64) -> Dialogue {
        Dialogue {
            n,
            ..Dialogue::new(Instant::now())
        }
    }

    #[test]
    fn late_answers_are_skipped_and_the_name_is_kept() {
        let mut dialogue = dialogue(7);
        let late = heard(&mut dialogue, "TIME 6 1 2 name=db1").unwrap();
        assert!(late.is_none());
        let report = heard(&mut dialogue, "2024-01-02 03:04:05.678901").unwrap();
        assert!(report.is_none(), "it was on its way");
        let answer = heard(&mut dialogue, "TIME 7 10 20 rate=5")
            .unwrap()
            .unwrap();
        assert_eq!(answer.t3 - answer.t2, TimeDelta::nanoseconds(10));
        assert_eq!(answer.rate_ppm, Some(0.005));
        assert_eq!(dialogue.name(), Some("db1"));
    }

    #[test]
    fn answers_to_nothing_end_the_connection() {
        for line in ["TIME 8 1 2", "TIME 5 1 2", "POLL 7", "x"] {
            let mut dialogue = dialogue(7);
            dialogue.answered = 5;
            let heard = heard(&mut dialogue, line);
            assert!(matches!(heard, Err(End::Fault(_))), "{line:?}: {heard:?}");
        }
        let bye = heard(&mut dialogue(7), "BYE tired");
        assert!(matches!(bye, Err(End::Bye(reason)) if reason == "tired"));
    }

    #[test]
    fn an_answer_is_owed_until_the_first_one_has_come() {
        let mut dialogue = dialogue(1);
        assert!(dialogue.deadline().is_some());
        heard(&mut dialogue, "TIME 1 1 2").unwrap();
        assert!(dialogue.deadline().is_none());
        let again = heard(&mut dialogue, "TIME 1 1 2");
        assert!(matches!(again, Err(End::Fault(_))), "{again:?}");
    }
}
