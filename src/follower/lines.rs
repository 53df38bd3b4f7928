//! What a follower and its master say to each other while a connection lasts.
//!
//! The follower opens with a timestamp. A master that answers `BERKELEY` is spoken to in lines;
//! one that answers with a timestamp, as `server.py` does, in timestamps.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use chrono::{NaiveDateTime, TimeDelta};

use crate::clock::{Clock, WallClock};
use crate::discipline::correction::{Applied, Mark, OutOfRange};
use crate::election::allegiance::patience;
use crate::follower::handle::{FollowerEvent, WireChoice, Worker};
use crate::report::record::FollowerRow;
use crate::wire::candidate::{Leader, Leadership, Term};
use crate::wire::connection::{Connection, Incoming, MESSAGE_DEADLINE};
use crate::wire::correction::Correction;
use crate::wire::line::{LineDecoder, Malformed};
use crate::wire::message::{Message, VERSION};
use crate::wire::timestamp::{self, Decoder, FRACTION_WAIT, NotATimestamp};

/// A master that polls is lost when it is silent for this many of its intervals...
const SILENT_INTERVALS: u32 = 3;

/// ... but not before this time, however short they are.
const SHORTEST_SILENCE: Duration = Duration::from_secs(3);

/// A master that knows lines greets at once, and `server.py` tells its time every 5 s.
const GREETING_PATIENCE: Duration = Duration::from_secs(30);

/// The same where there are other masters to try, and where all of them know lines.
const GREETING_PATIENCE_OF_SEVERAL: [Duration; 2] =
    [Duration::from_secs(6), Duration::from_secs(1)];

/// More corrections in a second than the shortest interval makes are an attack on our disk.
const CORRECTIONS_PER_SECOND: u32 = 200;

/// How many answers are remembered, so that a correction can name the one it follows from: as
/// many as the longest burst has.
const REMEMBERED: usize = 64;

/// Why a session with a master ended.
pub(crate) enum End {
    /// All corrections that were asked for have come.
    Done,
    /// The connection is of no more use.
    Lost(String),
    /// The master broke the rules, and is told so.
    Fault(String),
    /// Another master leads, or none does.
    Elsewhere(String),
    /// There was no connection.
    Unreachable(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<NotATimestamp> for End {
    fn from(error: NotATimestamp) -> Self {
        Self::Lost(format!("it sent what is {error}"))
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Fault(error.to_string())
    }
}

impl From<OutOfRange> for End {
    fn from(error: OutOfRange) -> Self {
        Self::Fault(error.to_string())
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => out.write_str("done"),
            Self::Lost(reason) | Self::Elsewhere(reason) => out.write_str(reason),
            Self::Unreachable(error) => write!(out, "{error}"),
            Self::Fault(reason) => write!(out, "it sent {reason}"),
        }
    }
}

/// What was said so far on the line protocol.
struct Dialogue {
    decoder: LineDecoder,
    greeted: bool,
    /// When our clock was asked for, by the numbers of the questions.
    marks: VecDeque<(u64, Mark)>,
    /// How long the master may be silent.
    patience: Duration,
    /// The term that it leads in, where there are candidates.
    term: Option<Term>,
}

impl Worker {
    /// Speaks with the master until the connection is of no more use.
    pub(crate) fn session(&mut self, stream: &TcpStream) -> End {
        let spoken = Connection::new(stream)
            .map_err(End::from)
            .and_then(|mut connection| {
                self.connected = Some(stream.peer_addr()?);
                if self.allegiance.choice() == 1 {
                    self.tell_connected();
                }
                let Err(end) = self.speak_timestamps(&mut connection);
                let goodbye = match &end {
                    End::Fault(what) => format!("you sent {what}"),
                    _ if self.is_stopping() => "the follower is stopping".to_owned(),
                    _ => return Err::<Infallible, _>(end),
                };
                let _ = say(&mut connection, &Message::Bye { reason: goodbye });
                Err(end)
            });
        let Err(end) = spoken;
        end
    }

    /// Reports our clock every interval, and takes what comes for the network's time.
    fn speak_timestamps(&mut self, connection: &mut Connection) -> Result<Infallible, End> {
        let mut decoder = Decoder::new();
        let mut heard_any = false;
        let connected = Instant::now();
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            if now >= due {
                connection.write(self.report().as_bytes())?;
                // Counted from now: a report that is late must not be followed by an early one.
                due = now + self.options.interval;
            }
            let mut wait = due.saturating_duration_since(Instant::now());
            if !heard_any {
                let patience = self.greeting_patience();
                wait = wait.min(patience.saturating_sub(connected.elapsed()));
            }
            if decoder.may_be_complete() {
                wait = wait.min(FRACTION_WAIT);
            }
            let bytes = match connection.read(wait)? {
                Incoming::Bytes(bytes) => bytes,
                Incoming::Nothing => &[],
                Incoming::End => return Err(closed()),
            };
            let arrival = (Instant::now(), self.wall.read());
            if !heard_any && bytes.first().is_some_and(u8::is_ascii_uppercase) {
                let opening = bytes.to_vec();
                return self.speak_lines(connection, &opening);
            }
            heard_any |= !bytes.is_empty();
            let greets = self.options.wire == WireChoice::Auto;
            if greets && !heard_any && connected.elapsed() > self.greeting_patience() {
                return Err(End::Lost("it accepts, and says nothing".to_owned()));
            }
            let mut received = Vec::new();
            if bytes.is_empty() {
                received.extend(decoder.flush()?);
            }
            for &byte in bytes {
                received.extend(decoder.push(byte, arrival)?);
            }
            for told in received {
                let clock = told.stamp.1;
                self.told(told.time, timestamp::moment(told.time, clock) - clock)?;
            }
            if decoder
                .began()
                .is_some_and(|(at, _)| at.elapsed() > MESSAGE_DEADLINE)
            {
                return Err(End::Lost(
                    "it began a message and did not end it".to_owned(),
                ));
            }
        }
    }

    /// How long a master may take to say anything.
    fn greeting_patience(&self) -> Duration {
        let [unknown, all_candidates] = GREETING_PATIENCE_OF_SEVERAL;
        match self.allegiance.choice() {
            1 => GREETING_PATIENCE,
            _ if self.allegiance.term() == 0 => unknown,
            _ => all_candidates,
        }
    }

    fn report(&self) -> String {
        let mut report = timestamp::format(timestamp::local(self.wall.read()));
        if self.options.wire == WireChoice::Auto {
            // The sign that we would rather speak lines.
            report.push('\n');
        }
        report
    }

    /// Tells of the connection: once it is sure to last, if there are other masters to try.
    fn tell_connected(&mut self) {
        if let Some(master) = self.connected.take() {
            self.tell(FollowerEvent::Connected(master));
        }
    }

    /// The network's time, as a timestamp told it. It corrects nothing: that is the custom on
    /// the timestamp wire, where the master keeps our correction for us.
    fn told(&mut self, time: NaiveDateTime, correction: TimeDelta) -> Result<(), End> {
        self.tell_connected();
        if self.steers_system && self.received == 0 {
            log::warn!(
                "the master speaks only timestamps, which correct nothing: --steer system has no \
                 effect"
            );
        }
        let clock = self.wall.read();
        let row = FollowerRow {
            time: WallClock.read(),
            round: self.received + 1,
            correction,
            clock,
            network: clock + correction,
        };
        let event = FollowerEvent::Synchronized {
            time,
            correction,
            error: None,
            made: None,
        };
        self.count(&row, event)
    }

    /// Answers polls and follows corrections. `opening` is the beginning of what the master says.
    fn speak_lines(
        &mut self,
        connection: &mut Connection,
        opening: &[u8],
    ) -> Result<Infallible, End> {
        let mut dialogue = Dialogue {
            decoder: LineDecoder::default(),
            greeted: false,
            marks: VecDeque::with_capacity(REMEMBERED),
            patience: MESSAGE_DEADLINE,
            term: None,
        };
        let mut line_began = self.hear(connection, &mut dialogue, opening)?;
        loop {
            let wait = match line_began {
                Some(_) => MESSAGE_DEADLINE,
                None => dialogue.patience,
            };
            let bytes = match connection.read(wait)? {
                Incoming::Bytes(bytes) => bytes.to_vec(),
                Incoming::Nothing => {
                    let silence = format!("it was silent for {} s", wait.as_secs());
                    return Err(End::Lost(silence));
                }
                Incoming::End => return Err(closed()),
            };
            let unfinished = self.hear(connection, &mut dialogue, &bytes)?;
            line_began = unfinished.map(|now| line_began.unwrap_or(now));
            if line_began.is_some_and(|began| began.elapsed() > MESSAGE_DEADLINE) {
                return Err(End::Lost("it began a line and did not end it".to_owned()));
            }
        }
    }

    /// Obeys the lines in `bytes`, which have just come; the moment, if the last has not ended.
    fn hear(
        &mut self,
        connection: &mut Connection,
        dialogue: &mut Dialogue,
        bytes: &[u8],
    ) -> Result<Option<Instant>, End> {
        let mut arrival = self.clock.mark();
        for &byte in bytes {
            let Some(line) = dialogue.decoder.push(byte)? else {
                continue;
            };
            match Message::parse(line)? {
                Message::Bye { reason } => return Err(End::Lost(format!("it says: {reason}"))),
                Message::Berkeley {
                    version,
                    interval,
                    leadership,
                } if version == VERSION => {
                    dialogue.greeted = true;
                    let interval = interval.unwrap_or(self.options.interval);
                    self.greeted(dialogue, interval, leadership.as_ref())?;
                }
                Message::Berkeley { version, .. } => {
                    return Err(End::Fault(format!(
                        "BERKELEY {version}, and this follower knows version {VERSION} only; \
                         update the older program"
                    )));
                }
                Message::Poll { n } if dialogue.greeted => {
                    if dialogue.marks.len() == REMEMBERED {
                        dialogue.marks.pop_front();
                    }
                    dialogue.marks.push_back((n, arrival));
                    let rate_ppm = Some(self.clock.rate().ppm);
                    let known = self.allegiance.term();
                    let synchronized = self.clock.is_synchronized();
                    // Last of all: what is done after this is taken for the network's delay.
                    let departure = self.clock.mark();
                    if departure.sets != arrival.sets {
                        // The clock was set in between; the next poll will get an answer.
                        continue;
                    }
                    let (t2, t3) = (arrival.target, departure.target);
                    say(
                        connection,
                        &Message::Time {
                            n,
                            t2,
                            t3,
                            rate_ppm,
                            term: (known > 0).then_some(known),
                            synchronized,
                            name: None,
                        },
                    )?;
                }
                Message::Adjust { n, correction } => {
                    let answered = dialogue.marks.iter().find(|(asked, _)| *asked == n);
                    let Some(&(_, mark)) = answered else {
                        return Err(End::Fault(format!("ADJUST {n} without POLL {n}")));
                    };
                    // What was answered before this correction is of no use after it.
                    dialogue.marks.clear();
                    let greeted = dialogue.term;
                    if greeted.is_none_or(|term| self.allegiance.believes(term)) {
                        self.allegiance.corrected(greeted.unwrap_or_default());
                        self.adjust(mark, correction)?;
                        // A poll that came along is answered by the corrected clock from end to
                        // end.
                        arrival = self.clock.mark();
                    } else {
                        // It hears of the higher term with our next answer.
                        log::debug!("a leader of an older term is not followed");
                    }
                }
                _ => return Err(End::Fault(format!("{line:?} out of turn"))),
            }
        }
        Ok(dialogue.decoder.is_in_line().then(Instant::now))
    }

    fn greeted(
        &mut self,
        dialogue: &mut Dialogue,
        interval: Duration,
        leadership: Option<&Leadership>,
    ) -> Result<(), End> {
        let Some(leadership) = leadership else {
            self.tell_connected();
            dialogue.patience = (interval * SILENT_INTERVALS).max(SHORTEST_SILENCE);
            return Ok(());
        };
        if !self.allegiance.greeted(leadership) {
            return Err(End::Elsewhere(match &leadership.leader {
                Leader::Other(leader) => format!("{leader} leads"),
                _ => "nobody leads yet".to_owned(),
            }));
        }
        self.tell_connected();
        dialogue.term = Some(leadership.term);
        dialogue.patience = patience(interval);
        Ok(())
    }

    fn adjust(&mut self, mark: Mark, correction: Correction) -> Result<(), End> {
        let made = self.clock.correct(mark, correction)?;
        if made == Applied::Refused {
            self.refusals.warn(correction.offset);
        }
        let rate = self.clock.rate();
        if let Some(file) = &mut self.options.drift_file {
            file.keep(rate, Instant::now());
        }
        let time = WallClock.read();
        let (clock, network) = self.clock.raw_and_now();
        let row = FollowerRow {
            time,
            round: self.received + 1,
            correction: correction.offset,
            clock,
            // The system's clock as it will be when the slew under way is done.
            network: if self.steers_system {
                self.clock.mark().target
            } else {
                network.time
            },
        };
        let event = FollowerEvent::Synchronized {
            time: timestamp::local(self.clock.mark().target),
            correction: correction.offset,
            error: Some(correction.error),
            made: Some(made),
        };
        self.count(&row, event)
    }

    /// Counts, records and tells a correction; ends the session if it was the last.
    fn count(&mut self, row: &FollowerRow, event: FollowerEvent) -> Result<(), End> {
        let (began, count) = &mut self.this_second;
        if began.elapsed() > Duration::from_secs(1) {
            (*began, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count > CORRECTIONS_PER_SECOND {
            return Err(End::Fault("too many corrections".to_owned()));
        }
        self.received = row.round;
        if let Some(record) = &mut self.options.record {
            record.follower(row);
        }
        self.tell(event);
        if self
            .options
            .rounds
            .is_some_and(|rounds| self.received >= rounds)
        {
            return Err(End::Done);
        }
        Ok(())
    }
}

fn say(connection: &mut Connection, message: &Message) -> io::Result<()> {
    connection.write(message.line().as_bytes())
}

fn closed() -> End {
    End::Lost("it closed the connection".to_owned())
}
