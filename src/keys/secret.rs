//! 32 bytes that nobody else may know, and what is derived from them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// How long a secret is, in bytes: as long as what HMAC-SHA256 makes.
pub const SECRET_LENGTH: usize = 32;

/// The group's secret, or a key derived from it. It is overwritten when it is dropped, and never
/// shown but by [`Secret::to_hex`].
#[derive(Clone)]
pub struct Secret([u8; SECRET_LENGTH]);

impl Secret {
    /// A secret of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; SECRET_LENGTH]) -> Self {
        Self(bytes)
    }

    /// A new one, of the operating system's random numbers.
    ///
    /// # Errors
    /// When the operating system has none.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_LENGTH];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Another secret, which tells nothing of this one: HMAC-SHA256 of `label`, which no other
    /// purpose uses.
    #[must_use]
    pub fn derive(&self, label: &str) -> Self {
        let derived = self.keyed().chain_update(label).finalize();
        Self(derived.into_bytes().into())
    }

    /// HMAC-SHA256 with this key, ready to take a message.
    pub(crate) fn keyed(&self) -> Hmac<Sha256> {
        <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("HMAC takes keys of any length")
    }

    /// Whether this is the same secret. Both are ours, so nobody can learn from the time it takes.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// 64 hexadecimal digits, for the files.
    #[must_use]
    pub fn to_hex(&self) -> String {
        base16ct::lower::encode_string(&self.0)
    }

    /// Reads 64 hexadecimal digits in lower case.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; SECRET_LENGTH];
        let read = base16ct::lower::decode(text, &mut bytes).map(<[u8]>::len);
        (read == Ok(SECRET_LENGTH)).then(|| Self(bytes))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_64_digits_and_is_shown_nowhere_else() {
        let text = "00ff".repeat(16);
        let secret = Secret::from_hex(&text).unwrap();
        assert_eq!(secret.to_hex(), text);
        assert_eq!(format!("{secret:?}"), "Secret");
        let short = &text[2..];
        let long = format!("{text}00");
        for wrong in [short, &long, "", &text.to_uppercase(), &"xx".repeat(32)] {
            assert!(Secret::from_hex(wrong).is_none(), "{wrong:?}");
        }
        let [one, two] = [Secret::random(), Secret::random()].map(Result::unwrap);
        assert_ne!(one.to_hex(), two.to_hex());
    }
}
