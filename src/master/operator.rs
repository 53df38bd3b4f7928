//! Does what an operator tells a running master.

use std::sync::{Arc, Mutex};

use chrono::{NaiveDateTime, TimeDelta};

use crate::average::round::MASTER;
use crate::lock::lock;
use crate::master::candidacy::Candidacy;
use crate::master::event::MasterEvent;
use crate::master::order::{Done, Order, OrderError};
use crate::master::parent::Parent;
use crate::master::shared::Shared;
use crate::report::record::ToldRow;
use crate::wire::candidate::Leader;
use crate::wire::steps::Steps;
use crate::wire::timestamp;

/// A handle by which an operator tells a running master what to do, from any thread.
#[derive(Debug, Clone)]
pub struct Operator {
    shared: Arc<Shared>,
    /// One order at a time: each step follows from the one before.
    turn: Arc<Mutex<()>>,
}

impl Operator {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            turn: Arc::default(),
        }
    }

    /// Does what it is told by `who`, who is named in the log, the events and the record. Where
    /// there are several candidates, it waits until all of them know of it: a second at most.
    ///
    /// # Errors
    /// [`OrderError`] says why it was not done.
    pub fn tell(&self, order: &Order, who: &str) -> Result<Done, OrderError> {
        let turn = lock(&self.turn);
        let done = self.check().and_then(|()| self.perform(order));
        drop(turn);
        match &done {
            Ok(done) => self.publish(order, who, done),
            Err(refused) => log::warn!("{who} told: {order}, which was not done: {refused}"),
        }
        done
    }

    fn publish(&self, order: &Order, who: &str, done: &Done) {
        log::info!("{who} told: {order}; {done}");
        let by = match done {
            Done::Stepped { by, .. } => Some(*by),
            Done::Dropped(_) | Done::Admitted(_) => None,
        };
        let (who, order) = (who.to_owned(), order.to_string());
        self.shared.outlet.tell(MasterEvent::Told {
            who: who.clone(),
            order: order.clone(),
        });
        self.shared.note_told(ToldRow { who, order, by });
    }

    /// Whether this master is the one to tell.
    fn check(&self) -> Result<(), OrderError> {
        if self.shared.observations.facts.dry_run {
            return Err(OrderError::DryRun);
        }
        match &self.shared.candidacy {
            Some(candidacy) if !candidacy.leads() => Err(elsewhere(candidacy)),
            _ => Ok(()),
        }
    }

    fn perform(&self, order: &Order) -> Result<Done, OrderError> {
        match order {
            Order::SetBy(by) => self.step(*by),
            Order::SetTo(time) => self.step(self.until(*time)),
            Order::SetAt(time) => self.step(*time - self.shared.clock.mark().target),
            Order::SetFrom(clock) => self.step(self.machine_ahead(clock)?),
            Order::Drop(clock) => {
                let name = self.shared.ensemble().drop_vote(clock)?;
                self.pass_on();
                Ok(Done::Dropped(name.to_string()))
            }
            Order::Admit(clock) => {
                let name = self.shared.ensemble().admit(clock)?;
                self.pass_on();
                Ok(Done::Admitted(name.to_string()))
            }
        }
    }

    /// Lets the other candidates know who has a vote, and waits a second at most until they do.
    fn pass_on(&self) {
        if let Some(candidacy) = &self.shared.candidacy {
            let number = self.shared.ensemble().dropped().number();
            candidacy.pass_on(number);
        }
    }

    /// How far this local time is ahead of the group's.
    fn until(&self, time: NaiveDateTime) -> TimeDelta {
        let now = self.shared.clock.mark().target;
        timestamp::moment(time, now) - now
    }

    fn machine_ahead(&self, clock: &str) -> Result<TimeDelta, OrderError> {
        if clock == MASTER {
            return Ok(self.shared.machine_ahead());
        }
        Ok(self.shared.ensemble().machine_ahead(clock)?.1)
    }

    fn step(&self, by: TimeDelta) -> Result<Done, OrderError> {
        let parent = self.shared.parent.as_ref().map(Parent::told);
        if let Some(parent) = parent.and_then(|told| told.master) {
            return Err(OrderError::Above(parent));
        }
        if by.is_zero() {
            return Err(OrderError::Nothing);
        }
        let (clock, too_large) = (&self.shared.clock, OrderError::TooLarge(by));
        let Some(steps) = clock.steps().and_then(|made| made.and(by)) else {
            return Err(too_large);
        };
        let target = clock.mark().target.checked_add_signed(by);
        if target.and_then(|it| it.timestamp_nanos_opt()).is_none() {
            return Err(too_large);
        }
        match &self.shared.candidacy {
            None => drop(self.shared.take_steps(steps).map_err(|_| too_large)?),
            Some(candidacy) => self.step_with_others(candidacy, steps)?,
        }
        let number = steps.number;
        Ok(Done::Stepped { by, number })
    }

    fn step_with_others(&self, candidacy: &Candidacy, steps: Steps) -> Result<(), OrderError> {
        let made = || self.shared.clock.steps() == Some(steps);
        if candidacy.order(steps, made) {
            Ok(())
        } else {
            Err(OrderError::Unsure)
        }
    }
}

fn elsewhere(candidacy: &Candidacy) -> OrderError {
    match candidacy.leadership().leader {
        Leader::Other(leader) => OrderError::Elsewhere(leader),
        Leader::Speaker | Leader::Nobody => OrderError::NoLeader,
    }
}
