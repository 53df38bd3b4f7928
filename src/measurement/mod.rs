//! Four instants become an offset and a delay.

pub mod sample;
