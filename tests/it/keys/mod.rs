//! Groups with keys: who may say what, and what becomes of those who may not.

mod commands;
mod downgrade;
mod orders;
mod sessions;
mod vectors;
