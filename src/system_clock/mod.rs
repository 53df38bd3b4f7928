//! The operating system's clock, steered on request.

pub mod kernel;
pub mod oscillator;
pub mod servo;
pub mod speed;
