//! One connection, seen from the master: what its thread knows and may do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::average::round::{Heard, NodeId, Wire};
use crate::keys::channel::{self, Channel};
use crate::keys::holder::Holder;
use crate::keys::node_key::NodeKey;
use crate::master::end::End;
use crate::master::event::MasterEvent;
use crate::master::mailbox::{Command, Mailbox};
use crate::master::shared::Shared;
use crate::master::trust::Stranger;
use crate::wire::connection::Connection;
use crate::wire::machine::Machine;
use crate::wire::message::Message;
use crate::wire::steps::Steps;

/// A connection's thread, whatever its peer speaks.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    /// Where it is, if not on our machine.
    machine: Option<Machine>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<Shared>,
    /// When the connection was accepted.
    pub(crate) connected: Instant,
    /// What its lines carry.
    pub(crate) channel: Channel,
    /// What key the peer has proven to hold.
    key: Option<NodeKey>,
    /// What the peer is called in the group, once it is a member.
    member: Option<Arc<str>>,
}

impl Peer {
    pub(crate) fn new(
        node: NodeId,
        address: SocketAddr,
        machine: Option<Machine>,
        mailbox: Arc<Mailbox>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            node,
            address,
            machine,
            mailbox,
            shared,
            connected: Instant::now(),
            channel: Channel::default(),
            key: None,
            member: None,
        }
    }

    /// Whether it has given its time once.
    pub(crate) fn is_member(&self) -> bool {
        self.member.is_some()
    }

    /// The peer has proven what key it holds. Of the connections of one holder, the latest lives.
    pub(crate) fn prove(&mut self, key: NodeKey) {
        self.shared.prove(self.node, &key, self.address);
        self.key = Some(key);
    }

    /// The peer has no key, and may be here all the same.
    pub(crate) fn admit_unkeyed(&self) {
        self.shared.connections.admitted(self.node);
        let name = self.address.to_string();
        self.shared
            .outlet
            .warn(&name, "it has no key, and is served all the same (--auth)");
    }

    /// Whose key the peer has proven to hold.
    pub(crate) fn holder(&self) -> Option<&Holder> {
        self.key.as_ref().map(|key| &key.holder)
    }

    /// Notes the clock of the peer, which becomes a member with its first one. `name` is what it
    /// calls itself, if it does (who has a key is called what the key says); `steps` are those that
    /// we had taken when we heard it.
    pub(crate) fn report(
        &mut self,
        name: Option<&str>,
        wire: Wire,
        interval: u64,
        steps: Option<Steps>,
        heard: Heard,
    ) {
        if self.member.is_none() {
            let holder = self.holder();
            let proven = holder.map(|holder| holder.name.as_str());
            let generation = holder.map(|holder| holder.generation);
            let name = proven.or(name);
            let joined = (self.shared).join(self.node, self.address, name, wire, generation);
            if proven.is_none() && self.shared.trust.follower() == Stranger::Doubted {
                self.shared.ensemble().doubt_unkeyed(self.node);
            }
            let trusted = |holder: &Holder| self.shared.trust.weighs(&holder.name);
            if holder.is_some_and(trusted) {
                self.shared.ensemble().trust_weight(self.node);
            }
            // Who has proven a name votes by that, whatever machine it is on.
            if let (None, Some(machine)) = (proven, self.machine) {
                self.shared.ensemble().place(self.node, machine);
            }
            self.member = Some(joined);
        }
        self.shared.report(self.node, interval, steps, heard);
    }

    /// The peer turns out to speak lines, by a newline that has come late: what it has reported until
    /// now made it a client of the timestamp wire, whose corrections are kept for it.
    pub(crate) fn begins_to_speak_lines(&mut self) {
        let Some(name) = self.member.take() else {
            return;
        };
        self.shared.ensemble().leave(self.node);
        self.shared.observations.part(self.node);
        let reason = "it speaks lines from now on".to_owned();
        let left = MasterEvent::Left { name, reason };
        self.shared.outlet.tell_change(left);
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

    /// Sends a line, with its code where both ends have proven a key.
    pub(crate) fn say(&mut self, connection: &mut Connection, mut line: String) -> io::Result<()> {
        self.channel.seal(&mut line);
        connection.write(line.as_bytes())
    }

    /// Ends a connection in order, and says why.
    pub(crate) fn say_bye(&mut self, connection: &mut Connection, reason: &str) -> Result<(), End> {
        let bye = Message::Bye {
            reason: reason.to_owned(),
        };
        Ok(self.say(connection, bye.line())?)
    }

    /// A greeting as it is sent: with a certificate of its term, where there are keys.
    pub(crate) fn certified(&self, greeting: &Message) -> String {
        let mut line = greeting.line();
        if let (
            Message::Berkeley {
                leadership: Some(leadership),
                ..
            },
            Channel::Keyed(_),
            Some(group),
        ) = (greeting, &self.channel, self.shared.trust.group())
        {
            channel::add_certificate(&mut line, group.certify(leadership.term));
        }
        line
    }

    /// Lets go of the connection, which has ended.
    pub(crate) fn part(&self, end: &End) {
        self.shared
            .part(self.node, self.address, self.member.as_ref(), end);
    }
}
