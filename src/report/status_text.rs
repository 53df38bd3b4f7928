//! The status as people read it.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use chrono::TimeDelta;

use crate::report::status::{
    ClockStatus, CorrectionStatus, FollowerStatus, GroupClock, KeysStatus, LeadStatus,
    MasterStatus, NtpStatus, ProcessStatus, RoundStatus, Status, TreeStatus,
};
use crate::span;

impl Display for Status {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master(status) => status.fmt(out),
            Self::Follower(status) => status.fmt(out),
        }
    }
}

impl Display for MasterStatus {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        process(out, &self.program, &self.process)?;
        line(out, "listens on", &escaped(&self.listen))?;
        line(out, "lead", &lead(&self.lead))?;
        if !self.lead.candidates.is_empty() {
            line(out, "candidates", &candidates(&self.lead))?;
        }
        if let Some(tree) = self.tree.as_ref().filter(|tree| !tree.parents.is_empty()) {
            line(out, "above", &above(tree))?;
        }
        if let Some(all) = &self.keys {
            line(out, "keys", &keys(all, &self.clocks))?;
        }
        match &self.round {
            Some(held) => line(out, "last round", &round(held, self.dry_run))?,
            None => line(out, "last round", "none yet")?,
        }
        if let Some(held) = self.round.as_ref().filter(|held| held.references > 0) {
            line(out, "references", &references(held))?;
        }
        if self.lead.role != "leads"
            && let Some(last) = &self.correction
        {
            line(out, "correction", &correction(last))?;
        }
        clock(out, &self.clock)?;
        ntp(out, self.ntp.as_ref())?;
        table(out, &self.clocks)
    }
}

impl Display for FollowerStatus {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        process(out, &self.program, &self.process)?;
        let term = self
            .term
            .map_or_else(String::new, |term| format!(", term {term}"));
        match &self.master {
            Some(master) => line(out, "follows", &format!("{}{term}", escaped(master)))?,
            None => line(out, "follows", "no master")?,
        }
        match &self.correction {
            Some(last) => line(out, "correction", &correction(last))?,
            None => line(out, "correction", "none yet")?,
        }
        clock(out, &self.clock)?;
        ntp(out, self.ntp.as_ref())
    }
}

/// A line with a title. The next ones begin with the line break.
fn line(out: &mut Formatter<'_>, title: &str, text: &str) -> fmt::Result {
    write!(out, "\n  {title:<11} {text}")
}

fn process(out: &mut Formatter<'_>, program: &str, process: &ProcessStatus) -> fmt::Result {
    let name = process.name.as_deref().map(escaped);
    let name = name.map_or_else(String::new, |name| format!(" on {name}"));
    let (id, release) = (process.id, escaped(&process.release));
    let uptime = age(process.uptime_s);
    write!(out, "{program} {release}{name}, process {id}, up {uptime}")?;
    line(out, "time", &escaped(&process.time))
}

fn lead(lead: &LeadStatus) -> String {
    let since = age(lead.since_s);
    let term = lead
        .term
        .map_or_else(String::new, |term| format!(" in term {term}"));
    match (lead.role.as_str(), &lead.leader) {
        ("leads", _) => format!("leads{term}, for {since}"),
        ("follows", Some(leader)) => format!("follows {}{term}, for {since}", escaped(leader)),
        _ => format!("no leader, for {since}"),
    }
}

fn above(tree: &TreeStatus) -> String {
    let Some(parent) = &tree.parent else {
        let parents: Vec<_> = tree.parents.iter().map(|it| escaped(it)).collect();
        return format!("no group ({}): going on alone", parents.join(", "));
    };
    let path: Vec<_> = tree.path.iter().map(|it| escaped(it)).collect();
    let weight = match tree.clocks {
        1 => "one clock".to_owned(),
        clocks => format!("{clocks} clocks if that is believed there"),
    };
    let moved = match tree.shift_ns {
        Some(_) => format!(
            "last moved by {} ± {}",
            signed(tree.shift_ns),
            length(tree.error_ns)
        ),
        None => "not moved in a round yet".to_owned(),
    };
    format!(
        "{}, where this group counts as {weight}; {moved}; path {}",
        escaped(parent),
        path.join(" > ")
    )
}

fn candidates(lead: &LeadStatus) -> String {
    let all = lead.candidates.iter();
    let here = all.clone().filter(|candidate| candidate.present).count();
    let missing = all.filter(|candidate| !candidate.present);
    let missing: Vec<_> = missing.map(|it| escaped(&it.address)).collect();
    let count = format!("{here} of {} present", lead.candidates.len());
    match &missing[..] {
        [] => count,
        missing => format!("{count}, missing: {}", missing.join(", ")),
    }
}

/// How many followers have a key of which generation: before a rotation is finished, none is to have
/// the old one.
fn keys(keys: &KeysStatus, clocks: &[GroupClock]) -> String {
    let with = |generation: Option<u32>| {
        let followers = clocks.iter().filter(|clock| clock.address.is_some());
        followers
            .filter(|clock| clock.key_generation == generation)
            .count()
    };
    let generations = keys.generations.iter();
    let generations = generations.map(|it| format!("generation {it}: {}", with(Some(*it))));
    let generations: Vec<_> = generations.collect();
    let (auth, unkeyed) = (escaped(&keys.auth), with(None));
    format!(
        "{auth}; followers of {}, without a key: {unkeyed}",
        generations.join(", ")
    )
}

fn round(round: &RoundStatus, dry_run: bool) -> String {
    let (number, ago) = (round.number, age(round.ago_s));
    if let Some(why) = &round.abandoned {
        return format!("{number}, {ago} ago, abandoned: {}", escaped(why));
    }
    let dry_run = if dry_run {
        "; dry run: nobody is corrected"
    } else {
        ""
    };
    format!(
        "{number}, {ago} ago: {} of {} clocks agree, average {} ± {}{dry_run}",
        round.votes,
        round.clocks,
        signed(round.average_ns),
        length(round.error_ns)
    )
}

fn references(round: &RoundStatus) -> String {
    let (followed, all) = (round.references_followed, round.references);
    let ahead = signed(round.reference_ahead_ns);
    let led = round.led_ppm.unwrap_or_default();
    format!("{followed} of {all} followed, {ahead} ahead: led at {led:+.3} ppm")
}

fn correction(last: &CorrectionStatus) -> String {
    let made = last.made.as_deref().unwrap_or("told only");
    let error = last
        .error_ns
        .map(|error| format!(" ± {}", length(Some(error))));
    format!(
        "number {}, {} ago: {}{}, {}",
        last.number,
        age(last.ago_s),
        signed(Some(last.offset_ns)),
        error.unwrap_or_default(),
        escaped(made)
    )
}

fn clock(out: &mut Formatter<'_>, clock: &ClockStatus) -> fmt::Result {
    let error = match clock.error_ns {
        Some(error) => format!("± {}", length(Some(error))),
        None => "unknown".to_owned(),
    };
    let left = match clock.slew_left_ns {
        0 => String::new(),
        left => format!(", {} left to slew", signed(Some(left))),
    };
    line(out, "error", &format!("{error}{left}"))?;
    let (rate, error) = (clock.rate_ppm, clock.rate_error_ppm);
    line(out, "rate", &format!("{rate:+.3} ppm ± {error:.3} ppm"))?;
    if let Some(alone) = clock.holdover_s {
        line(out, "holdover", &format!("for {}", age(alone)))?;
    }
    let steps = match clock.steps {
        1 => "1 step".to_owned(),
        steps => format!("{steps} steps"),
    };
    let steered = match clock.steer.as_str() {
        "system" => "the system's clock is steered",
        _ => "the system's clock is only read",
    };
    line(out, "clock", &format!("{steered}, {steps} made"))
}

fn ntp(out: &mut Formatter<'_>, ntp: Option<&NtpStatus>) -> fmt::Result {
    let Some(ntp) = ntp else {
        return Ok(());
    };
    let (at, counters) = (escaped(&ntp.listen), ntp.counters);
    let (answered, limited) = (counters.answered, counters.limited);
    let text = match ntp.stratum {
        16 => format!("{at}, not synchronized: no client takes the time"),
        stratum => format!("{at}, stratum {stratum}"),
    };
    line(
        out,
        "NTP",
        &format!("{text}; {answered} questions answered, {limited} too many"),
    )
}

/// The columns of the table: titles, and whether they are flush right.
const COLUMNS: [(&str, bool); 11] = [
    ("node", false),
    ("address", false),
    ("offset", true),
    ("error", true),
    ("delay", true),
    ("rate", true),
    ("vote", false),
    ("weight", true),
    ("reputation", true),
    ("reach", true),
    ("seen", true),
];

fn table(out: &mut Formatter<'_>, clocks: &[GroupClock]) -> fmt::Result {
    let rows: Vec<[String; COLUMNS.len()]> = clocks.iter().map(cells).collect();
    let mut widths = COLUMNS.map(|(title, _)| title.len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let titles = COLUMNS.map(|(title, _)| title.to_owned());
    for row in std::iter::once(&titles).chain(&rows) {
        let mut text = String::new();
        for ((cell, width), (_, right)) in row.iter().zip(widths).zip(COLUMNS) {
            let cell = if right {
                format!("  {cell:>width$}")
            } else {
                format!("  {cell:width$}")
            };
            text.push_str(&cell);
        }
        write!(out, "\n{}", text.trim_end())?;
    }
    Ok(())
}

fn cells(clock: &GroupClock) -> [String; COLUMNS.len()] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let reputation = clock.reputation.as_ref();
    [
        escaped(&clock.name),
        or_dash(clock.address.as_deref().map(escaped)),
        signed(clock.offset_ns),
        length(clock.error_ns),
        length(clock.delay_ns),
        or_dash(clock.rate_ppm.map(|rate| format!("{rate:+.3} ppm"))),
        or_dash(clock.vote.as_deref().map(escaped)),
        or_dash(clock.weight.map(|weight| format!("{weight:.2}"))),
        or_dash(reputation.map(|it| signed(Some(it.mean_ns)))),
        escaped(&clock.reach),
        or_dash(clock.last_seen_s.map(age)),
    ]
}

/// Text that came from a socket: nothing in it moves a terminal's cursor.
#[must_use]
pub fn escaped(text: &str) -> String {
    let plain = |character: char| character.is_ascii_graphic() || " µ±".contains(character);
    let shown = text.chars().map(|character| {
        if plain(character) {
            character.to_string()
        } else {
            character.escape_default().to_string()
        }
    });
    shown.collect()
}

/// A span with its sign; a dash where it is unknown, a bare zero where a unit would say nothing.
fn signed(span_ns: Option<i64>) -> String {
    printed(span_ns, span::signed)
}

/// A span without its sign.
#[must_use]
pub fn length(span_ns: Option<i64>) -> String {
    printed(span_ns, span::span)
}

fn printed(span_ns: Option<i64>, print: impl Fn(TimeDelta) -> String) -> String {
    match span_ns {
        None => "-".to_owned(),
        Some(0) => "0".to_owned(),
        Some(span_ns) => print(TimeDelta::nanoseconds(span_ns)),
    }
}

/// An age to the tenth of a second, or in whole seconds: `0.3 s`, `2 min 5 s`, `3 d 4 h`.
#[must_use]
pub fn age(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |age| age.as_secs());
    let first = units
        .iter()
        .position(|(unit, _)| seconds >= *unit)
        .unwrap_or(3);
    let (unit, name) = units[first];
    let whole = format!("{} {name}", seconds / unit);
    match units.get(first + 1) {
        Some((next, name)) if seconds % unit >= *next => {
            format!("{whole} {} {name}", seconds % unit / next)
        }
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_well() {
        for (seconds, text) in [
            (0.0, "0.0 s"),
            (0.34, "0.3 s"),
            (12.9, "12 s"),
            (125.0, "2 min 5 s"),
            (3600.0, "1 h"),
            (273_600.0, "3 d 4 h"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn no_name_moves_the_terminal() {
        let clock = GroupClock {
            name: "a\u{1b}[2Jb".to_owned(),
            vote: Some("x\ny".to_owned()),
            ..GroupClock::default()
        };
        let cells = cells(&clock).concat();
        assert!(!cells.contains(char::is_control), "{cells:?}");
    }
}
