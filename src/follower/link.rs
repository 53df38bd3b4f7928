//! One connection of a follower with a master.

use std::io;
use std::net::{SocketAddr, TcpStream};

use crate::follower::event::FollowerEvent;
use crate::follower::node::Node;
use crate::wire::address::canonical;
use crate::wire::connection::Connection;
use crate::wire::message::Message;

/// A connection, and the node whose it is.
pub(crate) struct Link<'a> {
    pub(crate) node: &'a mut Node,
    pub(crate) connection: Connection<'a>,
    /// Where it leads to, until that was told.
    untold: Option<SocketAddr>,
}

impl<'a> Link<'a> {
    pub(crate) fn new(node: &'a mut Node, stream: &'a TcpStream) -> io::Result<Self> {
        let mut link = Self {
            node,
            connection: Connection::new(stream)?,
            untold: Some(canonical(stream.peer_addr()?)),
        };
        if link.node.allegiance.choice() == 1 {
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

    /// Sends a line.
    pub(crate) fn say(&mut self, message: &Message) -> io::Result<()> {
        self.connection.write(message.line().as_bytes())
    }
}
