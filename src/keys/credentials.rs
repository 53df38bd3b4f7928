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
            Self::Node(path) => {
                let key = file::read_node(path)?;
                if key.holder.role == role {
                    return Ok(key);
                }
                let why = format!("it is the key of a {}, not of a {role}", key.holder.role);
                let path = path.clone();
                Err(KeyFileError::Text { path, why })
            }
            Self::Group(ring, name) => {
                let group = ring.group();
                let generations: Vec<_> = group.generations().collect();
                let generation = generations.get(attempt % generations.len().max(1));
                Ok(group.node(role, name.clone(), generation.copied()))
            }
        }
    }

    /// Whether a key that was proven is still the one to prove: it may have been replaced since, or
    /// the group may have given it up. A file that can't be read now changes nothing.
    #[must_use]
    pub fn hold(&self, key: &NodeKey) -> bool {
        match self {
            Self::Node(path) => file::read_node(path).map_or(true, |now| now.is(key)),
            Self::Group(ring, _) => ring.group().check(key).is_ok(),
        }
    }
}
