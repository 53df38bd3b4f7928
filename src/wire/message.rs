//! The line protocol: messages as ASCII lines, readable in a packet dump and typable by hand.
//!
//! Times are whole nanoseconds since the Unix epoch, UTC; spans are whole nanoseconds; rates are
//! whole ppb (a thousandth of a ppm). A number is followed by a space or the end of the line.
//! Words of the form `key=value` may follow the ones below; those that are not known are skipped,
//! so that a peer of today understands one of tomorrow.
//!
//! | line | from | says |
//! | --- | --- | --- |
//! | `BERKELEY 1 interval=SPAN` | master | greeting: the version, and the time between rounds; with candidates, who leads: `term=T leader=self`, an address, or `none`, and `candidates=A,B,C` |
//! | `POLL n steps=SERIES,NUMBER,SPAN` | master | what is your time, once you have taken these [steps](crate::wire::steps) of the group; `steps` in the first poll of a connection, and after a step |
//! | `TIME n t2 t3 rate=RATE` | follower | my clock when poll `n` came and when this answer left; the network gains `rate` on my oscillator; `synchronized=yes` while I know the group's time; `machine=SPAN`: my machine's own clock is so far ahead of this one; `reference=SPAN`: and is right, ± this; `term=T`, the highest of a leader that I have followed; `name=NAME` in the first answer; `weight=N,SPAN`: I am the master of a group, in which so many voted, at a median distance of the span from my clock |
//! | `ADJUST n offset error rate=RATE` | master | when you answered poll `n`, the network was `offset` ahead of you, ± `error`; run `rate` faster; `shift=SPAN` of the offset, and `above=SPAN` of the error, are the whole group's |
//! | `PATH A,B,C` | master | to a follower that is the master of a group: the groups above it, from the top to mine |
//! | `BYE reason` | both | an orderly end |
//! | `CANDIDATE r A T role` | candidate | I am `A`, the one of rank `r`, know of term `T`, and `leads`, `seeks`, `follows=r`, `misses=r` with `away=n`, or `yields=r`; `hears=r,r`, `synchronized=yes`; `orders=n` if I take the next ones |
//! | `DROP n r NAME`, `ADMIT n r NAME` | candidate | an operator has told the candidate of rank `r`, as the `n`th of [all such orders](crate::wire::vote_order), that this clock has no vote, or may vote again |

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::TimeDelta;

use crate::span::nanoseconds;
use crate::wire::address::Address;
use crate::wire::answer::Answer;
use crate::wire::candidate::{Heartbeat, Leader, Leadership, MOST_CANDIDATES, Rank, Ranks, Role};
use crate::wire::correction::Correction;
use crate::wire::line::{LONGEST_LINE, Malformed};
use crate::wire::path::Path;
use crate::wire::steps::Steps;
use crate::wire::vote_order::{Stamp, VoteOrder};
use crate::wire::words::{LARGEST_ERROR, Words, ppb, synchronized_word};

/// The version that is spoken here.
pub const VERSION: u32 = 1;

/// The shortest interval, below which rounds would overlap on any network, and the longest,
/// beyond which one is more likely a slip of the pen.
pub const INTERVALS: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_hours(24);

/// From one round, or one report, to the next, if nothing else is said.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

/// The most polls that a burst may have.
pub const LARGEST_BURST: u32 = 64;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The master's greeting.
    Berkeley {
        /// The version of the protocol that the master speaks.
        version: u32,
        /// The time between rounds, if it says.
        interval: Option<Duration>,
        /// Who leads, where there are candidates.
        leadership: Option<Leadership>,
    },
    /// A question for the time.
    Poll {
        /// The question's number.
        n: u64,
        /// The steps that the group has made, if it says: the answer is to follow them.
        steps: Option<Steps>,
    },
    /// The answer to a question.
    Time {
        /// The question's number.
        n: u64,
        /// What the clock shows, and what is said of it.
        answer: Answer,
    },
    /// The groups above the master of a group that follows.
    Path(Path),
    /// A correction.
    Adjust {
        /// The number of the question whose answer told the offset.
        n: u64,
        /// What the follower has to do.
        correction: Correction,
    },
    /// What a candidate tells the others.
    Candidate {
        /// Its place in the list.
        rank: Rank,
        /// What stands there: so that a list that is not the same everywhere is noticed.
        address: Address,
        /// What it does.
        heartbeat: Heartbeat,
    },
    /// What an operator has told a candidate, which passes it on to the others.
    Vote(VoteOrder),
    /// An orderly end, and why.
    Bye {
        /// For people.
        reason: String,
    },
}

impl fmt::Display for Message {
    /// The line, without its newline.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Berkeley {
                version,
                interval,
                leadership,
            } => {
                write!(out, "BERKELEY {version}")?;
                if let Some(interval) = interval {
                    write!(out, " interval={}", interval.as_nanos())?;
                }
                match leadership {
                    Some(leadership) => write!(out, "{leadership}"),
                    None => Ok(()),
                }
            }
            Self::Poll { n, steps } => {
                write!(out, "POLL {n}")?;
                steps_word(*steps, out)
            }
            Self::Time { n, answer } => write!(out, "TIME {n} {answer}"),
            Self::Adjust { n, correction } => adjust(*n, correction, out),
            Self::Path(path) => write!(out, "PATH {path}"),
            Self::Candidate {
                rank,
                address,
                heartbeat,
            } => {
                write!(out, "CANDIDATE {} {address}", rank.0)?;
                heartbeat_words(heartbeat, out)
            }
            Self::Vote(VoteOrder { name, stamp }) => {
                let word = if stamp.drops { "DROP" } else { "ADMIT" };
                write!(out, "{word} {} {} {name}", stamp.number, stamp.rank.0)
            }
            Self::Bye { reason } => {
                let mut line = format!("BYE {reason}").replace('µ', "u");
                line.retain(|character| character == ' ' || character.is_ascii_graphic());
                line.truncate(LONGEST_LINE);
                out.write_str(line.trim_end())
            }
        }
    }
}

fn adjust(n: u64, correction: &Correction, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (offset, error) = (
        nanoseconds(correction.offset),
        nanoseconds(correction.error),
    );
    let rate = ppb(correction.common_ppm);
    write!(out, "ADJUST {n} {offset} {error} rate={rate}")?;
    for (key, span) in [("shift", correction.shift), ("above", correction.above)] {
        if !span.is_zero() {
            write!(out, " {key}={}", nanoseconds(span))?;
        }
    }
    Ok(())
}

fn heartbeat_words(heartbeat: &Heartbeat, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(out, " {}", heartbeat.term)?;
    match heartbeat.role {
        Role::Leads => out.write_str(" leads")?,
        Role::Seeks => out.write_str(" seeks")?,
        Role::Follows(Rank(leader)) => write!(out, " follows={leader}")?,
        Role::Misses(Rank(leader), away) => write!(out, " misses={leader} away={away}")?,
        Role::Yields(Rank(successor)) => write!(out, " yields={successor}")?,
    }
    let heard: Vec<_> = heartbeat
        .hears
        .iter()
        .map(|rank| rank.0.to_string())
        .collect();
    write!(out, " hears={}", heard.join(","))?;
    steps_word(heartbeat.steps, out)?;
    if let Some(orders) = heartbeat.orders {
        write!(out, " orders={orders}")?;
    }
    out.write_str(synchronized_word(heartbeat.synchronized))
}

fn steps_word(steps: Option<Steps>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match steps {
        Some(steps) => write!(out, " steps={steps}"),
        None => Ok(()),
    }
}

impl Message {
    /// The line as it is sent, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        use fmt::Write;
        let mut line = String::with_capacity(LONGEST_LINE);
        // Writing to a string fails only if a `Display` does.
        let _ = writeln!(line, "{self}");
        line
    }

    /// Reads a line, which comes without its newline.
    ///
    /// # Errors
    /// [`Malformed`] when the first word is not known, or a word that belongs there is missing,
    /// is no number or is out of range.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let of = |message| Words::of(message, line);
        match line.split(' ').next().unwrap_or_default() {
            "BERKELEY" => greeting(&mut of("BERKELEY")),
            "POLL" => poll(&mut of("POLL")),
            "TIME" => time(&mut of("TIME")),
            "ADJUST" => correction(&mut of("ADJUST")),
            "PATH" => of("PATH").number("groups").map(Self::Path),
            "CANDIDATE" => heartbeat(&mut of("CANDIDATE")),
            "DROP" => vote_order(&mut of("DROP"), true),
            "ADMIT" => vote_order(&mut of("ADMIT"), false),
            "BYE" => Ok(Self::Bye {
                reason: line.get(4..).unwrap_or_default().to_owned(),
            }),
            _ => Err(Malformed::Unknown(line.chars().take(40).collect())),
        }
    }
}

fn greeting(words: &mut Words) -> Result<Message, Malformed> {
    Ok(Message::Berkeley {
        version: words.number("version")?,
        interval: words.key("interval")?.map(Duration::from_nanos),
        leadership: leadership(words)?,
    })
}

/// Who leads, if the greeting has a term.
fn leadership(words: &Words) -> Result<Option<Leadership>, Malformed> {
    let Some(term) = words.key("term")? else {
        return Ok(None);
    };
    let leader = match words.word("leader") {
        Some("self") | None => Leader::Speaker,
        Some("none") => Leader::Nobody,
        Some(_) => Leader::Other(words.key("leader")?.ok_or_else(|| words.wrong("leader"))?),
    };
    Ok(Some(Leadership {
        term,
        leader,
        candidates: words.list("candidates")?,
    }))
}

fn poll(words: &mut Words) -> Result<Message, Malformed> {
    Ok(Message::Poll {
        n: words.number("number")?,
        steps: words.key("steps")?,
    })
}

fn time(words: &mut Words) -> Result<Message, Malformed> {
    Ok(Message::Time {
        n: words.number("number")?,
        answer: Answer::read(words)?,
    })
}

fn correction(words: &mut Words) -> Result<Message, Malformed> {
    let n = words.number("number")?;
    let offset = TimeDelta::nanoseconds(words.number("offset")?);
    let error = TimeDelta::nanoseconds(words.number("error")?);
    if !(TimeDelta::zero()..=LARGEST_ERROR).contains(&error) {
        return Err(words.wrong("error"));
    }
    let above = words.error("above")?.unwrap_or_default();
    if above > error {
        return Err(words.wrong("above"));
    }
    Ok(Message::Adjust {
        n,
        correction: Correction {
            offset,
            error,
            common_ppm: words.rate()?.unwrap_or(0.0),
            shift: words.span("shift")?.unwrap_or_default(),
            above,
        },
    })
}

fn heartbeat(words: &mut Words) -> Result<Message, Malformed> {
    let rank = words.rank("rank")?;
    let address = words.number("address")?;
    let term = words.number("term")?;
    let role = role(words)?;
    let hears = words.list::<usize>("hears")?;
    Ok(Message::Candidate {
        rank,
        address,
        heartbeat: Heartbeat {
            term,
            role,
            synchronized: words.is_synchronized(),
            hears: hears.into_iter().map(Rank).collect::<Ranks>(),
            steps: words.key("steps")?,
            orders: words.key("orders")?,
        },
    })
}

fn role(words: &mut Words) -> Result<Role, Malformed> {
    let word = words.next().unwrap_or_default();
    let (role, other) = word.split_once('=').unwrap_or((word, ""));
    let other = other.parse().ok().filter(|rank| *rank < MOST_CANDIDATES);
    match (role, other.map(Rank)) {
        ("leads", None) => Ok(Role::Leads),
        ("seeks", None) => Ok(Role::Seeks),
        ("follows", Some(leader)) => Ok(Role::Follows(leader)),
        ("misses", Some(leader)) => match words.key("away")? {
            Some(away) => Ok(Role::Misses(leader, away)),
            None => Err(words.wrong("away")),
        },
        ("yields", Some(successor)) => Ok(Role::Yields(successor)),
        _ => Err(words.wrong("role")),
    }
}

fn vote_order(words: &mut Words, drops: bool) -> Result<Message, Malformed> {
    let stamp = Stamp {
        number: words.number("number")?,
        rank: words.rank("rank")?,
        drops,
    };
    let name = words.next().filter(|name| VoteOrder::allows(name));
    let name = name.ok_or_else(|| words.wrong("name"))?.into();
    Ok(Message::Vote(VoteOrder { name, stamp }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::candidate::{LARGEST_TERM, Term};
    use crate::wire::limits::longest_line;
    use crate::wire::line::LineDecoder;
    use crate::wire::name::NodeName;
    use crate::wire::path::{DEEPEST, GroupId};
    use crate::wire::steps::LARGEST_STEP;
    use crate::wire::weight::{LARGEST_WEIGHT, Weight};
    use chrono::DateTime;
    use proptest::prelude::*;

    /// Names up to the longest.
    fn any_name() -> impl Strategy<Value = NodeName> {
        "[!$-&(-+\\--~]{1,64}".prop_map(|name| name.parse().unwrap())
    }

    fn any_rank() -> impl Strategy<Value = Rank> {
        (0..MOST_CANDIDATES).prop_map(Rank)
    }

    /// Lists of candidates as long as they may be, and nearly so: the last addresses are dropped
    /// until all that is sent fits into a line.
    fn any_list() -> impl Strategy<Value = Vec<Address>> {
        let host = prop_oneof![
            "[a-z]{1,12}",
            "[a-z0-9.-]{40,60}",
            "[a-z0-9]{1,110}",
            "10[.]0[.]0[.][1-9]",
            "192[.]168[.]1[0-9]{2}[.]2[0-4][0-9]",
            "fd12:3456:789a:1:21b:21ff:fe3c:[1-9a-f]{4}"
        ];
        let address = (host, 1..=u16::MAX).prop_map(|(host, port)| Address::new(host, port));
        let list = prop::collection::vec(address, 2..=MOST_CANDIDATES);
        list.prop_map(|mut list| {
            while longest_line(&list) > LONGEST_LINE {
                list.pop();
            }
            list
        })
        .prop_filter("none has fitted", |list| !list.is_empty())
    }

    /// One of a list.
    fn any_address() -> impl Strategy<Value = Address> {
        (any_list(), any::<usize>()).prop_map(|(list, place)| list[place % list.len()].clone())
    }

    /// Any, and often the largest.
    fn any_term() -> impl Strategy<Value = Term> {
        prop_oneof![0..=LARGEST_TERM, Just(LARGEST_TERM)]
    }

    fn any_interval() -> impl Strategy<Value = Duration> {
        let nanos = |interval: &Duration| interval.as_nanos() as u64;
        let (least, most) = (nanos(INTERVALS.start()), nanos(INTERVALS.end()));
        (least..=most).prop_map(Duration::from_nanos)
    }

    fn any_leadership() -> impl Strategy<Value = Leadership> {
        (any_term(), any::<usize>(), any_list()).prop_map(|(term, leader, candidates)| Leadership {
            term,
            leader: match candidates.get(leader % (candidates.len() + 2)) {
                Some(leader) => Leader::Other(leader.clone()),
                None if leader.is_multiple_of(2) => Leader::Speaker,
                None => Leader::Nobody,
            },
            candidates,
        })
    }

    fn any_heartbeat() -> impl Strategy<Value = Heartbeat> {
        let role = prop_oneof![
            Just(Role::Leads),
            Just(Role::Seeks),
            any_rank().prop_map(Role::Follows),
            (any_rank(), any::<u8>()).prop_map(|(leader, away)| Role::Misses(leader, away)),
            any_rank().prop_map(Role::Yields)
        ];
        let hears = prop::collection::vec(any_rank(), 0..MOST_CANDIDATES);
        let steps = prop::option::of(any_steps());
        let orders = prop::option::of(any::<u32>());
        (any_term(), role, any::<bool>(), hears, steps, orders).prop_map(
            |(term, role, synchronized, hears, steps, orders)| Heartbeat {
                term,
                role,
                synchronized,
                hears: hears.into_iter().collect(),
                steps,
                orders,
            },
        )
    }

    fn any_steps() -> impl Strategy<Value = Steps> {
        let most = nanoseconds(LARGEST_STEP);
        (any::<u32>(), any::<u32>(), -most..=most).prop_map(|(series, number, total)| Steps {
            series,
            number,
            total: TimeDelta::nanoseconds(total),
        })
    }

    fn any_path() -> impl Strategy<Value = Path> {
        let groups = prop::collection::vec(any::<u32>().prop_map(GroupId), 1..=DEEPEST + 1);
        groups.prop_map(|groups| {
            let words: Vec<_> = groups.iter().map(GroupId::to_string).collect();
            words.join(",").parse().unwrap()
        })
    }

    /// Any, and often the largest.
    fn any_weight() -> impl Strategy<Value = Weight> {
        let clocks = prop_oneof![1..=LARGEST_WEIGHT, Just(LARGEST_WEIGHT)];
        let deviation = (0..=3_600_000_000_000_i64).prop_map(TimeDelta::nanoseconds);
        (clocks, deviation).prop_map(|(clocks, deviation)| Weight { clocks, deviation })
    }

    fn any_rate() -> impl Strategy<Value = f64> {
        (-20_000_000..=20_000_000_i64).prop_map(|ppb| ppb as f64 * 1e-3)
    }

    fn any_answer() -> impl Strategy<Value = Answer> {
        let time = || any::<i64>().prop_map(DateTime::from_timestamp_nanos);
        let span = any::<i64>().prop_map(TimeDelta::nanoseconds);
        let error = (0..=3_600_000_000_000_i64).prop_map(TimeDelta::nanoseconds);
        let words = (
            time(),
            time(),
            prop::option::of(any_rate()),
            prop::option::of(any_term()),
            any::<bool>(),
            prop::option::of(span),
            prop::option::of(error),
            prop::option::of(any_weight()),
            prop::option::of(any_name()),
        );
        words.prop_map(
            |(t2, t3, rate_ppm, term, synchronized, machine, reference, weight, name)| {
                let has_room = name.is_none() && weight.is_none();
                Answer {
                    t2,
                    t3,
                    rate_ppm,
                    term,
                    synchronized,
                    machine: machine.filter(|_| has_room),
                    reference: reference.filter(|_| has_room),
                    weight,
                    name,
                }
            },
        )
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let error = 0..=3_600_000_000_000_i64;
        prop_oneof![
            (any_interval(), prop::option::of(any_leadership())).prop_map(
                |(interval, leadership)| Message::Berkeley {
                    version: VERSION,
                    interval: Some(interval),
                    leadership,
                }
            ),
            (any::<u64>(), prop::option::of(any_steps()))
                .prop_map(|(n, steps)| Message::Poll { n, steps }),
            (any::<u64>(), any_answer()).prop_map(|(n, answer)| Message::Time { n, answer }),
            (any_rank(), any_address(), any_heartbeat()).prop_map(|(rank, address, heartbeat)| {
                Message::Candidate {
                    rank,
                    address,
                    heartbeat,
                }
            }),
            any_path().prop_map(Message::Path),
            (
                any::<u64>(),
                any::<i64>(),
                error,
                any_rate(),
                any::<i64>(),
                0.0..1.0
            )
                .prop_map(|(n, offset, error, common_ppm, shift, part)| {
                    Message::Adjust {
                        n,
                        correction: Correction {
                            offset: TimeDelta::nanoseconds(offset),
                            error: TimeDelta::nanoseconds(error),
                            common_ppm,
                            shift: TimeDelta::nanoseconds(shift),
                            above: TimeDelta::nanoseconds((error as f64 * part) as i64),
                        },
                    }
                }),
            (
                any_name(),
                any::<Option<u32>>(),
                any::<u32>(),
                any_rank(),
                any::<bool>()
            )
                .prop_map(|(name, again, number, rank, drops)| {
                    let again = again.map_or_else(String::new, |again| format!("#{again}"));
                    let name = format!("{name}{again}").into();
                    let stamp = Stamp {
                        number,
                        rank,
                        drops,
                    };
                    Message::Vote(VoteOrder { name, stamp })
                }),
            "[!-~]{1,40}( [!-~]{1,40}){0,3}".prop_map(|reason| Message::Bye { reason }),
        ]
    }

    fn decode(stream: &[u8]) -> Result<Vec<Message>, Malformed> {
        let mut decoder = LineDecoder::default();
        let mut messages = Vec::new();
        for &byte in stream {
            if let Some(line) = decoder.push(byte)? {
                messages.push(Message::parse(line)?);
            }
        }
        Ok(messages)
    }

    #[test]
    fn lines_look_as_documented() {
        let adjust = Message::Adjust {
            n: 7,
            correction: Correction {
                offset: TimeDelta::nanoseconds(-1500),
                error: TimeDelta::nanoseconds(20),
                common_ppm: 0.004,
                ..Correction::default()
            },
        };
        assert_eq!(adjust.line(), "ADJUST 7 -1500 20 rate=4\n");
        let below = Message::parse("ADJUST 7 -1500 20 rate=4 shift=-1400 above=15").unwrap();
        assert_eq!(
            below.line(),
            "ADJUST 7 -1500 20 rate=4 shift=-1400 above=15\n"
        );
        let time = Message::parse("TIME 7 -1 1700000000000000000 rate=-12500").unwrap();
        assert_eq!(
            time,
            Message::Time {
                n: 7,
                answer: Answer {
                    t2: DateTime::from_timestamp_nanos(-1),
                    t3: DateTime::from_timestamp_nanos(1_700_000_000_000_000_000),
                    rate_ppm: Some(-12.5),
                    ..Answer::default()
                },
            }
        );
        let heartbeat = Message::Candidate {
            rank: Rank(1),
            address: Address::new("10.0.0.2", 8080),
            heartbeat: Heartbeat {
                term: 3,
                role: Role::Follows(Rank(0)),
                synchronized: true,
                hears: [Rank(0), Rank(2)].into_iter().collect(),
                steps: None,
                orders: Some(4),
            },
        };
        let line = "CANDIDATE 1 10.0.0.2:8080 3 follows=0 hears=0,2 orders=4 synchronized=yes\n";
        assert_eq!(heartbeat.line(), line);
        for order in ["DROP 7 0 db1#2", "ADMIT 8 2 [fe80::1]:4000"] {
            assert_eq!(Message::parse(order).unwrap().to_string(), order);
        }
        let greeting = "BERKELEY 1 interval=5 term=3 leader=b:1 candidates=a:1,b:1";
        assert_eq!(Message::parse(greeting).unwrap().to_string(), greeting);
    }

    #[test]
    fn words_of_tomorrow_are_skipped() {
        for line in [
            "POLL 7 hint=3",
            "POLL 7 x= y=z =",
            "TIME 7 1 2 stratum=9",
            "BERKELEY 1 quorum=4 interval=5000000000 weather=a,b",
        ] {
            assert!(Message::parse(line).is_ok(), "{line}");
        }
        assert_eq!(
            Message::parse("BERKELEY 1 quorum=4 interval=5"),
            Message::parse("BERKELEY 1 interval=5")
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for line in [
            "",
            " POLL 7",
            "poll 7",
            "POLL",
            "POLL ",
            "POLL -1",
            "POLL 18446744073709551616",
            "POLL 0x7",
            "POLL 7 steps=1,2",
            "TIME 7 1",
            "TIME 7 1 9223372036854775808",
            "TIME 7 1.5 2",
            "TIME 7 1 2 rate=x",
            "TIME 7 1 2 rate=20000001",
            "TIME 7 1 2 reference=-1",
            "TIME 7 1 2 reference=3600000000001",
            "TIME 7 1 2 machine=x",
            "ADJUST 7 1 -1",
            "ADJUST 7 1 3600000000001",
            "ADJUST 7 1",
            "ADJUST 7 1 5 above=6",
            "ADJUST 7 1 5 above=-1",
            "ADJUST 7 1 5 shift=x",
            "TIME 7 1 2 weight=0,0",
            "TIME 7 1 2 weight=1",
            "TIME 7 1 2 weight=1,-1",
            "TIME 7 1 2 weight=1000000001,0",
            "PATH",
            "PATH x",
            "BERKELEY",
            "BERKELEY one",
            "BERKELEY 1 term=x",
            "BERKELEY 1 term=1 leader=",
            "BERKELEY 1 term=1 candidates=a:0",
            "TIME 7 1 2 term=-1",
            "CANDIDATE 9 a:1 1 leads",
            "CANDIDATE 0 a:1 1 follows",
            "CANDIDATE 0 a:1 1 follows=9",
            "CANDIDATE 0 a:1 1 leads hears=x",
            "CANDIDATE 0 a:1 1 leads hears=1 steps=",
            "CANDIDATE 0 a:1 1 leads orders=-1",
            "DROP 1 0",
            "DROP 1 9 a",
            "DROP 4294967296 0 a",
            "ADMIT 1 0 a,b",
            "ADMIT 1 0 ",
            "2024-01-02 03:04:05.678901",
        ] {
            assert!(Message::parse(line).is_err(), "{line:?} was accepted");
        }
    }

    #[test]
    fn a_line_has_an_end() {
        let long = [b"BYE ".as_slice(), &[b'x'; LONGEST_LINE - 4], b"\n"].concat();
        assert!(decode(&long).is_ok());
        let longer = [b"BYE ".as_slice(), &[b'x'; LONGEST_LINE - 3]].concat();
        assert_eq!(decode(&longer), Err(Malformed::TooLong));
        assert_eq!(decode(b"POLL 7\0\n"), Err(Malformed::Byte(0)));
        assert_eq!(decode(b"BYE \xc3\xbc\n"), Err(Malformed::Byte(0xc3)));
    }

    #[test]
    fn a_reason_stays_one_line() {
        let bye = Message::Bye {
            reason: "no\nPOLL 7\r".to_owned() + &"x".repeat(300),
        };
        assert!(bye.to_string().starts_with("BYE noPOLL 7xxx"));
        assert_eq!(bye.to_string().len(), LONGEST_LINE);
    }

    proptest! {
        #[test]
        fn all_that_we_send_fits_into_a_line(message in any_message()) {
            prop_assert!(message.line().len() <= LONGEST_LINE + 1, "{}", message.line());
        }

        #[test]
        fn what_is_written_reads_back(message in any_message()) {
            let read = Message::parse(&message.to_string()).unwrap();
            prop_assert_eq!(read.line(), message.line());
        }

        #[test]
        fn any_joining_of_lines_comes_apart(messages in prop::collection::vec(any_message(), 0..8)) {
            let stream: String = messages.iter().map(Message::line).collect();
            prop_assert!(stream.lines().all(|line| line.len() <= LONGEST_LINE));
            let read = decode(stream.as_bytes()).unwrap();
            prop_assert_eq!(read.len(), messages.len());
        }

        #[test]
        fn no_bytes_panic(stream in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&stream);
        }

        #[test]
        fn no_near_miss_panics(
            line in "(BERKELEY|POLL|TIME|ADJUST|PATH|CANDIDATE|DROP|ADMIT|BYE)( (-?[0-9]{0,22}|[0-9a-f,]{0,40}|(weight|shift|above)=-?[0-9]{0,22}|rate=-?[0-9]{0,22}|interval=[0-9]*|(term|hears|leader|candidates|follows)=[0-9a-z,:]*)){0,6}"
        ) {
            let _ = Message::parse(&line);
        }
    }
}
