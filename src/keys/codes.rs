//! A code on every line of a session: who has sent it, to whom, and as which one.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::keys::code::{CODE_LENGTH, Code};
use crate::keys::secret::Secret;
use crate::wire::line::LONGEST_LINE;

/// What stands before a code, at the end of a line.
const WORD: &str = " mac=";

/// By how much a code makes a line longer.
pub const CODE_WORD: usize = WORD.len() + 2 * CODE_LENGTH;

/// A line that is not what the peer has sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line whose code is missing or wrong")]
pub struct Forged;

/// One direction of a session: its key, and how many lines have gone that way.
#[derive(Clone)]
struct Direction {
    keyed: Hmac<Sha256>,
    lines: u64,
}

impl Direction {
    fn new(key: &Secret) -> Self {
        Self {
            keyed: key.keyed(),
            lines: 0,
        }
    }

    /// What the code of the next line is made of: the number of the line, which is not sent, and
    /// the line.
    fn next(&mut self, line: &str) -> Hmac<Sha256> {
        let number = self.lines.to_be_bytes();
        self.lines += 1;
        self.keyed.clone().chain_update(number).chain_update(line)
    }
}

/// Puts a code on each line that is sent, and takes it off each line that comes.
pub struct Codes {
    sent: Direction,
    received: Direction,
}

impl Codes {
    /// The codes of a session, by the key of each direction.
    #[must_use]
    pub fn new(sent: &Secret, received: &Secret) -> Self {
        Self {
            sent: Direction::new(sent),
            received: Direction::new(received),
        }
    }

    /// Puts the code on a line that ends with its newline. What makes the line too long is cut
    /// off: that can only be the reason of a goodbye.
    pub fn seal(&mut self, line: &mut String) {
        line.truncate(
            line.trim_end_matches('\n')
                .len()
                .min(LONGEST_LINE - CODE_WORD),
        );
        let code = Code::of(self.sent.next(line));
        line.push_str(WORD);
        line.push_str(&code.to_string());
        line.push('\n');
    }

    /// The line without its code, if it is the next one that the peer has sent.
    ///
    /// # Errors
    /// [`Forged`]; nothing that comes after it is to be believed.
    pub fn open<'a>(&mut self, line: &'a str) -> Result<&'a str, Forged> {
        let length = line.len().checked_sub(CODE_WORD).ok_or(Forged)?;
        let (said, code) = line.split_at_checked(length).ok_or(Forged)?;
        let code: Code = (code.strip_prefix(WORD))
            .and_then(|code| code.parse().ok())
            .ok_or(Forged)?;
        code.proves(self.received.next(said))
            .then_some(said)
            .ok_or(Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Codes, Codes) {
        let [one, other] = [[1; 32], [2; 32]].map(Secret::new);
        (Codes::new(&one, &other), Codes::new(&other, &one))
    }

    fn sealed(codes: &mut Codes, line: &str) -> String {
        let mut line = format!("{line}\n");
        codes.seal(&mut line);
        line.trim_end().to_owned()
    }

    #[test]
    fn what_was_sent_comes_in_its_order_and_once() {
        let (mut master, mut follower) = pair();
        let lines = ["POLL 1", "POLL 2", ""].map(|line| sealed(&mut master, line));
        assert_eq!(follower.open(&lines[0]), Ok("POLL 1"));
        assert_eq!(follower.open(&lines[1]), Ok("POLL 2"));
        assert_eq!(follower.open(&lines[2]), Ok(""));
        for again in &lines {
            assert_eq!(follower.open(again), Err(Forged));
        }
    }

    #[test]
    fn nothing_else_passes() {
        let (mut master, follower) = pair();
        let [first, second] = ["POLL 1", "POLL 2"].map(|line| sealed(&mut master, line));
        let fresh = || Codes {
            sent: follower.sent.clone(),
            received: follower.received.clone(),
        };
        // The second one first, the first one reflected, and any change of one byte.
        assert_eq!(fresh().open(&second), Err(Forged));
        assert_eq!(pair().0.open(&first), Err(Forged));
        for place in 0..first.len() {
            let mut changed = first.clone().into_bytes();
            changed[place] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(fresh().open(&changed), Err(Forged), "{changed}");
            let (begin, end) = first.split_at(place);
            assert_eq!(fresh().open(begin), Err(Forged));
            assert_eq!(fresh().open(end).is_ok(), place == 0, "{end}");
        }
        for line in ["", " mac=", "POLL 1 mac=", "ü", &"ü".repeat(30)] {
            assert_eq!(fresh().open(line), Err(Forged), "{line:?}");
        }
    }

    #[test]
    fn a_line_with_its_code_is_no_longer_than_a_line() {
        let (mut master, mut follower) = pair();
        let long = sealed(&mut master, &format!("BYE {}", "x".repeat(252)));
        assert_eq!(long.len(), LONGEST_LINE);
        assert!(follower.open(&long).is_ok());
    }
}
