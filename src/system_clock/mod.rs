//! The operating system's clock, steered on request.

pub mod kernel;
pub mod servo;
