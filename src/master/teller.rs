//! Tells one other candidate what we do.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::election::candidates::Candidates;
use crate::election::rules::SILENCE;
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

/// What is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tell {
    pub(crate) heartbeat: Heartbeat,
    /// Who hears us, and is heard.
    pub(crate) in_touch: Ranks,
}

/// Tells one other candidate what we do.
pub(crate) struct Teller {
    own: Rank,
    own_address: Address,
    rank: Rank,
    address: Address,
    link: Link,
    /// What it has said when it sent us away, and we have logged.
    complaint: Option<String>,
}

/// How we are connected.
enum Link {
    /// With what we were in touch with last at this moment, or have connected to.
    Connected(TcpStream, Instant),
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
    pub(crate) fn new(candidates: &Candidates, rank: Rank, address: &Address) -> Self {
        Self {
            own: candidates.own(),
            own_address: candidates.list()[candidates.own().0].clone(),
            rank,
            address: address.clone(),
            link: Link::missing(),
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
        }: Tell,
    ) {
        if in_touch.contains(self.rank) {
            if let Link::Connected(_, last) = &mut self.link {
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
        let Link::Connected(stream, _) = &self.link else {
            return;
        };
        let line = Message::Candidate {
            rank: self.own,
            address: self.own_address.clone(),
            heartbeat,
        };
        let sent = Connection::new(stream).and_then(|mut to| to.write(line.line().as_bytes()));
        if let Err(error) = sent {
            log::debug!("cannot tell {}: {error}", self.address);
            self.link = Link::missing();
        }
    }

    /// Looks whether the connection is still of use.
    fn look(&mut self) {
        let Link::Connected(stream, last) = &self.link else {
            return;
        };
        match answer(stream) {
            Answer::Nothing if last.elapsed() <= SILENCE => {}
            // A connection through a network that was cut takes its time to recover, and a new
            // one does not.
            Answer::Nothing | Answer::Closed => self.link = Link::missing(),
            Answer::Says(complaint) => {
                if self.complaint.as_ref() != Some(&complaint) {
                    log::warn!("candidate {} says: {complaint}", self.address);
                }
                self.complaint = Some(complaint);
                self.link = Link::SentAway(Instant::now());
            }
        }
    }

    fn connect(&mut self) {
        match self.address.connect(SILENCE / 2) {
            Ok(stream) => {
                if let Link::Missing { said: true, .. } = self.link {
                    log::info!("candidate {} can be reached again", self.address);
                }
                self.link = Link::Connected(stream, Instant::now());
            }
            Err(error) => self.miss(&error),
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
                "cannot reach candidate {}: {error}; trying on",
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

/// Looks, without waiting, what there is to read.
fn answer(mut stream: &TcpStream) -> Answer {
    let mut bytes = [0; LONGEST_LINE];
    let read = stream
        .set_nonblocking(true)
        .and_then(|()| stream.read(&mut bytes));
    match (read, stream.set_nonblocking(false)) {
        (Err(error), Ok(())) if error.kind() == ErrorKind::WouldBlock => Answer::Nothing,
        (Ok(length), Ok(())) if length > 0 => Answer::Says(complaint(&bytes[..length])),
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
