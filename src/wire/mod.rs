//! Bytes and messages: addresses, connections, and what is said on each wire.

pub mod address;
pub mod answer;
pub(crate) mod arrival;
pub mod candidate;
pub mod connection;
pub mod correction;
pub mod escape;
pub mod limits;
pub mod line;
pub mod machine;
pub mod message;
pub mod name;
pub mod path;
pub mod reader;
pub mod steps;
pub mod timestamp;
pub mod vote_order;
pub mod weight;
pub mod words;
