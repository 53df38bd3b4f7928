//! Bytes and messages: addresses, connections, and what is said on each wire.

pub mod address;
pub mod connection;
pub mod message;
pub mod timestamp;
