//! What an ensemble does when its master begins to lead, and how the references among its clocks
//! lead the group.

use std::collections::BTreeMap;

use crate::average::beginning::Beginning;
use crate::average::consensus::Consensus;
use crate::average::ensemble::Ensemble;
use crate::average::rates::Course;
use crate::average::reference::{Guide, Reference};
use crate::average::round::{Heard, Led, MASTER, NodeId, Shown};

impl Ensemble {
    /// The master leads from now on: what it remembers of references is from another time, and the
    /// rate of the group is what the last leader has made it. `inherits` says that it has followed
    /// the group's time until now: then it takes it over, and begins with caution.
    pub fn begin_to_lead(&mut self, inherits: bool) {
        self.guide = Guide::default();
        self.pause = self.settings.interval;
        self.beginning = if inherits {
            Beginning::Inherited(0)
        } else {
            self.course = Course::default();
            Beginning::Founded
        };
    }

    /// How the group is led towards the references of this round, in which so much was agreed on,
    /// and what they show. `own` is the master's clock, and `told_ppm` the mean of the rates that the
    /// voters tell.
    pub(in crate::average) fn lead(
        &mut self,
        agreed: &Consensus,
        own: &Heard,
        told_ppm: Option<f64>,
    ) -> (Option<Led>, BTreeMap<Option<NodeId>, Shown>) {
        let slew_ppm = self.settings.reference_slew_ppm;
        if slew_ppm <= 0.0 {
            return (None, BTreeMap::new());
        }
        // Who has no key, where others do, could be anybody.
        let members = self.members.iter().filter(|(_, it)| !it.unkeyed);
        let members = members.map(|(node, it)| (Some(*node), &*it.name, it.heard.as_ref()));
        let all = std::iter::once((None, MASTER, Some(own))).chain(members);
        let mut references: Vec<_> = all
            .filter(|(_, name, _)| !self.dropped.contains(name))
            .filter_map(|(node, _, heard)| reference(node, heard?, agreed))
            .collect();
        let told_ppm = told_ppm.unwrap_or(0.0);
        let led = self
            .guide
            .lead(&mut references, told_ppm, self.pause, slew_ppm);
        let shown = references.into_iter().map(|it| {
            let Reference {
                ahead, followed, ..
            } = it;
            (it.node, Shown { ahead, followed })
        });
        (led, shown.collect())
    }
}

/// A clock as a reference, if it is one.
fn reference(node: Option<NodeId>, heard: &Heard, agreed: &Consensus) -> Option<Reference> {
    let (stated, machine) = heard.reference.zip(heard.machine)?;
    Some(Reference {
        node,
        ahead: heard.sample.offset + machine - agreed.average,
        error: stated + heard.sample.error + agreed.error,
        followed: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::ensemble::Settings;
    use crate::average::round::Wire;
    use crate::measurement::sample::Sample;
    use chrono::TimeDelta;
    use std::time::Duration;

    #[test]
    fn who_has_no_key_where_others_have_one_leads_nobody() {
        let mut ensemble = Ensemble::new(Settings::default());
        for (node, name) in [(1, "db1"), (2, "old")] {
            ensemble.join(NodeId(node), name, None, Wire::Line);
            let heard = Heard {
                reference: Some(TimeDelta::microseconds(1)),
                machine: Some(TimeDelta::seconds(node as i64)),
                ..Heard::from(Sample::one_way(TimeDelta::zero()))
            };
            ensemble.report(NodeId(node), 0, heard);
        }
        ensemble.doubt_unkeyed(NodeId(2));
        let round = ensemble.close_round(Heard::OWN).round.unwrap();
        let led = round.led.unwrap();
        assert_eq!((led.references, led.ahead), (1, TimeDelta::seconds(1)));
    }

    #[test]
    fn a_group_is_led_by_the_time_that_its_rounds_take() {
        let mut ensemble = Ensemble::new(Settings::default());
        ensemble.join(NodeId(1), "gps", None, Wire::Line);
        let mut led_ppm = |pause| {
            let interval = ensemble.interval();
            let heard = Heard {
                reference: Some(TimeDelta::microseconds(1)),
                machine: Some(TimeDelta::microseconds(100)),
                ..Heard::from(Sample::one_way(TimeDelta::zero()))
            };
            ensemble.report(NodeId(1), interval, heard);
            ensemble.next_round_after(pause);
            let round = ensemble.close_round(Heard::OWN).round.unwrap();
            round.led.unwrap().rate_ppm
        };
        // 100 µs in eight rounds.
        assert!((led_ppm(Duration::from_secs(5)) - 2.5).abs() < 0.1);
        assert!((led_ppm(Duration::from_millis(500)) - 25.0).abs() < 0.2);
    }
}
