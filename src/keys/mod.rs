//! Who may say what: secrets, the proof of them in both directions, and a code on every line.
//!
//! Pure but for `file.rs`, which reads and replaces the files that hold secrets: nonces are
//! arguments. Time is no secret, so lines are authenticated and not encrypted. `docs/keys.md` has
//! the protocol with its argument and its test vectors.

pub mod channel;
pub mod code;
pub mod codes;
pub mod file;
pub mod group;
pub mod handshake;
pub mod holder;
pub mod node_key;
pub mod secret;
