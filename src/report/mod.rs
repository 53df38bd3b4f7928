//! What people and programs are told.

#[cfg(feature = "cli")]
pub mod answering;
#[cfg(feature = "cli")]
pub mod document;
#[cfg(feature = "cli")]
pub mod http;
#[cfg(feature = "cli")]
pub mod metrics;
pub mod record;
#[cfg(feature = "cli")]
pub mod replay;
pub mod status;
#[cfg(feature = "cli")]
pub mod status_line;
#[cfg(feature = "cli")]
pub mod status_text;
pub mod table;
mod writer;
