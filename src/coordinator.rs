//! Ends each interval with a round.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::clock::{Clock, WallClock};
use crate::discipline::Correction;
use crate::ensemble::Closed;
use crate::human;
use crate::master::Event;
use crate::peer::Command;
use crate::record::Record;
use crate::shared::Shared;

/// How long connections' threads have to say goodbye before their sockets are closed for them.
const FAREWELL: Duration = Duration::from_millis(400);

pub(crate) struct Coordinator {
    pub(crate) shared: Arc<Shared>,
    pub(crate) interval: Duration,
    pub(crate) rounds: Option<u64>,
    pub(crate) record: Option<Record>,
    pub(crate) wake: Receiver<()>,
    /// Disconnected when the acceptor and all connections' threads have ended.
    pub(crate) all_ended: Receiver<()>,
}

impl Coordinator {
    pub(crate) fn run(mut self) {
        let mut due = Instant::now() + self.interval;
        while !self.shared.is_stopping() {
            let wait = due.saturating_duration_since(Instant::now());
            if self.wake.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                break;
            }
            // A machine that slept through some rounds does not hold them all at once.
            due = (due + self.interval).max(Instant::now());
            if self.close_round() {
                self.shared.stop();
            }
        }
        self.say_goodbye();
    }

    /// Holds a round. Whether it was the last one.
    fn close_round(&mut self) -> bool {
        let Closed { round, dropped } = self.shared.ensemble().close_round();
        for node in dropped {
            self.shared
                .command(node, Command::Dismiss("it was silent for three rounds"));
        }
        let Some(round) = round else {
            return false;
        };
        if let Ok(agreed) = &round.outcome {
            let mark = self.shared.clock.mark();
            let made = self
                .shared
                .clock
                .correct(mark, agreed.average, agreed.error);
            if made == Correction::Stepped {
                log::info!("network time stepped by {}", human::signed(agreed.average));
            }
            for node in round.rows.iter().filter_map(|row| row.node) {
                self.shared.command(node, Command::Announce);
            }
        }
        if let Some(record) = &mut self.record {
            record.master(WallClock.read(), &round);
        }
        let last = self.rounds.is_some_and(|rounds| round.number >= rounds);
        self.shared.tell(Event::Round(round));
        last
    }

    /// Ends all connections: in order those that listen, by force those that don't.
    fn say_goodbye(self) {
        self.shared.dismiss_all("the master is stopping");
        if self.all_ended.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
            self.shared.close_all();
        }
        self.shared.end_events();
    }
}
