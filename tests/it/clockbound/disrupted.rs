//! What a host's clients of ClockBound and of NTP are told when an operator steps the group, and when
//! their host is suspended.

use super::hosts::{PATH, Told, all_told, end_client, judge, start_client, told};
use crate::support::virtual_hosts::{Group, Who};

/// For so many seconds after a step was told, not every clock has made it: they are told before
/// their next poll, and a system's clock follows within a quarter of a second.
const STEPPING: f64 = 1.5;

/// For so many seconds after a suspend, clients of ClockBound find what was said before.
const WAKING: f64 = 0.5;

/// When what happened, by the counter, in seconds.
struct Story {
    began: f64,
    stepped: f64,
    asleep: f64,
    awake: f64,
    ended: f64,
}

/// Lets it happen on three hosts, of which the last one has the clients.
fn story(group: &Group) -> Story {
    let [first, second, last] = &group.hosts;
    let (master, follower) = (
        env!("CARGO_BIN_EXE_berkeley-master"),
        env!("CARGO_BIN_EXE_berkeley-follower"),
    );
    let steer = "--steer system --interval 500ms";
    first.run(&format!("{master} {steer} --min-followers 2 &"));
    second.run(&format!("{follower} 10.0.0.1 {steer} &"));
    start_client(last);
    let clients = format!("--clockbound {PATH} --serve-ntp");
    last.run(&format!("{follower} 10.0.0.1 {steer} {clients} &"));
    first.line("Round 8: ");
    let began = group.now();
    group.wait(1.5);
    let stepped = group.now();
    first.run(&format!("{master} set +90s"));
    group.wait(4.0);
    let asleep = group.now();
    group.suspend(last, 3.0);
    let awake = group.now();
    group.wait(3.0);
    let ended = group.now();
    end_client(last);
    Story {
        began,
        stepped,
        asleep,
        awake,
        ended,
    }
}

/// What was said between two moments.
fn part(all: &[Told], from: f64, until: f64) -> Vec<&Told> {
    let part = all.iter().filter(|told| (from..until).contains(&told.at));
    part.collect()
}

#[test]
#[ignore = "needs user-mode-linux, iproute2, busybox, cc and root"]
fn whoever_is_told_a_time_is_told_the_groups_after_a_step_and_after_a_suspend() {
    let group = Group::boot(Who::Berkeley, [0.0, 0.0, 1.0]);
    let story = story(&group);
    let [leader, other, own] = group.clocks();
    // Who asks over NTP is told of a suspend by the first answer.
    for (way, in_doubt, waking) in [("told", "Disrupted", WAKING), ("served", "Unknown", 0.0)] {
        let lines = all_told(&group.hosts[2], way);
        let all: Vec<_> = lines
            .iter()
            .filter_map(|line| told(line, &own, &[&leader, &other]))
            .collect();
        // That may be one answer, where no clock was looked at yet to judge it by.
        let known = lines
            .iter()
            .map(|line| line.trim_end())
            .skip_while(|line| !line.ends_with("Synchronized"));
        let doubts = known.filter(|line| line.ends_with(in_doubt)).count();
        assert!(doubts > 0, "{way}: no word of it");
        if way == "told" {
            let doubted = |from, until| {
                let said = part(&all, from, until);
                said.iter().any(|told| told.status == in_doubt)
            };
            assert!(doubted(story.asleep, story.ended), "no word of the suspend");
            assert!(doubted(story.stepped, story.stepped + STEPPING));
        }
        for (moment, from, until) in [
            ("before", story.began, story.stepped),
            ("after the step", story.stepped + STEPPING, story.asleep),
            ("after the suspend", story.awake + waking, story.ended),
        ] {
            let name = format!("{way} {moment}");
            let (status, _) = judge(&name, &part(&all, from, until));
            assert_eq!(status, "Synchronized", "{name}");
        }
    }
}
