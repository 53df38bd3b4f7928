//! A follower's thread: one connection after the other, and pauses between them.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::follower::end::End;
use crate::follower::node::Node;
use crate::follower::session::session;
use crate::rate_limit::{Limit, Throttle};
use crate::wire::address::Address;

/// The pause after a first failed attempt to connect; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A session that was as long ends an outage. A master can make any number of shorter ones, and so
/// can another machine that has our key.
const LASTING_SESSION: Duration = LONGEST_PAUSE;

/// How long one attempt to connect may take, and how long if there are other masters to try.
const CONNECT_DEADLINE: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(500)];

/// Follows until all corrections have come that were asked for, or until it is stopped.
pub(crate) fn run(mut node: Node) {
    connect_and_speak(&mut node);
    let rate = node.clock.rate();
    if let Some(file) = &mut node.options.drift_file {
        file.save(rate);
    }
}

fn connect_and_speak(node: &mut Node) {
    let mut outage = Outage::new();
    while !node.control.is_stopping() {
        let master = node.allegiance.next_master();
        let (before, began) = (node.received, Instant::now());
        let end = speak_with(node, &master);
        if matches!(end, End::Done) || node.control.is_stopping() {
            return;
        }
        // A master that ends connections without a correction may do so for ever.
        if node.received > before {
            outage.corrected(began.elapsed());
        }
        outage.log(node, &master, &end, Instant::now());
        outage.tries += 1;
        // All of them are tried before a pause.
        if outage.tries.is_multiple_of(node.allegiance.choice()) {
            if !node.control.pause(outage.some_of_the_pause()) {
                return;
            }
            // A leader is found within seconds, and the one that was elected is there.
            if !matches!(end, End::Elsewhere(_)) && !node.allegiance.elects() {
                outage.pause = (outage.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Connects to a master and speaks with it as long as that is of use.
fn speak_with(node: &mut Node, master: &Address) -> End {
    let several = usize::from(node.allegiance.choice() > 1);
    let stream = match master.connect(CONNECT_DEADLINE[several]) {
        Ok(stream) => Arc::new(stream),
        Err(error) => return End::Unreachable(error),
    };
    if !node.control.connected(&stream) {
        // Stopped before there was a connection to close.
        return End::Done;
    }
    let end = session(node, &stream);
    if let Some(group) = &node.group {
        group.left();
    }
    node.control.disconnected();
    let _ = stream.shutdown(Shutdown::Both);
    end
}

/// The time since the last session that has lasted.
struct Outage {
    /// How often it was tried to connect.
    tries: usize,
    /// The longest that the next pause may be.
    pause: Duration,
    /// In how many sessions corrections came that did not last.
    short_sessions: u64,
    /// How often the log is told.
    told: Throttle,
    /// The same of masters that prove nothing, which is news of another kind.
    unproven: Throttle,
}

impl Outage {
    fn new() -> Self {
        Self {
            tries: 0,
            pause: FIRST_PAUSE,
            short_sessions: 0,
            told: Throttle::new(Limit::LASTING),
            unproven: Throttle::new(Limit::LASTING),
        }
    }

    /// A session has ended in which corrections came. After a short one all masters are tried
    /// again, but pauses go on growing, and the log is not told of each.
    fn corrected(&mut self, lasted: Duration) {
        if lasted >= LASTING_SESSION {
            *self = Self::new();
        } else {
            self.tries = 0;
            self.short_sessions += 1;
        }
    }

    /// From half to all of the pause, so that followers that lost their master at one moment
    /// don't all come back at one moment.
    fn some_of_the_pause(&self) -> Duration {
        self.pause.mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    /// Says that there is no master: at once, and then less and less often.
    fn log(&mut self, node: &Node, master: &Address, end: &End, now: Instant) {
        // A candidate may lose a leader, and a group above, too.
        let whose = node.group.as_ref().map_or("", |_| "for the group above: ");
        match self.warning(node, master, end, now) {
            Some(warning) if matches!(end, End::Unproven(_)) => log::error!("{whose}{warning}"),
            Some(warning) => log::warn!("{whose}{warning}"),
            None if node.allegiance.elects() => log::debug!("lost the leader {master}: {end}"),
            None => match end {
                End::Elsewhere(_) => log::debug!("{master}: {end}"),
                End::Unreachable(_) => log::debug!("cannot reach {master}: {end}"),
                _ => log::debug!("lost {master}: {end}"),
            },
        }
    }

    /// What there is to warn of at `now`, when a connection came to this end.
    fn warning(
        &mut self,
        node: &Node,
        master: &Address,
        end: &End,
        now: Instant,
    ) -> Option<String> {
        let choice = node.allegiance.choice();
        if let End::Unproven(why) = end {
            return self.unproven.admit(now).map(|_| format!(
                "{master} does not prove that it belongs to this group: {why}. NOTHING of what it \
                 says is believed; this clock holds over until a master proves itself"
            ));
        }
        if node.allegiance.elects() {
            // The election tells of its own.
            return None;
        }
        let admitted = self.told.admit(now).is_some();
        let lasts = self.told.lasts(now);
        let first = admitted && lasts.is_zero();
        if admitted && !first {
            let minutes = lasts.as_secs() / 60;
            return Some(match self.short_sessions {
                0 => format!(
                    "without a master for {minutes} min; the last one tried was {master}: {end}"
                ),
                sessions => format!(
                    "lost a master {sessions} times in {minutes} min; the last one was {master}: \
                     {end}"
                ),
            });
        }
        // In the beginning, every master is told of that was named.
        let beginning = self.tries < choice && node.received == 0;
        match end {
            End::Unreachable(_) if first || beginning => Some(format!(
                "cannot reach a master at {master}: {end}; trying until one answers"
            )),
            // Who was sent elsewhere may be there in a moment.
            End::Unreachable(_) | End::Elsewhere(_) => None,
            _ if !first => None,
            _ if choice > 1 => Some(format!(
                "lost {master}: {end}; holding over until a leader is found"
            )),
            _ => Some(format!("lost {master}: {end}; trying to connect again")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteadyClock;
    use crate::discipline::network_clock::NetworkClock;
    use crate::discipline::steering::Steering;
    use crate::election::allegiance::Allegiance;
    use crate::follower::options::FollowerOptions;
    use std::io;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(masters: usize) -> Node {
        let masters = (1..=masters).map(|port| Address::new("a", port as u16));
        let clock = NetworkClock::new(Arc::new(SteadyClock::start()), Steering::default());
        let options = FollowerOptions::default();
        Node::new(Allegiance::new(masters.collect()), clock, false, options)
    }

    /// At which seconds of an hour it warns, trying every five seconds, and of what.
    fn warned(
        outage: &mut Outage,
        node: &Node,
        ends: &[End],
        began: Instant,
    ) -> Vec<(u32, String)> {
        let master = Address::new("a", 1);
        let mut warned = Vec::new();
        for (number, second) in (0..3600).step_by(5).enumerate() {
            let end = &ends[number.min(ends.len() - 1)];
            let now = began + second * SECOND;
            let warning = outage.warning(node, &master, end, now);
            outage.tries += 1;
            warned.extend(warning.map(|warning| (second, warning)));
        }
        warned
    }

    fn unreachable() -> End {
        End::Unreachable(io::Error::other("refused"))
    }

    #[test]
    fn who_cannot_connect_says_so_at_once_after_a_minute_and_then_every_ten() {
        let (mut outage, began) = (Outage::new(), Instant::now());
        let warned = warned(&mut outage, &node(1), &[unreachable()], began);
        let seconds: Vec<_> = warned.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [0, 60, 660, 1260, 1860, 2460, 3060]);
        assert_eq!(
            warned[0].1,
            "cannot reach a master at a:1: refused; trying until one answers"
        );
        assert_eq!(
            warned[2].1,
            "without a master for 11 min; the last one tried was a:1: refused"
        );
    }

    #[test]
    fn who_has_lost_its_master_says_so_once_and_then_that_it_found_none() {
        let (mut outage, began) = (Outage::new(), Instant::now());
        let mut node = node(1);
        node.received = 7;
        let ends = [End::closed(), unreachable()];
        let warned = warned(&mut outage, &node, &ends, began);
        let begins = |(_, warning): &(u32, String)| warning[..4].to_owned();
        let begins: Vec<_> = warned.iter().map(begins).collect();
        assert_eq!(begins[..2], ["lost", "with"]);
        assert_eq!(begins.len(), 7);
    }

    #[test]
    fn every_master_that_was_named_is_told_of_in_the_beginning() {
        let (mut outage, began) = (Outage::new(), Instant::now());
        let warned = warned(&mut outage, &node(3), &[unreachable()], began);
        let seconds: Vec<_> = warned.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds[..4], [0, 5, 10, 60]);
    }

    #[test]
    fn who_is_sent_on_says_nothing_unless_that_lasts() {
        let (mut outage, began) = (Outage::new(), Instant::now());
        let mut node = node(3);
        node.received = 7;
        let ends = [
            End::Elsewhere("nobody leads yet".to_owned()),
            unreachable(),
            End::closed(),
        ];
        let warned = warned(&mut outage, &node, &ends, began);
        assert_eq!(warned[0].0, 60, "{warned:?}");
    }

    #[test]
    fn who_is_sent_away_after_each_correction_waits_longer_and_fills_no_log() {
        let (mut outage, began) = (Outage::new(), Instant::now());
        let (mut node, master) = (node(1), Address::new("a", 1));
        node.received = 7;
        let mut warned = Vec::new();
        for second in 0..3600 {
            outage.corrected(SECOND);
            let now = began + second * SECOND;
            warned.extend(outage.warning(&node, &master, &End::closed(), now));
            outage.tries += 1;
            outage.pause = (outage.pause * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(outage.pause, LONGEST_PAUSE);
        assert_eq!(warned.len(), 7, "{warned:?}");
        assert!(warned[0].starts_with("lost a:1: it closed"), "{warned:?}");
        let often = "lost a master 61 times in 1 min; the last one was a:1";
        assert!(warned[1].starts_with(often), "{warned:?}");
        outage.corrected(LASTING_SESSION);
        assert_eq!(outage.pause, FIRST_PAUSE);
        let end = outage.warning(&node, &master, &End::closed(), began);
        assert!(end.is_some_and(|warning| warning.starts_with("lost a:1")));
    }

    #[test]
    fn a_connection_that_lasted_without_a_correction_was_one_all_the_same() {
        let (mut outage, began) = (Outage::new(), Instant::now());
        let (node, master) = (node(1), Address::new("a", 1));
        for hour in 0..3 {
            let now = began + hour * 3600 * SECOND;
            let warning = outage.warning(&node, &master, &End::closed(), now);
            assert!(warning.is_some_and(|warning| warning.starts_with("lost a:1")));
            outage.tries += 1;
        }
    }
}
