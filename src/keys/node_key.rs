//! The key of one node, and the line that carries it to its machine.

use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::keys::holder::Holder;
use crate::keys::secret::Secret;

/// What a line with a key begins with.
const FIRST_WORD: &str = "berkeley-key";

/// The version of that line.
const VERSION: &str = "1";

/// How many hexadecimal digits the checksum has.
const CHECKSUM_DIGITS: usize = 8;

/// The key of one node: it proves to be this node, and nobody else.
#[derive(Debug, Clone)]
pub struct NodeKey {
    /// Whose it is.
    pub holder: Holder,
    /// What proves it.
    pub secret: Secret,
}

/// Why a line holds no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotANodeKey {
    /// Something else stands there.
    #[error(
        "it is not the line that `berkeley-master key node NAME` prints: `{FIRST_WORD} {VERSION} \
         ROLE NAME GENERATION KEY CHECKSUM`"
    )]
    Line,
    /// A digit was changed or lost on its way.
    #[error("its checksum is wrong: copy the line anew")]
    Checksum,
}

impl NodeKey {
    /// The key of this holder, derived from the secret of its group.
    #[must_use]
    pub fn derive(group: &Secret, holder: Holder) -> Self {
        let secret = group.derive(&format!("berkeley-1 node {holder}"));
        Self { holder, secret }
    }

    /// Whether this is the same key.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.holder == other.holder && self.secret.is(&other.secret)
    }

    /// The line that carries it, without a newline.
    #[must_use]
    pub fn line(&self) -> String {
        let key = self.secret.to_hex();
        let line = format!("{FIRST_WORD} {VERSION} {} {key}", self.holder);
        format!("{line} {}", checksum(&line))
    }
}

/// What shows that a text has come whole: the first digits of its SHA-256.
pub(crate) fn checksum(text: &str) -> String {
    let digits = base16ct::lower::encode_string(&Sha256::digest(text));
    digits[..CHECKSUM_DIGITS].to_owned()
}

impl FromStr for NodeKey {
    type Err = NotANodeKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let mut words = text.split(' ');
        let mut key = || {
            let known = words.next() == Some(FIRST_WORD) && words.next() == Some(VERSION);
            let holder = known.then(|| Holder::of(&mut words)).flatten()?;
            Some((holder, words.next()?, words.next()?, words.next()))
        };
        let Some((holder, secret, sum, None)) = key() else {
            return Err(NotANodeKey::Line);
        };
        // Before the digits are looked at: a slip of the pen is the likeliest fault.
        let line = text.strip_suffix(sum).unwrap_or_default().trim_end();
        if checksum(line) != sum {
            return Err(NotANodeKey::Checksum);
        }
        let secret = Secret::from_hex(secret).ok_or(NotANodeKey::Line)?;
        Ok(Self { holder, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::holder::Role;

    fn key() -> NodeKey {
        let holder = Holder {
            role: Role::Follower,
            name: "db1".parse().unwrap(),
            generation: 1,
        };
        NodeKey::derive(&Secret::new([7; 32]), holder)
    }

    #[test]
    fn a_line_carries_a_key_and_no_slip_of_the_pen() {
        let line = key().line();
        let read: NodeKey = format!("{line}\n").parse().unwrap();
        assert_eq!(read.line(), line);
        for place in 0..line.len() {
            let mut slip = line.clone().into_bytes();
            slip[place] = if slip[place] == b'1' { b'2' } else { b'1' };
            let slip = String::from_utf8(slip).unwrap();
            assert!(slip.parse::<NodeKey>().is_err(), "{slip}");
        }
        for lost in [
            "",
            "x",
            &line[1..],
            &line[..line.len() - 1],
            &format!("{line} x"),
        ] {
            assert!(lost.parse::<NodeKey>().is_err(), "{lost:?}");
        }
    }

    #[test]
    fn every_role_name_and_generation_has_a_key_of_its_own() {
        let group = Secret::new([7; 32]);
        let mut keys = std::collections::HashSet::new();
        for role in [Role::Follower, Role::Candidate] {
            for name in ["db1", "db11", "db"] {
                for generation in [1, 11] {
                    let name = name.parse().unwrap();
                    let holder = Holder {
                        role,
                        name,
                        generation,
                    };
                    keys.insert(NodeKey::derive(&group, holder).secret.to_hex());
                }
            }
        }
        assert_eq!(keys.len(), 12);
        assert!(!keys.contains(&group.to_hex()));
    }
}
