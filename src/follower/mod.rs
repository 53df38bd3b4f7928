//! The follower: answers a master's polls and follows its corrections.
//!
//! One thread connects, speaks, and connects again when the connection is lost. What it learns
//! is in a [`NetworkClock`](crate::discipline::network_clock::NetworkClock) that any other thread
//! may read.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `options`, `event`, `error` | what a follower is told, and what it tells |
//! | `control` | how others stop it, and where its events wait |
//! | `represented` | the group that it speaks for, if it is the master of one |
//! | `node` | what it keeps over connections, and what becomes of a correction |
//! | `observations`, `status` | what it remembers for whoever asks, and says |
//! | `end` | why a connection ended |
//! | `link` | one connection |
//! | `timestamps`, `lines` | what is said on each wire |
//! | `session` | the life of a connection: which wire it is, then that wire |
//! | `connect` | the thread: one connection after the other |
//! | `handle` | what an embedder holds |

pub mod connect;
pub mod control;
pub mod end;
pub mod error;
pub mod event;
pub mod handle;
pub mod lines;
pub mod link;
pub mod node;
pub mod observations;
pub mod options;
pub mod represented;
pub mod session;
pub mod status;
pub mod timestamps;
