//! What is asked of a follower on the line protocol, and what it answers.

use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::master::end::End;
use crate::wire::candidate::Term;
use crate::wire::connection::MESSAGE_DEADLINE;
use crate::wire::line::LineDecoder;
use crate::wire::message::Message;
use crate::wire::name::NodeName;
use crate::wire::timestamp;

/// The questions put to one follower, and its answers.
pub(crate) struct Dialogue {
    decoder: LineDecoder,
    /// The number of the latest poll.
    n: u64,
    /// What it calls itself, if it has said so.
    name: Option<NodeName>,
    /// When it was greeted, as long as it has given no answer.
    unanswered: Option<Instant>,
    /// When the line began that has not ended yet.
    line_began: Option<Instant>,
}

/// An answer: the follower's two instants, and what it says of itself.
pub(crate) struct Answer {
    pub(crate) t2: DateTime<Utc>,
    pub(crate) t3: DateTime<Utc>,
    pub(crate) rate_ppm: Option<f64>,
    pub(crate) term: Option<Term>,
    pub(crate) synchronized: bool,
}

impl Dialogue {
    /// A follower that was greeted at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            decoder: LineDecoder::default(),
            n: 0,
            name: None,
            unanswered: Some(now),
            line_began: None,
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

    /// When the follower is given up, unless what it owes comes: its first answer, or the rest of
    /// a line.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let since = self.line_began.or(self.unanswered)?;
        Some(since + MESSAGE_DEADLINE)
    }

    /// Takes bytes from the follower, which came at `now`; the answer to the latest poll, if it
    /// was among them.
    pub(crate) fn hear(&mut self, bytes: &[u8], now: Instant) -> Result<Option<Answer>, End> {
        let mut answer = None;
        for &byte in bytes {
            let Some(line) = self.decoder.push(byte)? else {
                continue;
            };
            if timestamp::parse(line.as_bytes()).is_ok() {
                // A second report, sent before our greeting came.
                continue;
            }
            let message = Message::parse(line)?;
            if let Message::Time {
                name: Some(name), ..
            } = &message
            {
                self.name = Some(name.clone());
            }
            match message {
                Message::Time {
                    n,
                    t2,
                    t3,
                    rate_ppm,
                    term,
                    synchronized,
                    ..
                } if n == self.n && answer.is_none() => {
                    self.unanswered = None;
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
            began => Some(began.unwrap_or(now)),
        };
        if self.deadline().is_some_and(|deadline| now > deadline) {
            return Err(End::Silent);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn dialogue(n: u64) -> Dialogue {
        Dialogue {
            n,
            ..Dialogue::new(Instant::now())
        }
    }

    #[test]
    fn the_answer_is_heard_in_pieces_and_late_answers_are_skipped() {
        let mut dialogue = dialogue(7);
        assert!(
            dialogue
                .hear(b"TIME 6 1 2\nTIME 7 ", Instant::now())
                .unwrap()
                .is_none()
        );
        let answer = dialogue
            .hear(b"10 20 rate=5\n", Instant::now())
            .unwrap()
            .unwrap();
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
                matches!(dialogue(7).hear(line, Instant::now()), Err(End::Fault(_))),
                "{line:?}"
            );
        }
        assert!(
            matches!(dialogue(7).hear(b"BYE tired\n", Instant::now()), Err(End::Bye(reason)) if reason == "tired")
        );
    }
}
