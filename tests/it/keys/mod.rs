//! Groups with keys: who may say what, and what becomes of those who may not.

mod auth;
mod commands;
mod delay;
mod downgrade;
mod follower_key;
mod middle;
mod network;
mod orders;
mod sessions;
mod theft;
mod vectors;
