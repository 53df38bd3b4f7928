//! Hosts with kernels, and so clocks, of their own: User-mode Linux, on a network of their own.
//!
//! Nothing here touches the clock or the network of the machine that runs the tests.

mod host;
mod network;

pub(crate) use host::{Host, clocks};
pub(crate) use network::Network;
