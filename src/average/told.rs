//! What an operator tells the ensemble: which clocks have no vote, and by how much the whole group
//! was stepped.

use std::net::SocketAddr;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::average::dropped::{Dropped, MOST_DROPPED};
use crate::average::ensemble::Ensemble;
use crate::average::round::{MASTER, Wire};
use crate::wire::candidate::Rank;
use crate::wire::vote_order::VoteOrder;

/// Why the ensemble does not do what it is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// It knows no clock of this name or address.
    #[error("no clock here is called {0}; `berkeley-master status` names them")]
    Unknown(String),
    /// Several clocks have this address.
    #[error("several clocks have the address {0}: say which one by its name ({1})")]
    Several(String, String),
    /// The clock has its vote already.
    #[error("{0} was not dropped")]
    NotDropped(String),
    /// Too many have no vote already.
    #[error("{MOST_DROPPED} clocks are dropped already; admit some of them first")]
    TooMany,
    /// It is not known what the machine's own clock shows.
    #[error("{0} has not told its machine's own clock yet: try again after the next round")]
    NoClock(String),
}

impl Ensemble {
    /// From the next round on, the clock of this name, or at this address, is corrected and has no
    /// vote. Its name.
    ///
    /// # Errors
    /// [`Untold`] says why not.
    pub fn drop_vote(&mut self, clock: &str) -> Result<Arc<str>, Untold> {
        let name = self.find(clock)?;
        if self.dropped.drop(&name) {
            Ok(name)
        } else {
            Err(Untold::TooMany)
        }
    }

    /// A clock that was dropped may vote again, if it is worth it. Its name.
    ///
    /// # Errors
    /// [`Untold`] says why not.
    pub fn admit(&mut self, clock: &str) -> Result<Arc<str>, Untold> {
        // It need not be here.
        if self.dropped.admit(clock) {
            return Ok(Arc::from(clock));
        }
        let name = self.find(clock)?;
        if self.dropped.admit(&name) {
            Ok(name)
        } else {
            Err(Untold::NotDropped(name.to_string()))
        }
    }

    /// The master is a candidate of this rank, whose own clock the others call `own`.
    pub fn stand(&mut self, rank: Rank, own: Option<Arc<str>>) {
        self.dropped = Dropped::of_candidate(rank, own);
    }

    /// What operators have said of clocks' votes, here and at other candidates.
    #[must_use]
    pub fn dropped(&self) -> &Dropped {
        &self.dropped
    }

    /// Another candidate passes on what an operator has told it. Whether that is news.
    pub fn hear_order(&mut self, order: &VoteOrder) -> bool {
        self.dropped.hear(order)
    }

    /// How far the clock of the machine with this name, or at this address, is ahead of the group's
    /// time: not what its node makes of it, but what its operating system shows.
    ///
    /// # Errors
    /// [`Untold`] says why that is not known.
    pub fn machine_ahead(&self, clock: &str) -> Result<(Arc<str>, TimeDelta), Untold> {
        let name = self.find(clock)?;
        let mut members = self.members.values();
        let ahead = members
            .find(|member| member.name == name)
            .and_then(|member| member.machine_ahead);
        let ahead = ahead.ok_or_else(|| Untold::NoClock(name.to_string()))?;
        Ok((name, ahead))
    }

    /// The group, with the master, was stepped. Clocks that step with it are where they were to each
    /// other; whoever never corrects itself is told the step by what is kept for it.
    pub fn step(&mut self, by: TimeDelta) {
        self.guide.step(by);
        for member in self.members.values_mut() {
            if member.wire == Wire::Timestamp {
                member.kept += by;
                member.machine_ahead = member.machine_ahead.map(|ahead| ahead - by);
            } else {
                // Some operating systems' clocks step along, and others don't.
                member.machine_ahead = None;
            }
        }
    }

    /// The name of the only clock that is called so, or is at this address, with or without a port.
    fn find(&self, clock: &str) -> Result<Arc<str>, Untold> {
        let called = |name: &&Arc<str>| &***name == clock;
        let names = || self.members.values().map(|member| &member.name);
        if clock == MASTER {
            return Ok(Arc::from(MASTER));
        }
        if let Some(name) = names().find(called) {
            return Ok(Arc::clone(name));
        }
        let is_at =
            |address: SocketAddr| address.to_string() == clock || address.ip().to_string() == clock;
        let members = self.members.values();
        let there = members.filter(|member| member.address.is_some_and(is_at));
        let there: Vec<_> = there.map(|member| Arc::clone(&member.name)).collect();
        match &there[..] {
            [] if self.dropped.is_own(clock) => Ok(Arc::from(MASTER)),
            [] => Err(Untold::Unknown(clock.to_owned())),
            [name] => Ok(Arc::clone(name)),
            several => {
                let few: Vec<_> = several.iter().take(5).map(AsRef::as_ref).collect();
                Err(Untold::Several(clock.to_owned(), few.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::ensemble::Settings;
    use crate::average::round::{Heard, NodeId, Vote};
    use crate::measurement::sample::Sample;

    fn ensemble(names: &[&str]) -> Ensemble {
        let mut ensemble = Ensemble::new(Settings::default());
        for (number, name) in (1..).zip(names) {
            let address = SocketAddr::from(([10, 0, 0, number as u8], 4000));
            ensemble.join(NodeId(number), name, Some(address), Wire::Line);
        }
        ensemble
    }

    /// A round in which the clocks are so many ms ahead: who votes, and what they are told.
    fn round(ensemble: &mut Ensemble, ahead: &[i64]) -> (Vec<Vote>, Vec<i64>) {
        for (node, ahead) in (1..).map(NodeId).zip(ahead) {
            let interval = ensemble.interval();
            let heard = Heard {
                machine: Some(TimeDelta::milliseconds(1000)),
                ..Heard::from(Sample::one_way(TimeDelta::milliseconds(*ahead)))
            };
            ensemble.report(node, interval, heard);
        }
        let rows = ensemble.close_round(Heard::OWN).round.unwrap().rows;
        let told = rows.iter().map(|row| row.correction);
        (
            rows.iter().map(|row| row.vote).collect(),
            told.map(|it| it.unwrap().offset.num_milliseconds())
                .collect(),
        )
    }

    #[test]
    fn a_clock_that_was_dropped_is_corrected_without_a_vote_and_may_come_back() {
        let mut ensemble = ensemble(&["a", "b", "c"]);
        assert_eq!(&*ensemble.drop_vote("c").unwrap(), "c");
        let (votes, told) = round(&mut ensemble, &[10, 20, 6]);
        assert_eq!(votes, [Vote::Yes, Vote::Yes, Vote::Yes, Vote::Dropped]);
        assert_eq!(told, [10, 0, -10, 4], "the mean of three, for four");
        // Over a reconnect.
        ensemble.leave(NodeId(3));
        ensemble.join(NodeId(3), "c", None, Wire::Line);
        let (votes, _) = round(&mut ensemble, &[0, 0, 0]);
        assert_eq!(votes[3], Vote::Dropped);
        ensemble.admit("c").unwrap();
        let refused = ensemble.admit("c").unwrap_err();
        assert_eq!(refused, Untold::NotDropped("c".to_owned()));
        for _ in 0..40 {
            round(&mut ensemble, &[0, 0, 0]);
        }
        let (votes, _) = round(&mut ensemble, &[0, 0, 0]);
        assert_eq!(votes, [Vote::Yes; 4]);
    }

    #[test]
    fn those_that_were_dropped_are_no_part_of_a_majority() {
        let mut ensemble = ensemble(&["a", "b", "c", "d"]);
        for name in ["b", "c", "d"] {
            ensemble.drop_vote(name).unwrap();
        }
        let (votes, told) = round(&mut ensemble, &[2, 5000, 5000, 5000]);
        assert_eq!(votes[..2], [Vote::Yes; 2]);
        assert_eq!(told[..2], [1, -1]);
        ensemble.drop_vote("a").unwrap();
        let (votes, told) = round(&mut ensemble, &[2, 0, 0, 0]);
        assert_eq!((votes[0], told[1]), (Vote::Yes, -2), "the master alone");
        ensemble.drop_vote(MASTER).unwrap();
        let interval = ensemble.interval();
        ensemble.report(NodeId(1), interval, Sample::OWN.into());
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        assert!(round.outcome.is_err(), "nobody is left");
    }

    #[test]
    fn a_clock_is_found_by_its_name_or_its_address() {
        let mut ensemble = ensemble(&["a", "b"]);
        for clock in ["b", "10.0.0.2", "10.0.0.2:4000"] {
            assert_eq!(&*ensemble.find(clock).unwrap(), "b", "{clock}");
        }
        let address = Some(SocketAddr::from(([10, 0, 0, 2], 4001)));
        ensemble.join(NodeId(3), "c", address, Wire::Line);
        assert!(matches!(
            ensemble.find("10.0.0.2"),
            Err(Untold::Several(_, names)) if names == "b, c"
        ));
        let unknown = Untold::Unknown("10.0.0.2:4".to_owned());
        assert_eq!(ensemble.find("10.0.0.2:4"), Err(unknown));
    }

    #[test]
    fn the_machines_own_clock_is_known_from_the_last_round() {
        let mut ensemble = ensemble(&["a", "b"]);
        let nothing = ensemble.machine_ahead("a").unwrap_err();
        assert_eq!(nothing, Untold::NoClock("a".to_owned()));
        // `a` is 30 ms ahead of the group, and its machine 1 s of it.
        round(&mut ensemble, &[30, 0]);
        let (_, ahead) = ensemble.machine_ahead("10.0.0.1").unwrap();
        assert_eq!(ahead, TimeDelta::milliseconds(1030));
        ensemble.step(TimeDelta::seconds(90));
        assert!(ensemble.machine_ahead("a").is_err());
        // A client's clock is its machine's, and no step moves it.
        ensemble.join(NodeId(9), "py", None, Wire::Timestamp);
        let interval = ensemble.interval();
        let ahead = Sample::one_way(TimeDelta::seconds(7));
        ensemble.report(NodeId(9), interval, ahead.into());
        ensemble.report(NodeId(1), interval, Sample::OWN.into());
        ensemble.close_round(Heard::OWN);
        let client = |ensemble: &Ensemble| ensemble.machine_ahead("py").unwrap().1;
        assert_eq!(client(&ensemble), TimeDelta::seconds(7));
        ensemble.step(TimeDelta::seconds(90));
        assert_eq!(client(&ensemble), TimeDelta::seconds(7 - 90));
        let (heard, interval) = (
            Sample::one_way(TimeDelta::seconds(7 - 90)),
            ensemble.interval(),
        );
        ensemble.report(NodeId(9), interval, heard.into());
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        let row = round.rows.iter().find(|row| &*row.name == "py").unwrap();
        assert_eq!(row.sample.offset, TimeDelta::zero(), "it was told the step");
    }
}
