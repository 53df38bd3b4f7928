//! The group's time for whoever speaks NTP and knows nothing of us: RFC 5905, as far as a server
//! needs it that is asked and answers.
//!
//! What is told, and to whom, is decided by `packet`, `answer` and `limit`, which are pure; `server`
//! is a thread over a socket.

pub mod answer;
pub mod limit;
pub mod packet;
pub mod server;
mod socket;
