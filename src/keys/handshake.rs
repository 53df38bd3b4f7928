//! The proof, in both directions, that two ends hold one key: challenge and response, after AKEP2
//! (Bellare and Rogaway, 1993).
//!
//! | line | from | says |
//! | --- | --- | --- |
//! | `KEY 1 role name generation nonce=N` | who calls | I am this one; here is my nonce |
//! | `KEY 1 nonce=N mac=M` | who is called | here is mine, and a code over both openings |
//! | `PROOF mac=M` | who calls | a code of my own over both openings |
//!
//! From then on each line has a code, see [`Codes`], by a key for each direction that is derived
//! from the node's key and a hash of both openings.

use hmac::Mac;
use sha2::{Digest, Sha256};

use crate::keys::code::{Code, Nonce};
use crate::keys::codes::Codes;
use crate::keys::holder::Holder;
use crate::keys::node_key::NodeKey;
use crate::keys::secret::Secret;

/// The first word of an opening, and its version.
const OPENING: &str = "KEY 1 ";

/// What the third line begins with.
const PROOF: &str = "PROOF mac=";

/// Why a handshake has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The peer says goodbye, which anybody can.
    #[error("it says, without a proof: {0}")]
    Bye(String),
    /// The peer speaks of something else.
    #[error("it does not speak of keys")]
    Unkeyed,
    /// The peer does not hold the key.
    #[error("its proof is wrong: it does not hold the key")]
    Wrong,
}

/// Why an opening is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an opening that is not KEY 1 ROLE NAME GENERATION nonce=NONCE")]
pub struct NotAnOpening;

/// What the codes and the keys of a session are derived with: the key of the node, and a hash of
/// both openings.
struct Transcript {
    key: Secret,
    hash: String,
}

impl Transcript {
    fn new(key: &Secret, opening: &str, answer: &str) -> Self {
        let lines = format!("{opening}\n{answer}\n");
        Self {
            key: key.clone(),
            hash: base16ct::lower::encode_string(&Sha256::digest(lines)),
        }
    }

    /// What a proof by this end is made of.
    fn proof(&self, by: &str) -> hmac::Hmac<Sha256> {
        let label = format!("berkeley-1 proof {by} {}", self.hash);
        self.key.keyed().chain_update(label)
    }

    /// The key for the lines that this end sends.
    fn direction(&self, from: &str) -> Secret {
        self.key
            .derive(&format!("berkeley-1 lines {from} {}", self.hash))
    }
}

/// The names of the two ends in labels.
const CALLER: &str = "caller";
const CALLED: &str = "called";

/// Who calls, and has said so.
#[derive(Debug)]
pub struct Caller {
    key: Secret,
    opening: String,
}

impl Caller {
    /// A caller that holds this key.
    #[must_use]
    pub fn new(key: &NodeKey, nonce: Nonce) -> Self {
        Self {
            key: key.secret.clone(),
            opening: format!("{OPENING}{} nonce={nonce}", key.holder),
        }
    }

    /// What is said first, without its newline.
    #[must_use]
    pub fn opening(&self) -> &str {
        &self.opening
    }

    /// Takes the answer, and returns the proof, without its newline, and the codes from then on.
    ///
    /// # Errors
    /// [`NotProven`] when it is not the answer of somebody who holds the key.
    pub fn prove(self, answer: &str) -> Result<(String, Codes), NotProven> {
        if let Some(reason) = answer.strip_prefix("BYE") {
            return Err(NotProven::Bye(reason.trim_start().to_owned()));
        }
        if !answer.starts_with(OPENING) {
            return Err(NotProven::Unkeyed);
        }
        let (said, code) = answer.rsplit_once(" mac=").ok_or(NotProven::Wrong)?;
        let transcript = Transcript::new(&self.key, &self.opening, said);
        let code: Code = code.parse().map_err(|_| NotProven::Wrong)?;
        if !code.proves(transcript.proof(CALLED)) {
            return Err(NotProven::Wrong);
        }
        let proof = format!("{PROOF}{}", Code::of(transcript.proof(CALLER)));
        let [sent, received] = [CALLER, CALLED].map(|end| transcript.direction(end));
        Ok((proof, Codes::new(&sent, &received)))
    }
}

/// Whose an opening says that it is. Nothing is proven by that.
///
/// # Errors
/// [`NotAnOpening`].
pub fn claimed(opening: &str) -> Result<Holder, NotAnOpening> {
    let words = opening.strip_prefix(OPENING).ok_or(NotAnOpening)?;
    let mut words = words.split(' ');
    let holder = Holder::of(&mut words).ok_or(NotAnOpening)?;
    let nonce = words.next().and_then(|word| word.strip_prefix("nonce="));
    match nonce.map(str::parse::<Nonce>) {
        Some(Ok(_)) => Ok(holder),
        _ => Err(NotAnOpening),
    }
}

/// Who was called, and has answered.
pub struct Called(Transcript);

impl Called {
    /// Answers an opening by the key of whoever it claims to be from. The answer comes without its
    /// newline.
    #[must_use]
    pub fn answer(key: &Secret, opening: &str, nonce: Nonce) -> (Self, String) {
        let said = format!("{OPENING}nonce={nonce}");
        let transcript = Transcript::new(key, opening, &said);
        let code = Code::of(transcript.proof(CALLED));
        (Self(transcript), format!("{said} mac={code}"))
    }

    /// Takes the proof, and returns the codes from then on.
    ///
    /// # Errors
    /// [`NotProven`] when the caller does not hold the key.
    pub fn proven(self, proof: &str) -> Result<Codes, NotProven> {
        let Self(transcript) = self;
        let code = proof.strip_prefix(PROOF).ok_or(NotProven::Unkeyed)?;
        let code: Code = code.parse().map_err(|_| NotProven::Wrong)?;
        if !code.proves(transcript.proof(CALLER)) {
            return Err(NotProven::Wrong);
        }
        let [sent, received] = [CALLED, CALLER].map(|end| transcript.direction(end));
        Ok(Codes::new(&sent, &received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::holder::Role;

    fn key(name: &str, role: Role) -> NodeKey {
        let name = name.parse().unwrap();
        let holder = Holder {
            role,
            name,
            generation: 1,
        };
        NodeKey::derive(&Secret::new([7; 32]), holder)
    }

    fn nonce(byte: u8) -> Nonce {
        Nonce::new([byte; 16])
    }

    #[test]
    fn who_holds_the_key_proves_it_to_the_other() {
        let key = key("db1", Role::Follower);
        let calls = Caller::new(&key, nonce(1));
        let opening = calls.opening().to_owned();
        assert_eq!(claimed(&opening).unwrap(), key.holder);
        let (called, answer) = Called::answer(&key.secret, &opening, nonce(2));
        let (proof, mut ours) = calls.prove(&answer).unwrap();
        let mut theirs = called.proven(&proof).unwrap();
        let mut line = "TIME 1 2 3\n".to_owned();
        ours.seal(&mut line);
        assert_eq!(theirs.open(line.trim_end()), Ok("TIME 1 2 3"));
        let mut line = "POLL 2\n".to_owned();
        theirs.seal(&mut line);
        assert_eq!(ours.open(line.trim_end()), Ok("POLL 2"));
    }

    #[test]
    fn no_other_key_name_role_or_nonce_proves_anything() {
        let right = key("db1", Role::Follower);
        let opening = Caller::new(&right, nonce(1)).opening().to_owned();
        for wrong in [key("db2", Role::Follower), key("db1", Role::Candidate)] {
            let (_, answer) = Called::answer(&wrong.secret, &opening, nonce(2));
            let proven = Caller::new(&right, nonce(1)).prove(&answer);
            assert_eq!(proven.map(drop), Err(NotProven::Wrong));
        }
        // An answer of another session, and the proof of one.
        let (_, answer) = Called::answer(&right.secret, &opening, nonce(2));
        let later = Caller::new(&right, nonce(3)).prove(&answer);
        assert_eq!(later.map(drop), Err(NotProven::Wrong));
        let (proof, _) = Caller::new(&right, nonce(1)).prove(&answer).unwrap();
        let (called, _) = Called::answer(&right.secret, &opening, nonce(4));
        assert_eq!(called.proven(&proof).map(drop), Err(NotProven::Wrong));
        // What was said is said back.
        let reflected = Caller::new(&right, nonce(1)).prove(&opening);
        assert_eq!(reflected.map(drop), Err(NotProven::Wrong));
        let (called, answer) = Called::answer(&right.secret, &opening, nonce(2));
        let code = answer.rsplit_once("mac=").unwrap().1;
        let reflected = called.proven(&format!("{PROOF}{code}"));
        assert_eq!(reflected.map(drop), Err(NotProven::Wrong));
    }

    #[test]
    fn any_change_of_any_line_is_noticed() {
        let key = key("db1", Role::Follower);
        let opening = Caller::new(&key, nonce(1)).opening().to_owned();
        let changed = |line: &str, place: usize| {
            let mut bytes = line.as_bytes().to_vec();
            bytes[place] ^= 1;
            String::from_utf8(bytes).unwrap()
        };
        for place in 0..opening.len() {
            let (_, answer) = Called::answer(&key.secret, &changed(&opening, place), nonce(2));
            assert!(Caller::new(&key, nonce(1)).prove(&answer).is_err());
        }
        let (_, answer) = Called::answer(&key.secret, &opening, nonce(2));
        for place in 0..answer.len() {
            let proven = Caller::new(&key, nonce(1)).prove(&changed(&answer, place));
            assert!(proven.is_err(), "{place}");
        }
        let (proof, _) = Caller::new(&key, nonce(1)).prove(&answer).unwrap();
        for place in 0..proof.len() {
            let (called, _) = Called::answer(&key.secret, &opening, nonce(2));
            assert!(called.proven(&changed(&proof, place)).is_err(), "{place}");
        }
    }

    #[test]
    fn what_is_no_opening_is_refused() {
        let digits = "0".repeat(32);
        let good = format!("KEY 1 follower db1 1 nonce={digits}");
        assert!(claimed(&good).is_ok());
        for opening in [
            "KEY 1",
            "KEY 2 follower db1 1 nonce=00",
            "KEY 1 master db1 1 nonce=00",
            &good[..good.len() - 1],
            &good.replace(" 1 nonce", " -1 nonce"),
            &good.replace("db1", "d#1"),
        ] {
            assert_eq!(claimed(opening), Err(NotAnOpening), "{opening}");
        }
    }
}
