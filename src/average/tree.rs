//! What a group is to the group above it: one clock, which stands for all that vote here.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::average::consensus::{Ballot, Consensus, NoMajority, consensus_of};
use crate::average::ensemble::Ensemble;
use crate::average::round::{Above, Heard, Led, MASTER, NodeId, Shown, Vote};
use crate::average::stands::{Stands, within_limit};

impl Ensemble {
    /// For how many clocks the group stands, and how fast they run.
    #[must_use]
    pub fn stands(&self) -> Stands {
        self.stands
    }

    /// A member is known to be the master of a group: it may stand for as many clocks as it says.
    pub fn trust_weight(&mut self, node: NodeId) {
        if let Some(member) = self.members.get_mut(&node) {
            member.trusted = true;
        }
    }

    /// What a clock is called that says that it is a reference, if there is one; `own` is the master's.
    #[must_use]
    pub fn a_reference(&self, own: &Heard) -> Option<Arc<str>> {
        let says_so = |heard: &Heard| heard.reference.is_some();
        if says_so(own) {
            return Some(Arc::from(MASTER));
        }
        let mut members = self.members.values();
        let found = members.find(|member| member.heard.as_ref().is_some_and(says_so));
        found.map(|member| Arc::clone(&member.name))
    }

    /// What the first round would come to if it were held now: the group's time, as an offset from
    /// the master's clock `own`. The group stands for all that agree on it from now on, so the group
    /// above can count all of them before any of them is moved. `None` if there is no majority.
    pub fn preview(&mut self, own: Heard) -> Option<TimeDelta> {
        let clocks = self.clocks(own);
        let counted = self.electorate();
        let counted = clocks.iter().zip(&counted).filter(|(_, bar)| bar.is_none());
        let ballots: Vec<Ballot> = counted.map(|(clock, _)| clock.into()).collect();
        let agreed = consensus_of(&ballots, &self.settings.rules).ok()?;
        self.stands.weight = within_limit(agreed.voters as u64);
        self.stands.deviation = agreed.deviation;
        Some(agreed.average)
    }

    /// All clocks of the round, the master's own first.
    pub(in crate::average) fn clocks(&self, own: Heard) -> Vec<Heard> {
        let followers = self.members.values().filter_map(|member| member.heard);
        std::iter::once(own).chain(followers).collect()
    }

    /// How the group is led towards references, what they show, and by how many ppm all clocks are to
    /// run faster for its own sake: not at all where there is a group above it, or was, which sees to
    /// that. `own` is the master's clock, and `told_ppm` the mean of the rates that the voters tell.
    pub(in crate::average) fn rate_of_the_group(
        &mut self,
        own: &Heard,
        told_ppm: Option<f64>,
        votes: &[Vote],
        outcome: &Result<Consensus, NoMajority>,
        above: Above,
    ) -> (Option<Led>, BTreeMap<Option<NodeId>, Shown>, f64) {
        if above != Above::Nobody {
            return (None, BTreeMap::new(), 0.0);
        }
        let led = outcome.ok().map(|it| self.lead(&it, own, told_ppm));
        let (led, references) = led.unwrap_or_default();
        let change_ppm = led.map_or(0.0, |_| self.guide.change_ppm());
        let led_ppm = self.guide.rate_ppm() - change_ppm;
        let common_ppm = self.common_rate(own, votes, led_ppm) + change_ppm;
        (led, references, common_ppm)
    }
}
