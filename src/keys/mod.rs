//! Who may say what: secrets, the proof of them in both directions, and a code on every line.
//!
//! What proves and derives is pure, and takes nonces as arguments. `file.rs` reads and replaces the
//! files that hold secrets, `ring.rs` and `credentials.rs` read them through it, and `prove.rs`
//! speaks with the other end for whoever has called it. Time is no secret, so lines are
//! authenticated and not encrypted. `docs/handshake.md` has the protocol with its argument and its
//! test vectors.

pub mod auth;
pub mod channel;
pub mod code;
pub mod codes;
pub mod credentials;
pub mod file;
pub mod group;
pub mod handshake;
pub mod holder;
#[cfg(test)]
mod middle;
pub mod node_key;
pub mod prove;
pub mod ring;
pub mod secret;
