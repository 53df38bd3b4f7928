//! What the healthy nodes of a group notice while something fails beside them: real programs, real
//! sockets, and one named fault a test, with the limit of what it may cost.
//!
//! `docs/reliability.md` has the table that they print, and the command.

mod connections;
mod followers;
pub(crate) mod group;
mod lies;
mod links;
pub(crate) mod local;
mod master;
mod network;
mod nonsense;
pub(crate) mod peer;
mod process;
