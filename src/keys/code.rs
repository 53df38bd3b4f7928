//! A code of 128 bits: what proves that who has sent something holds a key.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How long a code and a nonce are, in bytes.
pub const CODE_LENGTH: usize = 16;

/// The first half of an HMAC-SHA256; also a nonce, which is as long. Written as 32 hexadecimal
/// digits. Two codes are compared only in constant time, when a line is opened.
#[derive(Clone, Copy)]
pub struct Code([u8; CODE_LENGTH]);

/// A number that is used once.
pub type Nonce = Code;

/// Not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits")]
pub struct NotACode;

impl Code {
    /// A code, or a nonce, of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; CODE_LENGTH]) -> Self {
        Self(bytes)
    }

    /// A nonce of the operating system's random numbers.
    ///
    /// # Errors
    /// When the operating system has none.
    pub fn random() -> Result<Nonce, getrandom::Error> {
        let mut bytes = [0; CODE_LENGTH];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The code of what `mac` was fed.
    pub(crate) fn of(mac: Hmac<Sha256>) -> Self {
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut half = [0; CODE_LENGTH];
        half.copy_from_slice(&whole[..CODE_LENGTH]);
        Self(half)
    }

    /// Whether this is the code of what `mac` was fed; in constant time.
    pub(crate) fn proves(self, mac: Hmac<Sha256>) -> bool {
        mac.verify_truncated_left(&self.0).is_ok()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 2 * CODE_LENGTH];
        let digits = base16ct::lower::encode_str(&self.0, &mut digits);
        out.write_str(digits.map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Code {
    type Err = NotACode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; CODE_LENGTH];
        let read = base16ct::lower::decode(text, &mut bytes).map(<[u8]>::len);
        (read == Ok(CODE_LENGTH))
            .then_some(Self(bytes))
            .ok_or(NotACode)
    }
}
