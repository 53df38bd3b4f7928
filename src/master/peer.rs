//! One connection, seen from the master: what its thread knows and may do.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::average::round::{Heard, NodeId, Wire};
use crate::master::end::End;
use crate::master::mailbox::{Command, Mailbox};
use crate::master::shared::Shared;
use crate::wire::connection::Connection;
use crate::wire::message::Message;
use crate::wire::steps::Steps;

/// A connection's thread, whatever its peer speaks.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<Shared>,
    /// What the peer is called in the group, once it is a member.
    member: Option<Arc<str>>,
}

impl Peer {
    pub(crate) fn new(
        node: NodeId,
        address: SocketAddr,
        mailbox: Arc<Mailbox>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            node,
            address,
            mailbox,
            shared,
            member: None,
        }
    }

    /// Whether it has given its time once.
    pub(crate) fn is_member(&self) -> bool {
        self.member.is_some()
    }

    /// Notes the clock of the peer, which becomes a member with its first one. `name` is what it
    /// calls itself, if it does; `steps` are those that we had taken when we heard it.
    pub(crate) fn report(
        &mut self,
        name: Option<&str>,
        wire: Wire,
        interval: u64,
        steps: Option<Steps>,
        heard: Heard,
    ) {
        if self.member.is_none() {
            self.member = Some(self.shared.join(self.node, self.address, name, wire));
        }
        self.shared.report(self.node, interval, steps, heard);
    }

    /// Ends the connection, as an error, if the coordinator wants that.
    pub(crate) fn end_if_dismissed(&self) -> Result<(), End> {
        while let Some(command) = self.mailbox.take() {
            if let Command::Dismiss(reason) = command {
                return Err(End::Dismissed(reason));
            }
        }
        Ok(())
    }

    /// Lets go of the connection, which has ended.
    pub(crate) fn part(&self, end: &End) {
        self.shared
            .part(self.node, self.address, self.member.as_ref(), end);
    }
}

/// Ends a connection in order, and says why.
pub(crate) fn say_bye(connection: &mut Connection, reason: &str) -> Result<(), End> {
    let bye = Message::Bye {
        reason: reason.to_owned(),
    };
    Ok(connection.write(bye.line().as_bytes())?)
}
