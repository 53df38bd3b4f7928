//! Many followers in one thread, over sockets that never block.
//!
//! All their clocks are this machine's, each ahead of it by an amount that is known here: so the
//! true offset between any of them and the master is known too. Like real followers they move by
//! the corrections they are told.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::keys::channel::Channel;
use berkeley::internals::keys::code::Code;
use berkeley::internals::keys::group::GroupKeys;
use berkeley::internals::keys::handshake::Caller;
use berkeley::internals::keys::holder::Role;
use berkeley::internals::wire::line::LineDecoder;
use berkeley::internals::wire::message::Message;
use berkeley::internals::wire::timestamp;
use chrono::{DateTime, TimeDelta, Utc};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::INTERVAL;

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// How far apart the followers' clocks are at first, either way: every one has a vote.
const SPREAD: TimeDelta = TimeDelta::microseconds(300);

/// How the followers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The line protocol: they are polled and told their corrections.
    Polled,
    /// The same with keys: each proves that it holds its own.
    Keyed,
    /// As `client.py`: they report every 5 s and are told the time.
    Reporting,
}

/// A correction, or a time, that a follower was told.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// By this machine's clock: when the burst began that it follows from; on the timestamp wire,
    /// when it came.
    pub time: DateTime<Utc>,
    /// How far the follower was ahead of this machine's clock then.
    pub ahead: TimeDelta,
    /// How many polls the burst had.
    pub polls: u64,
    /// What it was told to add.
    pub correction: TimeDelta,
}

/// What the followers saw of a round.
#[derive(Debug, Clone, Copy)]
pub struct RoundSpan {
    pub first_poll: Instant,
    pub first_correction: Instant,
    pub last_correction: Instant,
    corrected: usize,
}

pub struct Follower {
    stream: TcpStream,
    /// Known once the connection stands.
    pub address: Option<SocketAddr>,
    greeted: bool,
    /// What it has opened with, until it is answered.
    caller: Option<Caller>,
    channel: Channel,
    decoder: LineDecoder,
    ahead: TimeDelta,
    /// When the burst began that is under way, and how many polls it has had.
    burst: Option<(DateTime<Utc>, u64)>,
    pub told: Vec<Told>,
}

/// All followers, and what they counted.
pub struct Load {
    manner: Manner,
    /// The secrets of the group, where there are keys.
    group: Option<GroupKeys>,
    poll: Poll,
    events: Events,
    pub followers: Vec<Follower>,
    /// Whose report is due when, the next one first.
    due: VecDeque<(Instant, usize)>,
    joined: usize,
    corrections: u64,
    /// Messages in either direction.
    messages: u64,
    rounds: Vec<RoundSpan>,
    /// The first poll of a round that has not ended.
    first_poll: Option<Instant>,
}

impl Load {
    pub fn new(manner: Manner) -> Result<Self> {
        Ok(Self {
            manner,
            group: None,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            followers: Vec::new(),
            due: VecDeque::new(),
            joined: 0,
            corrections: 0,
            messages: 0,
            rounds: Vec::new(),
            first_poll: None,
        })
    }

    /// Followers of a group with keys.
    pub fn keyed(group: GroupKeys) -> Result<Self> {
        Ok(Self {
            group: Some(group),
            ..Self::new(Manner::Keyed)?
        })
    }

    /// How many have been greeted by the master.
    pub fn joined(&self) -> usize {
        self.joined
    }

    pub fn corrections(&self) -> u64 {
        self.corrections
    }

    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The rounds whose corrections have begun to come.
    pub fn rounds(&self) -> &[RoundSpan] {
        &self.rounds
    }

    /// Begins to connect one more follower.
    pub fn connect(&mut self, master: SocketAddr) -> Result<()> {
        let number = self.followers.len();
        let mut stream = TcpStream::connect(master).context("cannot connect")?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(number), interest)?;
        // Multiples of the golden ratio fill the spread evenly, however many there are.
        let part = (number as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0;
        let ahead = match self.manner {
            Manner::Polled | Manner::Keyed => SPREAD.num_nanoseconds().unwrap_or(0) as f64 * part,
            Manner::Reporting => 0.0,
        };
        self.followers.push(Follower {
            stream,
            address: None,
            greeted: false,
            caller: None,
            channel: Channel::Open,
            decoder: LineDecoder::default(),
            ahead: TimeDelta::nanoseconds(ahead as i64),
            burst: None,
            told: Vec::with_capacity(32),
        });
        Ok(())
    }

    /// Serves the followers until `done`, which must not take for ever.
    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            ensure!(
                Instant::now() < deadline,
                "{} followers connected, {} of them greeted and {} corrections came in {PATIENCE:?}",
                self.followers.len(),
                self.joined,
                self.corrections
            );
            self.turn(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Serves the followers until a moment.
    pub fn run_for(&mut self, end: Instant) -> Result<()> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    /// What followers were told in a time, as an error of their right clocks: in µs, in order.
    pub fn told_between(&self, times: &Range<DateTime<Utc>>) -> Vec<f64> {
        let told = self.followers.iter().flat_map(|follower| &follower.told);
        let mut errors: Vec<_> = told
            .filter(|told| times.contains(&told.time))
            .map(|told| microseconds(told.correction).abs())
            .collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    /// Waits, no longer than `wait`, and does what there is to do.
    fn turn(&mut self, mut wait: Duration) -> Result<()> {
        if let Some(&(due, _)) = self.due.front() {
            wait = wait.min(due.saturating_duration_since(Instant::now()));
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, Some(wait));
        if polled
            .as_ref()
            .is_err_and(|error| error.kind() != ErrorKind::Interrupted)
        {
            polled?;
        }
        for event in &events {
            let number = event.token().0;
            self.attend(number)
                .with_context(|| format!("follower {number}"))?;
        }
        self.events = events;
        while let Some(&(due, number)) = self.due.front()
            && due <= Instant::now()
        {
            self.due.pop_front();
            self.report(number)?;
        }
        Ok(())
    }

    fn attend(&mut self, number: usize) -> Result<()> {
        let follower = &mut self.followers[number];
        if follower.address.is_none() {
            if let Some(error) = follower.stream.take_error()? {
                bail!("cannot connect: {error}");
            }
            match follower.stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            follower.stream.set_nodelay(true)?;
            follower.address = Some(follower.stream.local_addr()?);
            self.report(number)?;
        }
        let mut buffer = [0; 1024];
        loop {
            let length = match self.followers[number].stream.read(&mut buffer) {
                Ok(0) => bail!("the connection was lost"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            // Before anything else is done: the clock is read when the message comes.
            let time = WallClock.read();
            match self.manner {
                Manner::Polled | Manner::Keyed => self.hear(number, &buffer[..length], time)?,
                Manner::Reporting => self.note(number, &buffer[..length], time)?,
            }
            if length < buffer.len() {
                // No more has come; if it does now, that is a new event.
                return Ok(());
            }
        }
    }

    /// The opening, and on the timestamp wire what follows every 5 s: after a sleep of so long,
    /// as in `client.py`, not at a fixed pace.
    fn report(&mut self, number: usize) -> Result<()> {
        let follower = &mut self.followers[number];
        let mut report = timestamp::format(timestamp::local(WallClock.read() + follower.ahead));
        match self.manner {
            Manner::Polled => report.push('\n'),
            Manner::Keyed => {
                let group = self.group.as_ref().context("no keys")?;
                let name = format!("f{number}").parse().context("no name")?;
                let key = group.node(Role::Follower, name, None);
                let caller = Caller::new(&key, Code::random()?);
                report = format!("{}\n", caller.opening());
                follower.caller = Some(caller);
            }
            Manner::Reporting => self.due.push_back((Instant::now() + INTERVAL, number)),
        }
        self.messages += 1;
        follower.say(&report)
    }

    /// A time that `server.py` tells.
    fn note(&mut self, number: usize, bytes: &[u8], time: DateTime<Utc>) -> Result<()> {
        let said = String::from_utf8_lossy(bytes);
        let told = timestamp::parse(bytes).with_context(|| format!("it was told {said:?}"))?;
        self.messages += 1;
        self.corrections += 1;
        self.followers[number].told.push(Told {
            time,
            ahead: TimeDelta::zero(),
            polls: 0,
            correction: timestamp::moment(told, time) - time,
        });
        Ok(())
    }

    /// Lines that our master says.
    fn hear(&mut self, number: usize, bytes: &[u8], time: DateTime<Utc>) -> Result<()> {
        for &byte in bytes {
            let follower = &mut self.followers[number];
            let Some(line) = follower.decoder.push(byte)? else {
                continue;
            };
            self.messages += 1;
            if let Some(caller) = follower.caller.take() {
                let (proof, codes) = caller.prove(line)?;
                follower.channel = Channel::Keyed(Box::new(codes));
                self.messages += 1;
                follower.write(&format!("{proof}\n"))?;
                continue;
            }
            match Message::parse(follower.channel.open(line)?)? {
                Message::Poll { n, .. } => {
                    follower.burst.get_or_insert((time, 0)).1 += 1;
                    let answer = Message::Time {
                        n,
                        t2: time + follower.ahead,
                        // Last of all: what is done after this is taken for the network's delay.
                        t3: WallClock.read() + follower.ahead,
                        rate_ppm: None,
                        term: None,
                        synchronized: false,
                        name: None,
                        machine: None,
                        reference: None,
                    };
                    follower.say(&answer.line())?;
                    self.messages += 1;
                    self.note_poll();
                }
                Message::Adjust { correction, .. } => {
                    let burst = follower.burst.take();
                    let (time, polls) = burst.context("ADJUST without POLL")?;
                    follower.told.push(Told {
                        time,
                        ahead: follower.ahead,
                        polls,
                        correction: correction.offset,
                    });
                    follower.ahead += correction.offset;
                    self.corrections += 1;
                    self.note_correction();
                }
                Message::Berkeley { .. } if !follower.greeted => {
                    follower.greeted = true;
                    self.joined += 1;
                }
                said => bail!("the master says {said:?}"),
            }
        }
        Ok(())
    }

    /// A round's first poll is the one that comes when most have been corrected in the round
    /// before: some may be late.
    fn note_poll(&mut self) {
        let most = |round: &RoundSpan| round.corrected * 2 > self.joined;
        if self.first_poll.is_none() && self.rounds.last().is_none_or(most) {
            self.first_poll = Some(Instant::now());
        }
    }

    fn note_correction(&mut self) {
        let now = Instant::now();
        match self.rounds.last_mut() {
            // Corrections come all at once.
            Some(round) if now - round.last_correction < INTERVAL / 4 => {
                round.last_correction = now;
                round.corrected += 1;
            }
            _ => self.rounds.push(RoundSpan {
                first_poll: self.first_poll.take().unwrap_or(now),
                first_correction: now,
                last_correction: now,
                corrected: 1,
            }),
        }
    }
}

impl Follower {
    fn say(&mut self, message: &str) -> Result<()> {
        let mut line = message.to_owned();
        self.channel.seal(&mut line);
        self.write(&line)
    }

    fn write(&mut self, message: &str) -> Result<()> {
        let length = self.stream.write(message.as_bytes())?;
        ensure!(length == message.len(), "the master does not read");
        Ok(())
    }
}

/// A span in µs.
pub fn microseconds(span: TimeDelta) -> f64 {
    span.num_nanoseconds().unwrap_or(i64::MAX) as f64 * 1e-3
}
