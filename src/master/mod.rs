//! The master's threads.
//!
//! An acceptor; one thread a connection (`peer ADDRESS`), which serves the wire that its peer
//! speaks; and a coordinator, which waits for the end of an interval, lets the
//! [`Ensemble`](crate::average::ensemble::Ensemble) average, and leaves each connection's thread
//! what to send. Where there are several masters, an election says which one leads. The
//! coordinator never touches a follower's socket in a way that could block it.

pub mod acceptor;
pub mod admission;
pub mod candidacy;
pub mod candidate;
pub mod candidate_link;
pub mod connections;
pub mod coordinator;
pub mod dialogue;
pub mod end;
pub mod error;
pub mod event;
pub mod handle;
pub mod key_watch;
pub mod mailbox;
pub mod observations;
pub mod operator;
pub mod options;
pub mod order;
pub mod outlet;
pub mod parent;
pub mod peer;
pub mod polling;
pub mod proof;
pub mod rhythm;
pub mod serve;
pub mod shared;
pub mod shared_votes;
pub mod speaker;
pub mod state_file;
pub mod status;
pub mod teller;
pub mod threads;
pub mod timestamps;
pub mod trust;
pub mod unproven;
pub mod waiting;
