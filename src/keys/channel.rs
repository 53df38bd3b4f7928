//! What a connection's lines carry: nothing but themselves, or codes.

use crate::keys::code::Code;
use crate::keys::codes::{Codes, Forged};

/// The lines of a connection: as they are, or each with its code.
#[derive(Default)]
pub enum Channel {
    /// Nobody has proven anything.
    #[default]
    Open,
    /// Both ends have proven that they hold one key.
    Keyed(Box<Codes>),
}

impl Channel {
    /// Whether both ends have proven that they hold one key.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        matches!(self, Self::Keyed(_))
    }

    /// The line, which ends with its newline, as it is sent.
    pub fn seal(&mut self, line: &mut String) {
        if let Self::Keyed(codes) = self {
            codes.seal(line);
        }
    }

    /// What a line says that has come.
    ///
    /// # Errors
    /// [`Forged`] if it is not the next one that the peer has sent.
    pub fn open<'a>(&mut self, line: &'a str) -> Result<&'a str, Forged> {
        match self {
            Self::Open => Ok(line),
            Self::Keyed(codes) => codes.open(line),
        }
    }
}

/// What stands before the certificate of a term, after the other words of a line.
const CERTIFICATE: &str = " cert=";

/// By how much the certificate of a term makes a line longer.
pub const CERTIFICATE_WORD: usize = CERTIFICATE.len() + 2 * crate::keys::code::CODE_LENGTH;

/// Adds the certificate of the line's term to the line, which ends with its newline.
pub fn add_certificate(line: &mut String, certificate: Code) {
    line.truncate(line.trim_end_matches('\n').len());
    line.push_str(CERTIFICATE);
    line.push_str(&certificate.to_string());
    line.push('\n');
}

/// The certificate of the line's term, if it has one.
#[must_use]
pub fn certificate(line: &str) -> Option<Code> {
    let (_, after) = line.rsplit_once(CERTIFICATE)?;
    after.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::codes::CODE_WORD;
    use crate::wire::answer::Answer;
    use crate::wire::candidate::LARGEST_TERM;
    use crate::wire::line::LONGEST_LINE;
    use crate::wire::message::Message;
    use crate::wire::words::LARGEST_ERROR;
    use chrono::{DateTime, TimeDelta};

    #[test]
    fn the_longest_answer_has_room_for_its_certificate_and_its_code() {
        let ever = DateTime::from_timestamp_nanos(i64::MIN);
        let answer = Answer {
            t2: ever,
            t3: ever,
            rate_ppm: Some(f64::MIN),
            term: Some(LARGEST_TERM),
            synchronized: true,
            machine: Some(TimeDelta::nanoseconds(i64::MIN)),
            reference: Some(LARGEST_ERROR),
            // The master of a group tells this instead of the two before it, and it is shorter.
            weight: None,
            // Who has a key tells no name: the key does.
            name: None,
        };
        let n = u64::MAX;
        let mut line = Message::Time { n, answer }.line();
        let code = Code::new([0xff; 16]);
        add_certificate(&mut line, code);
        let length = line.trim_end().len() + CODE_WORD;
        assert!(length <= LONGEST_LINE, "{length}: {line}");
        assert_eq!(
            certificate(line.trim_end()).map(|it| it.to_string()),
            Some(code.to_string())
        );
    }
}
