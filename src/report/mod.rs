//! What people and programs are told.

pub mod record;
pub mod table;
mod writer;
