//! The master's threads.

pub mod acceptor;
pub mod admission;
pub mod candidacy;
pub mod candidate;
pub mod coordinator;
pub mod handle;
pub mod mailbox;
pub mod peer;
pub mod polling;
pub mod shared;
