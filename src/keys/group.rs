//! What candidates hold: the secrets of the group, and whose keys are void.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::keys::code::Code;
use crate::keys::holder::{Generation, Holder, Role};
use crate::keys::node_key::{self, NodeKey};
use crate::keys::secret::Secret;
use crate::wire::candidate::Term;
use crate::wire::name::NodeName;

use hmac::Mac;
use zeroize::Zeroizing;

/// The first line of a group's file.
const FIRST_LINE: &str = "berkeley-group-key 1";

/// What its last line begins with: a file that was cut off could lack revocations, and nobody would
/// see it.
const CHECKSUM: &str = "checksum ";

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
        "generation {told} of the group's key is not in use here, only {known}: {}",
        what_is_old(*told, *known, name)
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
    /// The key was derived from another secret.
    #[error(
        "the key of {0} is another group's: install the key that `berkeley-master key node {0}` \
         prints now"
    )]
    OtherGroup(NodeName),
}

fn what_is_old(told: Generation, known: Generation, name: &NodeName) -> String {
    if told > known {
        "the master's key file is an old one, install the present one there".to_owned()
    } else {
        format!("install the key that `berkeley-master key node {name}` prints now")
    }
}

impl Unwelcome {
    /// Whose key it is.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        match self {
            Self::Generation { name, .. } | Self::Revoked(name) | Self::OtherGroup(name) => name,
        }
    }
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
    /// It was cut off, or changed by hand.
    #[error(
        "its last line is not the checksum of those before: copy it anew from another candidate"
    )]
    Checksum,
    /// It has no secret.
    #[error("it holds no secret")]
    Empty,
}

/// More keys can't be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MOST_REVOKED} names are revoked: begin a new generation with `key rotate`, and once it is \
     finished, none is"
)]
pub struct TooManyRevoked;

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
        let mut lines: Vec<_> = text.lines().collect();
        if lines.first() != Some(&FIRST_LINE) {
            return Err(NotAGroup::FirstLine);
        }
        let checksum = lines.pop().and_then(|line| line.strip_prefix(CHECKSUM));
        // Line by line, for a copy may have gained carriage returns.
        let summed = Zeroizing::new(
            lines
                .iter()
                .flat_map(|line| [line, "\n"])
                .collect::<String>(),
        );
        if checksum != Some(&*node_key::checksum(&summed)) {
            return Err(NotAGroup::Checksum);
        }
        let (mut secrets, mut revoked) = (BTreeMap::new(), BTreeMap::new());
        for (place, line) in lines.iter().enumerate().skip(1) {
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
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!("{FIRST_LINE}\n"));
        for (generation, secret) in &self.secrets {
            let _ = writeln!(text, "generation {generation} {}", secret.to_hex());
        }
        for (name, generation) in &self.revoked {
            let _ = writeln!(text, "revoked {name} {generation}");
        }
        let checksum = node_key::checksum(&text);
        let _ = writeln!(text, "{CHECKSUM}{checksum}");
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

    /// Whether a key is good for the group: this very key, not one of another group that has the same
    /// name and generation.
    ///
    /// # Errors
    /// [`Unwelcome`].
    pub fn check(&self, key: &NodeKey) -> Result<(), Unwelcome> {
        if self.welcome(&key.holder)?.is(&key.secret) {
            Ok(())
        } else {
            Err(Unwelcome::OtherGroup(key.holder.name.clone()))
        }
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
    ///
    /// # Errors
    /// [`TooManyRevoked`].
    pub fn revoke(&mut self, name: NodeName) -> Result<(), TooManyRevoked> {
        let newest = self.newest().0;
        if self.revoked.len() >= MOST_REVOKED && !self.revoked.contains_key(&name) {
            return Err(TooManyRevoked);
        }
        self.revoked.insert(name, newest);
        Ok(())
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

    /// A group's file with these lines.
    fn summed(lines: &str) -> String {
        format!("{lines}{CHECKSUM}{}\n", node_key::checksum(lines))
    }

    #[test]
    fn a_file_reads_back_and_what_is_none_is_refused() {
        let mut group = group();
        group.revoke(name("db1")).unwrap();
        group.rotate(Secret::new([8; 32])).unwrap();
        let text = group.text();
        assert_eq!(GroupKeys::parse(&text).unwrap().text(), text);
        let copied = text.replace('\n', "\r\n");
        assert_eq!(GroupKeys::parse(&copied).unwrap().text(), text);
        assert_eq!(GroupKeys::parse("").unwrap_err(), NotAGroup::FirstLine);
        let empty = summed("berkeley-group-key 1\n");
        assert_eq!(GroupKeys::parse(&empty).unwrap_err(), NotAGroup::Empty);
        let (lines, _) = text.split_once(CHECKSUM).unwrap();
        for line in [
            "x",
            "generation 1 xyz",
            "generation x",
            "revoked a,b 1",
            "revoked a",
        ] {
            let text = summed(&format!("{lines}{line}\n"));
            let refused = GroupKeys::parse(&text).unwrap_err();
            assert_eq!(refused, NotAGroup::Line(5), "{line}");
        }
    }

    #[test]
    fn a_file_that_was_cut_off_or_changed_is_refused() {
        let mut group = group();
        group.rotate(Secret::new([8; 32])).unwrap();
        for db in 1..=12 {
            group.revoke(name(&format!("db{db}"))).unwrap();
        }
        let text = group.text();
        for length in 0..text.len() - 1 {
            assert!(GroupKeys::parse(&text[..length]).is_err(), "{length} bytes");
        }
        for (was, is) in [
            ("revoked db3 2\n", ""),
            ("db3 2", "db3 1"),
            ("on 1", "on 3"),
        ] {
            let changed = text.replace(was, is);
            assert_ne!(changed, *text);
            let refused = GroupKeys::parse(&changed).unwrap_err();
            assert_eq!(refused, NotAGroup::Checksum, "{was}");
        }
    }

    #[test]
    fn no_more_names_are_revoked_than_a_file_may_hold() {
        let mut group = group();
        for number in 0..MOST_REVOKED {
            let long = format!("{number:064}");
            group.revoke(name(&long)).unwrap();
        }
        assert_eq!(group.revoke(name("one-more")), Err(TooManyRevoked));
        group.revoke(name(&format!("{:064}", 1))).unwrap();
        let text = group.text();
        assert!((text.len() as u64) < crate::keys::file::LONGEST_FILE);
        assert!(GroupKeys::parse(&text).is_ok());
    }

    #[test]
    fn a_key_of_another_group_is_none_of_this_one_whatever_its_name_and_generation() {
        let group = group();
        let key = group.node(Role::Follower, name("db1"), None);
        assert_eq!(group.check(&key), Ok(()));
        let other = GroupKeys::new(Secret::new([9; 32]));
        let refused = other.check(&key).unwrap_err();
        assert_eq!(refused, Unwelcome::OtherGroup(name("db1")));
    }

    #[test]
    fn a_key_is_welcome_until_it_is_revoked_and_its_machine_again_in_the_next_generation() {
        let mut group = group();
        let key = group.node(Role::Follower, name("db1"), None);
        let welcome = group.welcome(&holder("db1", 1)).unwrap();
        assert_eq!(welcome.to_hex(), key.secret.to_hex());
        group.revoke(name("db1")).unwrap();
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
        let refused = |generation| group.welcome(&holder("db1", generation)).unwrap_err();
        let [old, early] = [1, 3].map(|generation| refused(generation).to_string());
        assert!(
            old.contains("generation 1 of") && old.contains("key node db1"),
            "{old}"
        );
        assert!(
            early.contains("the master's key file is an old one"),
            "{early}"
        );
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
