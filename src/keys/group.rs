//! What candidates hold: the secrets of the group, and whose keys are void.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::keys::code::Code;
use crate::keys::holder::{Generation, Holder, Role};
use crate::keys::node_key::NodeKey;
use crate::keys::secret::Secret;
use crate::wire::candidate::Term;
use crate::wire::name::NodeName;

use hmac::Mac;

/// The first line of a group's file.
const FIRST_LINE: &str = "berkeley-group 1";

/// The most generations that a group has at a time: the one in use, and the one to come.
pub const MOST_GENERATIONS: usize = 2;

/// The most names that can be revoked in one generation.
const MOST_REVOKED: usize = 10_000;

/// The secrets of a group, and whose keys are void.
#[derive(Debug, Clone)]
pub struct GroupKeys {
    secrets: BTreeMap<Generation, Secret>,
    /// The keys of a name are void up to this generation.
    revoked: BTreeMap<NodeName, Generation>,
}

/// Why a key is not good for this group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// The group does not have this generation.
    #[error(
        "generation {told} of the group's key is not in use here, only {known}: install the key \
         that `berkeley-master key node {name}` prints now"
    )]
    Generation {
        /// Whose key it is.
        name: NodeName,
        /// The generation of the key.
        told: Generation,
        /// The newest that is in use.
        known: Generation,
    },
    /// The key was revoked.
    #[error("the key of {0} was revoked")]
    Revoked(NodeName),
}

/// Why a text is no group's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAGroup {
    /// It begins otherwise.
    #[error("it does not begin with `{FIRST_LINE}`: it is no file of `berkeley-master key new`")]
    FirstLine,
    /// This line, counted from 1, makes no sense.
    #[error("line {0} is not `generation NUMBER SECRET` or `revoked NAME GENERATION`")]
    Line(usize),
    /// It has no secret.
    #[error("it holds no secret")]
    Empty,
}

/// Why a group's secrets can't be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRotation {
    /// Two generations are in use.
    #[error(
        "generations {0} and {1} are both in use: once every machine has a key of generation {1}, \
         `key rotate --finish` takes {0} out of use; after that, rotate again"
    )]
    Unfinished(Generation, Generation),
    /// Only one is.
    #[error("only generation {0} is in use: `key rotate` without --finish begins the next one")]
    NothingToFinish(Generation),
}

impl GroupKeys {
    /// A group whose first secret this is.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self {
            secrets: BTreeMap::from([(1, secret)]),
            revoked: BTreeMap::new(),
        }
    }

    /// Reads a group's file.
    ///
    /// # Errors
    /// [`NotAGroup`].
    pub fn parse(text: &str) -> Result<Self, NotAGroup> {
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(FIRST_LINE) {
            return Err(NotAGroup::FirstLine);
        }
        let (mut secrets, mut revoked) = (BTreeMap::new(), BTreeMap::new());
        for (place, line) in lines {
            let wrong = || NotAGroup::Line(place + 1);
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["generation", generation, secret] => {
                    let generation = generation.parse().map_err(|_| wrong())?;
                    let secret = Secret::from_hex(secret).ok_or_else(wrong)?;
                    secrets.insert(generation, secret);
                }
                ["revoked", name, generation] => {
                    let name: NodeName = name.parse().map_err(|_| wrong())?;
                    revoked.insert(name, generation.parse().map_err(|_| wrong())?);
                }
                _ => return Err(wrong()),
            }
            if secrets.len() > MOST_GENERATIONS || revoked.len() > MOST_REVOKED {
                return Err(wrong());
            }
        }
        if secrets.is_empty() {
            return Err(NotAGroup::Empty);
        }
        Ok(Self { secrets, revoked })
    }

    /// The text of a group's file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for (generation, secret) in &self.secrets {
            let _ = writeln!(text, "generation {generation} {}", secret.to_hex());
        }
        for (name, generation) in &self.revoked {
            let _ = writeln!(text, "revoked {name} {generation}");
        }
        text
    }

    /// The newest generation and its secret, by which keys are handed out.
    fn newest(&self) -> (Generation, &Secret) {
        let newest = self.secrets.last_key_value().expect("a group has a secret");
        (*newest.0, newest.1)
    }

    /// The generations in use, the newest first.
    pub fn generations(&self) -> impl Iterator<Item = Generation> {
        self.secrets.keys().rev().copied()
    }

    /// The key of a node, of a generation that is in use, or else of the newest.
    #[must_use]
    pub fn node(&self, role: Role, name: NodeName, generation: Option<Generation>) -> NodeKey {
        let known = generation.and_then(|generation| self.secrets.get_key_value(&generation));
        let (generation, secret) = known.map_or_else(|| self.newest(), |(known, it)| (*known, it));
        let holder = Holder {
            role,
            name,
            generation,
        };
        NodeKey::derive(secret, holder)
    }

    /// The key that this holder must have, if it is welcome.
    ///
    /// # Errors
    /// [`Unwelcome`] when its generation is not in use, or the key was revoked.
    pub fn welcome(&self, holder: &Holder) -> Result<Secret, Unwelcome> {
        let Some(secret) = self.secrets.get(&holder.generation) else {
            return Err(Unwelcome::Generation {
                name: holder.name.clone(),
                told: holder.generation,
                known: self.newest().0,
            });
        };
        if self.is_revoked(&holder.name, holder.generation) {
            return Err(Unwelcome::Revoked(holder.name.clone()));
        }
        Ok(NodeKey::derive(secret, holder.clone()).secret)
    }

    fn is_revoked(&self, name: &NodeName, generation: Generation) -> bool {
        let revoked = self.revoked.get(name);
        revoked.is_some_and(|revoked| generation <= *revoked)
    }

    /// Whether a key that would be handed out for this name is void.
    #[must_use]
    pub fn has_revoked(&self, name: &NodeName) -> bool {
        self.is_revoked(name, self.newest().0)
    }

    /// Makes the keys of a name void, in all generations until now.
    pub fn revoke(&mut self, name: NodeName) {
        let newest = self.newest().0;
        self.revoked.insert(name, newest);
    }

    /// Begins a generation: keys of it and of the one before are welcome. Its number.
    ///
    /// # Errors
    /// [`NoRotation::Unfinished`].
    pub fn rotate(&mut self, secret: Secret) -> Result<Generation, NoRotation> {
        let newest = self.newest().0;
        if let Some((oldest, _)) = self.secrets.first_key_value()
            && *oldest != newest
        {
            return Err(NoRotation::Unfinished(*oldest, newest));
        }
        self.secrets.insert(newest + 1, secret);
        Ok(newest + 1)
    }

    /// Takes all generations but the newest out of use.
    ///
    /// # Errors
    /// [`NoRotation::NothingToFinish`].
    pub fn finish_rotation(&mut self) -> Result<Generation, NoRotation> {
        let newest = self.newest().0;
        if self.secrets.len() == 1 {
            return Err(NoRotation::NothingToFinish(newest));
        }
        self.secrets.retain(|generation, _| *generation == newest);
        self.revoked.retain(|_, revoked| *revoked >= newest);
        Ok(newest)
    }

    /// What only a candidate can make: it says that the group has had this term.
    #[must_use]
    pub fn certify(&self, term: Term) -> Code {
        Code::of(certificate(self.newest().1, term))
    }

    /// Whether a candidate has certified this term.
    #[must_use]
    pub fn certifies(&self, term: Term, code: Code) -> bool {
        let mut secrets = self.secrets.values();
        secrets.any(|secret| code.proves(certificate(secret, term)))
    }
}

fn certificate(secret: &Secret, term: Term) -> hmac::Hmac<sha2::Sha256> {
    let key = secret.derive("berkeley-1 terms");
    key.keyed().chain_update(format!("term {term}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn group() -> GroupKeys {
        GroupKeys::new(Secret::new([7; 32]))
    }

    fn holder(of: &str, generation: Generation) -> Holder {
        Holder {
            role: Role::Follower,
            name: name(of),
            generation,
        }
    }

    #[test]
    fn a_file_reads_back_and_what_is_none_is_refused() {
        let mut group = group();
        group.revoke(name("db1"));
        group.rotate(Secret::new([8; 32])).unwrap();
        let text = group.text();
        assert_eq!(GroupKeys::parse(&text).unwrap().text(), text);
        assert_eq!(GroupKeys::parse("").unwrap_err(), NotAGroup::FirstLine);
        assert_eq!(
            GroupKeys::parse("berkeley-group 1\n").unwrap_err(),
            NotAGroup::Empty
        );
        for line in [
            "x",
            "generation 1 xyz",
            "generation x",
            "revoked a,b 1",
            "revoked a",
        ] {
            let text = format!("{text}{line}\n");
            assert_eq!(
                GroupKeys::parse(&text).unwrap_err(),
                NotAGroup::Line(5),
                "{line}"
            );
        }
    }

    #[test]
    fn a_key_is_welcome_until_it_is_revoked_and_its_machine_again_in_the_next_generation() {
        let mut group = group();
        let key = group.node(Role::Follower, name("db1"), None);
        let welcome = group.welcome(&holder("db1", 1)).unwrap();
        assert_eq!(welcome.to_hex(), key.secret.to_hex());
        group.revoke(name("db1"));
        let revoked = Unwelcome::Revoked(name("db1"));
        assert_eq!(group.welcome(&holder("db1", 1)).unwrap_err(), revoked);
        assert!(group.welcome(&holder("db2", 1)).is_ok());
        assert!(group.has_revoked(&name("db1")));
        group.rotate(Secret::new([8; 32])).unwrap();
        assert!(group.welcome(&holder("db1", 1)).is_err());
        assert!(group.welcome(&holder("db1", 2)).is_ok() && !group.has_revoked(&name("db1")));
    }

    #[test]
    fn two_generations_are_in_use_until_the_rotation_is_finished() {
        let mut group = group();
        assert_eq!(group.finish_rotation(), Err(NoRotation::NothingToFinish(1)));
        assert_eq!(group.rotate(Secret::new([8; 32])), Ok(2));
        assert_eq!(
            group.rotate(Secret::new([9; 32])),
            Err(NoRotation::Unfinished(1, 2))
        );
        let certified = group.certify(7);
        assert!(
            [1, 2]
                .iter()
                .all(|g| group.welcome(&holder("db1", *g)).is_ok())
        );
        assert_eq!(group.finish_rotation(), Ok(2));
        let old = group.welcome(&holder("db1", 1)).unwrap_err();
        assert!(old.to_string().contains("generation 1"), "{old}");
        assert!(group.welcome(&holder("db1", 2)).is_ok());
        assert!(group.certifies(7, certified));
    }

    #[test]
    fn only_the_secret_certifies_a_term() {
        let group = group();
        let code = group.certify(7);
        assert!(group.certifies(7, code) && !group.certifies(8, code));
        assert!(!GroupKeys::new(Secret::new([8; 32])).certifies(7, code));
    }
}
