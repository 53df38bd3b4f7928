//! Tells one other candidate what we do.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::election::candidates::Candidates;
use crate::election::rules::SILENCE;
use crate::keys::channel::Channel;
use crate::keys::credentials::Credentials;
use crate::keys::holder::Role;
use crate::keys::prove::{ProofError, prove};
use crate::master::shared::Shared;
use crate::wire::address::Address;
use crate::wire::candidate::{Heartbeat, Rank, Ranks};
use crate::wire::connection::Connection;
use crate::wire::escape::Escaped;
use crate::wire::line::LONGEST_LINE;
use crate::wire::message::Message;

/// A candidate that can't be reached for so long is missed.
const MISSING: Duration = Duration::from_secs(5);

/// One that has sent us away is left alone for so long.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(5);

/// So many orders about votes are told with a heartbeat at most, so that it is not held up.
const ORDERS: usize = 20;

/// What is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tell {
    pub(crate) heartbeat: Heartbeat,
    /// Who hears us, and is heard.
    pub(crate) in_touch: Ranks,
    /// Who of those takes orders about votes.
    pub(crate) heed: Ranks,
}

/// Tells one other candidate what we do.
pub(crate) struct Teller {
    shared: Arc<Shared>,
    own: Rank,
    own_address: Address,
    rank: Rank,
    address: Address,
    link: Link,
    /// So many changes of the orders about votes were told on this connection.
    told: u64,
    /// What we prove ourselves with, and how often we have tried to.
    credentials: Option<Credentials>,
    attempts: usize,
    /// What it has said when it sent us away, and we have logged.
    complaint: Option<String>,
}

/// How we are connected.
enum Link {
    /// With what we were in touch with last at this moment, or have connected to.
    Connected(TcpStream, Channel, Instant),
    /// It is out of reach.
    Missing {
        since: Instant,
        /// Whether that was logged.
        said: bool,
    },
    /// It does not want us.
    SentAway(Instant),
}

impl Teller {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        candidates: &Candidates,
        rank: Rank,
        address: &Address,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            own: candidates.own(),
            own_address: candidates.list()[candidates.own().0].clone(),
            rank,
            address: address.clone(),
            link: Link::missing(),
            told: 0,
            credentials,
            attempts: 0,
            complaint: None,
        }
    }

    /// Tells all that comes, until nothing more can come.
    pub(crate) fn run(mut self, tells: &Receiver<Tell>) {
        while let Ok(tell) = tells.recv() {
            // Only the latest counts.
            self.tell(tells.try_iter().last().unwrap_or(tell));
        }
    }

    fn tell(
        &mut self,
        Tell {
            heartbeat,
            in_touch,
            heed,
        }: Tell,
    ) {
        if in_touch.contains(self.rank) {
            if let Link::Connected(_, _, last) = &mut self.link {
                *last = Instant::now();
            }
            self.complaint = None;
        }
        self.look();
        match &self.link {
            Link::Missing { .. } => self.connect(),
            Link::SentAway(at) if at.elapsed() >= COMPLAINT_PAUSE => self.connect(),
            Link::SentAway(_) | Link::Connected(..) => {}
        }
        if !matches!(self.link, Link::Connected(..)) {
            return;
        }
        let heartbeat = Message::Candidate {
            rank: self.own,
            address: self.own_address.clone(),
            heartbeat,
        };
        let mut lines = vec![heartbeat.line()];
        if heed.contains(self.rank) {
            lines.extend(self.orders());
        }
        self.say(lines);
    }

    /// The orders about votes that are to be told now.
    fn orders(&mut self) -> impl Iterator<Item = String> + use<> {
        let news = self.shared.ensemble().dropped().after(self.told, ORDERS);
        self.told = news.1;
        news.0.into_iter().map(|order| Message::Vote(order).line())
    }

    fn say(&mut self, lines: Vec<String>) {
        let Link::Connected(stream, channel, _) = &mut self.link else {
            return;
        };
        let lines = lines.into_iter().map(|mut line| {
            channel.seal(&mut line);
            line
        });
        let lines: String = lines.collect();
        let sent = Connection::new(stream).and_then(|mut to| to.write(lines.as_bytes()));
        if let Err(error) = sent {
            log::debug!("cannot tell {}: {error}", self.address);
            self.link = Link::missing();
        }
    }

    /// Looks whether the connection is still of use.
    fn look(&mut self) {
        let Link::Connected(stream, channel, last) = &mut self.link else {
            return;
        };
        match answer(stream, channel) {
            Answer::Nothing if last.elapsed() <= SILENCE => {}
            // A connection through a network that was cut takes its time to recover, and a new
            // one does not.
            Answer::Nothing | Answer::Closed => self.link = Link::missing(),
            Answer::Says(complaint) => self.sent_away(complaint),
        }
    }

    fn sent_away(&mut self, complaint: String) {
        if self.complaint.as_ref() != Some(&complaint) {
            log::warn!("candidate {} says: {complaint}", self.address);
        }
        self.complaint = Some(complaint);
        self.link = Link::SentAway(Instant::now());
    }

    fn connect(&mut self) {
        self.told = 0;
        match self.address.connect(SILENCE / 2) {
            Ok(stream) => {
                if let Link::Missing { said: true, .. } = self.link {
                    log::info!("candidate {} can be reached again", self.address);
                }
                match self.prove(&stream) {
                    Ok(channel) => self.link = Link::Connected(stream, channel, Instant::now()),
                    Err(ProofError::Broken(_)) => self.link = Link::missing(),
                    Err(error) => self.unproven(&error.to_string()),
                }
            }
            Err(error) => self.miss(&error),
        }
    }

    /// Proves ourselves, if we have a key, and has the other one prove itself.
    fn prove(&mut self, stream: &TcpStream) -> Result<Channel, ProofError> {
        let Some(credentials) = &self.credentials else {
            return Ok(Channel::Open);
        };
        let key = credentials.key(Role::Candidate, self.attempts)?;
        let mut connection = Connection::new(stream)?;
        let deadline = Instant::now() + SILENCE / 2;
        prove(&mut connection, &key, deadline)
    }

    /// The proof has failed. Where two generations are in use, the other one is tried first.
    fn unproven(&mut self, why: &str) {
        self.attempts += 1;
        if self.attempts.is_multiple_of(2) {
            self.sent_away(why.to_owned());
        } else {
            self.link = Link::missing();
        }
    }

    fn miss(&mut self, error: &std::io::Error) {
        let (since, said) = match self.link {
            Link::Missing { since, said } => (since, said),
            _ => (Instant::now(), false),
        };
        let say = !said && since.elapsed() > MISSING;
        if say {
            log::warn!(
                "cannot reach candidate {}: {error}; trying again",
                self.address
            );
        }
        self.link = Link::Missing {
            since,
            said: said || say,
        };
    }
}

impl Link {
    fn missing() -> Self {
        Self::Missing {
            since: Instant::now(),
            said: false,
        }
    }
}

/// What the other candidate has said on our connection.
enum Answer {
    /// All is well: it only listens.
    Nothing,
    /// It sends us away, for this reason.
    Says(String),
    Closed,
}

/// Looks, without waiting, what there is to read. What comes without its code is nothing that the
/// other candidate says.
fn answer(mut stream: &TcpStream, channel: &mut Channel) -> Answer {
    let mut bytes = [0; LONGEST_LINE];
    let read = stream
        .set_nonblocking(true)
        .and_then(|()| stream.read(&mut bytes));
    match (read, stream.set_nonblocking(false)) {
        (Err(error), Ok(())) if error.kind() == ErrorKind::WouldBlock => Answer::Nothing,
        (Ok(length), Ok(())) if length > 0 => says(&bytes[..length], channel),
        _ => Answer::Closed,
    }
}

fn says(bytes: &[u8], channel: &mut Channel) -> Answer {
    if !channel.is_keyed() {
        return Answer::Says(complaint(bytes));
    }
    let line = bytes.split(|byte| *byte == b'\n').next();
    let line = line.and_then(|line| str::from_utf8(line).ok());
    match line.map(|line| channel.open(line)) {
        Some(Ok(line)) => Answer::Says(complaint(line.as_bytes())),
        _ => Answer::Closed,
    }
}

/// Why a candidate sends us away, in the first line that it says. What calls itself a candidate may
/// be anything.
fn complaint(bytes: &[u8]) -> String {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default().trim_ascii_end();
    Escaped(line.strip_prefix(b"BYE ").unwrap_or(line)).to_string()
}
