//! Four instants become an offset and a delay, and several of these one sample.

pub mod burst;
pub mod sample;
