//! The status as Prometheus takes it: base units, and names by its conventions.

use std::cmp::Reverse;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::report::status::{
    ClockStatus, CorrectionStatus, FollowerStatus, GroupClock, MasterStatus, NtpStatus,
    ProcessStatus, RoundStatus, Status, TreeStatus,
};

/// The labels of a sample, and what they are.
type Labels = Vec<(&'static str, String)>;

/// Numbers with labels.
type Numbers = Family<Labels, Gauge<f64, AtomicU64>>;

/// What Prometheus is told of a program, and of so many clocks at most: the master's, then those
/// that are farthest from the group's time.
#[must_use]
pub fn metrics(status: &Status, most_clocks: usize) -> String {
    let mut page = Page(Registry::with_prefix("berkeley"));
    match status {
        Status::Master(status) => page.master(status, most_clocks),
        Status::Follower(status) => page.follower(status),
    }
    let mut text = String::new();
    // Only what it writes to could refuse, and memory does not.
    let _ = prometheus_text::encode(&mut text, &page.0);
    text
}

struct Page(Registry);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            let gauge = Gauge::<f64, AtomicU64>::default();
            gauge.set(value);
            self.0.register(name, help, gauge);
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    /// A counter with a label, for each of its values.
    fn counters(&mut self, name: &str, help: &str, label: &'static str, values: &[(&str, u64)]) {
        let family = Family::<Labels, Counter>::default();
        for (value, count) in values {
            let labels = vec![(label, (*value).to_owned())];
            family.get_or_create(&labels).inc_by(*count);
        }
        self.0.register(name, help, family);
    }

    fn process(&mut self, process: &ProcessStatus, clock: &ClockStatus) {
        let build = Numbers::default();
        let release = vec![("version", process.release.clone())];
        build.get_or_create(&release).set(1.0);
        let help = "The version of the program";
        self.0.register("build_info", help, build);
        let uptime = Some(process.uptime_s);
        self.gauge("uptime_seconds", "For how long the program has run", uptime);
        let help = "Whether the clock has followed a correction since the start";
        self.gauge("synchronized", help, Some(clock.synchronized.into()));
        let help = "How wrong the group's time may be, as this program knows it";
        self.gauge("error_seconds", help, clock.error_ns.map(seconds));
        let help = "By how much the group's time gains on the clock's oscillator";
        self.gauge("rate_ratio", help, Some(clock.rate_ppm / 1e6));
        let help = "For how long nobody has corrected the clock, 0 while somebody does";
        let holdover = Some(clock.holdover_s.unwrap_or(0.0));
        self.gauge("holdover_seconds", help, holdover);
        self.counter("steps", "Steps of the clock", clock.steps);
    }

    fn correction(&mut self, last: Option<&CorrectionStatus>) {
        let last = last.map(|last| seconds(last.offset_ns));
        self.gauge("correction_seconds", "The last correction that came", last);
    }

    fn follower(&mut self, status: &FollowerStatus) {
        self.process(&status.process, &status.clock);
        self.correction(status.correction.as_ref());
        let connected = Some(status.master.is_some().into());
        self.gauge("connected", "Whether there is a master", connected);
        let term = status.term.map(|term| term as f64);
        self.gauge("term", "The term of the leader", term);
        let counters = status.counters;
        let help = "Corrections that have come";
        self.counter("corrections", help, counters.corrections);
        let help = "Connections with a master";
        self.counter("connections", help, counters.connections);
        self.ntp(status.ntp.as_ref());
    }

    fn master(&mut self, status: &MasterStatus, most_clocks: usize) {
        self.process(&status.process, &status.clock);
        self.correction(status.correction.as_ref());
        let leads = status.lead.role == "leads";
        self.gauge("leads", "Whether this master leads", Some(leads.into()));
        let term = status.lead.term.map(|term| term as f64);
        self.gauge("term", "The highest term that this master knows", term);
        self.tree(status.tree.as_ref());
        let followers = status.clocks.len().saturating_sub(1) as f64;
        self.gauge("followers", "Followers that are here", Some(followers));
        let counters = status.counters;
        let help = "How often the lead has changed";
        self.counter("lead_changes", help, counters.lead_changes);
        let rounds = [
            ("held", counters.rounds_held),
            ("abandoned", counters.rounds_abandoned),
        ];
        self.counters("rounds", "Rounds by their outcome", "outcome", &rounds);
        let connections = [
            ("accepted", counters.connections),
            ("refused", counters.refusals),
        ];
        let help = "Connections by whether they were taken in";
        self.counters("connections", help, "outcome", &connections);
        if let Some(round) = &status.round {
            let age = Some(round.ago_s);
            self.gauge("round_age_seconds", "How long ago the last round was", age);
            let error = round.error_ns.map(seconds);
            let help = "How wrong the average of the last round may be";
            self.gauge("round_error_seconds", help, error);
            let window = round.window_ns.map(seconds);
            let help = "How far from the median a clock voted in the last round";
            self.gauge("round_window_seconds", help, window);
            self.references(round);
        }
        self.ntp(status.ntp.as_ref());
        self.votes(&status.clocks);
        let average = status.round.as_ref().and_then(|round| round.average_ns);
        let median = status.round.as_ref().and_then(|round| round.median_ns);
        let group = average.or(median).unwrap_or(0);
        self.clocks(&largest(&status.clocks, group, most_clocks), group);
    }

    fn tree(&mut self, tree: Option<&TreeStatus>) {
        let Some(tree) = tree else { return };
        let help = "For how many clocks the group stands in the one above it";
        self.gauge("group_clocks", help, Some(f64::from(tree.clocks)));
        if tree.parents.is_empty() {
            return;
        }
        let help = "Whether the group above is there";
        let present = Some(tree.parent.is_some().into());
        self.gauge("parent_connected", help, present);
        let help = "How many groups are above this one";
        let depth = tree.path.len().saturating_sub(1) as f64;
        self.gauge("tree_depth", help, Some(depth));
        let help = "How far the group was moved from above in the last round";
        self.gauge("parent_shift_seconds", help, tree.shift_ns.map(seconds));
        let help = "How wrong the group's time may be against the one above";
        self.gauge("parent_error_seconds", help, tree.error_ns.map(seconds));
    }

    fn ntp(&mut self, ntp: Option<&NtpStatus>) {
        let Some(ntp) = ntp else {
            return;
        };
        let stratum = Some(ntp.stratum.into());
        let help = "The stratum that clients of NTP are told, 16 while they are told no time";
        self.gauge("ntp_stratum", help, stratum);
        let counters = ntp.counters;
        let packets = [
            ("answered", counters.answered),
            ("unsynchronized", counters.unsynchronized),
            ("limited", counters.limited),
            ("malformed", counters.malformed),
        ];
        let help = "Packets of clients of NTP by what became of them";
        self.counters("ntp_packets", help, "outcome", &packets);
    }

    fn references(&mut self, round: &RoundStatus) {
        let (all, followed) = (round.references as f64, round.references_followed as f64);
        self.gauge("references", "References in the last round", Some(all));
        let help = "References that the group is led towards";
        self.gauge("references_followed", help, Some(followed));
        let help = "How far the median of those was ahead of the group's time";
        let ahead = round.reference_ahead_ns.map(seconds);
        self.gauge("reference_offset_seconds", help, ahead);
        let help = "How much faster the group runs on their account than its clocks do";
        self.gauge("led_rate_ratio", help, round.led_ppm.map(|ppm| ppm / 1e6));
    }

    fn votes(&mut self, clocks: &[GroupClock]) {
        let votes = Numbers::default();
        for vote in clocks.iter().filter_map(|clock| clock.vote.as_deref()) {
            let vote = vec![("vote", vote.to_owned())];
            votes.get_or_create(&vote).inc();
        }
        let help = "Clocks of the last round by their vote: yes, or why not";
        self.0.register("votes", help, votes);
    }

    fn clocks(&mut self, clocks: &[&GroupClock], group: i64) {
        type Value = fn(&GroupClock, i64) -> Option<f64>;
        let values: [(&str, &str, Value); 7] = [
            (
                "clock_offset_seconds",
                "How far a clock was ahead of the group's time in the last round",
                |clock, group| Some(seconds(clock.offset_ns?.saturating_sub(group))),
            ),
            (
                "clock_error_seconds",
                "How wrong the offset may be",
                |clock, _| clock.error_ns.map(seconds),
            ),
            (
                "clock_delay_seconds",
                "The round trip to a clock",
                |clock, _| clock.delay_ns.map(seconds),
            ),
            (
                "clock_rate_ratio",
                "By how much the group's time gains on a clock's oscillator",
                |clock, _| clock.rate_ppm.map(|ppm| ppm / 1e6),
            ),
            (
                "clock_vote_weight_ratio",
                "How much a clock's vote counted in the last round",
                |clock, _| clock.weight,
            ),
            (
                "clock_reach_ratio",
                "In how many of the last eight rounds a clock gave its time",
                |clock, _| reach(&clock.reach),
            ),
            (
                "clock_last_seen_seconds",
                "How long ago a clock gave its time",
                |clock, _| clock.last_seen_s,
            ),
        ];
        for (name, help, value) in values {
            let family = Numbers::default();
            for clock in clocks {
                if let Some(value) = value(clock, group) {
                    let labels = vec![("clock", clock.name.clone())];
                    family.get_or_create(&labels).set(value);
                }
            }
            self.0.register(name, help, family);
        }
    }
}

/// The clocks that are told of: the master's, then those farthest from the group's time.
fn largest(clocks: &[GroupClock], group: i64, most: usize) -> Vec<&GroupClock> {
    let mut all: Vec<&GroupClock> = clocks.iter().collect();
    let rank = |clock: &&GroupClock| {
        let distance = clock.offset_ns.map(|offset| offset.abs_diff(group));
        (clock.address.is_some(), Reverse(distance))
    };
    if most > 0 && most < all.len() {
        all.select_nth_unstable_by_key(most - 1, rank);
    }
    all.truncate(most);
    all
}

fn reach(reach: &str) -> Option<f64> {
    let reached = reach.bytes().filter(|round| *round == b'1').count();
    (!reach.is_empty()).then(|| reached as f64 / reach.len() as f64)
}

fn seconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_clocks_those_are_told_of_that_are_farthest_off() {
        let clock = |(number, offset): (usize, i64)| GroupClock {
            name: format!("f{number}"),
            address: (number > 0).then(|| "a".to_owned()),
            offset_ns: Some(offset),
            ..GroupClock::default()
        };
        let offsets = [0, 5, -900, 40, 3, 700];
        let clocks: Vec<_> = offsets.into_iter().enumerate().map(clock).collect();
        let told = |most| -> Vec<_> {
            let mut told: Vec<_> = largest(&clocks, 10, most)
                .iter()
                .map(|clock| clock.name.as_str())
                .collect();
            told.sort_unstable();
            told
        };
        assert_eq!(told(3), ["f0", "f2", "f5"]);
        assert_eq!(told(9).len(), 6);
        assert!(told(0).is_empty());
    }
}
