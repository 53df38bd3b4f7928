//! What the healthy nodes of a group notice while something fails beside them: real programs, real
//! sockets, and one named fault a test, with the limit of what it may cost.
//!
//! `cargo test --release --test faults -- --nocapture | grep -o 'fault | .*'` prints the table of
//! the README.

mod programs;
mod relay;

#[path = "faults/connections.rs"]
mod connections;
#[path = "faults/followers.rs"]
mod followers;
#[path = "faults/group.rs"]
mod group;
#[path = "faults/lies.rs"]
mod lies;
#[path = "faults/links.rs"]
mod links;
#[path = "faults/local.rs"]
mod local;
#[path = "faults/master.rs"]
mod master;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/nonsense.rs"]
mod nonsense;
#[path = "faults/peer.rs"]
mod peer;
#[path = "faults/process.rs"]
mod process;
