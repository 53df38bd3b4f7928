//! The algorithm in virtual time.

mod candidates;
mod election;
mod holdover;
mod jitter;
mod loops;
mod network;
mod queue;
mod reference;
mod rounds;
mod steps;
mod takeovers;
mod tree;
mod trees;
mod weights;
