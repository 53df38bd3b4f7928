//! Groups with keys: who may say what, and what becomes of those who may not.

mod downgrade;
mod orders;
mod sessions;
