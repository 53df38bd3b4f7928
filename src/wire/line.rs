//! Lines: a stream of bytes taken apart, and what no line may hold.

use std::fmt;

/// The longest line, its newline not counted.
pub const LONGEST_LINE: usize = 256;

/// Why a line is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// More than [`LONGEST_LINE`] bytes without a newline.
    TooLong,
    /// A byte that is not printable ASCII.
    Byte(u8),
    /// A line that begins with no known word.
    Unknown(String),
    /// A word is missing, or no number, or out of range.
    Word {
        /// The message it should have been.
        message: &'static str,
        /// What the word stands for.
        word: &'static str,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(out, "a line of more than {LONGEST_LINE} bytes"),
            Self::Byte(byte) => {
                write!(out, "a line with the byte {byte:#04x}, not printable ASCII")
            }
            Self::Unknown(line) => write!(out, "no message of the line protocol: {line:?}"),
            Self::Word { message, word } => {
                write!(
                    out,
                    "a {message} whose {word} is missing, no number or out of range"
                )
            }
        }
    }
}

impl std::error::Error for Malformed {}

/// Takes a stream of lines apart, one byte at a time, and never holds more than one.
#[derive(Debug)]
pub struct LineDecoder {
    line: [u8; LONGEST_LINE],
    length: usize,
    complete: bool,
}

impl Default for LineDecoder {
    fn default() -> Self {
        Self {
            line: [0; LONGEST_LINE],
            length: 0,
            complete: false,
        }
    }
}

impl LineDecoder {
    /// Takes the next byte and, if that ends a line, returns the line without its newline.
    ///
    /// # Errors
    /// [`Malformed::TooLong`], [`Malformed::Byte`]; the stream is of no more use then.
    pub fn push(&mut self, byte: u8) -> Result<Option<&str>, Malformed> {
        if self.complete {
            self.length = 0;
            self.complete = false;
        }
        if byte == b'\n' {
            self.complete = true;
            return Ok(Some(self.line()));
        }
        if byte != b' ' && !byte.is_ascii_graphic() {
            return Err(Malformed::Byte(byte));
        }
        if self.length == LONGEST_LINE {
            return Err(Malformed::TooLong);
        }
        self.line[self.length] = byte;
        self.length += 1;
        Ok(None)
    }

    /// What has come of the line, without its newline.
    #[must_use]
    pub fn line(&self) -> &str {
        // Only ASCII was let in.
        std::str::from_utf8(&self.line[..self.length]).unwrap_or_default()
    }

    /// Whether a line has begun and not ended.
    #[must_use]
    pub fn is_in_line(&self) -> bool {
        !self.complete && self.length > 0
    }
}
