//! Many followers in one thread, over sockets that never block.
//!
//! All their clocks are this machine's, each ahead of it by an amount that is known here: so the
//! true offset between any of them and the master is known too. Like real followers they move by
//! the corrections they are told. Each has an address of its own, as machines have, and one whose
//! connection is lost before it was greeted tries again after a pause, as real ones do.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use berkeley::internals::clock::{Clock, WallClock};
use berkeley::internals::keys::channel::Channel;
use berkeley::internals::keys::code::Code;
use berkeley::internals::keys::group::GroupKeys;
use berkeley::internals::keys::handshake::Caller;
use berkeley::internals::keys::holder::Role;
use berkeley::internals::wire::answer::Answer;
use berkeley::internals::wire::line::LineDecoder;
use berkeley::internals::wire::message::Message;
use berkeley::internals::wire::timestamp;
use chrono::{DateTime, TimeDelta, Utc};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::INTERVAL;

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long an attempt to connect may take, and the pause after the first one that has failed; it
/// doubles up to the longest one. They are a real follower's.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often it is looked whose pause is over.
const LOOK: Duration = Duration::from_millis(20);

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
    /// None while it pauses.
    stream: Option<TcpStream>,
    /// When it began to connect, or is to.
    since: Instant,
    /// The longest that its next pause may be.
    pause: Duration,
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
    master: SocketAddr,
    /// The secrets of the group, where there are keys.
    group: Option<GroupKeys>,
    poll: Poll,
    events: Events,
    pub followers: Vec<Follower>,
    /// Whose report is due when, the next one first.
    due: VecDeque<(Instant, usize)>,
    joined: usize,
    /// How often a connection was lost before it was greeted.
    retries: usize,
    looked: Instant,
    corrections: u64,
    /// Messages in either direction.
    messages: u64,
    rounds: Vec<RoundSpan>,
    /// The first poll of a round that has not ended.
    first_poll: Option<Instant>,
}

impl Load {
    pub fn new(manner: Manner, master: SocketAddr) -> Result<Self> {
        Ok(Self {
            manner,
            master,
            group: None,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            followers: Vec::new(),
            due: VecDeque::new(),
            joined: 0,
            retries: 0,
            looked: Instant::now(),
            corrections: 0,
            messages: 0,
            rounds: Vec::new(),
            first_poll: None,
        })
    }

    /// Followers of a group with keys.
    pub fn keyed(group: GroupKeys, master: SocketAddr) -> Result<Self> {
        Ok(Self {
            group: Some(group),
            ..Self::new(Manner::Keyed, master)?
        })
    }

    /// How many have been greeted by the master.
    pub fn joined(&self) -> usize {
        self.joined
    }

    /// How often a connection was lost before it was greeted.
    pub fn retries(&self) -> usize {
        self.retries
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
    pub fn connect(&mut self) -> Result<()> {
        let number = self.followers.len();
        // Multiples of the golden ratio fill the spread evenly, however many there are.
        let part = (number as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0;
        let ahead = match self.manner {
            Manner::Polled | Manner::Keyed => SPREAD.num_nanoseconds().unwrap_or(0) as f64 * part,
            Manner::Reporting => 0.0,
        };
        self.followers.push(Follower {
            stream: None,
            since: Instant::now(),
            pause: FIRST_PAUSE,
            address: None,
            greeted: false,
            caller: None,
            channel: Channel::Open,
            decoder: LineDecoder::default(),
            ahead: TimeDelta::nanoseconds(ahead as i64),
            burst: None,
            told: Vec::with_capacity(32),
        });
        self.call(number)
    }

    /// Begins a follower's connection.
    fn call(&mut self, number: usize) -> Result<()> {
        let mut stream = connect(number, self.master).context("cannot connect")?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(number), interest)?;
        let follower = &mut self.followers[number];
        follower.stream = Some(stream);
        follower.since = Instant::now();
        Ok(())
    }

    /// A follower's connection is lost: it tries again after a pause, if it was not greeted yet.
    fn lost(&mut self, number: usize) -> Result<()> {
        let follower = &mut self.followers[number];
        ensure!(!follower.greeted, "the connection was lost");
        self.retries += 1;
        follower.stream = None;
        follower.address = None;
        follower.caller = None;
        follower.decoder = LineDecoder::default();
        let pause = follower.pause.mul_f64(0.5 + 0.5 * fastrand::f64());
        follower.since = Instant::now() + pause;
        follower.pause = (follower.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// Calls again whose pause is over, and gives up who waits for too long.
    fn look(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.joined == self.followers.len() || now < self.looked + LOOK {
            return Ok(());
        }
        self.looked = now;
        for number in 0..self.followers.len() {
            let follower = &self.followers[number];
            match (&follower.stream, follower.address) {
                (None, _) if now >= follower.since => self.call(number)?,
                (Some(_), None) if now >= follower.since + CONNECT_DEADLINE => self.lost(number)?,
                _ => {}
            }
        }
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
        self.look()?;
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
        let Some(stream) = &mut follower.stream else {
            return Ok(());
        };
        if follower.address.is_none() {
            if stream.take_error()?.is_some() {
                return self.lost(number);
            }
            match stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            stream.set_nodelay(true)?;
            follower.address = Some(stream.local_addr()?);
            self.report(number)?;
        }
        let mut buffer = [0; 1024];
        loop {
            let Some(stream) = &mut self.followers[number].stream else {
                return Ok(());
            };
            let length = match stream.read(&mut buffer) {
                Ok(0) => return self.lost(number),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return self.lost(number);
                }
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
                    let answer = Answer {
                        t2: time + follower.ahead,
                        // Last of all: what is done after this is taken for the network's delay.
                        t3: WallClock.read() + follower.ahead,
                        ..Answer::default()
                    };
                    follower.say(&Message::Time { n, answer }.line())?;
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
        let stream = self.stream.as_mut().context("it is not connected")?;
        let length = stream.write(message.as_bytes())?;
        ensure!(length == message.len(), "the master does not read");
        Ok(())
    }
}

/// Begins a connection from an address of the loopback that only this follower has.
fn connect(number: usize, master: SocketAddr) -> Result<TcpStream> {
    let own = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number as u32);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((IpAddr::V4(own), 0)).into())?;
    match socket.connect(&master.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error.into()),
        _ => {}
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// A span in µs.
pub fn microseconds(span: TimeDelta) -> f64 {
    span.num_nanoseconds().unwrap_or(i64::MAX) as f64 * 1e-3
}
