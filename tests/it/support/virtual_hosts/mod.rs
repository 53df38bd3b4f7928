//! Hosts with kernels, and so clocks, of their own: User-mode Linux, on a network of their own.
//!
//! Nothing here touches the clock or the network of the machine that runs the tests.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program has its own copy and uses a part"
)]

mod group;
mod host;
mod network;
mod ntp_clients;
mod skew;
pub(crate) mod traffic;

pub(crate) use group::{Group, Who};
pub(crate) use host::{Host, TELL_TIME, clocks, clocks_told_by};
pub(crate) use network::Network;
pub(crate) use ntp_clients::NtpClient;
pub(crate) use skew::{Clock, Counter, Moment, Trace};
