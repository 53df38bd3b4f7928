//! The algorithm in virtual time.

mod candidates;
mod election;
mod network;
mod queue;
mod rounds;
mod steps;
