//! The status in one line, for `systemctl status`.

use crate::report::status::{ClockStatus, LeadStatus, RoundStatus, Status};
use crate::report::status_text::{age, escaped, length};

/// What a program does and how well the time is known, for example
/// `leads, 12 of 13 agree, ± 40 µs`. Nothing in it is a control character.
#[must_use]
pub fn status_line(status: &Status) -> String {
    match status {
        Status::Master(status) => {
            let first = lead(&status.lead, status.round.as_ref());
            format!("{first}{}", known(&status.clock))
        }
        Status::Follower(status) => {
            let first = match &status.master {
                Some(master) => format!("follows {}", escaped(master)),
                None => "no master".to_owned(),
            };
            format!("{first}{}", known(&status.clock))
        }
    }
}

fn lead(lead: &LeadStatus, round: Option<&RoundStatus>) -> String {
    match (lead.role.as_str(), &lead.leader) {
        ("leads", _) => format!("leads, {}", round.map_or_else(no_round, agree)),
        ("follows", Some(leader)) => format!("follows {}", escaped(leader)),
        _ => "no leader".to_owned(),
    }
}

fn no_round() -> String {
    "no round yet".to_owned()
}

fn agree(round: &RoundStatus) -> String {
    match &round.abandoned {
        Some(why) => format!("round abandoned: {}", escaped(why)),
        None => format!("{} of {} agree", round.votes, round.clocks),
    }
}

/// How well the time is known, and for how long nobody has corrected it.
fn known(clock: &ClockStatus) -> String {
    let error = match clock.error_ns {
        Some(error) => format!(", ± {}", length(Some(error))),
        None => ", error unknown".to_owned(),
    };
    let alone = clock.holdover_s.map(age);
    let alone = alone.map_or_else(String::new, |alone| format!(", holdover for {alone}"));
    error + &alone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(error_ns: Option<i64>, holdover_s: Option<f64>) -> ClockStatus {
        ClockStatus {
            error_ns,
            holdover_s,
            ..ClockStatus::unread(error_ns.is_some())
        }
    }

    fn round(abandoned: Option<&str>) -> RoundStatus {
        RoundStatus {
            number: 7,
            ago_s: 0.5,
            clocks: 13,
            votes: 12,
            abandoned: abandoned.map(str::to_owned),
            average_ns: None,
            error_ns: None,
            median_ns: None,
            window_ns: None,
            references: 0,
            references_followed: 0,
            reference_ahead_ns: None,
            led_ppm: None,
        }
    }

    #[test]
    fn one_line_says_what_is_done_and_how_well() {
        let mut leads = LeadStatus {
            role: "leads".to_owned(),
            leader: None,
            term: None,
            since_s: 1.0,
            candidates: Vec::new(),
        };
        assert_eq!(lead(&leads, Some(&round(None))), "leads, 12 of 13 agree");
        assert_eq!(lead(&leads, None), "leads, no round yet");
        let torn = lead(&leads, Some(&round(Some("no\nmajority\u{1b}"))));
        assert!(!torn.contains(char::is_control), "{torn:?}");
        leads.role = "follows".to_owned();
        leads.leader = Some("10.0.0.2:8080".to_owned());
        assert_eq!(lead(&leads, None), "follows 10.0.0.2:8080");
        leads.role = "seeks".to_owned();
        assert_eq!(lead(&leads, None), "no leader");
        assert_eq!(known(&clock(Some(40_000), None)), ", ± 40.000 µs");
        assert_eq!(known(&clock(None, None)), ", error unknown");
        let alone = known(&clock(Some(1_000_000), Some(125.0)));
        assert_eq!(alone, ", ± 1.000 ms, holdover for 2 min 5 s");
    }
}
