//! One connection of a follower with a master.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::follower::end::End;
use crate::follower::event::FollowerEvent;
use crate::follower::node::Node;
use crate::keys::channel::Channel;
use crate::keys::credentials::Credentials;
use crate::keys::node_key::NodeKey;
use crate::wire::address::canonical;
use crate::wire::connection::Connection;
use crate::wire::message::Message;

/// How often it is looked whether the key is still the one to prove: an order of the operator's is
/// obeyed within a second.
const KEY_LOOK: Duration = Duration::from_millis(500);

/// What both ends have proven to hold.
pub(crate) struct Proven {
    credentials: Credentials,
    key: NodeKey,
    looked: Instant,
}

impl Proven {
    pub(crate) fn new(credentials: Credentials, key: NodeKey) -> Self {
        let looked = Instant::now();
        Self {
            credentials,
            key,
            looked,
        }
    }
}

/// A connection, and the node whose it is.
pub(crate) struct Link<'a> {
    pub(crate) node: &'a mut Node,
    pub(crate) connection: Connection<'a>,
    /// What its lines carry.
    pub(crate) channel: Channel,
    /// The key that this is by, where there are keys.
    pub(crate) proven: Option<Proven>,
    /// How long it takes to make the code of a line: the least of late.
    code_cost: Duration,
    /// Where it leads to, until that was told.
    untold: Option<SocketAddr>,
}

impl<'a> Link<'a> {
    pub(crate) fn new(node: &'a mut Node, stream: &'a TcpStream) -> io::Result<Self> {
        let mut link = Self {
            node,
            connection: Connection::new(stream)?,
            channel: Channel::default(),
            proven: None,
            code_cost: Duration::ZERO,
            untold: Some(canonical(stream.peer_addr()?)),
        };
        // Who has a key waits for the proof of the other end.
        if link.node.allegiance.choice() == 1 && link.node.options.credentials.is_none() {
            link.tell();
        }
        Ok(link)
    }

    /// Tells of the connection, once. Where there are other masters to try, this waits until it is
    /// sure to last.
    pub(crate) fn tell(&mut self) {
        if let Some(master) = self.untold.take() {
            self.node.control.tell(FollowerEvent::Connected(master));
        }
    }

    /// For how long at most to wait for a line before [`Link::check_key`] is to be asked.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.proven.as_ref().map_or(Duration::MAX, |_| KEY_LOOK)
    }

    /// Ends the session if another key is to be proven now: who was master by the old one may be
    /// none by the new one, and would not end the session by itself.
    pub(crate) fn check_key(&mut self) -> Result<(), End> {
        let Some(proven) = &mut self.proven else {
            return Ok(());
        };
        if proven.looked.elapsed() < KEY_LOOK {
            return Ok(());
        }
        proven.looked = Instant::now();
        if proven.credentials.hold(&proven.key) {
            return Ok(());
        }
        Err(End::Lost("this machine has another key now".to_owned()))
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, message: &Message) -> io::Result<()> {
        self.send(message.line())
    }

    /// Sends a line that is whole but for its code.
    pub(crate) fn send(&mut self, mut line: String) -> io::Result<()> {
        if self.channel.is_keyed() {
            let began = Instant::now();
            self.channel.seal(&mut line);
            self.note_code_cost(began.elapsed());
        }
        self.connection.write(line.as_bytes())
    }

    /// How much later a line leaves than it was written, for the code that is made of it.
    pub(crate) fn code_cost(&self) -> TimeDelta {
        TimeDelta::from_std(self.code_cost).unwrap_or_default()
    }

    /// Keeps the least cost, which is what the next code takes unless the machine is busy with
    /// something else; it grows slowly, for a processor may become slower.
    fn note_code_cost(&mut self, cost: Duration) {
        self.code_cost = match self.code_cost {
            Duration::ZERO => cost,
            least => cost.min(least + least / 64),
        };
    }
}
