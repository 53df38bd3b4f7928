//! What a peer sent, as people may see it.

use std::fmt::{self, Display, Formatter, Write};

/// Bytes of a peer's: printable ASCII as it is, a backslash twice, and any other byte as `\x1b`. So
/// nobody moves a terminal's cursor, or writes a line of a log that is not ours.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'\\' => out.write_str(r"\\")?,
                b' '..=b'~' => out.write_char(byte.into())?,
                _ => write!(out, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_that_a_terminal_obeys() {
        for (sent, shown) in [
            (&b"too many \"X\" lines"[..], "too many \"X\" lines"),
            (b"\x1b[2J\r\n\x07\x00", r"\x1b[2J\x0d\x0a\x07\x00"),
            (b"\x7f\x9b1m", r"\x7f\x9b1m"),
            (r"\x1b".as_bytes(), r"\\x1b"),
            // Text from right to left.
            ("\u{202e}txt".as_bytes(), r"\xe2\x80\xaetxt"),
        ] {
            assert_eq!(Escaped(sent).to_string(), shown);
        }
        let all: Vec<u8> = (0..=255).collect();
        let shown = Escaped(&all).to_string();
        assert!(shown.chars().all(|c| c == ' ' || c.is_ascii_graphic()));
    }
}
