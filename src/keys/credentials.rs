//! What a caller proves itself with.

use std::path::PathBuf;
use std::sync::Arc;

use crate::keys::file::{self, KeyFileError};
use crate::keys::holder::Role;
use crate::keys::node_key::NodeKey;
use crate::keys::ring::KeyRing;
use crate::wire::name::NodeName;

/// What a caller proves itself with.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The key in this file, which is read anew for each connection: it may have been replaced.
    Node(PathBuf),
    /// Any key of this name, derived from the secrets of the group, that candidates hold.
    Group(Arc<KeyRing>, NodeName),
}

impl Credentials {
    /// The key to prove this role with. Where two generations are in use, not every machine may
    /// know both yet: each further `attempt` takes the next one.
    ///
    /// # Errors
    /// [`KeyFileError`] when the key can't be read.
    pub fn key(&self, role: Role, attempt: usize) -> Result<NodeKey, KeyFileError> {
        match self {
            Self::Node(path) => file::read_node(path),
            Self::Group(ring, name) => {
                let group = ring.group();
                let generations: Vec<_> = group.generations().collect();
                let generation = generations.get(attempt % generations.len().max(1));
                Ok(group.node(role, name.clone(), generation.copied()))
            }
        }
    }
}
