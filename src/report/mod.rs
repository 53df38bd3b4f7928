//! What people and programs are told.

#[cfg(feature = "cli")]
pub mod answering;
#[cfg(feature = "cli")]
pub mod document;
pub mod record;
pub mod status;
#[cfg(feature = "cli")]
pub mod status_text;
pub mod table;
mod writer;
